/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_doc.c - any bytes as a binary document, as they could come from a disk. What the checker
 * accepts must be safe to walk, equal to itself, and the one encoding of its own text (V1, V2). */
#include "fuzz.h"
#include "value/compare.h"
#include "value/json.h"

/* Reach every byte through the accessors. */
static uint64_t fuzz_doc_walk(pv__value v) {
    size_t len = 0;
    uint64_t sum = pv__value_type(v);
    if (pv__value_type(v) == PV__VALUE_STRING) {
        const char *s = pv__value_string(v, &len);
        for (size_t i = 0; i < len; i++) {
            sum += (unsigned char)s[i];
        }
    }
    for (size_t i = 0, n = pv__value_count(v); i < n; i++) {
        pv__value child = pv__value_at(v, i);
        FUZZ_CHECK(child.data > v.data && child.data + child.size <= v.data + v.size);
        if (pv__value_type(v) == PV__VALUE_OBJECT) {
            const char *key = pv__value_key(v, i, &len);
            pv__value found = pv__value_get(v, key, len);
            FUZZ_CHECK(found.data == child.data && found.size == child.size);
        }
        sum += fuzz_doc_walk(child); /* as deep as the checker allows */
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static volatile uint64_t sink;
    const pv__json_opts opts = {"document", PV__DOC_BYTES_MAX, false};
    pv__mem mem;
    pv__buf text, again;
    pv_error err = PV_ERROR_INIT;
    int rc = pv__doc_check(data, size, &err);
    if (rc) {
        FUZZ_CHECK((rc == PV_ERR_CORRUPT || rc == PV_ERR_FORMAT) && err.offset < size);
        return 0;
    }
    pv__value v = pv__doc_root(data, size);
    sink = fuzz_doc_walk(v);
    FUZZ_CHECK(pv__value_compare(v, v) == 0);
    pv__mem_init(&mem, NULL, 0);
    pv__buf_init(&text, &mem);
    pv__buf_init(&again, &mem);
    pv__json_write(&text, v);
    FUZZ_CHECK(!text.failed);
    if (text.len <= PV__DOC_BYTES_MAX) {
        FUZZ_CHECK(pv__json_read(&opts, (const char *)text.data, text.len, &again, &err) == 0);
        FUZZ_CHECK(again.len == v.size && memcmp(again.data, v.data, v.size) == 0);
    }
    pv__buf_done(&text);
    pv__buf_done(&again);
    FUZZ_CHECK(mem.bytes_used == 0);
    (void)sink;
    return 0;
}
