/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Fuzzing of images that are given: whatever the file, it is read whole or refused by one line.
 */

#include "api/image.h"

#define FUZZ_EDGE 96 ///< headers
#include "folder.h"
#include "mutate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[FUZZ_PATH];
    int lines = 0, ret;
    const LvMsg msg = { fuzz_count, &lines, LV_MSG_DEBUG };
    LvImage image;
    unsigned sum = 0;

    fuzz_write(path, "image", data, size);
    ret = lv_image_read(&image, "image", path, NULL, &msg);
    if (lines != (ret < 0) || (ret < 0) != !image.rgb)
        abort();
    for (size_t i = 0; ret >= 0 && i < 3 * (size_t)image.width * (size_t)image.height; i++)
        sum += image.rgb[i];
    free(image.rgb);
    return sum > UINT32_MAX - 1;
}
