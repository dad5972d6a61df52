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

#include <linvideo/linvideo.h>

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
         "  --precision NAME      f32, bf16, or int8 for matmuls of the network's blocks;\n"
         "                        ratios are to bf16's [bf16 where the CPU has it]\n"
         "  --reps N              number of timed runs; at most 2 of what takes over 8 s\n"
         "                        [5]\n"
         "  --small               cut all shapes down: to try the command, not to measure\n"
         "  --json                print JSON\n"
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
    static const char *const names[] = { "auto", "f32", "bf16", "int8" };

    for (int i = 0; name && i < LV_COUNT(names); i++)
        if (!strcmp(names[i], name))
            return b->precision = i, 0;
    return name ? lv_tool_fail(-1, "option precision: \"%s\" is not one of auto, f32, "
                               "bf16, int8", name) : -1;
}

static int set_option(LvBench *b, LvArgs *a)
{
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
    return -1;
}

static int open_device(LvBench *b)
{
    LvDeviceOptions options = { .threads = b->threads };
    int ret = lv_device_open(&b->dev, b->device, &options, &b->msg);

    if (ret < 0)
        return ret;
    if (!b->precision)
        b->precision = b->dev->bf16 ? LINVIDEO_PRECISION_BF16 :
                                      LINVIDEO_PRECISION_F32;
    b->i8  = b->precision == LINVIDEO_PRECISION_INT8;
    b->act = b->precision == LINVIDEO_PRECISION_BF16 || (b->i8 && b->dev->bf16) ? LV_BF16 :
             LV_F32;
    if (b->i8 && !b->dev->i8)
        return lv_fail(&b->msg, LV_ERR_UNSUPPORTED, "%s has no int8 matmuls",
                       b->dev->about);
    if (!b->dev->host)
        return find_ceilings(b);
    if (lv_probe(&b->probe, b->dev->threads) < 0)
        return lv_fail(&b->msg, LV_ERR_DEVICE, "oneDNN %s does no matmul",
                       b->probe.version);
    b->ceiling = b->act == LV_BF16 && b->probe.bf16 > 0 ? b->probe.bf16 : b->probe.f32;
    return 0;
}

static void print_head(const LvBench *b)
{
    const char *type = b->i8 ? "int8" : b->act == LV_BF16 ? "bf16" : "f32";

    if (b->copy > 0 && b->json) {
        printf("{\"device\": \"%s\", \"precision\": \"%s\",\n \"ceiling\": {\"gflops\": "
               "%.6g, \"gbps\": %.6g},\n \"works\": [\n", b->dev->about, type, b->ceiling,
               b->copy);
        return;
    }
    if (b->json) {
        printf("{\"device\": \"%s\", \"precision\": \"%s\", \"onednn\": \"%s\",\n"
               " \"ceiling\": {\"bf16\": %.6g, \"f32\": %.6g},\n \"works\": [\n",
               b->dev->about, type, b->probe.version, b->probe.bf16, b->probe.f32);
        return;
    }
    printf("%s, %s\n", b->dev->about, type);
    if (b->copy > 0)
        printf("ceiling: %.1f TFLOP/s, a matmul 8192 x 8192 x 8192; copy: %.0f GB/s\n\n",
               1e-3 * b->ceiling, b->copy);
    else
        printf("ceiling: %.0f GFLOP/s in bf16, %.0f in f32: [1280,1536] by [1536,8960], "
               "oneDNN %s\n\n", b->probe.bf16, b->probe.f32, b->probe.version);
    printf("%-24s %12s %12s %12s %s\n", "", "median", "min   ", "max   ", lv_rates_head(b));
}

static int cmd_bench(int argc, char **argv)
{
    LvBench b = { .reps = 5, .random = 1, .device = "cpu" };
    int chosen[LV_WORKS] = { 0 };
    int ret = parse(&b, argc, argv, chosen);

    if (ret >= 0)
        return ret;
    b.msg = lv_tool_msg;
    ret = open_device(&b);
    if (!ret)
        print_head(&b);
    for (int i = 0; lv_works[i].name && ret >= 0; i++)
        if (chosen[i])
            ret = run_work(&b, &lv_works[i]);
    if (b.json && b.dev)
        puts("\n]}");
    lv_device_close(&b.dev);
    return ret < 0 ? LV_EXIT_FAILED : LV_EXIT_OK;
}

const LvCommand lv_cmd_bench = {
    .name  = "bench",
    .about = "measure the speed of networks and their parts",
    .run   = cmd_bench,
};
