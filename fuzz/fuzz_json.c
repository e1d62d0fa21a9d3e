/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_json.c - any bytes as JSON text. What is accepted must be a good document, and its text must
 * read back to the same bytes; what is refused must say where and leave the buffer alone. */
#include "fuzz.h"
#include "value/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const pv__json_opts opts = {"metadata", PV__METADATA_BYTES_MAX, false};
    const pv__json_opts wide = {"metadata", PV__DOC_BYTES_MAX, false};
    pv__mem mem;
    pv__buf doc, text, again;
    pv_error err = PV_ERROR_INIT;
    pv__mem_init(&mem, NULL, 0);
    pv__buf_init(&doc, &mem);
    pv__buf_init(&text, &mem);
    pv__buf_init(&again, &mem);
    int rc = pv__json_read(&opts, (const char *)data, size, &doc, &err);
    if (rc == 0) {
        FUZZ_CHECK(pv__doc_check(doc.data, doc.len, &err) == 0);
        pv__json_write(&text, pv__doc_root(doc.data, doc.len));
        FUZZ_CHECK(!text.failed);
        FUZZ_CHECK(pv__json_read(&wide, (const char *)text.data, text.len, &again, &err) == 0);
        FUZZ_CHECK(again.len == doc.len && memcmp(again.data, doc.data, doc.len) == 0);
    } else {
        FUZZ_CHECK(rc == PV_ERR_FORMAT || rc == PV_ERR_LIMIT);
        FUZZ_CHECK(err.code == rc && err.offset <= size && doc.len == 0);
    }
    pv__buf_done(&doc);
    pv__buf_done(&text);
    pv__buf_done(&again);
    FUZZ_CHECK(mem.bytes_used == 0);
    return 0;
}
