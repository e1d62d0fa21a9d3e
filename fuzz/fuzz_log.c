/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_log.c - a database that was killed: its file and the segments of its log, with any bytes in
 * the records and hashes that fit. The first byte says what is mended: with 1 in its lowest bit
 * all hashes (image.h), else none, so that the rule that tells a torn tail from damage gets its
 * share. Recovery must end with a database or a code, as in fuzz_file. */
#include "fuzz.h"
#include "use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    image img;
    if (size == 0) {
        return 0;
    }
    FUZZ_CHECK(image_read(&img, data + 1, size - 1));
    if (data[0] & 1) {
        image_mend(&img);
    }
    use_image(&img);
    image_done(&img);
    return 0;
}
