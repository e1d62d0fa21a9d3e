/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_file.c - a database file with any bytes in its pages and checksums that fit (image.h), as a
 * careful attacker or a bug could leave it. Whatever it holds: opened, checked, read, changed and
 * closed without a crash, each refusal with a code and a message (use.h). */
#include "fuzz.h"
#include "use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    image img;
    FUZZ_CHECK(image_read(&img, data, size));
    image_mend(&img);
    use_image(&img);
    image_done(&img);
    return 0;
}
