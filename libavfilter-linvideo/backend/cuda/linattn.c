/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Linear attention, forward and backward: two fused passes each (kernels/hedgehog.cu,
 * hedgehog_dx.cu; hedgehog_sm90.cu where the device and this build have it) for the shapes
 * they know, else the products of kernels/linattn.cu,
 * one after the other.
 */

#include "backend/cuda/cast.h"
#include "backend/cuda/cuda.h"
#include "config.h"

enum { MIN_CHUNK = 512, TILE = 64, FUSED_TOKENS = 128 };

/* As kernels/hedgehog_sm90.cu has them; it is used from so many tokens on. */
enum { SM90_TOKENS = 256, SM90_ROWS = 64, SM90_PANEL_ROW = 128, SM90_STATE_TEAMS = 2,
       SM90_STATE_STAGES = 2, SM90_APPLY_TEAMS = 3, SM90_APPLY_STAGES = 3 };

/* Sizes, and the memory that both directions use. */
typedef struct Linattn {
    LvCuda *cu;
    LvDevice *dev;
    const LvLinattnRunArgs *run; /* NULL: there is nothing before */
    int b, h, l, c, d, p, f;
    int chunk, chunks;       /* tokens of a chunk of a sum; chunks */
    int pitch;               /* of rows of sums */
    int type;                /* LvDtype of the products */
    int map;
    int sm90;                /* the kernels for compute capability 9.0 */
    size_t rows;             /* B H L */
    float *y, *part, *state, *sums; /* [rows,P]; partial sums; S or dS; [rows,pitch] */
    void *phi;               /* [rows,F], of type */
    float *dphi, *dy;        /* [rows,F], [rows,P] */
    size_t bytes;
} Linattn;

/* A pair of kernels for it is in the list: maps of 64 columns, heads of 64 and 128. */
static int is_sm90(const LvCuda *cu, const Linattn *s, const LvTensor *o)
{
    int wanted = cu->newest ? cu->newest >= 90 : s->l >= SM90_TOKENS;

    return HAVE_SM90A && cu->arch == 90 && wanted && s->type == LV_BF16 &&
           o->dtype == LV_BF16 && s->map == LV_MAP_HEDGEHOG && s->p == 64 &&
           (s->d == 64 || s->d == 128);
}

/* Cut tokens into chunks for so many blocks a multiprocessor. */
static void cut(Linattn *s, int blocks)
{
    s->chunks = LV_MAX(blocks * s->cu->processors / (s->b * s->h), 1);
    s->chunk  = LV_ROUND_UP((s->l + s->chunks - 1) / s->chunks, FUSED_TOKENS);
    s->chunk  = LV_MAX(s->chunk, MIN_CHUNK);
    s->chunks = (s->l + s->chunk - 1) / s->chunk;
}

static Linattn sizes_of(LvCuda *cu, const LvTensor *q, const LvTensor *w, int map,
                        int batch)
{
    Linattn s = { .cu = cu, .b = batch, .h = w->dim[0], .l = q->dim[0] / batch,
                  .c = q->dim[1], .d = w->dim[1], .p = w->dim[2], .type = q->dtype,
                  .map = map };

    if (s.d % LV_PAD || s.p % LV_PAD)
        s.type = LV_F32; /* the tensor cores have no advantage there */
    s.f     = lv_map_features(map, s.p);
    s.pitch = LV_ROUND_UP(s.d + 1, LV_PAD);
    s.rows  = (size_t)s.b * (size_t)s.h * (size_t)s.l;
    cut(&s, 2);
    return s;
}

static Linattn forward_sizes(LvCuda *cu, const LvLinattnArgs *a)
{
    Linattn s = sizes_of(cu, &a->q, &a->wq, a->map, a->batch);

    if ((s.sm90 = is_sm90(cu, &s, &a->o)))
        cut(&s, 1);
    return s;
}

enum Pass { FUSED, FORWARD, BACKWARD };

static void lay_out(Linattn *s, void *scratch, int pass)
{
    size_t groups = (size_t)s->b * (size_t)s->h, f = (size_t)s->f, d = (size_t)s->d + 1;
    size_t largest = LV_MAX(f * d, (size_t)s->d * (size_t)s->p), p = (size_t)s->p;
    size_t rows = pass == FUSED ? 0 : s->rows, back = pass == BACKWARD ? s->rows : 0;

    s->part  = lv_cuda_carve(scratch, &s->bytes,
                             4 * groups * (size_t)s->chunks * largest);
    s->state = lv_cuda_carve(scratch, &s->bytes, 4 * groups * f * d);
    s->y     = lv_cuda_carve(scratch, &s->bytes, 4 * rows * p);
    s->phi   = lv_cuda_carve(scratch, &s->bytes,
                             rows * f * lv_dtype_size((LvDtype)s->type));
    s->sums  = lv_cuda_carve(scratch, &s->bytes, 4 * rows * (size_t)s->pitch);
    s->dphi  = lv_cuda_carve(scratch, &s->bytes, 4 * back * f);
    s->dy    = lv_cuda_carve(scratch, &s->bytes, 4 * back * p);
}

/* Views: rows and columns as the memory has them; turned() swaps the two. */

/* A tensor [B L,C], the columns of a head. */
static LvView heads_of(const Linattn *s, const LvTensor *t)
{
    return (LvView) { .data = t->data, .dtype = t->dtype, .head = s->d, .row = s->c,
                      .col = 1, .sample = (int64_t)s->l * s->c };
}

/* Memory [B H,rows,cols]. */
static LvView dense(const Linattn *s, void *data, int dtype, int rows, int cols)
{
    int64_t head = (int64_t)rows * cols;

    return (LvView) { .data = data, .dtype = dtype, .sample = s->h * head, .head = head,
                      .row = cols, .col = 1 };
}

/* Weights [H,D,P]. */
static LvView weights_of(const Linattn *s, const LvTensor *w)
{
    return (LvView) { .data = w->data, .dtype = w->dtype, .head = (int64_t)s->d * s->p,
                      .row = s->p, .col = 1 };
}

static LvView turned(LvView v)
{
    int64_t row = v.row;

    v.row = v.col;
    v.col = row;
    return v;
}

/* c [m,n] = sum over k of a and b for each head. */
static int multiply(const Linattn *s, LvView a, LvView b, LvView c, int m, int n, int k,
                    int add)
{
    LvBatchedArgs p = { a, b, c, m, n, k, .k_chunk = k, .heads = s->h, .chunks = 1,
                        .alpha = 1, .add = add };
    LvGrid grid = { lv_cuda_split((size_t)m, TILE), lv_cuda_split((size_t)n, TILE),
                    (size_t)(s->b * s->h), s->type == LV_BF16 ? 128 : 256, 0 };

    return lv_cuda_launch(s->cu,
                          s->type == LV_BF16 ? LV_K_batched_bf16 : LV_K_batched_f32,
                          grid, (void *[]) { &p });
}

/* out [items,size] from part [outer,items,chunks,size]. */
static int add_chunks(const Linattn *s, const float *part, float *out, size_t items,
                      size_t size, int outer, int add)
{
    size_t n   = items * size;
    int chunks = s->chunks;

    return LV_LAUNCH(s->cu, linattn_sum, lv_cuda_grid1(n), &part, &out, &n, &size,
                     &outer, &chunks, &add);
}

/* out = alpha times the sum over tokens of a [m,L] and b [n,L], over all samples when
 * out has none, in chunks. */
static int sum_tokens(const Linattn *s, LvView a, LvView b, float *out, int m, int n,
                      float alpha, int over_samples, int add)
{
    size_t size = (size_t)m * (size_t)n, items = (size_t)s->h;
    int outer = over_samples ? s->b : 1, ret, chunks = s->chunks;
    LvView c = { .data = s->part, .dtype = LV_F32, .chunk = (int64_t)size,
                 .head = (int64_t)size * chunks, .row = n, .col = 1,
                 .sample = (int64_t)size * chunks * s->h };
    LvBatchedArgs p = { a, b, c, m, n, s->l, .k_chunk = s->chunk, .heads = s->h,
                        .chunks = chunks, .alpha = alpha };
    LvGrid grid = { lv_cuda_split((size_t)m, TILE), lv_cuda_split((size_t)n, TILE),
                    (size_t)(s->b * s->h * chunks), s->type == LV_BF16 ? 128 : 256, 0 };

    ret = lv_cuda_launch(s->cu,
                         s->type == LV_BF16 ? LV_K_batched_bf16 : LV_K_batched_f32,
                         grid, (void *[]) { &p });
    items *= over_samples ? 1 : (size_t)s->b;
    return ret < 0 ? ret : add_chunks(s, s->part, out, items, size, outer, add);
}

static LvGrid row_grid(const Linattn *s)
{
    return (LvGrid) { lv_cuda_split(s->rows, 4), 1, 1, 128, 0 };
}

/* y = x w and phi = map(y). */
static int features(Linattn *s, const LvTensor *x, const LvTensor *w)
{
    int ret = multiply(s, heads_of(s, x), turned(weights_of(s, w)),
                       dense(s, s->y, LV_F32, s->l, s->p), s->l, s->p, s->d, 0);

    return ret < 0 ? ret : LV_LAUNCH(s->cu, linattn_map, row_grid(s), &s->y, &s->phi,
                                     &s->type, &s->map, &s->rows, &s->p, &s->f);
}

static LvView phi_of(const Linattn *s)
{
    return dense(s, s->phi, s->type, s->l, s->f);
}

static LvView sums_of(const Linattn *s)
{
    return dense(s, s->sums, LV_F32, s->l, s->pitch);
}

/* The fused passes, forward and backward. */
enum FusedPass { STATE, APPLY, QUERIES, KEYS, PASSES };

/* Kernels by D and P, each 64 or 128; 0: none. */
#define FUSED_ROW(size) {                                                           \
    LV_K_hedgehog_state_##size, LV_K_hedgehog_apply_##size,                         \
    LV_K_hedgehog_queries_##size, LV_K_hedgehog_keys_##size }

static const int fused_kernels[2][2][PASSES] = {
    { FUSED_ROW(d64_p64), FUSED_ROW(d64_p128) },
    { FUSED_ROW(d128_p64), { LV_K_hedgehog_state_d128_p128,
                             LV_K_hedgehog_apply_d128_p128 } },
};

static int fused_kernel(const Linattn *s, int pass)
{
    return fused_kernels[s->d == 128][s->p == 128][pass];
}

/* A block for each chunk of each head; its memory as the kernels lay it out. */
static LvGrid fused_grid(const Linattn *s, int pass)
{
    size_t d = (size_t)s->d, p = (size_t)s->p, f = (size_t)s->f, t = FUSED_TOKENS;
    size_t maps = 2 * d * p, tiles = 4 * t * d, state = 2 * f * d, phi = 2 * t * f;
    size_t backward = maps + state + tiles + 2 * t * p + 4 * (f + t);
    const size_t bytes[PASSES] = { maps + tiles + phi, maps + state + 2 * f + tiles,
                                   backward + phi, backward };

    return (LvGrid) { (size_t)s->chunks, (size_t)(s->b * s->h), 1, 256, bytes[pass] };
}

/* Whether passes first and first + 1 are to be had here. */
static int has_fused(const Linattn *s, int first)
{
    if (s->type != LV_BF16 || s->map != LV_MAP_HEDGEHOG ||
        (s->d != 64 && s->d != 128) || (s->p != 64 && s->p != 128))
        return 0;
    return fused_kernel(s, first) && fused_grid(s, first).shared <= s->cu->block_bytes &&
           fused_grid(s, first + 1).shared <= s->cu->block_bytes;
}

/* Add what ran before to the state of a block. */
static int add_past(const Linattn *s)
{
    LvTensor state;

    if (!s->run)
        return 0;
    state = s->run->state;
    return lv_cuda_mix(s->dev, &(LvMixArgs) { state, s->run->past, s->run->share, state }, NULL);
}

static int run_fused(const Linattn *s, const LvLinattnArgs *a)
{
    size_t size = (size_t)s->f * (size_t)(s->d + 1), groups = (size_t)(s->b * s->h);
    int chunk = s->chunk;
    int ret = lv_cuda_launch(s->cu, fused_kernel(s, STATE), fused_grid(s, STATE),
                             (void *[]) { (void *)a, &chunk, (void *)&s->part });

    if (ret < 0 || (ret = add_chunks(s, s->part, s->state, groups, size, 1, 0)) < 0 ||
        (ret = add_past(s)) < 0)
        return ret;
    return lv_cuda_launch(s->cu, fused_kernel(s, APPLY), fused_grid(s, APPLY),
                          (void *[]) { (void *)a, &chunk, (void *)&s->state });
}

/* A block for each chunk of each head, as the kernels for 9.0 lay out its memory. */
static LvGrid sm90_grid(const Linattn *s, int pass)
{
    size_t map = 2 * (size_t)(s->d * s->p), f = (size_t)s->f;
    size_t tile = 2 * SM90_ROWS * (size_t)s->d, panel = SM90_ROWS * SM90_PANEL_ROW;
    size_t state = 16 * SM90_PANEL_ROW +
                   SM90_STATE_TEAMS * (SM90_STATE_STAGES * (2 * tile + 8) + 2 * panel);
    size_t apply = f * (2 * (size_t)s->d + SM90_PANEL_ROW) +
                   SM90_APPLY_TEAMS * SM90_APPLY_STAGES * (tile + 8);
    LvGrid grid  = { (size_t)s->chunks, (size_t)(s->b * s->h), 1, 128 * SM90_STATE_TEAMS,
                     map + state };

    if (pass == APPLY) {
        grid.threads = 128 * SM90_APPLY_TEAMS;
        grid.shared  = map + apply;
    }
    return grid;
}

static int run_sm90(const Linattn *s, const LvLinattnArgs *a)
{
    static const int kernel[PASSES][2] = {
        [STATE] = { LV_K_hedgehog_sm90_state_d64, LV_K_hedgehog_sm90_state_d128 },
        [APPLY] = { LV_K_hedgehog_sm90_apply_d64, LV_K_hedgehog_sm90_apply_d128 },
    };
    int chunk = s->chunk, wide = s->d == 128, ret;
    LvTileMap q, k, v, o;

    if ((ret = lv_cuda_tile_map(s->cu, &o, &a->o, s->b, SM90_ROWS)) < 0 ||
        (ret = lv_cuda_tile_map(s->cu, &q, &a->q, s->b, SM90_ROWS)) < 0 ||
        (ret = lv_cuda_tile_map(s->cu, &k, &a->k, s->b, SM90_ROWS)) < 0 ||
        (ret = lv_cuda_tile_map(s->cu, &v, &a->v, s->b, SM90_ROWS)) < 0 ||
        (ret = lv_cuda_launch(s->cu, kernel[STATE][wide], sm90_grid(s, STATE),
                              (void *[]) { (void *)a, &k, &v, &chunk,
                                           (void *)&s->part })) < 0 ||
        (ret = add_chunks(s, s->part, s->state, (size_t)(s->b * s->h),
                          (size_t)s->f * (size_t)(s->d + 1), 1, 0)) < 0 ||
        (ret = add_past(s)) < 0)
        return ret;
    return lv_cuda_launch(s->cu, kernel[APPLY][wide], sm90_grid(s, APPLY),
                          (void *[]) { (void *)a, &q, &o, &chunk, (void *)&s->state });
}

int lv_cuda_plan_linattn(LvDevice *dev, const LvLinattnArgs *a, LvCall *call)
{
    Linattn s = forward_sizes(lv_cuda(dev), a);

    lay_out(&s, NULL, has_fused(&s, STATE) ? FUSED : FORWARD);
    call->scratch_bytes = s.bytes;
    return 0;
}

/* Without the fused passes. */
static int run_products(Linattn *s, const LvLinattnArgs *a)
{
    LvView v = turned(heads_of(s, &a->v)),
               state = dense(s, s->state, LV_F32, s->f, s->d + 1);
    int ret;

    v.ones = s->d;
    if ((ret = features(s, &a->k, &a->wk)) < 0 ||
        (ret = sum_tokens(s, turned(phi_of(s)), v, s->state, s->f, s->d + 1,
                          1 / (float)s->l, 0, 0)) < 0 ||
        (ret = add_past(s)) < 0 || (ret = features(s, &a->q, &a->wq)) < 0 ||
        (ret = multiply(s, phi_of(s), turned(state), sums_of(s), s->l, s->d + 1, s->f,
                        0)) < 0)
        return ret;
    return LV_LAUNCH(s->cu, linattn_divide, row_grid(s), (void *)a, &s->sums, &s->rows,
                     &s->pitch);
}

static int run(LvDevice *dev, const LvLinattnArgs *a, const LvLinattnRunArgs *past, LvCall *call)
{
    Linattn s = forward_sizes(lv_cuda(dev), a);
    int fused = has_fused(&s, STATE);

    s.dev = dev;
    s.run = past;
    lay_out(&s, call->scratch, fused ? FUSED : FORWARD);
    if (lv_has(&a->state))
        s.state = a->state.data;
    if (s.sm90)
        return run_sm90(&s, a);
    return fused ? run_fused(&s, a) : run_products(&s, a);
}

int lv_cuda_linattn(LvDevice *dev, const LvLinattnArgs *a, LvCall *call)
{
    return run(dev, a, NULL, call);
}

int lv_cuda_plan_linattn_run(LvDevice *dev, const LvLinattnRunArgs *a, LvCall *call)
{
    const LvLinattnArgs part = lv_linattn_part(a);

    return lv_cuda_plan_linattn(dev, &part, call);
}

int lv_cuda_linattn_run(LvDevice *dev, const LvLinattnRunArgs *a, LvCall *call)
{
    const LvLinattnArgs part = lv_linattn_part(a);

    return run(dev, &part, a, call);
}

/* Scratch of the fused gradient. */
typedef struct FusedParts {
    float *ds, *dw;    /* [B H,chunks,F,D+1], [B H,chunks,D,P] */
    float *dstate;     /* [B H,F,D+1] */
    float *delta;      /* [B H,L] */
    uint16_t *dy;      /* in bf16, when dy is not */
    size_t bytes;
} FusedParts;

static FusedParts fused_parts(const Linattn *s, const LvTensor *dy, void *scratch)
{
    size_t groups = (size_t)(s->b * s->h), chunks = (size_t)s->chunks;
    size_t state = (size_t)s->f * (size_t)(s->d + 1);
    FusedParts f = { 0 };

    f.ds     = lv_cuda_carve(scratch, &f.bytes, 4 * groups * chunks * state);
    f.dw     = lv_cuda_carve(scratch, &f.bytes,
                             4 * groups * chunks * (size_t)(s->d * s->p));
    f.dstate = lv_cuda_carve(scratch, &f.bytes, 4 * groups * state);
    f.delta  = lv_cuda_carve(scratch, &f.bytes, 4 * s->rows);
    f.dy     = lv_cuda_carve(scratch, &f.bytes,
                             dy->dtype == LV_BF16 ? 0 : 2 * lv_tensor_numel(dy));
    return f;
}

int lv_cuda_plan_linattn_dx(LvDevice *dev, const LvLinattnDxArgs *a, LvCall *call)
{
    Linattn s = sizes_of(lv_cuda(dev), &a->q, &a->wq, a->map, a->batch);

    if (has_fused(&s, QUERIES)) {
        call->scratch_bytes = fused_parts(&s, &a->dy, NULL).bytes;
        return 0;
    }
    lay_out(&s, NULL, BACKWARD);
    call->scratch_bytes = s.bytes;
    return 0;
}

/* delta = sum of dy o for each token and head, as for softmax attention. */
static int fused_delta(const Linattn *s, const LvLinattnDxArgs *a, float *delta)
{
    LvAttnDxArgs d = { .q = a->q, .o = a->o, .dy = a->dy, .heads = a->heads,
                       .batch = a->batch };

    return LV_LAUNCH(s->cu, attn_delta, lv_cuda_grid1(8 * s->rows), &d, &delta);
}

/* dw from the parts of a pass. */
static int fused_dw(const Linattn *s, const FusedParts *f, const LvTensor *dw, int add)
{
    return lv_has(dw) ? add_chunks(s, f->dw, dw->data, (size_t)s->h,
                                   (size_t)(s->d * s->p), s->b, add) : 0;
}

static int run_fused_dx(const Linattn *s, const LvLinattnDxArgs *a, void *scratch)
{
    FusedParts f = fused_parts(s, &a->dy, scratch);
    size_t state = (size_t)s->f * (size_t)(s->d + 1);
    const void *dy = a->dy.dtype == LV_BF16 ? a->dy.data : f.dy;
    int chunk = s->chunk, ret = fused_delta(s, a, f.delta);

    if (ret >= 0 && a->dy.dtype != LV_BF16)
        ret = lv_cuda_cast(s->cu, f.dy, LV_BF16, a->dy.data, a->dy.dtype,
                           lv_tensor_numel(&a->dy));
    if (ret < 0 ||
        (ret = lv_cuda_launch(s->cu, fused_kernel(s, QUERIES), fused_grid(s, QUERIES),
                              (void *[]) { (void *)a, &chunk, &dy, &f.delta, &f.ds,
                                           &f.dw })) < 0 ||
        (ret = fused_dw(s, &f, &a->dwq, a->add >> 3 & 1)) < 0 ||
        (!lv_has(&a->dk) && !lv_has(&a->dv) && !lv_has(&a->dwk)) ||
        (ret = add_chunks(s, f.ds, f.dstate, (size_t)(s->b * s->h), state, 1, 0)) < 0)
        return ret;
    ret = lv_cuda_launch(s->cu, fused_kernel(s, KEYS), fused_grid(s, KEYS),
                         (void *[]) { (void *)a, &chunk, &f.dstate, &f.dw });
    return ret < 0 ? ret : fused_dw(s, &f, &a->dwk, a->add >> 4 & 1);
}

/* From dphi through a map: dx and dw of x w. */
static int through_map(Linattn *s, const LvTensor *x, const LvTensor *w,
                       const LvTensor *dx, const LvTensor *dw, int add_x, int add_w)
{
    LvView dy = dense(s, s->dy, LV_F32, s->l, s->p);
    int ret = LV_LAUNCH(s->cu, linattn_map_dx, row_grid(s), &s->y, &s->dphi, &s->dy,
                        &s->map, &s->rows, &s->p, &s->f);

    if (ret >= 0 && lv_has(dx))
        ret = multiply(s, dy, weights_of(s, w), heads_of(s, dx), s->l, s->d, s->p,
                       add_x);
    if (ret >= 0 && lv_has(dw))
        ret = sum_tokens(s, turned(heads_of(s, x)), turned(dy), dw->data, s->d, s->p,
                         1, 1, add_w);
    return ret;
}

/* Over queries: G, dphi_q, dq and dwq, and dS to s->state. */
static int queries_dx(Linattn *s, const LvLinattnDxArgs *a)
{
    LvView state = dense(s, a->state.data, LV_F32, s->f, s->d + 1);
    int ret = LV_LAUNCH(s->cu, linattn_grad, row_grid(s), (void *)a, &s->sums, &s->rows,
                        &s->pitch);

    if (ret < 0 || (ret = features(s, &a->q, &a->wq)) < 0 ||
        (ret = sum_tokens(s, turned(phi_of(s)), turned(sums_of(s)), s->state, s->f,
                          s->d + 1, 1 / (float)s->l, 0, 0)) < 0 ||
        (!lv_has(&a->dq) && !lv_has(&a->dwq)))
        return ret;
    ret = multiply(s, sums_of(s), state, dense(s, s->dphi, LV_F32, s->l, s->f), s->l,
                   s->f, s->d + 1, 0);
    return ret < 0 ? ret : through_map(s, &a->q, &a->wq, &a->dq, &a->dwq, a->add & 1,
                                       a->add >> 3 & 1);
}

/* Over keys: dv, dphi_k, dk and dwk from dS. */
static int keys_dx(Linattn *s, const LvLinattnDxArgs *a)
{
    LvView dstate = dense(s, s->state, LV_F32, s->f, s->d + 1), v = heads_of(s, &a->v);
    int ret = features(s, &a->k, &a->wk);

    v.ones_k = s->d;
    if (ret >= 0 && lv_has(&a->dv))
        ret = multiply(s, phi_of(s), turned(dstate), heads_of(s, &a->dv), s->l, s->d,
                       s->f, a->add >> 2 & 1);
    if (ret < 0 || (!lv_has(&a->dk) && !lv_has(&a->dwk)))
        return ret;
    ret = multiply(s, v, dstate, dense(s, s->dphi, LV_F32, s->l, s->f), s->l, s->f,
                   s->d + 1, 0);
    return ret < 0 ? ret :
           through_map(s, &a->k, &a->wk, &a->dk, &a->dwk, a->add >> 1 & 1,
                                       a->add >> 4 & 1);
}

int lv_cuda_linattn_dx(LvDevice *dev, const LvLinattnDxArgs *a, LvCall *call)
{
    Linattn s = sizes_of(lv_cuda(dev), &a->q, &a->wq, a->map, a->batch);
    int ret;

    if (has_fused(&s, QUERIES))
        return run_fused_dx(&s, a, call->scratch);
    lay_out(&s, call->scratch, BACKWARD);
    if ((ret = queries_dx(&s, a)) < 0)
        return ret;
    return lv_has(&a->dv) || lv_has(&a->dk) || lv_has(&a->dwk) ? keys_dx(&s, a) : 0;
}
