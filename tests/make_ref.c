/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Completes a file of reference numbers whose weights are kept as a seed:
 *
 *     make_ref REFERENCE.safetensors REFERENCE.weights OUT.safetensors
 *
 * REFERENCE.weights is text: "seed N", then a line for each tensor in the order in which the
 * numbers were drawn, "KIND NAME DIM...", where there are more networks the same again, then
 * "hash H", XXH64 of all their values one after another in hexadecimal. OUT holds what
 * REFERENCE does, and the tensors as weights.NAME.
 */

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/common.h"
#include "base/hash.h"
#include "base/safetensors.h"
#include "tests/torch_random.h"

enum { MOST = 512, NAME = 128, KEYS = 16 };

/* mean + scale * normal, or gain * normal / sqrt(columns) */
static const struct Kind {
    const char *name;
    float mean, scale;
    float gain;    ///< 0: none of a matrix
    int drawn;     ///< how often: of several the last counts
} kinds[] = {
    { "matrix",     0, 0,    1,    1 },
    { "conv",       0, 0,    1.2f, 1 },
    { "conv22",     0, 0,    0.9f, 1 },
    { "bias",       0, 0.1f, 0,    1 },
    { "norm",       1, 0.2f, 0,    1 },
    { "modulation", 0, 0.3f, 0,    2 },
    { "table",      0, 0.3f, 0,    1 },
    { "places",     0, 0.5f, 0,    1 },
};

typedef struct Ref {
    TorchRandom random;
    LvFileTensor tensor[MOST];
    char name[MOST][NAME];
    int nb;
    uint64_t hash, wanted;
} Ref;

static void print(void *opaque, int level, const char *line)
{
    (void)opaque, (void)level;
    fprintf(stderr, "make_ref: %s\n", line);
}

static const LvMsg msg = { print, NULL, LV_MSG_WARNING };

static const struct Kind *kind_of(const char *name)
{
    for (int i = 0; i < LV_COUNT(kinds); i++)
        if (!strcmp(kinds[i].name, name))
            return &kinds[i];
    return NULL;
}

static int shape_of(LvFileTensor *t, const char *text)
{
    char *end;

    t->numel = 1;
    for (t->rank = 0; *text && *text != '\n'; t->rank++, text = end) {
        if (t->rank == LV_FILE_MAX_RANK)
            return -1;
        t->dim[t->rank] = strtol(text, &end, 10);
        if (end == text || t->dim[t->rank] < 1 || t->dim[t->rank] > 1 << 16)
            return -1;
        t->numel *= (size_t)t->dim[t->rank];
    }
    t->size = t->numel * sizeof(float);
    return t->rank ? 0 : -1;
}

static int make_values(Ref *r, LvFileTensor *t, const struct Kind *kind)
{
    float *x   = malloc(t->size);
    float root = sqrtf((float)t->numel / (float)t->dim[0]);

    if (!x)
        return -1;
    for (int i = 0; i < kind->drawn; i++)
        torch_randn(&r->random, x, t->numel);
    for (size_t i = 0; i < t->numel; i++)
        x[i] = kind->gain ? kind->gain * x[i] / root : kind->mean + kind->scale * x[i];
    t->data = x;
    r->hash = lv_hash(r->hash, x, t->size);
    return 0;
}

static int add_weight(Ref *r, const char *line)
{
    LvFileTensor *t = &r->tensor[r->nb];
    const struct Kind *kind;
    char word[32], name[NAME - 8];
    int end;

    if (r->nb == MOST || sscanf(line, "%31s %119s%n", word, name, &end) != 2 ||
        !(kind = kind_of(word)) || shape_of(t, line + end) < 0)
        return -1;
    snprintf(r->name[r->nb], NAME, "weights.%s", name);
    t->name  = r->name[r->nb++];
    t->dtype = LV_F32;
    return make_values(r, t, kind);
}

static int read_line(Ref *r, const char *line)
{
    uint32_t seed;

    if (sscanf(line, "seed %" SCNu32, &seed) == 1) {
        torch_seed(&r->random, seed);
        return 0;
    }
    if (sscanf(line, "hash %" SCNx64, &r->wanted) == 1)
        return 0;
    return add_weight(r, line);
}

static int read_weights(Ref *r, const char *path)
{
    FILE *f = fopen(path, "r");
    char line[256];
    int ret = f ? 0 : -1;

    while (!ret && fgets(line, sizeof(line), f))
        if ((ret = read_line(r, line)) < 0)
            fprintf(stderr, "make_ref: %s: %s", path, line);
    if (f)
        fclose(f);
    else
        perror(path);
    if (!ret && r->hash != r->wanted) {
        fprintf(stderr, "make_ref: %s: hash of the weights: expected %016" PRIx64
                ", got %016" PRIx64 "\n", path, r->wanted, r->hash);
        ret = -1;
    }
    return ret;
}

static int write_all(Ref *r, const LvSafetensors *st, const char *path)
{
    static const char *const keys[] = { "what", "dim", "heads", "ffn", "layers", "text_dim",
                                        "text_len", "freq_dim", "cfg", "widths",
                                        "clip_heads", "clip_layers" };
    const char *meta[KEYS * 2 + 1] = { NULL };
    int nb = r->nb, n = 0;

    for (int i = 0; i < LV_COUNT(keys); i++)
        if (lv_safetensors_meta(st, keys[i])) {
            meta[n++] = keys[i];
            meta[n++] = lv_safetensors_meta(st, keys[i]);
        }
    for (int i = 0; i < lv_safetensors_count(st); i++) {
        if (nb == MOST)
            return -1;
        r->tensor[nb++] = *lv_safetensors_at(st, i);
    }
    return lv_safetensors_write(path, r->tensor, nb, meta, &msg);
}

int main(int argc, char **argv)
{
    static Ref r;
    LvSafetensors *st = NULL;
    int ret;

    if (argc != 4) {
        fprintf(stderr, "usage: make_ref REFERENCE.safetensors REFERENCE.weights OUT\n");
        return 2;
    }
    ret = lv_safetensors_open(&st, argv[1], &msg);
    if (ret >= 0 && (ret = read_weights(&r, argv[2])) >= 0)
        ret = write_all(&r, st, argv[3]);
    for (int i = 0; i < r.nb; i++)
        free((void *)r.tensor[i].data);
    lv_safetensors_close(&st);
    return ret < 0;
}
