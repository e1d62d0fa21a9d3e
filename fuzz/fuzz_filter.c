/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_filter.c - any bytes as the text of a filter, a zero byte, and the text of a document. A
 * filter that compiles must answer, and its negation must answer the opposite; one that does not
 * must have a code that says why. */
#include "fuzz.h"
#include "query/filter.h"
#include "value/json.h"

/* {"$not": filter}; NULL when that is too deep or too large now. */
static pv__filter *fuzz_filter_negation(pv__mem *mem, const char *json, size_t len) {
    pv__buf text;
    pv__filter *filter = NULL;
    pv_error err = PV_ERROR_INIT;
    pv__buf_init(&text, mem);
    pv__buf_add_text(&text, "{\"$not\":");
    pv__buf_add(&text, json, len);
    pv__buf_add_u8(&text, '}');
    int rc = pv__filter_compile(mem, (const char *)text.data, text.len, &filter, &err);
    FUZZ_CHECK(rc == 0 || rc == PV_ERR_LIMIT);
    pv__buf_done(&text);
    return filter;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const pv__json_opts opts = {"metadata", PV__METADATA_BYTES_MAX, true};
    const uint8_t *zero = size > 0 ? (const uint8_t *)memchr(data, 0, size) : NULL;
    size_t filter_len = zero ? (size_t)(zero - data) : size;
    const char *json = (const char *)data;
    pv__mem mem;
    pv__buf doc;
    pv__filter *filter = NULL;
    pv_error err = PV_ERROR_INIT;
    pv__mem_init(&mem, NULL, 0);
    pv__buf_init(&doc, &mem);
    int rc = pv__filter_compile(&mem, json, filter_len, &filter, &err);
    if (rc) {
        FUZZ_CHECK(!filter && err.code == rc && err.offset <= filter_len);
        FUZZ_CHECK(rc == PV_ERR_FORMAT || rc == PV_ERR_LIMIT || rc == PV_ERR_UNSUPPORTED);
    } else {
        if (zero) { /* no document at all is the empty one */
            (void)pv__json_read(&opts, json + filter_len + 1, size - filter_len - 1, &doc, &err);
        }
        bool match = pv__filter_match(filter, doc.data, doc.len);
        pv__filter *negation = fuzz_filter_negation(&mem, json, filter_len);
        FUZZ_CHECK(!negation || pv__filter_match(negation, doc.data, doc.len) != match);
        pv__filter_free(negation);
    }
    pv__filter_free(filter);
    pv__buf_done(&doc);
    FUZZ_CHECK(mem.bytes_used == 0);
    return 0;
}
