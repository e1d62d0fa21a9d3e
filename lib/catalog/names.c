/* SPDX-License-Identifier: Apache-2.0 */
/* names.c - which names a collection may have.
 *
 * Names end up in file names of exports, in URL paths and in messages. So what means something
 * there is refused here, once, for every way into the library: separators, control characters
 * (which could forge log lines), a leading '.' ("..", hidden files). A leading '_' is kept for
 * collections of the library's own. Everything else of Unicode is allowed; names are compared byte
 * by byte, no normalisation is done. */
#include "base/str.h"
#include "catalog/catalog.h"

/* C0, DEL and the C1 controls U+0080..U+009F, which are C2 80..C2 9F in UTF-8. */
static bool catname_is_control(const uint8_t *s, size_t left) {
    return s[0] < 0x20 || s[0] == 0x7F || (s[0] == 0xC2 && left > 1 && s[1] < 0xA0);
}

int pv__catalog_name_check(const char *name, size_t len, pv_error *err) {
    const uint8_t *s = (const uint8_t *)name;
    size_t bad_at = 0;
    if (len == 0) {
        return pv__err(err, PV_ERR_MISUSE, "a collection's name is empty");
    }
    if (len > PV__NAME_BYTES_MAX) {
        return pv__err(err, PV_ERR_LIMIT,
                       "a collection's name has %zu bytes, at most %u are allowed", len,
                       (unsigned)PV__NAME_BYTES_MAX);
    }
    if (!pv__utf8_valid(name, len, &bad_at)) {
        return pv__err(err, PV_ERR_MISUSE, "a collection's name is not UTF-8 at byte %zu", bad_at);
    }
    for (size_t i = 0; i < len; i++) {
        if (catname_is_control(s + i, len - i)) {
            return pv__err(err, PV_ERR_MISUSE,
                           "a collection's name has a control character at byte %zu", i);
        }
        if (s[i] == '/' || s[i] == '\\') {
            return pv__err(err, PV_ERR_MISUSE, "collection name '%.*s' has a '%c' at byte %zu",
                           (int)len, name, s[i], i);
        }
    }
    if (s[0] == '.' || s[0] == '_') {
        return pv__err(err, PV_ERR_MISUSE, "collection name '%.*s' begins with '%c'", (int)len,
                       name, s[0]);
    }
    return 0;
}
