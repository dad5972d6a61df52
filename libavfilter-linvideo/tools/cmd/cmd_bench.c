/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * `linvideo bench`: networks and ops of named shapes, with random weights, timed and
 * held against what the device does best in the same minute: on the CPU a plain oneDNN
 * matmul; on a GPU, whose own clock is read around every op, a matmul and a copy.
 */

#include "tools/cmd/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linvideo/linvideo.h>

#include "pipeline/choices.h"
#include "tools/bench/clip_run.h"
#include "tools/bench/rates.h"
#include "tools/bench/works.h"
#include "tools/share/arguments.h"
#include "tools/share/message.h"

/* The shortest time of a work that is not reported. */
static int find_best(LvBench *b, const LvWork *w, LvTiming *r)
{
    int ret = lv_timing_measure(b, w, r);

    free(r->record);
    lv_bench_clear(b);
    return ret;
}

static int find_ceilings(LvBench *b)
{
    LvTiming matmul = { .reps = 0 }, copy = { .reps = 0 };
    int ret = find_best(b, &lv_best_matmul, &matmul);

    if (ret < 0 || (ret = find_best(b, &lv_best_copy, &copy)) < 0)
        return ret;
    b->ceiling = 1e-9 * matmul.flops / matmul.seconds[0];
    b->copy    = 1e-9 * copy.bytes / copy.seconds[0];
    return 0;
}

static int run_work(LvBench *b, const LvWork *w)
{
    LvTiming r = { .reps = 0 };
    int ret = lv_timing_measure(b, w, &r);

    if (!ret)
        (b->json ? lv_rates_json : lv_rates_print)(b, w, &r);
    b->printed += !ret;
    free(r.record);
    lv_bench_clear(b);
    return ret;
}

/* Command line */

static void help(void)
{
    puts("Usage: linvideo bench [options] [NAME...]\n"
         "\n"
         "Times networks and their parts with random weights. Prints the median, smallest\n"
         "and largest time after one warm-up run, GFLOP/s, and the ratio to a plain oneDNN\n"
         "matmul that is timed in the same run. On a GPU: TFLOP/s and GB/s, and the ratios\n"
         "to a large matmul and to a copy. Defaults are shown in brackets.\n"
         "\n"
         "  --list                list the names\n"
         "  --ops                 also the time of each kind of operation, and of each\n"
         "                        place in the model's source\n"
         "  --device NAME         cpu, cuda or cuda:N [cpu]\n"
         "  --threads N           threads of the CPU [one for each core]\n"
         "  --precision NAME      f32, bf16, or int8 or fp8 in the network's blocks;\n"
         "                        ratios are to bf16's [bf16 where the CPU has it]\n"
         "  --reps N              number of timed runs; at most 2 of what takes over 8 s\n"
         "                        [5]\n"
         "  --small               cut all shapes down: to try the command, not to measure\n"
         "  --json                print JSON\n"
         "\n"
         "Whole clips, clip-...: a process opens a model that lies in memory and makes three: the\n"
         "first, one of a new prompt, one of the same prompt. Another process finds the rates of\n"
         "the device before. The limit of a stage is its shortest time at these rates. --reps 1\n"
         "makes the first clip alone, 2 the second too.\n"
         "\n"
         "  --size WxH            size of frames [by the name]\n"
         "  --clip-frames N       frames [81]\n"
         "  --steps N             steps of the sampler [4]\n"
         "  --guidance F          guidance scale; above 1 a step takes two runs [1]\n"
         "  --linear N            layers with linear attention [16 of 30]\n"
         "  --decoder NAME        wan or tiny [wan]\n"
         "  --weights NAME        type that the network is stored in: bf16, fp8, q4_k [bf16]\n"
         "  --memory-limit BYTES  memory of the device, with K, M or G [what is free]\n"
         "  --tile N              decode in tiles of N pixels [where frames need it]\n"
         "  --plan                say what memory it takes; make nothing\n"
         "\n"
         "Without a name it runs those that --list marks with *, on a GPU those with +.");
}

static void list(void)
{
    for (const LvWork *w = lv_works; w->name; w++)
        printf("%c%c %-24s %s\n", w->chosen & LV_ON_CPU ? '*' : ' ',
               w->chosen & LV_ON_GPU ? '+' : ' ', w->name, w->about);
}

static int set_precision(LvBench *b, const char *name)
{
    static const char *const names[] = { "auto", "f32", "bf16", "int8", "fp8" };

    for (int i = 0; name && i < LV_COUNT(names); i++)
        if (!strcmp(names[i], name))
            return b->precision = i, 0;
    return name ? lv_tool_fail(-1, "option precision: \"%s\" is not one of auto, f32, "
                               "bf16, int8, fp8", name) : -1;
}

static int by_name(LvArgs *a, const char *const *names, int nb, int *at)
{
    const char *value = lv_args_value(a);

    for (int i = 0; value && i < nb; i++)
        if (!strcmp(names[i], value))
            return *at = i, 0;
    return value ? lv_tool_fail(-1, "option %s: \"%s\" is not %s, %s%s%s", a->name, value, names[0],
                                names[1], nb > 2 ? ", " : "", nb > 2 ? names[2] : "") : -1;
}

/* 0 or -1; 1: it is none of clips */
static int set_clip_option(LvClipOptions *o, LvArgs *a)
{
    static const char *const own[] = { "size", "clip_frames", "steps", "guidance",
                                       "memory_limit", "tile" };
    static const char *const decoders[] = { "wan", "tiny" };
    static const char *const names[] = { "bf16", "fp8", "q4_k" };
    static const LvDtype types[] = { LV_BF16, LV_F8_E4M3, LV_Q4_K };
    int at = 0, ret = 1;

    for (int i = 0; i < LV_COUNT(own); i++)
        if (!strcmp(a->name, own[i]))
            ret = lv_args_value(a) ? linvideo_params_set(&o->params, own[i], a->value) : -1;
    if (!strcmp(a->name, "linear"))
        ret = lv_args_int(a, 0, LV_MAX_LAYERS, &o->linear);
    if (!strcmp(a->name, "decoder"))
        ret = by_name(a, decoders, LV_COUNT(decoders), &o->tiny);
    if (!strcmp(a->name, "weights")) {
        ret       = by_name(a, names, LV_COUNT(names), &at);
        o->stored = types[at];
    }
    if (!strcmp(a->name, "plan"))
        ret = !(o->plan = 1);
    return ret;
}

static int set_option(LvBench *b, LvArgs *a)
{
    int ret = set_clip_option(&b->clip, a);

    if (ret <= 0) {
        snprintf(b->clip.given, sizeof(b->clip.given), "%s", a->name);
        return ret;
    }
    if (!strcmp(a->name, "threads"))
        return lv_args_int(a, 0, 1024, &b->threads);
    if (!strcmp(a->name, "reps"))
        return lv_args_int(a, 1, LV_TIMING_REPS, &b->reps);
    if (!strcmp(a->name, "precision"))
        return set_precision(b, lv_args_value(a));
    if (!strcmp(a->name, "device"))
        return (b->device = lv_args_value(a)) ? 0 : -1;
    if (!strcmp(a->name, "small"))
        return b->small = 1, 0;
    if (!strcmp(a->name, "ops"))
        return b->ops = 1, 0;
    if (!strcmp(a->name, "json"))
        return b->json = 1, 0;
    return lv_tool_fail(-1, "no option \"%s\"; linvideo bench --help lists them",
                        a->name);
}

static int is_clip(const int *chosen)
{
    for (int i = 0; lv_works[i].name; i++)
        if (chosen[i] && !lv_works[i].trace)
            return 1;
    return 0;
}

/* Options of clips are for clips, and these run alone. */
static int check_clip_options(const LvBench *b, const int *chosen)
{
    for (int i = 0; lv_works[i].name; i++) {
        const LvWork *w = &lv_works[i];

        if (chosen[i] && w->trace && (b->clip.given[0] || is_clip(chosen)))
            return lv_tool_fail(-1, "%s%s: expected whole clips (clip-...) alone, got %s",
                                b->clip.given[0] ? "option " : "clips", b->clip.given, w->name);
        if (chosen[i] && !w->trace && b->clip.linear > lv_clip_layers(w->a))
            return lv_tool_fail(-1, "option linear: expected 0 to %d, the layers of %s, got %d",
                                lv_clip_layers(w->a), w->name, b->clip.linear);
    }
    return 0;
}

/* -1 to go on, or an exit code; chosen[] marks the works named. */
static int parse(LvBench *b, int argc, char **argv, int *chosen)
{
    LvArgs a = { .argc = argc, .argv = argv, .at = 1 };
    int words = 0;

    while (lv_args_next(&a)) {
        const LvWork *w = a.name[0] ? NULL : lv_work_find(a.value);

        if (!strcmp(a.name, "h") || !strcmp(a.name, "help"))
            return help(), LV_EXIT_OK;
        if (!strcmp(a.name, "list"))
            return list(), LV_EXIT_OK;
        if (!a.name[0] && !w)
            return lv_tool_fail(LV_EXIT_USAGE, "nothing to time is named \"%s\"; "
                                "linvideo bench --list lists the names", a.value);
        if (w)
            words += chosen[w - lv_works] = 1;
        else if (set_option(b, &a) < 0)
            return LV_EXIT_USAGE;
    }
    for (int i = 0; lv_works[i].name && !words; i++)
        chosen[i] = lv_works[i].chosen & (strcmp(b->device, "cpu") ? LV_ON_GPU : LV_ON_CPU);
    return check_clip_options(b, chosen) < 0 ? LV_EXIT_USAGE : -1;
}

static int choose_precision(LvBench *b)
{
    LvEnv env = { .dev = b->dev, .msg = &b->msg };
    int ret   = lv_choose_precision(&env, lv_precision_type(b->precision));

    b->matmul = env.matmul;
    b->act    = env.dtype;
    b->type   = lv_precision_name(&env);
    return ret;
}

static int open_device(LvBench *b)
{
    LvDeviceOptions options = { .threads = b->threads };
    int ret = lv_device_open(&b->dev, b->device, &options, &b->msg);

    if (ret < 0)
        return ret;
    snprintf(b->about, sizeof(b->about), "%s", b->dev->about);
    if ((ret = choose_precision(b)) < 0)
        return ret;
    if (!b->dev->host)
        return find_ceilings(b);
    if (lv_probe(&b->probe, b->dev->threads) < 0)
        return lv_fail(&b->msg, LV_ERR_DEVICE, "oneDNN %s does no matmul",
                       b->probe.version);
    b->ceiling = b->act == LV_BF16 && b->probe.bf16 > 0 ? b->probe.bf16 : b->probe.f32;
    return 0;
}

/* Clips */

/* Bytes a second that pinned memory of the host comes at. */
static int find_send(LvBench *b)
{
    const LvCopyFns *fn = b->dev->fn->copies;
    size_t bytes;
    void *from = lv_device_staging(b->dev, &bytes), *to = NULL;
    int ret = from ? lv_device_alloc(b->dev, &to, bytes, "copies") : LV_ERR(ENOMEM);
    double start = 0;

    if (fn && ret >= 0)
        ret = fn->meet(b->dev);

    for (int i = -1; i < LV_SENDS && ret >= 0; i++) {
        if (!i)
            start = lv_seconds();
        ret = fn ? fn->send(b->dev, LV_MAX(i, 0), to, from, bytes, &b->msg)
                 : lv_device_upload(b->dev, to, from, bytes);
        if (fn && i < 0)
            fn->settle(b->dev);
    }
    if (fn)
        fn->settle(b->dev);
    b->send = 1e-9 * LV_SENDS * (double)bytes / (lv_seconds() - start);
    lv_device_free(b->dev, to);
    return ret;
}

/* All that a clip is held against. What comes to the memory of a CPU is copied there. */
static int find_rates(LvBench *b)
{
    LvTiming copy = { .reps = 0 };
    int ret = open_device(b);

    if (ret < 0 || !b->dev->host)
        return ret < 0 ? ret : find_send(b);
    if ((ret = find_best(b, &lv_best_copy, &copy)) < 0)
        return ret;
    b->copy = b->send = 1e-9 * copy.bytes / copy.seconds[0];
    return 0;
}

/* What the child tells the parent. */
typedef struct Found {
    double ceiling, copy, send;
    LvProbe probe;
    char about[sizeof(((LvBench *)0)->about)];
    enum LvMatmul matmul;
    const char *type;
    LvDtype act;
} Found;

static void tell_rates(LvBench *b, int to)
{
    int ok = find_rates(b) >= 0;
    Found f = { b->ceiling, b->copy, b->send, b->probe, "", b->matmul, b->type, b->act };

    memcpy(f.about, b->about, sizeof(f.about));
    ok = ok && write(to, &f, sizeof(f)) == (ssize_t)sizeof(f);
    lv_device_close(&b->dev);
    _exit(!ok);
}

/* In a process of its own: that of the clips begins with nothing done. */
static int find_rates_apart(LvBench *b)
{
    int ends[2], ret;
    pid_t child;
    Found f;

    fflush(stdout);
    if (pipe(ends) < 0 || (child = fork()) < 0)
        return lv_fail(&b->msg, LV_ERR(errno), "bench: no process to measure rates in");
    if (!child)
        tell_rates(b, ends[1]);
    close(ends[1]);
    ret = read(ends[0], &f, sizeof(f)) == (ssize_t)sizeof(f) ? 0 : LV_ERR_DEVICE;
    close(ends[0]);
    waitpid(child, NULL, 0);
    if (ret < 0)
        return ret;
    b->ceiling   = f.ceiling;
    b->copy      = f.copy;
    b->send      = f.send;
    b->probe     = f.probe;
    b->matmul    = f.matmul;
    b->type      = f.type;
    b->act       = f.act;
    memcpy(b->about, f.about, sizeof(f.about));
    return 0;
}

/* Of clips; a line of its own. */
static void print_clip_head(const LvBench *b)
{
    printf(b->json ? "{\"device\": \"%s\", \"precision\": \"%s\", \"ceiling\": {\"gflops\": "
                     "%.6g, \"gbps\": %.6g, \"sent\": %.6g},\n \"works\": [\n"
                   : "%s, %s\nceiling: %.0f GFLOP/s in matmuls, %.1f GB/s copied, %.1f GB/s "
                     "sent to it\n",
           b->about, b->type, b->ceiling, b->copy, b->send);
}

/* Clips alone. */
static int run_clips(LvBench *b, const int *chosen)
{
    int plan = b->clip.plan, ret = plan ? 0 : find_rates_apart(b);

    if (plan && b->json)
        printf("{\"works\": [\n");
    else if (ret >= 0 && !plan)
        print_clip_head(b);
    for (int i = 0; lv_works[i].name && ret >= 0; i++)
        if (chosen[i])
            ret = lv_clip_run(b, &lv_works[i]);
    if (b->json && (plan || b->about[0]))
        puts("\n]}");
    return ret;
}

static void print_head(const LvBench *b)
{
    if (b->copy > 0 && b->json) {
        printf("{\"device\": \"%s\", \"precision\": \"%s\",\n \"ceiling\": {\"gflops\": "
               "%.6g, \"gbps\": %.6g},\n \"works\": [\n", b->about, b->type, b->ceiling,
               b->copy);
        return;
    }
    if (b->json) {
        printf("{\"device\": \"%s\", \"precision\": \"%s\", \"onednn\": \"%s\",\n"
               " \"ceiling\": {\"bf16\": %.6g, \"f32\": %.6g},\n \"works\": [\n",
               b->about, b->type, b->probe.version, b->probe.bf16, b->probe.f32);
        return;
    }
    printf("%s, %s\n", b->about, b->type);
    if (b->copy > 0)
        printf("ceiling: %.1f TFLOP/s, a matmul 8192 x 8192 x 8192; copy: %.0f GB/s\n\n",
               1e-3 * b->ceiling, b->copy);
    else
        printf("ceiling: %.0f GFLOP/s in bf16, %.0f in f32: [1280,1536] by [1536,8960], "
               "oneDNN %s\n\n", b->probe.bf16, b->probe.f32, b->probe.version);
    printf("%-24s %12s %12s %12s %s\n", "", "median", "min   ", "max   ", lv_rates_head(b));
}

/* Programs alone. */
static int run_works(LvBench *b, const int *chosen)
{
    int ret = open_device(b);

    if (!ret)
        print_head(b);
    for (int i = 0; lv_works[i].name && ret >= 0; i++)
        if (chosen[i])
            ret = run_work(b, &lv_works[i]);
    if (b->json && b->dev)
        puts("\n]}");
    lv_device_close(&b->dev);
    return ret;
}

static int cmd_bench(int argc, char **argv)
{
    LvBench b = { .reps = 5, .random = 1, .device = "cpu",
                  .clip = { .linear = -1, .stored = LV_BF16 } };
    int chosen[LV_WORKS] = { 0 }, ret;

    linvideo_params_default(&b.clip.params);
    b.clip.params.log = lv_tool_log;
    if ((ret = parse(&b, argc, argv, chosen)) >= 0)
        return ret;
    b.msg = lv_tool_msg;
    ret   = (is_clip(chosen) ? run_clips : run_works)(&b, chosen);
    return ret < 0 ? LV_EXIT_FAILED : LV_EXIT_OK;
}

const LvCommand lv_cmd_bench = {
    .name  = "bench",
    .about = "measure the speed of networks and their parts",
    .run   = cmd_bench,
};
