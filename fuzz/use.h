/* SPDX-License-Identifier: Apache-2.0 */
/* use.h - do everything that pv.h offers to a database that may be damaged. Whatever the file
 * holds, every call must end, answer with a code that its data can cause (never PV_ERR_INTERNAL),
 * set a message of one line with it, and give back all memory at the end. */
#ifndef FUZZ_USE_H
#define FUZZ_USE_H

#include "image.h"

/* Store the mended image into fresh files in memory, then open, read, check, change and close it:
 * read-only first, then for writing, then once more. */
void use_image(const image *img);

#endif
