/* SPDX-License-Identifier: Apache-2.0 */
/* key.c - ids: from what the caller gives to bytes of the id map, and made ones. */
#include "base/str.h"
#include "engine/write.h"

#define KEY_RANDOM_ROWS 64u
#define KEY_RANDOM_BYTES 8u

static int key_check_text(const char *id, size_t len, pv_error *err) {
    size_t bad_at = 0;
    if (len == 0) {
        return pv__err(err, PV_ERR_MISUSE, "the id is empty");
    }
    if (len > PV__KEY_BYTES_MAX) {
        return pv__err(err, PV_ERR_LIMIT, "the id has %zu bytes, at most %u are allowed", len,
                       (unsigned)PV__KEY_BYTES_MAX);
    }
    if (memchr(id, 0, len)) {
        return pv__err(err, PV_ERR_MISUSE, "the id has a NUL inside");
    }
    if (!pv__utf8_valid(id, len, &bad_at)) {
        return pv__err(err, PV_ERR_MISUSE, "the id is not UTF-8 at byte %zu", bad_at);
    }
    return 0;
}

int pv__key_check(const pv__parts *p, const char *id, size_t id_len, uint64_t id_u64,
                  uint8_t buf[8], pv__bytes *out, pv_error *err) {
    *out = (pv__bytes){NULL, 0};
    if (p->c.key == PV_KEY_U64) {
        if (id) {
            return pv__err(err, PV_ERR_MISUSE, "the id is a text, collection '%s' has numbers",
                           p->c.name);
        }
        if (id_u64 != PV_ID_NONE) {
            *out = pv__idmap_key_u64(buf, id_u64);
        }
        return 0;
    }
    /* 0 is what id_u64 holds in a structure that was zeroed instead of set by its macro. */
    if (id_u64 != PV_ID_NONE && id_u64 != 0) {
        return pv__err(err, PV_ERR_MISUSE, "the id is a number, collection '%s' has texts",
                       p->c.name);
    }
    if (!id) {
        return 0;
    }
    PV_TRY(key_check_text(id, id_len, err));
    *out = (pv__bytes){(const uint8_t *)id, id_len};
    return 0;
}

/* A text, or NULL. */
static const char *key_list_text(const pv__key_list *list, size_t i, size_t *out_len) {
    const char *id = list->ids ? list->ids[i] : NULL;
    *out_len = id ? (list->id_lens && list->id_lens[i] ? list->id_lens[i] : strlen(id)) : 0;
    if (list->id_data) {
        *out_len = (size_t)(list->id_offsets[i + 1] - list->id_offsets[i]);
        id = *out_len > 0 ? list->id_data + list->id_offsets[i] : NULL;
    }
    return id;
}

size_t pv__key_list_bytes(const pv__key_list *list) {
    size_t sum = 0, len = 0;
    for (size_t i = 0; i < list->count; i++) {
        (void)key_list_text(list, i, &len);
        sum += PV_MIN(len, (size_t)PV__KEY_BYTES_MAX) + 1; /* longer ones are refused */
    }
    return sum;
}

static int key_list_get(const pv__key_list *list, const pv__parts *p, size_t i, uint8_t buf[8],
                        pv__bytes *out, pv_error *err) {
    size_t len = 0;
    const char *id = key_list_text(list, i, &len);
    uint64_t id_u64 = list->ids_u64 ? list->ids_u64[i] : PV_ID_NONE;
    int rc = pv__key_check(p, id, len, id_u64, buf, out, err);
    if (rc == 0 && out->size == 0) {
        rc = pv__err(err, PV_ERR_MISUSE, "the id is missing");
    }
    return rc == 0 ? 0 : pv__err_at(err, rc, i);
}

int pv__key_list_find(const pv__key_list *list, pv__parts *p, size_t i, bool must_exist,
                      uint8_t buf[8], pv__bytes *out_key, uint32_t *out_slot, bool *out_found,
                      pv_error *err) {
    PV_TRY(key_list_get(list, p, i, buf, out_key, err));
    PV_TRY(pv__idmap_get(&p->ids, *out_key, out_slot, out_found, err));
    if (!*out_found && must_exist) {
        char shown[PV__KEY_SHOWN];
        return pv__err_at(err,
                          pv__err(err, PV_ERR_NOTFOUND, "there is no id %s in collection '%s'",
                                  pv__key_show(p, *out_key, shown), p->c.name),
                          i);
    }
    return 0;
}

static void key_hex(char *out, const uint8_t *bytes, size_t n) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
}

/* 48 bits of milliseconds, version, 12 bits, variant, 62 bits. The 12 bits are fractions of the
 * millisecond plus the place in the call, so that the ids of one call come in order (RFC 9562,
 * section 6.2, method 3); the other 62 are random. */
static void key_uuid(char *out, uint64_t ticks, const uint8_t random[KEY_RANDOM_BYTES]) {
    const uint64_t ms = ticks >> 12;
    uint8_t b[16];
    for (unsigned i = 0; i < 6; i++) {
        b[i] = (uint8_t)(ms >> (40 - 8 * i));
    }
    b[6] = (uint8_t)(0x70u | ((ticks >> 8) & 0x0Fu));
    b[7] = (uint8_t)(ticks & 0xFFu);
    memcpy(b + 8, random, 8);
    b[8] = (uint8_t)(0x80u | (b[8] & 0x3Fu));
    key_hex(out, b, 4);
    out[8] = '-';
    key_hex(out + 9, b + 4, 2);
    out[13] = '-';
    key_hex(out + 14, b + 6, 2);
    out[18] = '-';
    key_hex(out + 19, b + 8, 2);
    out[23] = '-';
    key_hex(out + 24, b + 10, 6);
}

int pv__key_uuids(const pv_clock *clock, char *out, size_t count, pv_error *err) {
    uint8_t random[KEY_RANDOM_ROWS * KEY_RANDOM_BYTES];
    const uint64_t us = (uint64_t)PV_MAX(pv__sys_wall_us(clock), (int64_t)0);
    uint64_t ticks = ((us / 1000) << 12) + (us % 1000) * 4096 / 1000;
    for (size_t i = 0; i < count; i++) {
        const size_t at = i % KEY_RANDOM_ROWS;
        if (at == 0) {
            const size_t rows = PV_MIN(count - i, (size_t)KEY_RANDOM_ROWS);
            PV_TRY(pv__sys_random(clock, random, rows * KEY_RANDOM_BYTES, err));
        }
        key_uuid(out + i * PV__UUID_TEXT, ticks++, random + at * KEY_RANDOM_BYTES);
    }
    return 0;
}

#undef KEY_RANDOM_ROWS
#undef KEY_RANDOM_BYTES
