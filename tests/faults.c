/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 *     faults DIR RECIPE [video|frames|streamed|training]
 *
 * Every call of the CUDA driver and of cuBLASLt fails once, in turn: while a video is
 * made, also one in memory of the device and one of weights that stream from the host, and
 * while a training takes steps; of those of the third every third, of those of training,
 * which takes long, every seventh, or every one with FAULTS_ALL=1 in the environment. DIR
 * holds what `linvideo train RECIPE` made, DIR/deep the same of more layers.
 * Runs on the stand-in of tests/emu, which fails the calls. Each time the work has to
 * end with one message, or with the result that it has without a fault (but for
 * rounding, where there is another way to it); nothing of the device may be left.
 */

#include <dlfcn.h>
#include <linvideo/linvideo.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/device.h"
#include "base/common.h"
#include "train/pretrain/flow.h"

enum { SIZE = 32, FRAMES = 1, PIXELS = FRAMES * SIZE * SIZE * 3, MAX_WRONG = 20 };

/** The stand-in. */
static struct {
    void (*fail_at)(long n);
    long (*calls)(void);
    const char *(*failed)(void);
    const char *(*alive)(void);
} emu;

static char model[4096], deep[4096], line[2048], files[3][4096];
static int errors;  ///< error lines
static int streams; ///< weights do, as was said
static size_t limit; ///< of memory, with which they do; 0: not known yet
static LvTrainConfig recipe;
static double result[2];

static void keep_line(void *opaque, int level, const char *text)
{
    (void)opaque;
    if (level == LV_MSG_ERROR) {
        snprintf(line, sizeof(line), "%s", text);
        errors++;
    }
    streams |= strstr(text, "offloaded to") != NULL;
}

static void keep_api_line(void *opaque, enum LinvideoLogLevel level, const char *text)
{
    keep_line(opaque, (int)level, text);
}

static const LvMsg msg = { keep_line, NULL, LV_MSG_WARNING };

static double sum_of(const uint8_t *data, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += (double)(i % 1000 + 1) * data[i];
    return sum;
}

static uint8_t pixels[PIXELS];

static LinvideoParams video(const char *path)
{
    LinvideoParams p;

    linvideo_params_default(&p);
    p.model = path, p.prompt = "a large red circle", p.device = "cuda";
    p.seed = 1, p.steps = 3, p.guidance = 1, p.format = LINVIDEO_RGB24;
    p.clip_frames = FRAMES, p.log = keep_api_line;
    return p;
}

static int make_clip(const LinvideoParams *p, uint8_t *pixels)
{
    LinvideoFrame f = { .data = { pixels }, .stride = { 3 * SIZE } };
    LinvideoContext *c = NULL;
    int ret = linvideo_open(&c, p);

    while (ret >= 0 && (ret = linvideo_next_frame(c, &f)) >= 0)
        f.data[0] += PIXELS / FRAMES;
    linvideo_close(&c);
    return ret == LINVIDEO_EOF ? 0 : ret;
}

/* A clip of three steps: plain, recorded, replayed. */
static int make_video(void)
{
    const LinvideoParams p = video(model);
    int ret = make_clip(&p, pixels);

    result[0] = sum_of(pixels, PIXELS);
    return ret;
}

/* A clip in memory of the caller's device. */
static int make_frames(void)
{
    const LinvideoCuda cuda = { NULL, NULL };
    LinvideoParams p = video(model);
    LvDevice *dev = NULL;
    void *memory  = NULL;
    int ret = lv_device_open(&dev, "cuda", NULL, &msg);

    p.cuda  = &cuda;
    p.steps = 1;
    if (ret >= 0 && (ret = lv_device_alloc(dev, &memory, PIXELS, "frames")) >= 0 &&
        (ret = make_clip(&p, memory)) >= 0)
        ret = lv_device_download(dev, pixels, memory, PIXELS);
    if (dev)
        lv_device_free(dev, memory);
    lv_device_close(&dev);
    result[0] = sum_of(pixels, PIXELS);
    return ret;
}

/* The least memory with which a model opens. */
static void find_limit(LinvideoParams *p)
{
    LinvideoContext *c = NULL;
    LinvideoInfo info  = { 0 };

    if (linvideo_open(&c, p) >= 0)
        linvideo_info(c, &info);
    linvideo_close(&c);
    p->memory_limit = info.memory_weights + info.memory_work;
    do {
        limit = (size_t)p->memory_limit;
        p->memory_limit -= 256;
    } while (p->memory_limit > 0 && linvideo_open(&c, p) >= 0 && (linvideo_close(&c), 1));
    errors = 0;
}

/* The same with all blocks streaming. */
static int make_streamed(void)
{
    LinvideoParams p = video(deep);
    int ret;

    if (!limit) {
        find_limit(&p);
        emu.fail_at(0);
    }
    p.memory_limit = (int64_t)limit;
    streams = 0;
    ret     = make_clip(&p, pixels);
    result[0] = sum_of(pixels, PIXELS);
    if (ret < 0 || streams)
        return ret;
    snprintf(line, sizeof(line), "nothing streams");
    return -1;
}

/* Three steps of training: plain, recorded, replayed. */
static int take_steps(void)
{
    const LvFlowFiles f = { files[0], files[2], { files[1] } };
    LvFlow *flow = NULL;
    LvDevice *dev = NULL;
    int ret = lv_device_open(&dev, "cuda", NULL, &msg);

    if (ret >= 0)
        ret = lv_flow_open(&flow, &recipe, &f, 1, 1, LV_BF16, 1, dev, &msg);
    for (int i = 0; i < 3 && ret >= 0; i++) {
        ret = lv_flow_step(flow);
        result[i / 2] = flow->mse;
    }
    lv_flow_close(&flow);
    lv_device_close(&dev);
    return ret;
}

/* Another way to the same product may round otherwise. */
static int differs(double x, double right)
{
    return !(fabs(x - right) <= 2e-3 * fabs(right));
}

/* What went wrong in a run with a fault, NULL when nothing. */
static const char *judge(int ret, const double *right)
{
    static char text[512];

    if (emu.alive()[0])
        snprintf(text, sizeof(text), "left alive: %s", emu.alive());
    else if (ret < 0 && errors != 1)
        snprintf(text, sizeof(text), "%d error lines, the last one \"%.300s\"", errors, line);
    else if (ret >= 0 && errors)
        snprintf(text, sizeof(text), "it succeeds, and says \"%.300s\"", line);
    else if (ret >= 0 && (differs(result[0], right[0]) || differs(result[1], right[1])))
        snprintf(text, sizeof(text), "it succeeds with %.9g and %.9g, not %.9g and %.9g",
                 result[0], result[1], right[0], right[1]);
    else
        return NULL;
    return text;
}

static int check(const char *what, int (*run)(void), long stride)
{
    double right[2];
    int wrong = 0, managed = 0, ret;
    long n;

    emu.fail_at(0);
    memset(result, errors = 0, sizeof(result));
    ret = run();
    n   = emu.calls();
    memcpy(right, result, sizeof(right));
    if (judge(ret, right) || ret < 0) {
        printf("not ok %s without a fault: %d %s\n", what, ret, line);
        return 1;
    }
    for (long i = 1; i <= n && wrong < MAX_WRONG; i += stride) {
        const char *bad;
        emu.fail_at(i);
        errors = 0;
        ret    = run();
        managed += ret >= 0;
        if ((bad = judge(ret, right))) {
            printf("not ok %s, call %ld, %s: %s\n", what, i, emu.failed(), bad);
            wrong++;
        }
    }
    if (!wrong)
        printf("ok %s: %ld of %ld calls failed in turn, %d made no difference\n", what,
               (n + stride - 1) / stride, n, managed);
    return wrong;
}

static int find_stand_in(void)
{
    const char *name = getenv("LINVIDEO_LIBCUDA");
    void *lib = name ? dlopen(name, RTLD_NOW | RTLD_LOCAL) : NULL;
    const struct { const char *name; void *entry; } entries[] = {
        { "emu_fail_at", &emu.fail_at }, { "emu_calls", &emu.calls },
        { "emu_failed", &emu.failed }, { "emu_alive", &emu.alive },
    };

    for (int i = 0; i < LV_COUNT(entries) && lib; i++) {
        void *symbol = dlsym(lib, entries[i].name);
        memcpy(entries[i].entry, &symbol, sizeof(symbol));
    }
    return lib && emu.fail_at && emu.calls && emu.failed && emu.alive ? 0 : -1;
}

int main(int argc, char **argv)
{
    static const struct { const char *name; int (*run)(void); long stride; } works[] = {
        { "video", make_video, 1 }, { "frames", make_frames, 1 },
        { "streamed", make_streamed, 3 }, { "training", take_steps, 7 },
    };
    static const char *const names[] = { "flow", "latents", "tokenizer" };
    const char *only = argc == 4 ? argv[3] : "";
    int wrong = 0, done = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 3 || argc > 4 || find_stand_in() < 0) {
        fprintf(stderr, "usage: LINVIDEO_LIBCUDA=(tests/emu's) faults DIR RECIPE\n");
        return 2;
    }
    snprintf(model, sizeof(model), "%s/model.safetensors", argv[1]);
    snprintf(deep, sizeof(deep), "%s/deep/model.safetensors", argv[1]);
    for (int i = 0; i < 3; i++)
        snprintf(files[i], sizeof(files[i]), "%s/%s.%s", argv[1], names[i],
                 i < 2 ? "safetensors" : "spm");
    if (lv_train_config_read(&recipe, argv[2], &msg) < 0) {
        fprintf(stderr, "faults: %s\n", line);
        return 2;
    }
    recipe.flow.batch = recipe.flow.micro = 1;
    for (int i = 0; i < LV_COUNT(works); i++)
        if (!*only || !strcmp(only, works[i].name)) {
            wrong += check(works[i].name, works[i].run,
                           getenv("FAULTS_ALL") ? 1 : works[i].stride);
            done++;
        }
    lv_train_config_free(&recipe);
    printf("%d passed, %d failed\n", LV_MAX(done - wrong, 0), wrong);
    return wrong > 0;
}
