/* SPDX-License-Identifier: Apache-2.0 */
/* ex_element.h - vectors as numbers and as pv.h stores them: f32, f16, i8, bit. */
#ifndef EX_ELEMENT_H
#define EX_ELEMENT_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of a vector; 0: no such type. */
size_t ex_element_bytes(uint32_t type, size_t dims);

/* Numbers to elements. f16 are rounded to the nearest, ties to even; i8 and bits take what they are
 * exactly. 0, or -1 where *out_bad, a position, does not fit. */
int ex_element_pack(uint32_t type, const float *numbers, size_t dims, void *out, size_t *out_bad);
/* What a number should have been: "an integer from -128 to 127". */
const char *ex_element_wanted(uint32_t type);

/* Elements to numbers; exact. */
void ex_element_unpack(uint32_t type, const void *elements, size_t dims, float *out);

/* Two bytes of binary16, low one first. */
float ex_element_half(const unsigned char *p);

#endif
