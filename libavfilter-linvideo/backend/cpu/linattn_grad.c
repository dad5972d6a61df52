/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Gradient of linear attention, O(L) work and memory: features are made once more.
 *   prepare  a job for each head packs S^T
 *   queries  a job for each head and chunk of tokens walks its tiles: phi_q,
 *            G = [g, c], dS += phi_q^T G; dphi_q = G S^T, through the map: dq, dwq
 *   reduce   a job for each head adds the chunks of dS in order, divides by L, packs
 *   keys     as queries: phi_k, dv = phi_k dS, dphi_k = V+ dS^T, dk, dwk
 *   maps     a job for each head adds dwq and dwk of samples and chunks in order
 */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/linattn.h"

enum { TILE = LV_LINATTN_TILE };

/* Queries and keys, which are treated alike. */
enum { Q, K, SIDES };

typedef struct GradPriv {
    LvFeatures f;
    const void *map[SIDES], *transposed[SIDES]; /* packed maps; NULL: at every run */
    const LvGemm *dphi[2];  /* [last tile]: g S^T or v dS^T */
    const LvGemm *state[2]; /* dS += phi^T g */
    const LvGemm *dv[2];    /* phi dS */
    const LvGemm *dx[2];    /* dy w^T */
    const LvGemm *dw[2];    /* dw += x^T dy */
} GradPriv;

typedef struct Sizes {
    size_t state, map;   /* floats of a chunk's [dS, dz], of a chunk's dw */
    size_t transposed_state, packed_state; /* bytes of packed [D,F'] and [F',D] */
    size_t maps[SIDES], transposed[SIDES], dw[SIDES]; /* bytes in the op's scratch */
    size_t s_t, z, ds_t, ds, dz, parts, scratch;
    size_t g, half, g_rows, c, dphi, dy, dy_rows, out, slab; /* bytes in the slab */
} Sizes;

/* One side of the op. */
typedef struct Side {
    const LvTensor *x, *w, *dx, *dw;
    const char *map, *transposed;
    float *parts; /* of dw: [numbers][chunks][D,P] */
    int add_x, add_w;
} Side;

typedef struct GradJob {
    LvCpu *cpu;
    const LvLinattnDxArgs *a;
    const GradPriv *priv;
    const LvFeatures *f;
    Sizes s;
    Side side[SIDES];
    char *scratch;
} GradJob;

/* What a step of a job works on. */
typedef struct Step {
    int number, chunk, tile, thread, rows, last;
    char *slab;
    float *phi;
    void *operand; /* phi as matmuls read it */
} Step;

static LvFeatures features_of(LvCpu *cpu, const LvLinattnDxArgs *a, size_t *at)
{
    return lv_features_plan(cpu, &a->q, &a->wq, a->map, a->heads, a->batch, at);
}

static void lay_out_slab(const LvCpu *cpu, const LvFeatures *f, Sizes *s)
{
    size_t row = 4 * (size_t)TILE, *at = &s->slab;

    s->g       = lv_cpu_place(at, row * (size_t)f->d);
    s->half    = lv_cpu_place(at, row / 2 * (size_t)LV_MAX(f->d, f->p));
    s->g_rows  = lv_cpu_place(at, lv_pack_bytes(cpu->dnn, f->type, TILE, f->d));
    s->c       = lv_cpu_place(at, row);
    s->dphi    = lv_cpu_place(at, row * (size_t)f->f);
    s->dy      = lv_cpu_place(at, row * (size_t)f->p);
    s->dy_rows = lv_cpu_place(at, lv_pack_bytes(cpu->dnn, f->type, TILE, f->p));
    s->out     = lv_cpu_place(at, row * (size_t)f->d);
    s->slab    = LV_MAX(s->slab, LV_MAX(lv_maps_slab(f), 4 * s->state));
}

static Sizes sizes_of(LvCpu *cpu, const LvLinattnDxArgs *a)
{
    Sizes s        = { 0 };
    LvFeatures f   = features_of(cpu, a, &s.slab);
    const LvTensor *w[SIDES] = { &a->wq, &a->wk };
    size_t all     = (size_t)f.numbers, chunks = all * (size_t)f.chunks;
    size_t heads   = (size_t)f.heads, *at = &s.scratch;

    s.state        = LV_ROUND_UP((size_t)f.f * (f.d + 1), 16);
    s.map          = (size_t)f.d * f.p;
    s.transposed_state = lv_pack_bytes(cpu->dnn, f.type, f.d, f.f);
    s.packed_state = lv_pack_bytes(cpu->dnn, f.type, f.f, f.d);
    for (int i = 0; i < SIDES; i++) {
        s.maps[i]   = lv_cpu_place(at, lv_is_fixed(w[i]) ? 0 : heads * f.map_head);
        s.transposed[i] = lv_cpu_place(at, lv_is_fixed(w[i]) ? 0 : heads * lv_transposed_head(&f));
        s.dw[i]     = lv_cpu_place(at, 4 * chunks * s.map);
    }
    s.s_t          = lv_cpu_place(at, all * s.transposed_state);
    s.z            = lv_cpu_place(at, 4 * all * (size_t)f.f);
    s.ds_t         = lv_cpu_place(at, all * s.transposed_state);
    s.ds           = lv_cpu_place(at, all * s.packed_state);
    s.dz           = lv_cpu_place(at, 4 * all * (size_t)f.f);
    s.parts        = lv_cpu_place(at, 4 * chunks * s.state);
    lay_out_slab(cpu, &f, &s);
    return s;
}

int lv_cpu_plan_linattn_dx(LvDevice *dev, const LvLinattnDxArgs *a, LvCall *call)
{
    size_t at    = 0;
    LvFeatures f = features_of(lv_cpu(dev), a, &at);
    Sizes s      = sizes_of(lv_cpu(dev), a);

    call->scratch_bytes = s.scratch;
    call->thread_bytes  = s.slab;
    call->weight_bytes  = (size_t)f.heads * (f.map_head + lv_transposed_head(&f)) *
                          (size_t)(lv_is_fixed(&a->wq) + lv_is_fixed(&a->wk));
    return lv_cpu_has_type(lv_cpu(dev), f.type);
}

static int build_products(LvCpu *cpu, GradPriv *p)
{
    LvFeatures *f = &p->f;
    int ret       = lv_features_build(f);

    for (int last = 0; last < 2 && ret >= 0; last++) {
        int rows = lv_tile_rows(f, last ? f->tiles - 1 : 0);
        const struct {
            const LvGemm **gemm;
            int m, n, k, transposed;
        } matmuls[] = {
            { p->dphi,  rows, f->f, f->d, 0 }, { p->state, f->f, f->d, rows, 1 },
            { p->dv,    rows, f->d, f->f, 0 }, { p->dx,    rows, f->d, f->p, 0 },
            { p->dw,    f->d, f->p, rows, 1 },
        };
        for (int i = 0; i < LV_COUNT(matmuls) && ret >= 0; i++) {
            LvGemmDesc d = {
                .m = matmuls[i].m, .n = matmuls[i].n, .k = matmuls[i].k,
                .ldb = matmuls[i].n, .type = f->type, .c_type = LV_F32,
                .transposed = matmuls[i].transposed, .sum = matmuls[i].transposed,
            };
            if (!(matmuls[i].gemm[last] = lv_gemm_get(cpu->dnn, &d)))
                ret = lv_dnn_error(cpu->dnn);
        }
    }
    return ret;
}

int lv_cpu_build_linattn_dx(LvDevice *dev, const LvLinattnDxArgs *a, LvCall *call)
{
    LvCpu *cpu  = lv_cpu(dev);
    GradPriv *p = call->priv = calloc(1, sizeof(*p));
    const LvTensor *w[SIDES] = { &a->wq, &a->wk };
    size_t at   = 0;
    int ret;

    if (!p)
        return lv_fail(dev->msg, LV_ERR(ENOMEM), "cpu: out of memory");
    p->f = features_of(cpu, a, &at);
    if ((ret = build_products(cpu, p)) < 0)
        return ret;
    for (int i = 0; i < SIDES; i++)
        if (lv_is_fixed(w[i]) && (!(p->map[i] = lv_maps_pack(&p->f, w[i], 0, NULL)) ||
                            !(p->transposed[i] = lv_maps_pack(&p->f, w[i], 1, NULL))))
            return cpu->pack_error;
    return 0;
}

/* Gradients of feature maps: of one row, y[p] to phi[f]. */

static void map_dx_hedgehog(const LvDsp *dsp, const float *y, const float *phi,
                            const float *dphi, float *dy, int p)
{
    (void)y;
    dsp->hedgehog_dx(dy, phi, dphi, (size_t)p);
}

static void map_dx_relu(const LvDsp *dsp, const float *y, const float *phi,
                        const float *dphi, float *dy, int p)
{
    (void)y;
    dsp->act_dx[LV_ACT_RELU](dy, phi, dphi, (size_t)p);
}

static void map_dx_taylor(const LvDsp *dsp, const float *y, const float *phi,
                          const float *dphi, float *dy, int p)
{
    float root = sqrtf((float)p);

    (void)phi;
    dsp->affine(dy, 1 / sqrtf(root), ++dphi, NULL, (size_t)p);
    dphi += p;
    for (int i = 0; i < p; i++) {
        size_t n = (size_t)(p - i - 1);
        float *rest = dy + i + 1;
        dy[i] += dsp->dot(dphi, y + i + 1, n) / root;
        dsp->axpby(rest, y[i] / root, dphi, 1, rest, n);
        dphi += n;
    }
    for (int i = 0; i < p; i++)
        dy[i] += y[i] * dphi[i] * 1.41421356f / root;
}

static void (*const maps_dx[LV_MAP_NB])(const LvDsp *, const float *, const float *,
                                        const float *, float *, int) = {
    [LV_MAP_HEDGEHOG] = map_dx_hedgehog,
    [LV_MAP_RELU]     = map_dx_relu,
    [LV_MAP_TAYLOR]   = map_dx_taylor,
};

/* S and dS */

/* A numbered head's part of an area of the scratch. */
static float *floats_at(const GradJob *j, size_t area, int number, size_t n)
{
    return (float *)(void *)(j->scratch + area) + (size_t)number * n;
}

/* Pack the transpose of [F',D], of the type of matmuls. */
static void pack_transposed_state(const GradJob *j, size_t area, int number,
                              const void *src)
{
    const LvFeatures *f = j->f;
    size_t row = (size_t)f->d * lv_dtype_size((LvDtype)f->type);

    for (int n = 0; n < f->f; n += 64)
        lv_pack_cols(j->cpu->dnn, f->type,
                     j->scratch + area + (size_t)number * j->s.transposed_state,
                     (const char *)src + (size_t)n * row, f->d, f->f, f->d, n);
}

static int prepare_job(void *arg, int number, int thread)
{
    const GradJob *j = arg;
    const LvFeatures *f = j->f;
    size_t d = (size_t)f->d, size = lv_dtype_size((LvDtype)f->type);
    const float *state = (const float *)j->a->state.data +
                         (size_t)number * f->f * (d + 1);
    char *dense = lv_cpu_slab(j->cpu, thread, 0);
    float *z    = floats_at(j, j->s.z, number, (size_t)f->f);

    for (int i = 0; i < f->f; i++, state += d + 1) {
        lv_cpu_convert(j->cpu, dense + (size_t)i * d * size, f->type, state, LV_F32, d,
                       NULL);
        z[i] = state[d];
    }
    pack_transposed_state(j, j->s.s_t, number, dense);
    return 0;
}

static int reduce_job(void *arg, int number, int thread)
{
    const GradJob *j = arg;
    const LvFeatures *f = j->f;
    const LvDsp *dsp = j->cpu->dsp;
    float *sum = floats_at(j, j->s.parts, number * f->chunks, j->s.state);
    size_t n   = (size_t)f->f * (size_t)f->d;
    void *src  = sum;

    for (int i = 1; i < f->chunks; i++)
        dsp->madd(sum, sum, NULL, sum + (size_t)i * j->s.state, j->s.state);
    dsp->affine(sum, 1 / (float)f->l, sum, NULL, j->s.state);
    memcpy(floats_at(j, j->s.dz, number, (size_t)f->f), sum + n,
           (size_t)f->f * sizeof(*sum));
    if (f->type == LV_BF16)
        dsp->to_operand(src = lv_cpu_slab(j->cpu, thread, 0), sum, n);
    pack_transposed_state(j, j->s.ds_t, number, src);
    lv_pack_matrix(j->cpu, f->type, j->scratch + j->s.ds +
                   (size_t)number * j->s.packed_state, src, f->f, f->d, f->d);
    return 0;
}

/* Steps */

/* Head's part of row i of the step's tile, as f32. */
static const float *head_row(const GradJob *j, const Step *t, const LvTensor *x, int i,
                             float *tmp)
{
    const void *p = lv_at(x, lv_tile_row(j->f, t->number, t->tile) + (size_t)i,
                          (size_t)j->f->c, (size_t)lv_head_column(j->f, t->number));

    if (x->dtype == LV_F32)
        return p;
    j->cpu->dsp->from_bf16(tmp, p, (size_t)j->f->d);
    return tmp;
}

static void store_rows(const GradJob *j, const Step *t, const LvTensor *dst, int add)
{
    const LvFeatures *f = j->f;
    float *row = (float *)(void *)(t->slab + j->s.out);

    for (int i = 0; i < t->rows; i++, row += f->d)
        lv_cpu_store(j->cpu, dst->dtype,
                     lv_at(dst, lv_tile_row(f, t->number, t->tile) + (size_t)i,
                           (size_t)f->c, (size_t)lv_head_column(f, t->number)),
                     row, (size_t)f->d, add);
}

/* n floats in the slab as matmuls read them: g, and when that is used up, dy. */
static void *as_operand(const GradJob *j, const Step *t, size_t from, size_t n)
{
    if (j->f->type == LV_F32)
        return t->slab + from;
    j->cpu->dsp->to_operand((uint16_t *)(void *)(t->slab + j->s.half),
                            (float *)(void *)(t->slab + from), n);
    return t->slab + j->s.half;
}

/* g and c of the tile; g as matmuls read it. c is made of that g, rounded or not: what
 * g S^T and c z have in common then cancels. */
static void *make_g(const GradJob *j, const Step *t)
{
    const LvFeatures *f = j->f;
    const LvDsp *dsp = j->cpu->dsp;
    const float *den = (const float *)j->a->den.data + (size_t)t->number * f->l +
                       (size_t)t->tile * TILE;
    float *g   = (float *)(void *)(t->slab + j->s.g);
    float *c   = (float *)(void *)(t->slab + j->s.c);
    float *tmp = (float *)(void *)(t->slab + j->s.out);
    size_t d   = (size_t)f->d, n = (size_t)t->rows * d;
    void *operand;

    for (int i = 0; i < t->rows; i++)
        dsp->affine(g + (size_t)i * d, den[i] != 0 ? 1 / den[i] : 0,
                    head_row(j, t, &j->a->dy, i, tmp), NULL, d);
    operand = as_operand(j, t, j->s.g, n);
    if (f->type == LV_BF16)
        dsp->from_bf16(g, operand, n);
    for (int i = 0; i < t->rows; i++)
        c[i] = -dsp->dot(g + (size_t)i * d, head_row(j, t, &j->a->o, i, tmp), d);
    return operand;
}

/* dS += phi^T g, dz += phi^T c */
static int add_state(const GradJob *j, const Step *t, const void *g)
{
    const LvFeatures *f = j->f;
    const float *c = (const float *)(const void *)(t->slab + j->s.c);
    float *sum = floats_at(j, j->s.parts, t->number * f->chunks + t->chunk, j->s.state);
    float *dz  = sum + (size_t)f->f * f->d;

    for (int i = 0; i < t->rows; i++)
        j->cpu->dsp->axpby(dz, c[i], t->phi + (size_t)i * f->f, 1, dz, (size_t)f->f);
    lv_pack_matrix(j->cpu, f->type, t->slab + j->s.g_rows, g, t->rows, f->d, f->d);
    return lv_gemm_run(j->priv->state[t->last], t->thread, t->operand,
                       t->slab + j->s.g_rows, NULL, sum);
}

/* dphi = x B + c_i row, B being S^T or dS^T; without c: + row */
static int make_dphi(const GradJob *j, const Step *t, const void *x, size_t packed,
                     size_t row, const float *c)
{
    const LvFeatures *f = j->f;
    const float *add = floats_at(j, row, t->number, (size_t)f->f);
    float *dphi = (float *)(void *)(t->slab + j->s.dphi);
    int ret = lv_gemm_run(j->priv->dphi[t->last], t->thread, x, j->scratch + packed +
                          (size_t)t->number * j->s.transposed_state, NULL, dphi);

    for (int i = 0; i < t->rows; i++, dphi += f->f)
        j->cpu->dsp->axpby(dphi, c ? c[i] : 1, add, 1, dphi, (size_t)f->f);
    return ret;
}

/* From dphi through the map of a side to dx and dw. */
static int through_map(const GradJob *j, const Step *t, const Side *side)
{
    const LvFeatures *f = j->f;
    const float *dphi = (const float *)(const void *)(t->slab + j->s.dphi);
    const float *y    = (const float *)(const void *)(t->slab + f->y);
    float *dy = (float *)(void *)(t->slab + j->s.dy);
    size_t p  = (size_t)f->p;
    void *operand;
    int ret   = 0;

    for (size_t i = 0; i < (size_t)t->rows; i++)
        maps_dx[f->map](j->cpu->dsp, y + i * p, t->phi + i * (size_t)f->f,
                        dphi + i * (size_t)f->f, dy + i * p, f->p);
    operand = as_operand(j, t, j->s.dy, (size_t)t->rows * p);
    if (lv_has(side->dx)) {
        ret = lv_gemm_run(j->priv->dx[t->last], t->thread, operand, side->transposed +
                          (size_t)(t->number % f->heads) * lv_transposed_head(f), NULL,
                          t->slab + j->s.out);
        store_rows(j, t, side->dx, side->add_x);
    }
    if (ret < 0 || !lv_has(side->dw))
        return ret;
    lv_pack_matrix(j->cpu, f->type, t->slab + j->s.dy_rows, operand, t->rows, f->p,
                   f->p);
    return lv_gemm_run(j->priv->dw[t->last], t->thread, t->slab + f->x,
                       t->slab + j->s.dy_rows, NULL, side->parts +
                       ((size_t)t->number * f->chunks + t->chunk) * j->s.map);
}

static int wants_side(const Side *side)
{
    return lv_has(side->dx) || lv_has(side->dw);
}

static int wants_state(const GradJob *j)
{
    return lv_has(&j->a->dv) || wants_side(&j->side[K]);
}

static int query_step(const GradJob *j, const Step *t)
{
    const Side *side = &j->side[Q];
    void *g = make_g(j, t);
    int ret = wants_state(j) ? add_state(j, t, g) : 0;

    if (ret < 0 || !wants_side(side))
        return ret;
    ret = make_dphi(j, t, g, j->s.s_t, j->s.z,
                    (const float *)(const void *)(t->slab + j->s.c));
    return ret < 0 ? ret : through_map(j, t, side);
}

static int key_step(const GradJob *j, const Step *t)
{
    const LvFeatures *f = j->f;
    const Side *side = &j->side[K];
    int ret = 0;

    if (lv_has(&j->a->dv)) {
        ret = lv_gemm_run(j->priv->dv[t->last], t->thread, t->operand, j->scratch +
                          j->s.ds + (size_t)t->number * j->s.packed_state, NULL,
                          t->slab + j->s.out);
        store_rows(j, t, &j->a->dv, j->a->add & 4);
    }
    if (ret < 0 || !wants_side(side))
        return ret;
    lv_cpu_gather(&j->a->v, lv_tile_row(f, t->number, t->tile), t->rows,
                  (size_t)lv_head_column(f, t->number), f->d, t->slab + j->s.g);
    ret = make_dphi(j, t, t->slab + j->s.g, j->s.ds_t, j->s.dz, NULL);
    return ret < 0 ? ret : through_map(j, t, side);
}

/* Walk the tiles of a chunk. */
static int walk(const GradJob *j, int which, int job, int thread,
                int (*step)(const GradJob *, const Step *))
{
    const LvFeatures *f = j->f;
    const Side *side = &j->side[which];
    Step t  = { .number = job / f->chunks, .chunk = job % f->chunks, .thread = thread,
                .slab = lv_cpu_slab(j->cpu, thread, 0) };
    int end = LV_MIN((t.chunk + 1) * f->chunk, f->tiles), ret = 0;

    memset(side->parts + (size_t)job * j->s.map, 0, j->s.map * sizeof(float));
    t.phi = (float *)(void *)(t.slab + f->phi);
    for (t.tile = t.chunk * f->chunk; t.tile < end && ret >= 0; t.tile++) {
        t.rows = lv_tile_rows(f, t.tile);
        t.last = t.tile == f->tiles - 1;
        ret    = lv_features(f, side->x, side->map, t.number, t.tile, thread, t.slab,
                             &t.operand);
        if (ret >= 0)
            ret = step(j, &t);
    }
    return ret;
}

static int query_job(void *arg, int job, int thread)
{
    const GradJob *j = arg;

    memset(floats_at(j, j->s.parts, job, j->s.state), 0, j->s.state * sizeof(float));
    return walk(j, Q, job, thread, query_step);
}

static int key_job(void *arg, int job, int thread)
{
    return walk(arg, K, job, thread, key_step);
}

static int maps_job(void *arg, int head, int thread)
{
    const GradJob *j = arg;
    const LvFeatures *f = j->f;
    size_t n = j->s.map;

    (void)thread;
    for (const Side *side = j->side; side < j->side + SIDES; side++) {
        float *sum = side->parts + (size_t)head * f->chunks * n;
        if (!lv_has(side->dw))
            continue;
        for (int b = 0; b < f->numbers; b += f->heads)
            for (int i = b ? 0 : 1; i < f->chunks; i++)
                j->cpu->dsp->madd(sum, sum, NULL, side->parts +
                                  ((size_t)(b + head) * f->chunks + i) * n, n);
        lv_cpu_store(j->cpu, LV_F32, (float *)side->dw->data + (size_t)head * n, sum, n,
                     side->add_w);
    }
    return 0;
}

/* Packed maps of a side: kept ones, or made now. */
static int find_maps(const GradJob *j, int i, Side *side)
{
    const GradPriv *p = j->priv;

    side->map    = p->map[i] ? p->map[i]
                 : lv_maps_pack(j->f, side->w, 0, j->scratch + j->s.maps[i]);
    side->transposed = p->transposed[i] ? p->transposed[i]
                 : lv_maps_pack(j->f, side->w, 1, j->scratch + j->s.transposed[i]);
    side->parts  = (float *)(void *)(j->scratch + j->s.dw[i]);
    return side->map && side->transposed ? 0 : j->f->cpu->pack_error;
}

int lv_cpu_linattn_dx(LvDevice *dev, const LvLinattnDxArgs *a, LvCall *call)
{
    LvCpu *cpu = lv_cpu(dev);
    GradJob j  = {
        .cpu = cpu, .a = a, .priv = call->priv, .s = sizes_of(cpu, a),
        .side = { { .x = &a->q, .w = &a->wq, .dx = &a->dq, .dw = &a->dwq,
                    .add_x = a->add & 1, .add_w = a->add & 8 },
                  { .x = &a->k, .w = &a->wk, .dx = &a->dk, .dw = &a->dwk,
                    .add_x = a->add & 2, .add_w = a->add & 16 } },
        .scratch = call->scratch,
    };
    int ret = 0, chunks;

    j.f    = &j.priv->f;
    chunks = j.f->numbers * j.f->chunks;
    for (int i = 0; i < SIDES && ret >= 0; i++)
        ret = find_maps(&j, i, &j.side[i]);
    if (ret >= 0 && wants_side(&j.side[Q]))
        ret = lv_cpu_jobs(cpu, prepare_job, &j, j.f->numbers);
    if (ret >= 0)
        ret = lv_cpu_jobs(cpu, query_job, &j, chunks);
    if (ret >= 0 && wants_state(&j))
        ret = lv_cpu_jobs(cpu, reduce_job, &j, j.f->numbers);
    if (ret >= 0 && wants_state(&j))
        ret = lv_cpu_jobs(cpu, key_job, &j, chunks);
    if (ret >= 0 && (lv_has(&a->dwq) || lv_has(&a->dwk)))
        ret = lv_cpu_jobs(cpu, maps_job, &j, j.f->heads);
    return ret;
}
