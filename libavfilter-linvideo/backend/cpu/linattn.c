/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Linear attention in three passes, O(L) work and memory:
 *   state   a job for each head and chunk of tokens walks its tiles:
 *           y = K w_k (matmul), phi (ISA kernels), S += phi^T V (matmul), z += phi
 *   reduce  a job for each head adds the chunks in order, divides by L, packs S
 *           (LINATTN_RUN: after it has added its share to the state of what ran before)
 *   apply   a job for each head and tile of queries: y = Q w_q, phi, num = phi S
 *           (matmul), den = phi z (ISA kernel), o = num / (den + eps)
 */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/linattn.h"

enum { TILE = LV_LINATTN_TILE, MIN_CHUNK = 1024, MAX_CHUNKS = 16 };

/* Sizes and maps */

LvFeatures lv_features_plan(LvCpu *cpu, const LvTensor *q, const LvTensor *wq, int map,
                            int heads, int batch, size_t *at)
{
    LvFeatures f = { .cpu = cpu, .type = q->dtype, .map = map, .heads = heads,
                     .numbers = heads * batch, .l = q->dim[0] / batch, .c = q->dim[1],
                     .d = q->dim[1] / heads, .p = wq->dim[2],
                     .f = lv_map_features(map, wq->dim[2]) };
    size_t tile = TILE;

    f.tiles    = lv_cpu_split((size_t)f.l, TILE);
    f.chunk    = LV_MAX(MIN_CHUNK / TILE, lv_cpu_split((size_t)f.tiles, MAX_CHUNKS));
    f.chunks   = lv_cpu_split((size_t)f.tiles, (size_t)f.chunk);
    f.map_head = lv_pack_bytes(cpu->dnn, f.type, f.d, f.p);
    f.x        = lv_cpu_place(at, 4 * tile * f.d);
    f.y        = lv_cpu_place(at, 4 * tile * f.p);
    f.phi      = lv_cpu_place(at, 4 * tile * f.f);
    f.half     = lv_cpu_place(at, f.type == LV_BF16 ? 2 * tile * f.f : 0);
    return f;
}

int lv_features_build(LvFeatures *f)
{
    for (int last = 0; last < 2; last++) {
        LvGemmDesc map = { .m = lv_tile_rows(f, last ? f->tiles - 1 : 0), .n = f->p,
                           .k = f->d, .ldb = f->p, .type = f->type, .c_type = LV_F32 };
        if (!(f->gemm[last] = lv_gemm_get(f->cpu->dnn, &map)))
            return lv_dnn_error(f->cpu->dnn);
    }
    return 0;
}

int lv_tile_rows(const LvFeatures *f, int tile)
{
    return LV_MIN(f->l - tile * TILE, TILE);
}

size_t lv_tile_row(const LvFeatures *f, int number, int tile)
{
    return (size_t)(number / f->heads) * f->l + (size_t)tile * TILE;
}

int lv_head_column(const LvFeatures *f, int number)
{
    return number % f->heads * f->d;
}

void lv_pack_matrix(const LvCpu *cpu, int type, void *dst, const void *src, int k,
                    int n, int ld)
{
    for (int c = 0; c < n; c += 64)
        lv_pack_rows(cpu->dnn, type, dst,
                     (const char *)src + (size_t)c * lv_dtype_size((LvDtype)type), k, n,
                     ld, c);
}

/* Maps: [H,D,P], one packed matrix a head. */

typedef struct MapsJob {
    const LvFeatures *f;
    const LvTensor *w;
    int transposed;
    char *dst;
} MapsJob;

size_t lv_maps_slab(const LvFeatures *f)
{
    return 12 * (size_t)f->d * f->p;
}

size_t lv_transposed_head(const LvFeatures *f)
{
    return lv_pack_bytes(f->cpu->dnn, f->type, f->p, f->d);
}

static int maps_job(void *arg, int head, int thread)
{
    const MapsJob *j    = arg;
    const LvFeatures *f = j->f;
    size_t n   = (size_t)f->d * f->p, size = lv_dtype_size((LvDtype)f->type);
    char *rows = lv_cpu_slab(f->cpu, thread, 0);
    const void *src = lv_weight_rows(j->w, (size_t)head, 1, rows + 8 * n, NULL);

    if (!src)
        return LV_ERR_MODEL;
    lv_cpu_convert(f->cpu, rows, f->type, src, j->w->dtype, n,
                   (float *)(void *)(rows + 4 * n));
    if (!j->transposed)
        lv_pack_matrix(f->cpu, f->type, j->dst + (size_t)head * f->map_head, rows, f->d,
                       f->p, f->p);
    for (int c = 0; c < f->d && j->transposed; c += 64)
        lv_pack_cols(f->cpu->dnn, f->type, j->dst + (size_t)head * lv_transposed_head(f),
                     rows + (size_t)c * f->p * size, f->p, f->d, f->p, c);
    return 0;
}

static int pack_maps(LvCpu *cpu, void *dst, void *arg)
{
    MapsJob *j = arg;

    j->dst = dst;
    return lv_cpu_pack_jobs(cpu, j->w, maps_job, j, j->f->heads);
}

const void *lv_maps_pack(const LvFeatures *f, const LvTensor *w, int transposed, void *dst)
{
    MapsJob j    = { .f = f, .w = w, .transposed = transposed };
    size_t bytes = (size_t)f->heads * (transposed ? lv_transposed_head(f) : f->map_head);

    if (dst) {
        f->cpu->pack_error = pack_maps(f->cpu, dst, &j);
        return f->cpu->pack_error < 0 ? NULL : dst;
    }
    return lv_cpu_packed(f->cpu, w, transposed ? LV_PACK_HEADS_TRANSPOSED : LV_PACK_HEADS,
                         f->type, bytes, pack_maps, &j);
}

/* Feature maps of one row, y[p] to phi[f]. */

static void map_hedgehog(const LvDsp *dsp, const float *y, float *phi, int p)
{
    dsp->hedgehog(phi, y, (size_t)p);
}

static void map_relu(const LvDsp *dsp, const float *y, float *phi, int p)
{
    dsp->act[LV_ACT_RELU](phi, y, (size_t)p);
}

static void map_taylor(const LvDsp *dsp, const float *y, float *phi, int p)
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

static void (*const maps[LV_MAP_NB])(const LvDsp *, const float *, float *, int) = {
    [LV_MAP_HEDGEHOG] = map_hedgehog,
    [LV_MAP_RELU]     = map_relu,
    [LV_MAP_TAYLOR]   = map_taylor,
};

int lv_features(const LvFeatures *f, const LvTensor *x, const char *w, int number,
                int tile, int thread, char *slab, void **out)
{
    const LvDsp *dsp = f->cpu->dsp;
    float *y = (float *)(void *)(slab + f->y), *phi = (float *)(void *)(slab + f->phi);
    int rows = lv_tile_rows(f, tile), ret;

    lv_cpu_gather(x, lv_tile_row(f, number, tile), rows,
                  (size_t)lv_head_column(f, number), f->d, slab + f->x);
    ret = lv_gemm_run(f->gemm[tile == f->tiles - 1], thread, slab + f->x,
                      w + (size_t)(number % f->heads) * f->map_head, NULL, y);
    for (int i = 0; i < rows; i++)
        maps[f->map](dsp, y + (size_t)i * f->p, phi + (size_t)i * f->f, f->p);
    *out = phi;
    if (f->type == LV_BF16)
        dsp->to_operand(*out = slab + f->half, phi, (size_t)rows * (size_t)f->f);
    return ret;
}

/* The op */

typedef struct LinattnPriv {
    LvFeatures f;
    const void *wq, *wk;    /* packed maps of all heads; NULL: at every run */
    const LvGemm *state[2]; /* [last tile]: S += phi^T V */
    const LvGemm *apply[2]; /* num = phi S */
} LinattnPriv;

typedef struct Sizes {
    size_t partial;             /* floats of S and z of a chunk */
    size_t packed_head;         /* bytes of packed S */
    size_t wq, wk, packed, z, partials, scratch; /* bytes in the op's scratch */
    size_t v, num, slab;        /* bytes in the slab */
} Sizes;

typedef struct LinattnJob {
    LvCpu *cpu;
    const LvLinattnArgs *a;
    const LinattnPriv *priv;
    const LvFeatures *f;
    const float *past, *share; /* of LINATTN_RUN; NULL */
    Sizes s;
    const char *wq, *wk;
    float *partial;
    char *packed;
    float *z;
} LinattnJob;

static LvFeatures features_of(LvCpu *cpu, const LvLinattnArgs *a, size_t *at)
{
    return lv_features_plan(cpu, &a->q, &a->wq, a->map, a->heads, a->batch, at);
}

static Sizes sizes_of(LvCpu *cpu, const LvLinattnArgs *a)
{
    Sizes s       = { 0 };
    LvFeatures f  = features_of(cpu, a, &s.slab);
    size_t all    = (size_t)f.numbers, maps = (size_t)f.heads * f.map_head;

    s.partial     = LV_ROUND_UP((size_t)f.f * (f.d + 1), 16);
    s.packed_head = lv_pack_bytes(cpu->dnn, f.type, f.f, f.d);
    s.wq          = lv_cpu_place(&s.scratch, lv_is_fixed(&a->wq) ? 0 : maps);
    s.wk          = lv_cpu_place(&s.scratch, lv_is_fixed(&a->wk) ? 0 : maps);
    s.packed      = lv_cpu_place(&s.scratch, all * s.packed_head);
    s.z           = lv_cpu_place(&s.scratch, 4 * all * (size_t)f.f);
    s.partials    = lv_cpu_place(&s.scratch, 4 * all * (size_t)f.chunks * s.partial);
    s.v           = lv_cpu_place(&s.slab, lv_pack_bytes(cpu->dnn, f.type, TILE, f.d));
    s.num         = lv_cpu_place(&s.slab, 4 * (size_t)TILE * f.d);
    s.slab        = LV_MAX(s.slab, LV_MAX(lv_maps_slab(&f), 4 * s.partial));
    return s;
}

int lv_cpu_plan_linattn(LvDevice *dev, const LvLinattnArgs *a, LvCall *call)
{
    size_t at    = 0;
    LvFeatures f = features_of(lv_cpu(dev), a, &at);
    Sizes s      = sizes_of(lv_cpu(dev), a);

    call->scratch_bytes = s.scratch;
    call->thread_bytes  = s.slab;
    call->weight_bytes  = (size_t)f.heads * f.map_head *
                          (size_t)(lv_is_fixed(&a->wq) + lv_is_fixed(&a->wk));
    return lv_cpu_has_type(lv_cpu(dev), f.type);
}

static int build_products(LvCpu *cpu, LinattnPriv *p)
{
    LvFeatures *f = &p->f;
    int ret       = lv_features_build(f);

    for (int last = 0; last < 2 && ret >= 0; last++) {
        int rows = lv_tile_rows(f, last ? f->tiles - 1 : 0);
        LvGemmDesc state = { .m = f->f, .n = f->d, .k = rows, .ldb = f->d,
                             .type = f->type, .c_type = LV_F32, .transposed = 1,
                             .sum = 1 };
        LvGemmDesc apply = { .m = rows, .n = f->d, .k = f->f, .ldb = f->d,
                             .type = f->type, .c_type = LV_F32 };
        if (!(p->state[last] = lv_gemm_get(cpu->dnn, &state)) ||
            !(p->apply[last] = lv_gemm_get(cpu->dnn, &apply)))
            ret = lv_dnn_error(cpu->dnn);
    }
    return ret;
}

int lv_cpu_build_linattn(LvDevice *dev, const LvLinattnArgs *a, LvCall *call)
{
    LvCpu *cpu = lv_cpu(dev);
    LinattnPriv *p = call->priv = calloc(1, sizeof(*p));
    size_t at  = 0;
    int ret;

    if (!p)
        return lv_fail(dev->msg, LV_ERR(ENOMEM), "cpu: out of memory");
    p->f = features_of(cpu, a, &at);
    if ((ret = build_products(cpu, p)) < 0)
        return ret;
    if (lv_is_fixed(&a->wq) && !(p->wq = lv_maps_pack(&p->f, &a->wq, 0, NULL)))
        return cpu->pack_error;
    if (lv_is_fixed(&a->wk) && !(p->wk = lv_maps_pack(&p->f, &a->wk, 0, NULL)))
        return cpu->pack_error;
    return 0;
}

static int state_job(void *arg, int job, int thread)
{
    const LinattnJob *j = arg;
    const LvFeatures *f = j->f;
    const LvDsp *dsp = j->cpu->dsp;
    int number = job / f->chunks, chunk = job % f->chunks, ret = 0;
    int to = LV_MIN((chunk + 1) * f->chunk, f->tiles);
    float *state = j->partial + (size_t)job * j->s.partial;
    float *z     = state + (size_t)f->f * f->d;
    char *slab   = lv_cpu_slab(j->cpu, thread, 0);
    void *phi;

    memset(state, 0, j->s.partial * sizeof(*state));
    for (int t = chunk * f->chunk; t < to && ret >= 0; t++) {
        int rows = lv_tile_rows(f, t);
        ret = lv_features(f, &j->a->k, j->wk, number, t, thread, slab, &phi);
        for (int i = 0; i < rows; i++)
            dsp->madd(z, z, NULL, (float *)(void *)(slab + f->phi) + (size_t)i * f->f,
                      (size_t)f->f);
        lv_pack_matrix(j->cpu, f->type, slab + j->s.v,
                       lv_at(&j->a->v, lv_tile_row(f, number, t), (size_t)f->c,
                             (size_t)lv_head_column(f, number)), rows, f->d, f->c);
        if (ret >= 0)
            ret = lv_gemm_run(j->priv->state[t == f->tiles - 1], thread, phi,
                              slab + j->s.v, NULL, state);
    }
    return ret;
}

static void store_state(const LinattnJob *j, int number, const float *state,
                        const float *z)
{
    size_t d = (size_t)j->f->d, row = d + 1;
    float *out = (float *)j->a->state.data + (size_t)number * j->f->f * row;

    for (int i = 0; i < j->f->f; i++) {
        memcpy(out + (size_t)i * row, state + (size_t)i * d, d * sizeof(*out));
        out[(size_t)i * row + d] = z[i];
    }
}

/* S = share S + (1 - share) past, with z behind S. */
static void add_past(const LinattnJob *j, int number, float *state)
{
    size_t d = (size_t)j->f->d, rows = (size_t)j->f->f;
    const float *past = j->past + (size_t)number * rows * (d + 1);
    float *z = state + rows * d, share = *j->share;

    for (size_t i = 0; i < rows; i++, past += d + 1) {
        for (size_t e = 0; e < d; e++)
            state[i * d + e] = share * state[i * d + e] + (1 - share) * past[e];
        z[i] = share * z[i] + (1 - share) * past[d];
    }
}

static int reduce_job(void *arg, int number, int thread)
{
    const LinattnJob *j = arg;
    const LvFeatures *f = j->f;
    const LvDsp *dsp = j->cpu->dsp;
    float *state = j->partial + (size_t)number * f->chunks * j->s.partial;
    float *z = j->z + (size_t)number * f->f;
    size_t n = (size_t)f->f * f->d;
    void *src = state;

    for (int i = 1; i < f->chunks; i++)
        dsp->madd(state, state, NULL, state + (size_t)i * j->s.partial, j->s.partial);
    dsp->affine(state, 1 / (float)f->l, state, NULL, j->s.partial);
    if (j->past)
        add_past(j, number, state);
    memcpy(z, state + n, (size_t)f->f * sizeof(*z));
    if (lv_has(&j->a->state))
        store_state(j, number, state, z);
    if (f->type == LV_BF16)
        dsp->to_operand(src = lv_cpu_slab(j->cpu, thread, 0), state, n);
    lv_pack_matrix(j->cpu, f->type, j->packed + (size_t)number * j->s.packed_head, src,
                   f->f, f->d, f->d);
    return 0;
}

static int apply_job(void *arg, int job, int thread)
{
    const LinattnJob *j = arg;
    const LvLinattnArgs *a = j->a;
    const LvFeatures *f = j->f;
    const LvDsp *dsp = j->cpu->dsp;
    int number = job / f->tiles, tile = job % f->tiles;
    char *slab = lv_cpu_slab(j->cpu, thread, 0);
    float *phi = (float *)(void *)(slab + f->phi);
    float *num = (float *)(void *)(slab + j->s.num);
    void *half;
    int ret = lv_features(f, &a->q, j->wq, number, tile, thread, slab, &half);

    if (ret >= 0)
        ret = lv_gemm_run(j->priv->apply[tile == f->tiles - 1], thread, half,
                          j->packed + (size_t)number * j->s.packed_head, NULL, num);
    for (int i = 0; i < lv_tile_rows(f, tile); i++, phi += f->f, num += f->d) {
        float den = dsp->dot(phi, j->z + (size_t)number * f->f, (size_t)f->f) + a->eps;
        void *dst = lv_at(&a->o, lv_tile_row(f, number, tile) + (size_t)i, (size_t)f->c,
                          (size_t)lv_head_column(f, number));
        float *o  = a->o.dtype == LV_F32 ? dst : num;
        dsp->affine(o, den != 0 ? 1 / den : 0, num, NULL, (size_t)f->d);
        if (a->o.dtype == LV_BF16)
            dsp->to_bf16(dst, o, (size_t)f->d);
        if (lv_has(&a->den))
            ((float *)a->den.data)[(size_t)number * f->l + (size_t)tile * TILE +
                                   (size_t)i] = den;
    }
    return ret;
}

static int run(LvDevice *dev, const LvLinattnArgs *a, const float *past, const float *share,
               LvCall *call)
{
    LvCpu *cpu = lv_cpu(dev);
    LinattnJob j = { .cpu = cpu, .a = a, .priv = call->priv, .past = past, .share = share,
                     .s = sizes_of(cpu, a) };
    char *scratch = call->scratch;
    int ret;

    j.f       = &j.priv->f;
    j.packed  = scratch + j.s.packed;
    j.z       = (float *)(void *)(scratch + j.s.z);
    j.partial = (float *)(void *)(scratch + j.s.partials);
    j.wq = j.priv->wq ? j.priv->wq : lv_maps_pack(j.f, &a->wq, 0, scratch + j.s.wq);
    j.wk = j.priv->wk ? j.priv->wk : lv_maps_pack(j.f, &a->wk, 0, scratch + j.s.wk);
    if (!j.wq || !j.wk)
        return cpu->pack_error;
    if ((ret = lv_cpu_jobs(cpu, state_job, &j, j.f->numbers * j.f->chunks)) < 0 ||
        (ret = lv_cpu_jobs(cpu, reduce_job, &j, j.f->numbers)) < 0)
        return ret;
    return lv_cpu_jobs(cpu, apply_job, &j, j.f->numbers * j.f->tiles);
}

int lv_cpu_linattn(LvDevice *dev, const LvLinattnArgs *a, LvCall *call)
{
    return run(dev, a, NULL, NULL, call);
}

/* Of a block and what ran before */

int lv_cpu_plan_linattn_run(LvDevice *dev, const LvLinattnRunArgs *a, LvCall *call)
{
    const LvLinattnArgs part = lv_linattn_part(a);

    return lv_cpu_plan_linattn(dev, &part, call);
}

int lv_cpu_build_linattn_run(LvDevice *dev, const LvLinattnRunArgs *a, LvCall *call)
{
    const LvLinattnArgs part = lv_linattn_part(a);

    return lv_cpu_build_linattn(dev, &part, call);
}

int lv_cpu_linattn_run(LvDevice *dev, const LvLinattnRunArgs *a, LvCall *call)
{
    const LvLinattnArgs part = lv_linattn_part(a);

    return run(dev, &part, a->past.data, a->share.data, call);
}
