/* SPDX-License-Identifier: Apache-2.0 */
/* half.h - IEEE 754 binary16 in plain C, with the bits that the instructions of CPUs give. */
#ifndef PV_KERNEL_HALF_H
#define PV_KERNEL_HALF_H

#include "kernel/kernel.h"

#define PV__HALF_MAX 65504.0f
#define PV__HALF_INFINITE 0x7C00u /* without the sign: this and above is no number */

/* Exact. */
PV__KERNEL_INLINE float pv__half_to_float(uint16_t h) {
    const uint32_t size = h & 0x7FFFu;
    uint32_t bits = size << 13;
    float v;
    if (size >= PV__HALF_INFINITE) {
        bits |= 0x7F800000u;
    } else {
        memcpy(&v, &bits, sizeof v);
        v *= 0x1p+112f; /* the exponents begin elsewhere; makes subnormal ones normal too */
        memcpy(&bits, &v, sizeof bits);
    }
    bits |= (uint32_t)(h & 0x8000u) << 16;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* The nearest, ties to even; infinite beyond 65520. */
PV__KERNEL_INLINE uint16_t pv__half_of(float v) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    const uint32_t sign = bits >> 16 & 0x8000u;
    bits &= 0x7FFFFFFFu;
    if (bits >= 0x47800000u) { /* 65536 */
        return (uint16_t)(sign | (bits > 0x7F800000u ? 0x7E00u : PV__HALF_INFINITE));
    }
    if (bits < 0x38800000u) { /* below 2^-14: the unit in the last place of 0.5 + x is 2^-24 */
        float x;
        memcpy(&x, &bits, sizeof x);
        x += 0.5f;
        memcpy(&bits, &x, sizeof bits);
        return (uint16_t)(sign | (bits - 0x3F000000u));
    }
    bits += 0xC8000FFFu + (bits >> 13 & 1u);
    return (uint16_t)(sign | bits >> 13);
}

#endif
