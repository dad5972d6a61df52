/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Tests of the public functions with the embedded model, which is looked for in
 * $LINVIDEO_MODEL_PATH, or build/tests/model/. Their parts are in api_*.c.
 */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/api_kit.h"

#define TUNABLES "GLIBC_TUNABLES"

/* Start again with an allocator that keeps no freed memory for its threads, which
 * it would count as in use. It reads this when a program starts. */
static void tune(char **argv)
{
    const char *now = getenv(TUNABLES);

    if (now && strstr(now, "tcache_count"))
        return;
    setenv(TUNABLES, "glibc.malloc.tcache_count=0", 1);
    execv("/proc/self/exe", argv);
}

int main(int argc, char **argv)
{
    Suite *suite = suite_create("api");
    SRunner *runner = srunner_create(suite);
    int failed;

    (void)argc;
    tune(argv);
    kit_start();
    api_add_options(suite);
    api_add_open(suite);
    api_add_frames(suite);
    api_add_progress(suite);
    api_add_memory(suite);
    api_add_device(suite);
    api_add_image(suite);
    api_add_video(suite);
    api_add_range(suite);
    api_add_steer(suite);
    api_add_windows(suite);
    api_add_causal(suite);
    api_add_use(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    kit_end();
    return failed != 0;
}
