/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * parity [OPTION...] FILE...: how far our networks are from reference numbers, or those of
 * one device from those of another.
 */

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/philox.h"
#include "tests/nets.h"
#include "tests/ref_device.h"

#define DEFAULT_BUNDLE "samples/motion-teacher.safetensors"

static const char usage[] =
    "usage: parity [OPTION...] FILE...\n"
    "Runs files of reference numbers through our networks and prints, for every\n"
    "output and activation: name, shape, relative error, largest difference.\n"
    "\n"
    "  --tolerance X     largest relative error allowed (1e-5; bf16: 2e-2; ten times\n"
    "                    that for files of whole pipelines)\n"
    "  --precision P     f32 (default) or bf16\n"
    "  --threads N       0: one for each core (default)\n"
    "  --isa NAME        leaves of the CPU: c, avx2, avx512, neon (default: the best);\n"
    "                    ref: no CPU device, but ops by their definitions in f64\n"
    "  --device NAME     cpu (default), cuda, cuda:N\n"
    "  --against NAME    files are Wan's autoencoder with any weights; reference is\n"
    "                    what this device makes of them in f32\n"
    "  --bundle FILE     model that the sample's reference belongs to\n"
    "                    (" DEFAULT_BUNDLE ")\n"
    "\n"
    "Status: 0 when all is within the tolerance, 1 when not, 2 on errors and where a\n"
    "file had nothing to compare.\n";

typedef struct Totals {
    double tolerance; ///< of the file at hand
    int compared, outside;
} Totals;

static void print_line(void *opaque, int level, const char *line)
{
    (void)opaque;
    (void)level;
    fprintf(stderr, "%s\n", line);
}

static const LvMsg msg = { print_line, NULL, LV_MSG_INFO };

static void shape_text(char *buf, size_t size, const LvFileTensor *t)
{
    size_t used = (size_t)snprintf(buf, size, "[");

    for (int i = 0; i < t->rank && used < size; i++)
        used += (size_t)snprintf(buf + used, size - used, i ? ",%lld" : "%lld",
                                 (long long)t->dim[i]);
    if (used < size)
        snprintf(buf + used, size - used, "]");
}

static void print_result(void *opaque, const LvFileTensor *ref, const float *ours)
{
    Totals *totals = opaque;
    double max, error = nets_error(ref, ours, &max);
    int good = error <= totals->tolerance;
    char shape[64];

    shape_text(shape, sizeof(shape), ref);
    printf("  %-24s %-16s %9.2e %9.2e%s\n", ref->name, shape, error, max,
           good ? "" : "  TOO LARGE");
    totals->compared++;
    totals->outside += !good;
}

typedef struct Options {
    double tolerance;
    const char *precision, *bundle, *against;
    LvDeviceOptions device;
    const char *name;       ///< of the device
} Options;

/* 0, or -1 when the command line is wrong. */
static int parse(Options *o, int argc, char **argv)
{
    static const struct option names[] = {
        { "tolerance", required_argument, NULL, 't' },
        { "precision", required_argument, NULL, 'p' },
        { "threads",   required_argument, NULL, 'n' },
        { "isa",       required_argument, NULL, 'i' },
        { "device",    required_argument, NULL, 'd' },
        { "bundle",    required_argument, NULL, 'b' },
        { "against",   required_argument, NULL, 'a' },
        { "help",      no_argument,       NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    int c;

    while ((c = getopt_long(argc, argv, "h", names, NULL)) != -1) {
        switch (c) {
        case 't': o->tolerance      = atof(optarg); break;
        case 'p': o->precision      = optarg;       break;
        case 'n': o->device.threads = atoi(optarg); break;
        case 'i': o->device.isa     = optarg;       break;
        case 'd': o->name           = optarg;       break;
        case 'b': o->bundle         = optarg;       break;
        case 'a': o->against        = optarg;       break;
        default:  return -1;
        }
    }
    if (strcmp(o->precision, "f32") && strcmp(o->precision, "bf16"))
        return -1;
    return optind < argc ? 0 : -1;
}

/* A half of Wan's autoencoder, of 5 pictures of 16 x 16, on both devices. */
static int compare_half(const LvSafetensors *st, int encoder, const NetsOptions *opt,
                        LvDevice *other)
{
    static float values[5 * 16 * 16 * 3];
    const LvFileTensor *w = lv_safetensors_find(st, "decoder.conv1.weight");
    const LvTaeConfig cfg = { .kind = LV_VAE_WAN, .channels = 16, .patch = 1,
                              .width = w ? (int)w->dim[0] / 4 : 0 };
    const NetsClip in = encoder ? (NetsClip) { values, 5, 16, 16, 3 }
                                : (NetsClip) { values, 2, 2, 2, 16 };
    NetsOptions exact = { .dev = other, .dtype = LV_F32, .msg = opt->msg };
    NetsClip want = { 0 }, got = { 0 };
    int ret;

    lv_philox_normal(values, LV_COUNT(values), 1, 1);
    if ((ret = nets_wan(st, "", &cfg, encoder, &in, &exact, &want)) >= 0 &&
        (ret = nets_wan(st, "", &cfg, encoder, &in, opt, &got)) >= 0) {
        const LvFileTensor ref = {
            .name = encoder ? "latents" : "pictures", .dtype = LV_F32, .rank = 4,
            .dim = { want.frames, want.rows, want.cols, want.channels }, .data = want.data,
            .numel = (size_t)want.frames * (size_t)want.rows * (size_t)want.cols *
                     (size_t)want.channels,
        };
        print_result(opt->opaque, &ref, got.data);
    }
    free(want.data);
    free(got.data);
    return ret;
}

static int compare_file(const char *path, const NetsOptions *opt, LvDevice *other)
{
    LvSafetensors *st;
    int ret = lv_safetensors_open(&st, path, opt->msg);

    for (int half = 0; half < 2 && ret >= 0; half++)
        ret = compare_half(st, half, opt, other);
    lv_safetensors_close(&st);
    return ret;
}

/* Errors of a pipeline's parts add up. */
static double tolerance_of(const char *path, const Options *o)
{
    double network = strcmp(o->precision, "f32") ? 2e-2 : 1e-5;
    LvSafetensors *st;
    int whole = lv_safetensors_open(&st, path, NULL) >= 0 && nets_is_pipeline(st);

    lv_safetensors_close(&st);
    return o->tolerance > 0 ? o->tolerance : whole ? 10 * network : network;
}

static int run_files(char **files, int n, const Options *o, const NetsOptions *opt,
                     LvDevice *other)
{
    Totals *totals = opt->opaque;
    int failed = 0, before;

    printf("%s, %s\n", opt->dev->about, opt->dtype == LV_F32 ? "f32" : "bf16");
    for (int i = 0; i < n; i++) {
        printf("%s\n", files[i]);
        before  = totals->compared;
        totals->tolerance = tolerance_of(files[i], o);
        failed |= (other ? compare_file(files[i], opt, other)
                         : nets_run_file(files[i], opt)) < 0;
        if (totals->compared == before) {
            printf("  nothing was compared\n");
            failed = 1;
        }
        fflush(stdout);
    }
    printf("%d compared, %d above the tolerance\n", totals->compared, totals->outside);
    return failed ? 2 : totals->outside > 0;
}

static int open_device(LvDevice **dev, const Options *o)
{
    if (o->device.isa && !strcmp(o->device.isa, "ref"))
        return ref_device_open(dev, &msg);
    return lv_device_open(dev, o->name ? o->name : "cpu", &o->device, &msg);
}

int main(int argc, char **argv)
{
    Options o = { .precision = "f32", .bundle = DEFAULT_BUNDLE };
    Totals totals = { 0 };
    NetsOptions opt = { .msg = &msg, .put = print_result, .opaque = &totals };
    LvDevice *other = NULL;
    int status;

    if (parse(&o, argc, argv) < 0) {
        fputs(usage, stderr);
        return 2;
    }
    opt.bundle = o.bundle;
    opt.dtype  = strcmp(o.precision, "f32") ? LV_BF16 : LV_F32;
    if (open_device(&opt.dev, &o) < 0 ||
        (o.against && lv_device_open(&other, o.against, &(LvDeviceOptions) { 0 }, &msg) < 0))
        return 2;
    status = run_files(argv + optind, argc - optind, &o, &opt, other);
    lv_device_close(&other);
    lv_device_close(&opt.dev);
    return status;
}
