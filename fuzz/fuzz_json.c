/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_json.c - any bytes as JSON text. What is accepted must be a good document, and its text must
 * read back to the same bytes; what is refused must say where and leave the buffer alone. */
#include "fuzz.h"
#include "value/json.h"

/* The short way (json_flat.c) makes what the long one makes of the same text in an array. */
static void fuzz_flat(const uint8_t *data, size_t size, pv__mem *mem) {
    const pv__json_opts wide = {"metadata", PV__DOC_BYTES_MAX, false};
    pv__buf flat, text, array;
    pv__buf_init(&flat, mem);
    pv__buf_init(&text, mem);
    pv__buf_init(&array, mem);
    if (pv__json_flat((const char *)data, size, &flat)) {
        pv__buf_add_u8(&text, '[');
        pv__buf_add(&text, data, size);
        pv__buf_add_u8(&text, ']');
        FUZZ_CHECK(pv__json_read(&wide, (const char *)text.data, text.len, &array, NULL) == 0);
        const pv__value v = pv__value_at(pv__doc_root(array.data, array.len), 0);
        FUZZ_CHECK(flat.len == v.size && memcmp(flat.data, v.data, v.size) == 0);
    }
    pv__buf_done(&flat);
    pv__buf_done(&text);
    pv__buf_done(&array);
}

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
    fuzz_flat(data, size, &mem);
    FUZZ_CHECK(mem.bytes_used == 0);
    return 0;
}
