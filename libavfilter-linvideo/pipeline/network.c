/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/network.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "graph/dump.h"
#include "graph/slots.h"
#include "pipeline/block_cache.h"
#include "pipeline/net.h"

enum { MAX_TIMES = 1024 };

struct LvNetwork {
    const LvEnv *env;
    const LvPart *part;
    LvLoras *loras;       /* NULL: none */
    LvNetworkShape shape;
    LvWeights *weights;
    void *room;           /* device: the weights' */
    LvDit dit;
    int streams;
    uint8_t streamed[LV_MAX_LAYERS];
    LvSlots *slots;       /* NULL: nothing streams */

    LvNet net, side, image; /* the network, its text side, its image side, if it has one */
    LvDitInputs in, side_out, image_out;
    LvTensor velocity, context_in, clip_in;
    LvNet filling;          /* of a causal network: as net, while the window is not full */
    LvDitInputs filling_in;
    LvTensor filling_velocity;
    LvBlocks blocks;

    LvMemory memory;
    float *latent, *velocity_dev, *t, *rope, *context, *clip; /* device */
    char *kv;             /* device, [prompts] */
    char *image_kv;       /* device */
};

/* Describing */

static void free_weights(LvNetwork *n)
{
    lv_dit_free(&n->dit);
    lv_weights_free(&n->weights);
    if (n->room)
        lv_device_free(n->env->dev, n->room);
    n->room = NULL;
}

static int describe(LvNetwork *n)
{
    const LvEnv *env   = n->env;
    LvWeightsFrom from = { .loras = n->loras, .described = 1, .stored = 1,
                           .f8 = env->matmul == LV_MATMUL_F8,
                           .streamed = n->streams ? n->streamed : NULL };
    int ret;

    free_weights(n);
    if ((ret = lv_env_weights(env, n->part, from, &n->weights)) < 0 ||
        (ret = lv_dit_bind(&n->dit, &env->cfg->dit, n->weights, n->part->prefix)) < 0 ||
        (ret = lv_weights_finish(n->weights)) < 0)
        return ret;
    return from.loras ? lv_loras_finish(from.loras, env->msg) : 0;
}

int lv_network_new(LvNetwork **out, const LvEnv *env, int expert)
{
    LvNetwork *n = *out = calloc(1, sizeof(*n));
    int ret;

    assert(expert >= 0 && expert < LV_EXPERTS);
    if (!n)
        return lv_fail(env->msg, LV_ERR(ENOMEM), "network: out of memory");
    n->env    = env;
    n->part   = expert == LV_LOW ? &env->files->low : &env->files->dit;
    n->loras  = expert == LV_LOW ? env->files->low_loras : env->files->loras;
    n->dit.matmul = env->matmul;
    if ((ret = describe(n)) < 0)
        lv_network_free(out);
    return ret;
}

static void free_built(LvNetwork *n)
{
    lv_net_free(&n->net);
    lv_net_free(&n->side);
    lv_net_free(&n->image);
    lv_net_free(&n->filling);
    lv_slots_free(&n->slots);
    free_weights(n);
    lv_memory_free(&n->memory, n->env->dev);
}

void lv_network_free(LvNetwork **out)
{
    if (!*out)
        return;
    free_built(*out);
    free(*out);
    *out = NULL;
}

/* Planning */

static int plan_side(LvNetwork *n)
{
    const LvDitConfig *c = &n->env->cfg->dit;
    const int shape[] = { c->text_len, c->text_dim };
    LvGraph *g = lv_graph_new(n->env->msg);

    if (!g)
        return lv_fail(n->env->msg, LV_ERR(ENOMEM), "text: out of memory");
    n->context_in = lv_external(g, "context", LV_F32, 2, shape);
    lv_dit_trace_text(g, &n->dit, n->context_in, n->env->dtype, &n->side_out);
    return lv_net_plan(&n->side, &g, n->env->dev);
}

static int plan_image(LvNetwork *n)
{
    const LvDitConfig *c = &n->env->cfg->dit;
    const int shape[] = { lv_dit_clip_rows(c), c->clip_dim };
    LvGraph *g = lv_graph_new(n->env->msg);

    if (!g)
        return lv_fail(n->env->msg, LV_ERR(ENOMEM), "image: out of memory");
    n->clip_in = lv_external(g, "clip", LV_F32, 2, shape);
    lv_dit_trace_image(g, &n->dit, n->clip_in, n->env->dtype, &n->image_out);
    return lv_net_plan(&n->image, &g, n->env->dev);
}

static int plan_net(LvNetwork *n, LvNet *net, LvDitInputs *in, LvTensor *velocity)
{
    LvGraph *g = lv_graph_new(n->env->msg);

    if (!g)
        return lv_fail(n->env->msg, LV_ERR(ENOMEM), "denoise: out of memory");
    lv_dit_inputs(g, &n->dit, n->shape.size, n->env->dtype, in);
    *velocity = lv_dit_trace(g, &n->dit, in, n->env->dtype, NULL);
    lv_output(g, *velocity, "velocity");
    return lv_net_plan(net, &g, n->env->dev);
}

/* The program that masks what is not there yet. */
static int plan_filling(LvNetwork *n)
{
    int ret;

    if (!lv_blocks_slots(&n->shape.causal))
        return 0;
    n->dit.filling = 1;
    ret = plan_net(n, &n->filling, &n->filling_in, &n->filling_velocity);
    n->dit.filling = 0;
    return ret;
}

static int plan(LvNetwork *n)
{
    int ret = plan_side(n);

    if (ret >= 0 && n->env->cfg->dit.clip_dim)
        ret = plan_image(n);
    if (ret >= 0)
        ret = plan_filling(n);
    return ret < 0 ? ret : plan_net(n, &n->net, &n->in, &n->velocity);
}

int lv_network_plan(LvNetwork *n, const LvNetworkShape *shape, const uint8_t *streamed)
{
    int bound = !streamed && !n->streams, ret;

    assert(shape->prompts > (shape->nag.scale > 0 ? LV_NEGATIVE : 0));
    if (shape->first_given && shape->size[0] > MAX_TIMES)
        return lv_fail(n->env->msg, LV_ERR_UNSUPPORTED, "a clip with a first frame that is given: "
                       "expected at most %d latent frames, got %d", MAX_TIMES, shape->size[0]);

    n->shape   = *shape;
    n->streams = streamed != NULL;
    n->dit.frame_times = shape->first_given;
    n->dit.nag         = shape->nag;
    n->dit.causal      = shape->causal;
    n->blocks = (LvBlocks) { .env = n->env, .causal = shape->causal,
                             .size = { shape->size[0], shape->size[1], shape->size[2] },
                             .caches = shape->nag.scale > 0 ? 1 : shape->prompts };
    if (streamed)
        memcpy(n->streamed, streamed, (size_t)n->env->cfg->dit.layers);
    ret = bound ? 0 : describe(n);
    return ret < 0 ? ret : plan(n);
}

int lv_network_drop(LvNetwork *n)
{
    int ret;

    free_built(n);
    ret = describe(n);
    return ret < 0 ? ret : plan(n);
}

/* Keys, or values, of so many rows in a layer. */
static size_t rows_bytes(const LvNetwork *n, int rows)
{
    size_t dim = (size_t)n->env->cfg->dit.dim;

    return LV_ROUND_UP((size_t)rows * dim * lv_dtype_size(n->env->dtype), LV_ALIGN);
}

static size_t layer_bytes(const LvNetwork *n)
{
    return rows_bytes(n, n->env->cfg->dit.text_len);
}

/* Keys and values of a prompt. */
static size_t kv_bytes(const LvNetwork *n)
{
    return 2 * layer_bytes(n) * (size_t)n->env->cfg->dit.layers;
}

/* The same of CLIP's features. */
static size_t image_layer_bytes(const LvNetwork *n)
{
    return rows_bytes(n, lv_dit_clip_rows(&n->env->cfg->dit));
}

static size_t clip_bytes(const LvNetwork *n)
{
    const LvDitConfig *c = &n->env->cfg->dit;

    return sizeof(float) * (size_t)lv_dit_clip_rows(c) * (size_t)c->clip_dim;
}

static size_t context_bytes(const LvNetwork *n)
{
    const LvDitConfig *c = &n->env->cfg->dit;

    return sizeof(float) * (size_t)c->text_len * (size_t)c->text_dim;
}

/* @return bytes */
static size_t lay_out(LvNetwork *n, char *base)
{
    LvRegion region = { .base = base };

    n->latent       = lv_region_take(&region, lv_tensor_bytes(&n->in.latent));
    n->velocity_dev = lv_region_take(&region, lv_tensor_bytes(&n->velocity));
    n->t            = lv_region_take(&region, lv_tensor_bytes(&n->in.t));
    if (n->shape.causal.block)
        lv_blocks_lay_out(&n->blocks, &region);
    else
        n->rope     = lv_region_take(&region, lv_tensor_bytes(&n->in.rope));
    n->context      = lv_region_take(&region, context_bytes(n));
    n->kv           = lv_region_take(&region, kv_bytes(n) * (size_t)n->shape.prompts);
    n->clip         = lv_region_take(&region, clip_bytes(n));
    n->image_kv     = lv_region_take(&region, 2 * image_layer_bytes(n) *
                                              (size_t)n->env->cfg->dit.layers);
    return region.at;
}

static size_t lay_out_host(LvNetwork *n, char *base)
{
    LvRegion region = { .base = base };

    if (n->shape.causal.block)
        lv_blocks_lay_out_host(&n->blocks, &region);
    return region.at;
}

LvNeed lv_network_need(const LvNetwork *n)
{
    LvNetwork sizes = *n;
    LvNeed need = lv_need_join(lv_need_of(&n->net.sizes), lv_need_of(&n->side.sizes));
    LvNeed filling = lv_need_of(&n->filling.sizes);

    filling.weights = 0; /* the same as of net */
    need = lv_need_join(need, filling);
    need = lv_need_join(need, lv_need_of(&n->image.sizes));
    need.weights += lv_weights_bytes(n->weights);
    need.state    = lay_out(&sizes, NULL);
    need.host     = lay_out_host(&sizes, NULL);
    return need;
}

size_t lv_network_streamed(const LvNetwork *n)
{
    return lv_weights_streamed(n->weights);
}

double lv_network_flops(const LvNetwork *n)
{
    return n->net.sizes.flops;
}

void lv_network_cost(const LvNetwork *n, const LvRates *rates, double runs, LvCost *cost)
{
    lv_program_cost(n->net.prog, rates, runs, cost);
    lv_cost_send(cost, runs * (double)lv_network_streamed(n), rates);
}

void lv_network_cost_prompt(const LvNetwork *n, const LvRates *rates, LvCost *cost)
{
    lv_program_cost(n->side.prog, rates, 1, cost);
}

void lv_network_cost_load(const LvNetwork *n, const LvRates *rates, LvCost *cost)
{
    lv_cost_send(cost, (double)lv_network_need(n).weights, rates);
}

size_t lv_network_numel(const LvNetwork *n)
{
    return lv_tensor_numel(&n->velocity);
}

size_t lv_network_frame(const LvNetwork *n)
{
    return (size_t)n->shape.size[1] * (size_t)n->shape.size[2];
}

void lv_network_dump(const LvNetwork *n, FILE *to)
{
    lv_program_dump(n->net.prog, to);
}

void lv_network_dump_text(const LvNetwork *n, FILE *to)
{
    lv_program_dump(n->side.prog, to);
}

/* Building */

static int fill_rope(LvNetwork *n)
{
    size_t bytes = lv_tensor_bytes(&n->in.rope);
    float *table = lv_alloc(bytes);
    int ret;

    if (!table)
        return lv_fail(n->env->msg, LV_ERR(ENOMEM), "no memory for %zu bytes", bytes);
    lv_dit_rope(table, &n->env->cfg->dit, n->shape.size);
    ret = lv_device_upload(n->env->dev, n->rope, table, bytes);
    lv_free(table);
    return ret;
}

static int attach_slots(LvNetwork *n)
{
    size_t slot = LV_MAX(n->net.sizes.slot, LV_MAX(n->side.sizes.slot, n->image.sizes.slot));
    int ret = (slot = LV_MAX(slot, n->filling.sizes.slot)) ?
              lv_slots_new(&n->slots, n->env->dev, slot) : 0;

    if (ret < 0 || !slot)
        return ret;
    lv_slots_attach(n->side.prog, n->slots);
    lv_slots_attach(n->net.prog, n->slots);
    if (n->image.prog)
        lv_slots_attach(n->image.prog, n->slots);
    if (n->filling.prog)
        lv_slots_attach(n->filling.prog, n->slots);
    return 0;
}

static int build_programs(LvNetwork *n, void *arena)
{
    LvProgram *const progs[] = { n->side.prog, n->image.prog, n->net.prog, n->filling.prog };
    int ret = lv_env_load(n->env, n->weights, &n->room, progs, LV_COUNT(progs));

    if (ret < 0 || (ret = attach_slots(n)) < 0 ||
        (ret = lv_program_build(n->side.prog, arena)) < 0 ||
        (n->image.prog && (ret = lv_program_build(n->image.prog, arena)) < 0) ||
        (ret = lv_program_build(n->net.prog, arena)) < 0 ||
        (n->filling.prog && (ret = lv_program_build(n->filling.prog, arena)) < 0) ||
        (ret = lv_weights_check(n->weights)) < 0)
        return ret;
    lv_weights_drop(n->weights);
    return 0;
}

static void bind_ports(const LvNetwork *n, LvProgram *p, const LvDitInputs *in, LvTensor velocity)
{
    lv_program_bind(p, in->latent, n->latent);
    lv_program_bind(p, in->t, n->t);
    if (n->rope)
        lv_program_bind(p, in->rope, n->rope);
    lv_program_bind(p, velocity, n->velocity_dev);
}

int lv_network_build(LvNetwork *n, void *arena)
{
    const LvNeed need = lv_network_need(n);
    int ret;

    assert(n->net.prog);
    if ((ret = lv_memory_new(&n->memory, n->env->dev, &need)) < 0)
        return ret;
    lay_out(n, n->memory.device);
    lay_out_host(n, n->memory.host);
    ret = n->shape.causal.block ? 0 : fill_rope(n);
    if (ret < 0 || (ret = build_programs(n, arena)) < 0)
        return ret;
    bind_ports(n, n->net.prog, &n->in, n->velocity);
    if (n->filling.prog)
        bind_ports(n, n->filling.prog, &n->filling_in, n->filling_velocity);
    return n->shape.causal.block ? lv_blocks_clear(&n->blocks) : 0;
}

/* Running */

/* Keys and values of a prompt, to tensors of each layer. */
static void bind_kv(const LvNetwork *n, LvProgram *prog, const LvTensor *k, const LvTensor *v,
                    int prompt)
{
    size_t bytes = layer_bytes(n);
    char *kv     = n->kv + (size_t)prompt * kv_bytes(n);

    for (int i = 0; i < n->env->cfg->dit.layers; i++) {
        lv_program_bind(prog, k[i], kv + 2 * (size_t)i * bytes);
        lv_program_bind(prog, v[i], kv + (2 * (size_t)i + 1) * bytes);
    }
}

static void bind_image_kv(const LvNetwork *n, LvProgram *prog, const LvDitInputs *to)
{
    const LvDitConfig *c = &n->env->cfg->dit;
    size_t bytes = image_layer_bytes(n);

    for (int i = 0; i < c->layers && c->clip_dim; i++) {
        lv_program_bind(prog, to->k_img[i], n->image_kv + 2 * (size_t)i * bytes);
        lv_program_bind(prog, to->v_img[i], n->image_kv + (2 * (size_t)i + 1) * bytes);
    }
}

int lv_network_clip(LvNetwork *n, const float *features)
{
    LvDevice *dev = n->env->dev;
    int ret = lv_device_upload(dev, n->clip, features, clip_bytes(n));

    if (ret < 0)
        return ret;
    lv_program_bind(n->image.prog, n->clip_in, n->clip);
    bind_image_kv(n, n->image.prog, &n->image_out);
    return lv_program_run(n->image.prog, lv_env_hook, (void *)n->env);
}

int lv_network_condition(LvNetwork *n, const float *y)
{
    LvDevice *dev = n->env->dev;
    size_t at = lv_tensor_bytes(&n->velocity), all = lv_tensor_bytes(&n->in.latent);

    return all == at ? 0 : lv_device_upload(dev, (char *)n->latent + at, y, all - at);
}

int lv_network_prompt(LvNetwork *n, int at, const float *features)
{
    LvDevice *dev = n->env->dev;
    int ret = lv_device_upload(dev, n->context, features, context_bytes(n));

    assert(at >= 0 && at < n->shape.prompts);
    if (ret < 0)
        return ret;
    lv_program_bind(n->side.prog, n->context_in, n->context);
    bind_kv(n, n->side.prog, n->side_out.k, n->side_out.v, at);
    return lv_program_run(n->side.prog, lv_env_hook, (void *)n->env);
}

int lv_network_at(LvNetwork *n, const float *x, float t, int first_given)
{
    LvDevice *dev = n->env->dev;
    int ret = lv_device_upload(dev, n->latent, x, lv_tensor_bytes(&n->velocity));
    float at[MAX_TIMES];

    for (int i = 0; i < n->in.t.dim[0]; i++)
        at[i] = n->shape.first_given && first_given && !i ? 0 : t;
    return ret < 0 ? ret : lv_device_upload(dev, n->t, at, lv_tensor_bytes(&n->in.t));
}

typedef struct Position {
    const LvEnv *env;
    const LvAt *begin;
    int layer;
} Position;

static int hook(void *opaque, const LvRecord *next, int index, int count)
{
    Position *p = opaque;
    LvAt at = *p->begin;

    if (next->layer == p->layer || !next->layer) {
        p->layer = next->layer;
        return lv_env_hook((void *)p->env, next, index, count);
    }
    p->layer  = next->layer;
    at.layer += next->layer;
    return lv_env_tell(p->env, at);
}

int lv_network_run(LvNetwork *n, int prompt, const LvAt *at, float *v)
{
    LvDevice *dev = n->env->dev;
    Position p = { n->env, at, 0 };
    const LvCausal *causal = &n->shape.causal;
    int filling   = causal->block && lv_blocks_filling(&n->blocks);
    LvProgram *prog = filling ? n->filling.prog : n->net.prog;
    const LvDitInputs *in = filling ? &n->filling_in : &n->in;
    int ret;

    assert(prompt >= 0 && prompt < n->shape.prompts);
    bind_kv(n, prog, in->k, in->v, prompt);
    if (n->shape.nag.scale > 0)
        bind_kv(n, prog, in->k_neg, in->v_neg, LV_NEGATIVE);
    bind_image_kv(n, prog, in);
    if (causal->block)
        lv_blocks_bind(&n->blocks, prog, in, prompt);
    ret = lv_program_run(prog, hook, &p);
    return ret < 0 ? ret
         : lv_device_download(dev, v, n->velocity_dev, lv_tensor_bytes(&n->velocity));
}

int lv_network_clear(LvNetwork *n)
{
    return lv_blocks_clear(&n->blocks);
}

int lv_network_keep(LvNetwork *n)
{
    return lv_blocks_keep(&n->blocks);
}
