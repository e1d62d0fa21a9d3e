/* SPDX-License-Identifier: Apache-2.0 */
/* ex_element.c - see ex_element.h. */
#include "ex_element.h"

#include <math.h>
#include <pv.h>
#include <string.h>

size_t ex_element_bytes(uint32_t type, size_t dims) {
    switch (type) {
    case PV_TYPE_F32:
        return dims * 4;
    case PV_TYPE_F16:
        return dims * 2;
    case PV_TYPE_I8:
        return dims;
    case PV_TYPE_BIT:
        return (dims + 7) / 8;
    default:
        return 0;
    }
}

const char *ex_element_wanted(uint32_t type) {
    return type == PV_TYPE_I8    ? "an integer from -128 to 127"
           : type == PV_TYPE_BIT ? "0 or 1"
           : type == PV_TYPE_F16 ? "a number that f16 has room for"
                                 : "a finite number";
}

/* binary16 to binary32; every value has one. */
float ex_element_half(const unsigned char *p) {
    uint32_t h = (uint32_t)p[0] | (uint32_t)p[1] << 8;
    uint32_t sign = (h & 0x8000u) << 16;
    uint32_t exponent = h >> 10 & 31;
    uint32_t mantissa = h & 0x3FFu;
    uint32_t bits;
    float out;
    if (exponent == 0) {
        /* zero and subnormals: mantissa * 2^-24, exact in binary32 */
        out = ldexpf((float)mantissa, -24);
        return sign != 0 ? -out : out;
    }
    if (exponent == 31) {
        bits = sign | 0x7F800000u | mantissa << 13;
    } else {
        bits = sign | (exponent + 112) << 23 | mantissa << 13;
    }
    memcpy(&out, &bits, sizeof(out));
    return out;
}

/* The nearest f16; 0x7C00 and above: there is none. */
static unsigned element_to_half(float v) {
    const float size = fabsf(v);
    const unsigned sign = signbit(v) ? 0x8000u : 0;
    int exponent = 0;
    if (!(size < 65520.0f)) {
        return 0x7C00u;
    }
    if (size < 0x1p-14f) { /* in units of 2^-24; 1024 of them are the smallest normal number */
        return sign | (unsigned)rintf(size * 0x1p+24f);
    }
    (void)frexpf(size, &exponent);
    /* 1024 to 2048 units; one more than that is the next power of two, which the sum below knows */
    const unsigned units = (unsigned)rintf(ldexpf(size, 11 - exponent));
    return sign | ((unsigned)(exponent + 13) * 1024u + units);
}

static int element_pack_one(uint32_t type, float v, unsigned char *out, size_t i) {
    if (type == PV_TYPE_F16) {
        const unsigned h = element_to_half(v);
        out[2 * i] = (unsigned char)(h & 255);
        out[2 * i + 1] = (unsigned char)(h >> 8);
        return h == 0x7C00u ? -1 : 0;
    }
    if (type == PV_TYPE_I8) {
        const int fits = v >= -128 && v <= 127 && v == floorf(v);
        out[i] = fits ? (unsigned char)(signed char)v : 0;
        return fits ? 0 : -1;
    }
    out[i / 8] |= (unsigned char)(v == 1 ? 0x80 >> i % 8 : 0);
    return v == 0 || v == 1 ? 0 : -1;
}

int ex_element_pack(uint32_t type, const float *numbers, size_t dims, void *out, size_t *out_bad) {
    if (type == PV_TYPE_F32) {
        memcpy(out, numbers, dims * sizeof(float));
        return 0;
    }
    memset(out, 0, ex_element_bytes(type, dims));
    for (size_t i = 0; i < dims; i++) {
        if (element_pack_one(type, numbers[i], out, i) != 0) {
            *out_bad = i;
            return -1;
        }
    }
    return 0;
}

void ex_element_unpack(uint32_t type, const void *elements, size_t dims, float *out) {
    const unsigned char *p = elements;
    for (size_t i = 0; i < dims; i++) {
        if (type == PV_TYPE_F32) {
            memcpy(&out[i], p + 4 * i, 4);
        } else if (type == PV_TYPE_F16) {
            out[i] = ex_element_half(p + 2 * i);
        } else if (type == PV_TYPE_I8) {
            out[i] = (float)(signed char)p[i];
        } else {
            out[i] = (float)(p[i / 8] >> (7 - i % 8) & 1);
        }
    }
}
