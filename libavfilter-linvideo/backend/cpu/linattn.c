/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Linear attention in three passes, O(L) work and memory:
 *   state   a job for each head and chunk of tokens walks tiles of TILE tokens:
 *           y = K w_k (product), phi (leaves), S += phi^T V (product), z += phi
 *   reduce  a job for each head adds the chunks in order, divides by L, packs S
 *   apply   a job for each head and tile of queries: y = Q w_q, phi, num = phi S
 *           (product), den = phi z (leaf), o = num / (den + eps)
 * There are at most 16 chunks, a number that depends on L alone.
 */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/cpu.h"

enum { TILE = 128, MIN_CHUNK = 1024, MAX_CHUNKS = 16 };

typedef struct LinattnPriv {
    const void *wq, *wk;       /* packed maps of all heads; NULL: at every run */
    const LvGemm *map[2];      /* [last tile]: y = x w */
    const LvGemm *state[2];    /* S += phi^T V */
    const LvGemm *apply[2];    /* num = phi S */
} LinattnPriv;

typedef struct Sizes {
    int l, c, d, p, f, chunk, chunks, tiles;
    size_t map_head, map;          /* bytes of packed maps */
    size_t partial, partials;      /* floats of S and z of a chunk; of all */
    size_t packed_head;            /* bytes of packed S */
    size_t maps_at, packed_at, z_at, scratch; /* bytes in the op's scratch */
    size_t x, phi, half, v, num, slab;        /* bytes in the slab; y at 0 */
} Sizes;

typedef struct LinattnJob {
    LvCpu *cpu;
    const LvLinattnArgs *a;
    const LinattnPriv *priv;
    Sizes s;
    const char *wq, *wk;
    float *partial;
    char *packed;
    float *z;
} LinattnJob;

static void lay_out_slab(const LvCpu *cpu, const LvLinattnArgs *a, Sizes *s)
{
    size_t phi = 4 * (size_t)TILE * s->f;

    s->x    = 4 * (size_t)TILE * LV_ROUND_UP(s->p, 16);
    s->phi  = s->x + 4 * (size_t)TILE * LV_ROUND_UP(s->d, 16);
    s->half = s->phi + phi;
    s->v    = s->half + (a->q.dtype == LV_BF16 ? phi / 2 : 0);
    s->v    = LV_ROUND_UP(s->v, LV_ALIGN);
    s->num  = s->v + lv_pack_bytes(cpu->dnn, a->q.dtype, TILE, s->d);
    s->slab = LV_MAX(s->num + 4 * (size_t)TILE * s->d, (size_t)s->f * s->d * 4 +
                     4 * (size_t)(s->d + s->p));
    s->slab = LV_MAX(s->slab, 4 * (size_t)(s->d + 1) * s->p);
}

static Sizes sizes_of(const LvCpu *cpu, const LvLinattnArgs *a)
{
    Sizes s = { .l = a->q.dim[0], .c = a->q.dim[1], .p = a->wq.dim[2] };
    size_t heads = (size_t)a->heads;

    s.d           = s.c / a->heads;
    s.f           = lv_map_features(a->map, s.p);
    s.chunk       = LV_MAX(MIN_CHUNK, LV_ROUND_UP(lv_cpu_split((size_t)s.l, MAX_CHUNKS),
                                                  TILE));
    s.chunks      = lv_cpu_split((size_t)s.l, (size_t)s.chunk);
    s.tiles       = lv_cpu_split((size_t)s.l, TILE);
    s.map_head    = lv_pack_bytes(cpu->dnn, a->q.dtype, s.d, s.p);
    s.map         = a->wq.fixed ? 0 : heads * s.map_head;
    s.partial     = LV_ROUND_UP((size_t)s.f * (s.d + 1), 16);
    s.partials    = heads * (size_t)s.chunks * s.partial;
    s.packed_head = lv_pack_bytes(cpu->dnn, a->q.dtype, s.f, s.d);
    s.packed_at   = 2 * s.map;
    s.z_at        = s.packed_at + heads * s.packed_head;
    s.scratch     = s.z_at + LV_ROUND_UP(4 * heads * (size_t)s.f, LV_ALIGN) +
                    4 * s.partials;
    lay_out_slab(cpu, a, &s);
    return s;
}

int lv_cpu_plan_linattn(LvDevice *dev, const LvLinattnArgs *a, LvCall *call)
{
    Sizes s = sizes_of(lv_cpu(dev), a);

    call->scratch_bytes = s.scratch;
    call->thread_bytes  = s.slab;
    call->weight_bytes  = a->wq.fixed ? 2 * (size_t)a->heads * s.map_head : 0;
    return lv_cpu_has_type(lv_cpu(dev), a->q.dtype);
}

static int build_products(LvCpu *cpu, const LvLinattnArgs *a, LinattnPriv *p)
{
    Sizes s = sizes_of(cpu, a);

    for (int last = 0; last < 2; last++) {
        int rows = last ? s.l - (s.tiles - 1) * TILE : LV_MIN(TILE, s.l);
        LvGemmDesc map = { .m = rows, .n = s.p, .k = s.d, .ldb = s.p,
                           .type = a->q.dtype, .c_type = LV_F32 };
        LvGemmDesc state = { .m = s.f, .n = s.d, .k = rows, .ldb = s.d,
                             .type = a->q.dtype, .c_type = LV_F32,
                             .transposed = 1, .sum = 1 };
        LvGemmDesc apply = { .m = rows, .n = s.d, .k = s.f, .ldb = s.d,
                             .type = a->q.dtype, .c_type = LV_F32 };
        if (!(p->map[last] = lv_gemm_get(cpu->dnn, &map)) ||
            !(p->state[last] = lv_gemm_get(cpu->dnn, &state)) ||
            !(p->apply[last] = lv_gemm_get(cpu->dnn, &apply)))
            return lv_dnn_error(cpu->dnn);
    }
    return 0;
}

/* Maps: [H,D,P], one packed matrix a head. */

typedef struct MapsJob {
    LvCpu *cpu;
    const LvTensor *w;
    int type;
    char *dst;
} MapsJob;

static int maps_job(void *arg, int head, int thread)
{
    const MapsJob *j = arg;
    int d = j->w->dim[1], p = j->w->dim[2];
    char *rows = lv_cpu_slab(j->cpu, thread, 0);
    char *dst  = j->dst + (size_t)head * lv_pack_bytes(j->cpu->dnn, j->type, d, p);
    size_t from = (size_t)head * d;

    lv_cpu_convert(j->cpu, rows, j->type, lv_at(j->w, from, (size_t)p, 0), j->w->dtype,
                   (size_t)d * p, (float *)(void *)(rows + 4 * (size_t)d * p));
    for (int n = 0; n < p; n += 64)
        lv_pack_rows(j->cpu->dnn, j->type, dst,
                     rows + (size_t)n * lv_dtype_size((LvDtype)j->type), d, p, p, n);
    return 0;
}

static int pack_maps(LvCpu *cpu, void *dst, void *arg)
{
    MapsJob *j = arg;

    j->dst = dst;
    return lv_cpu_jobs(cpu, maps_job, j, j->w->dim[0]);
}

static const void *kept_maps(LvCpu *cpu, const LvLinattnArgs *a, const LvTensor *w)
{
    MapsJob j = { .cpu = cpu, .w = w, .type = a->q.dtype };
    Sizes s   = sizes_of(cpu, a);

    return lv_cpu_packed(cpu, w, LV_PACK_HEADS, j.type, (size_t)a->heads * s.map_head,
                         pack_maps, &j);
}

int lv_cpu_build_linattn(LvDevice *dev, const LvLinattnArgs *a, LvCall *call)
{
    LvCpu *cpu = lv_cpu(dev);
    LinattnPriv *p = call->priv = calloc(1, sizeof(*p));
    int ret;

    if (!p)
        return lv_fail(dev->msg, LV_ERR(ENOMEM), "cpu: out of memory");
    if ((ret = build_products(cpu, a, p)) < 0 || !a->wq.fixed)
        return ret;
    p->wq = kept_maps(cpu, a, &a->wq);
    p->wk = kept_maps(cpu, a, &a->wk);
    return p->wq && p->wk ? 0 : LV_ERR(ENOMEM);
}

/* Feature maps of one row, y[p] to phi[f]. y is used up. */

static void map_hedgehog(const LvDsp *dsp, float *y, float *phi, int n)
{
    size_t p   = (size_t)n;
    float max  = dsp->max(y, p), min = dsp->min(y, p);
    float sum  = dsp->exp_sum(phi, y, max, p);

    dsp->affine(phi, 1 / sum, phi, NULL, p);
    dsp->affine(y, -1, y, NULL, p);
    sum = dsp->exp_sum(phi + p, y, -min, p);
    dsp->affine(phi + p, 1 / sum, phi + p, NULL, p);
}

static void map_relu(const LvDsp *dsp, float *y, float *phi, int p)
{
    dsp->act[LV_ACT_RELU](phi, y, (size_t)p);
}

static void map_taylor(const LvDsp *dsp, float *y, float *phi, int p)
{
    float root = sqrtf((float)p), one = 1 / sqrtf(root);

    *phi++ = 1;
    dsp->affine(phi, one, y, NULL, (size_t)p);
    phi += p;
    for (int i = 0; i < p; i++) {
        dsp->affine(phi, y[i] / root, y + i + 1, NULL, (size_t)(p - i - 1));
        phi += p - i - 1;
    }
    for (int i = 0; i < p; i++)
        phi[i] = y[i] * y[i] / (root * 1.41421356f);
}

static void (*const maps[LV_MAP_NB])(const LvDsp *, float *, float *, int) = {
    [LV_MAP_HEDGEHOG] = map_hedgehog,
    [LV_MAP_RELU]     = map_relu,
    [LV_MAP_TAYLOR]   = map_taylor,
};

static int tile_rows(const LinattnJob *j, int tile)
{
    return LV_MIN(j->s.l - tile * TILE, TILE);
}

/* Features of a tile of x, in f32 at slab + phi; *out is what products read. */
static int features(const LinattnJob *j, const LvTensor *x, const char *w, int head,
                    int tile, int thread, char *slab, void **out)
{
    const Sizes *s = &j->s;
    const LvDsp *dsp = j->cpu->dsp;
    float *y = (float *)(void *)slab, *phi = (float *)(void *)(slab + s->phi);
    int rows = tile_rows(j, tile);
    int ret;

    lv_cpu_gather(x, (size_t)tile * TILE, rows, (size_t)(head * s->d), s->d, slab + s->x);
    ret = lv_gemm_run(j->priv->map[tile == s->tiles - 1], thread, slab + s->x,
                      w + (size_t)head * s->map_head, NULL, y);
    for (int i = 0; i < rows; i++)
        maps[j->a->map](dsp, y + (size_t)i * s->p, phi + (size_t)i * s->f, s->p);
    *out = phi;
    if (x->dtype == LV_BF16) {
        dsp->to_bf16(*out = slab + s->half, phi, (size_t)rows * (size_t)s->f);
    }
    return ret;
}

static int state_job(void *arg, int job, int thread)
{
    const LinattnJob *j = arg;
    const Sizes *s = &j->s;
    const LvDsp *dsp = j->cpu->dsp;
    int head = job / s->chunks, chunk = job % s->chunks, ret = 0;
    int from = chunk * s->chunk / TILE, to = LV_MIN(from + s->chunk / TILE, s->tiles);
    float *state = j->partial + (size_t)job * s->partial;
    float *z     = state + (size_t)s->f * s->d;
    char *slab   = lv_cpu_slab(j->cpu, thread, 0);
    void *phi;

    memset(state, 0, s->partial * sizeof(*state));
    for (int t = from; t < to && ret >= 0; t++) {
        int rows = tile_rows(j, t);
        ret = features(j, &j->a->k, j->wk, head, t, thread, slab, &phi);
        for (int i = 0; i < rows; i++)
            dsp->madd(z, z, NULL, (float *)(void *)(slab + s->phi) + (size_t)i * s->f,
                      (size_t)s->f);
        for (int n = 0; n < s->d; n += 64)
            lv_pack_rows(j->cpu->dnn, j->a->v.dtype, slab + s->v,
                         lv_at(&j->a->v, (size_t)t * TILE, (size_t)s->c,
                               (size_t)(head * s->d + n)), rows, s->d, s->c, n);
        if (ret >= 0)
            ret = lv_gemm_run(j->priv->state[t == s->tiles - 1], thread, phi,
                              slab + s->v, NULL, state);
    }
    return ret;
}

static void store_state(const LinattnJob *j, int head, const float *state,
                        const float *z)
{
    const Sizes *s = &j->s;
    size_t row = (size_t)s->d + 1;
    float *out = (float *)j->a->state.data + (size_t)head * s->f * row;

    for (int i = 0; i < s->f; i++) {
        memcpy(out + (size_t)i * row, state + (size_t)i * s->d,
               (size_t)s->d * sizeof(*out));
        out[(size_t)i * row + (size_t)s->d] = z[i];
    }
}

static int reduce_job(void *arg, int head, int thread)
{
    const LinattnJob *j = arg;
    const Sizes *s = &j->s;
    const LvDsp *dsp = j->cpu->dsp;
    float *state = j->partial + (size_t)head * s->chunks * s->partial;
    float *z = j->z + (size_t)head * s->f;
    size_t n = (size_t)s->f * s->d;
    void *src = state;

    for (int i = 1; i < s->chunks; i++)
        dsp->madd(state, state, NULL, state + (size_t)i * s->partial, s->partial);
    dsp->affine(state, 1 / (float)s->l, state, NULL, s->partial);
    memcpy(z, state + n, (size_t)s->f * sizeof(*z));
    if (lv_has(&j->a->state))
        store_state(j, head, state, z);
    if (j->a->q.dtype == LV_BF16)
        dsp->to_bf16(src = lv_cpu_slab(j->cpu, thread, 0), state, n);
    for (int c = 0; c < s->d; c += 64)
        lv_pack_rows(j->cpu->dnn, j->a->q.dtype,
                     j->packed + (size_t)head * s->packed_head,
                     (char *)src + (size_t)c * lv_dtype_size((LvDtype)j->a->q.dtype),
                     s->f, s->d, s->d, c);
    return 0;
}

static int apply_job(void *arg, int job, int thread)
{
    const LinattnJob *j = arg;
    const LvLinattnArgs *a = j->a;
    const Sizes *s = &j->s;
    const LvDsp *dsp = j->cpu->dsp;
    int head = job / s->tiles, tile = job % s->tiles;
    char *slab = lv_cpu_slab(j->cpu, thread, 0);
    float *phi = (float *)(void *)(slab + s->phi);
    float *num = (float *)(void *)(slab + s->num);
    void *half;
    int ret = features(j, &a->q, j->wq, head, tile, thread, slab, &half);

    if (ret >= 0)
        ret = lv_gemm_run(j->priv->apply[tile == s->tiles - 1], thread, half,
                          j->packed + (size_t)head * s->packed_head, NULL, num);
    for (int i = 0; i < tile_rows(j, tile); i++) {
        size_t row = (size_t)tile * TILE + (size_t)i;
        float den  = dsp->dot(phi + (size_t)i * s->f, j->z + (size_t)head * s->f,
                              (size_t)s->f) + a->eps;
        void *dst  = lv_at(&a->o, row, (size_t)s->c, (size_t)(head * s->d));
        float *o   = a->o.dtype == LV_F32 ? dst : num + (size_t)i * s->d;
        dsp->affine(o, den != 0 ? 1 / den : 0, num + (size_t)i * s->d, NULL,
                    (size_t)s->d);
        if (a->o.dtype == LV_BF16)
            dsp->to_bf16(dst, o, (size_t)s->d);
        if (lv_has(&a->den))
            ((float *)a->den.data)[(size_t)head * s->l + row] = den;
    }
    return ret;
}

static int maps_of_run(LinattnJob *j, char *scratch)
{
    MapsJob q = { j->cpu, &j->a->wq, j->a->q.dtype, NULL };
    MapsJob k = { j->cpu, &j->a->wk, j->a->q.dtype, NULL };
    int ret;

    j->wq = j->priv->wq;
    j->wk = j->priv->wk;
    if (j->wq)
        return 0;
    j->wq = scratch;
    j->wk = scratch + j->s.map;
    ret = pack_maps(j->cpu, scratch, &q);
    return ret < 0 ? ret : pack_maps(j->cpu, scratch + j->s.map, &k);
}

int lv_cpu_linattn(LvDevice *dev, const LvLinattnArgs *a, LvCall *call)
{
    LvCpu *cpu = lv_cpu(dev);
    LinattnJob j = { .cpu = cpu, .a = a, .priv = call->priv, .s = sizes_of(cpu, a) };
    char *scratch = call->scratch;
    int ret;

    j.packed  = scratch + j.s.packed_at;
    j.z       = (float *)(void *)(scratch + j.s.z_at);
    j.partial = (float *)(void *)(scratch + j.s.scratch - 4 * j.s.partials);
    if ((ret = maps_of_run(&j, scratch)) < 0 ||
        (ret = lv_cpu_jobs(cpu, state_job, &j, a->heads * j.s.chunks)) < 0 ||
        (ret = lv_cpu_jobs(cpu, reduce_job, &j, a->heads)) < 0)
        return ret;
    return lv_cpu_jobs(cpu, apply_job, &j, a->heads * j.s.tiles);
}
