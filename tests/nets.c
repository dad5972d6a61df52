/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tests/nets.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/convert.h"
#include "graph/graph.h"
#include "graph/program.h"
#include "base/source.h"
#include "model/dit.h"
#include "model/recognise.h"
#include "model/recognise.h"
#include "model/tae.h"
#include "model/umt5.h"
#include "model/wan_vae.h"
#include "pipeline/sample.h"
#include "tests/nets_kit.h"
#include "tests/pipes.h"

/* Programs */

int run_new(Run *r, LvGraph *g, LvDevice *dev)
{
    int ret = lv_program_new(&r->p, g, dev);

    r->dev = dev;
    lv_graph_free(&g);
    if (ret < 0)
        return ret;
    r->arena = lv_device_try_alloc(dev, lv_program_sizes(r->p).arena);
    return r->arena ? lv_program_build(r->p, r->arena) : LV_ERR(ENOMEM);
}

void *run_bind(Run *r, LvTensor t)
{
    size_t bytes = lv_tensor_bytes(&t);
    void *data   = r->nb < MAX_MEMORY ? lv_device_try_alloc(r->dev, bytes) : NULL;

    if (data) {
        r->memory[r->nb++] = data;
        lv_program_bind(r->p, t, data);
    }
    return data;
}

void run_free(Run *r)
{
    for (int i = 0; i < r->nb; i++)
        lv_device_free(r->dev, r->memory[i]);
    lv_program_free(&r->p);
    if (r->arena)
        lv_device_free(r->dev, r->arena);
    memset(r, 0, sizeof(*r));
}

int fetch(LvDevice *dev, LvTensor t, const void *data, float *dst)
{
    size_t bytes = lv_tensor_bytes(&t);
    void *raw    = malloc(bytes);
    int ret      = raw ? lv_device_download(dev, raw, data, bytes) : LV_ERR(ENOMEM);

    if (ret >= 0)
        ret = lv_to_f32(dst, raw, t.dtype, lv_tensor_numel(&t));
    free(raw);
    return ret;
}

float *new_floats(size_t n)
{
    return calloc(n + 1, sizeof(float));
}

/* Files */

float *nets_floats(const LvSafetensors *st, const char *name, const LvMsg *msg)
{
    const LvFileTensor *t = lv_safetensors_find(st, name);
    float *v = t ? new_floats(t->numel) : NULL;

    if (v && lv_to_f32(v, t->data, t->dtype, t->numel) < 0) {
        free(v);
        v = NULL;
    }
    if (!v)
        lv_msg(msg, LV_MSG_ERROR, "%s: no tensor %s of a float type",
               lv_safetensors_path(st), name);
    return v;
}

/* Values of reference numbers, whole ones too. */
static int ref_floats(float *r, const LvFileTensor *ref)
{
    int32_t whole;

    if (ref->dtype != LV_I32)
        return lv_to_f32(r, ref->data, ref->dtype, ref->numel);
    for (size_t i = 0; i < ref->numel; i++) {
        memcpy(&whole, (const char *)ref->data + i * sizeof(whole), sizeof(whole));
        r[i] = (float)whole;
    }
    return 0;
}

double nets_error(const LvFileTensor *ref, const float *ours, double *max)
{
    float *r = new_floats(ref->numel);
    int ret = r ? ref_floats(r, ref) : LV_ERR(ENOMEM);
    double d2 = 0, r2 = 0, top = 0;

    for (size_t i = 0; i < ref->numel && ret >= 0; i++) {
        double d = (double)ours[i] - r[i];
        d2 += d * d;
        r2 += (double)r[i] * r[i];
        top = fmax(top, fabs(d));
    }
    free(r);
    if (max)
        *max = d2 == d2 && ret >= 0 ? top : NAN;
    return ret >= 0 ? sqrt(d2 / r2) : NAN;
}

void put(const NetsOptions *opt, const LvSafetensors *st, const char *name,
                const float *ours)
{
    const LvFileTensor *ref = lv_safetensors_find(st, name);

    if (ref && ours && opt->put)
        opt->put(opt->opaque, ref, ours);
}

int size_of(const LvSafetensors *st, const char *name, int i)
{
    const LvFileTensor *t = lv_safetensors_find(st, name);

    return t && i < t->rank && t->dim[i] < 1 << 20 ? (int)t->dim[i] : 0;
}

/* A number of the metadata, 0 when it is not there. */
static int meta(const LvSafetensors *st, const char *key)
{
    const char *text = lv_safetensors_meta(st, key);

    return text ? atoi(text) : 0;
}

int open_weights(LvWeights **w, const LvSafetensors *st, const char *prefix,
                        const NetsOptions *opt)
{
    int ret = lv_weights_new(w, st, opt->dev, opt->msg);

    for (int i = 0; i < lv_safetensors_count(st) && ret >= 0; i++) {
        const char *name = lv_safetensors_at(st, i)->name;
        if (strncmp(name, prefix, strlen(prefix)))
            lv_weights_skip(*w, name);
    }
    return ret;
}

/* DiT */

struct NetsDit {
    LvDevice *dev;
    const LvMsg *msg;
    LvDit m;
    LvWeights *w;
    Run text, image, net;
    LvTensor context_t, clip_t, velocity_t;
    LvDitInputs in;
    LvDitWatch watch[LV_MAX_LAYERS];
    void *context, *clip, *latent, *t, *velocity;
    void *act[LV_MAX_LAYERS][3];
};

/* Size i of tensor <prefix><name>. */
static int size_within(const LvSafetensors *st, const char *prefix, const char *name, int i)
{
    char full[128];

    snprintf(full, sizeof(full), "%s%s", prefix, name);
    return size_of(st, full, i);
}

/* What the tensors tell: channels, patch, CLIP. */
static void read_dit_tensors(LvDitConfig *c, const LvSafetensors *st, const char *prefix)
{
    static const char patch[] = "patch_embedding.weight";
    int places = 1;

    for (int i = 0; i < 3; i++) {
        c->patch[i] = size_within(st, prefix, patch, 2 + i);
        places     *= LV_MAX(c->patch[i], 1);
    }
    c->channels      = size_within(st, prefix, "head.head.bias", 0) / places;
    c->cond_channels = size_within(st, prefix, patch, 1) - c->channels;
    c->clip_dim      = size_within(st, prefix, "img_emb.proj.0.bias", 0);
    c->clip_images   = c->clip_dim ? 1 + !!size_within(st, prefix, "img_emb.emb_pos", 1) : 0;
}

/* Layers that have maps are linear. */
static void read_dit_maps(LvDitConfig *c, const LvSafetensors *st, const char *prefix)
{
    const char *kind = lv_safetensors_meta(st, LV_MAP_KEY), *eps = lv_safetensors_meta(st,
                                                                               LV_MAP_EPS_KEY);
    char name[64];

    for (int i = 0; i < c->layers; i++) {
        snprintf(name, sizeof(name), "blocks.%d.self_attn.map_q.weight", i);
        if (!size_within(st, prefix, name, 2))
            continue;
        c->map_dim      = size_within(st, prefix, name, 2);
        c->attention[i] = LV_ATTN_LINEAR;
    }
    for (int k = 0; kind && k < LV_MAP_NB; k++)
        if (!strcmp(kind, lv_map_name(k)))
            c->map = k;
    if (eps)
        c->map_eps = strtof(eps, NULL);
}

int nets_dit_config_of(LvDitConfig *cfg, const LvSafetensors *st, const char *prefix,
                       const LvMsg *msg)
{
    *cfg = (LvDitConfig) {
        .dim = meta(st, "dim"), .ffn_dim = meta(st, "ffn"), .heads = meta(st, "heads"),
        .layers = meta(st, "layers"), .text_dim = meta(st, "text_dim"),
        .text_len = meta(st, "text_len"), .freq_dim = meta(st, "freq_dim"),
        .eps = 1e-6f, .map_eps = 1e-6f,
    };
    cfg->text_len = cfg->text_len ? cfg->text_len : 512;
    cfg->freq_dim = cfg->freq_dim ? cfg->freq_dim : 256;
    read_dit_tensors(cfg, st, prefix);
    if (cfg->dim < 1 || cfg->heads < 1 || cfg->layers < 1 || cfg->patch[2] < 1 ||
        cfg->layers > LV_MAX_LAYERS)
        return lv_fail(msg, LV_ERR_MODEL, "%s: metadata do not describe a DiT",
                       lv_safetensors_path(st));
    read_dit_maps(cfg, st, prefix);
    return 0;
}

int nets_dit_config(LvDitConfig *cfg, const LvSafetensors *st, const LvMsg *msg)
{
    return nets_dit_config_of(cfg, st, "weights.", msg);
}

/* The text side; its outputs are the memory that the network reads. */
static int open_text_side(NetsDit *d, LvDtype dtype)
{
    const LvDitConfig *c = &d->m.cfg;
    LvGraph *g = lv_graph_new(d->msg);
    LvDitInputs out;
    int ret;

    d->context_t = lv_external(g, "context", LV_F32, 2,
                               (const int[]) { c->text_len, c->text_dim });
    lv_dit_trace_text(g, &d->m, d->context_t, dtype, &out);
    if ((ret = run_new(&d->text, g, d->dev)) < 0)
        return ret;
    d->context = run_bind(&d->text, d->context_t);
    for (int i = 0; i < c->layers; i++) {
        void *k = run_bind(&d->text, out.k[i]), *v = run_bind(&d->text, out.v[i]);
        if (!d->context || !k || !v)
            return LV_ERR(ENOMEM);
        lv_program_bind(d->net.p, d->in.k[i], k);
        lv_program_bind(d->net.p, d->in.v[i], v);
    }
    return 0;
}

/* The image side, of networks that have one. */
static int open_image_side(NetsDit *d, LvDtype dtype)
{
    const LvDitConfig *c = &d->m.cfg;
    LvGraph *g = lv_graph_new(d->msg);
    LvDitInputs out;
    int ret;

    d->clip_t = lv_external(g, "clip", LV_F32, 2,
                            (const int[]) { lv_dit_clip_rows(c), c->clip_dim });
    lv_dit_trace_image(g, &d->m, d->clip_t, dtype, &out);
    if ((ret = run_new(&d->image, g, d->dev)) < 0)
        return ret;
    d->clip = run_bind(&d->image, d->clip_t);
    for (int i = 0; i < c->layers; i++) {
        void *k = run_bind(&d->image, out.k_img[i]), *v = run_bind(&d->image, out.v_img[i]);
        if (!d->clip || !k || !v)
            return LV_ERR(ENOMEM);
        lv_program_bind(d->net.p, d->in.k_img[i], k);
        lv_program_bind(d->net.p, d->in.v_img[i], v);
    }
    return 0;
}

static LvTensor watched(const NetsDit *d, int layer, int which)
{
    const LvDitWatch *w = &d->watch[layer];

    return which == NETS_SELF_ATTN ? w->self_attn :
           which == NETS_CROSS_ATTN ? w->cross_attn : w->out;
}

static int bind_network(NetsDit *d, const int size[3])
{
    float *table = new_floats(lv_tensor_numel(&d->in.rope));
    void *rope   = run_bind(&d->net, d->in.rope);
    int missing  = !table || !rope;

    d->latent   = run_bind(&d->net, d->in.latent);
    d->t        = run_bind(&d->net, d->in.t);
    d->velocity = run_bind(&d->net, d->velocity_t);
    for (int i = 0; i < 3 * d->m.cfg.layers; i++) {
        LvTensor t = watched(d, i / 3, i % 3);
        missing |= !(d->act[i / 3][i % 3] = run_bind(&d->net, t));
    }
    if (missing || !d->latent || !d->t || !d->velocity) {
        free(table);
        return LV_ERR(ENOMEM);
    }
    lv_dit_rope(table, &d->m.cfg, size);
    lv_device_upload(d->dev, rope, table, lv_tensor_bytes(&d->in.rope));
    free(table);
    return 0;
}

static int open_network(NetsDit *d, const int size[3], LvDtype dtype)
{
    LvGraph *g = lv_graph_new(d->msg);
    int ret;

    lv_dit_inputs(g, &d->m, size, dtype, &d->in);
    d->velocity_t = lv_dit_trace(g, &d->m, &d->in, dtype, d->watch);
    lv_output(g, d->velocity_t, "velocity");
    for (int i = 0; i < 3 * d->m.cfg.layers; i++)
        lv_watch(g, watched(d, i / 3, i % 3), "activation");
    ret = run_new(&d->net, g, d->dev);
    return ret < 0 ? ret : bind_network(d, size);
}

int nets_dit_open(NetsDit **out, const LvSafetensors *st, const char *prefix,
                  const LvDitConfig *cfg, const int size[3], const NetsOptions *opt)
{
    NetsDit *d = *out = calloc(1, sizeof(*d));
    int ret;

    if (!d)
        return LV_ERR(ENOMEM);
    d->dev = opt->dev;
    d->msg = opt->msg;
    d->m.frame_times = opt->frame_times;
    if ((ret = open_weights(&d->w, st, prefix, opt)) < 0 ||
        (ret = lv_dit_bind(&d->m, cfg, d->w, prefix)) < 0 ||
        (ret = lv_weights_finish(d->w)) < 0 ||
        (ret = open_network(d, size, (LvDtype)opt->dtype)) < 0 ||
        (ret = open_text_side(d, (LvDtype)opt->dtype)) < 0 ||
        (cfg->clip_dim && (ret = open_image_side(d, (LvDtype)opt->dtype)) < 0))
        nets_dit_close(out);
    return ret;
}

void nets_dit_close(NetsDit **d)
{
    if (!*d)
        return;
    run_free(&(*d)->net);
    run_free(&(*d)->text);
    run_free(&(*d)->image);
    lv_dit_free(&(*d)->m);
    lv_weights_free(&(*d)->w);
    free(*d);
    *d = NULL;
}

int nets_dit_text(NetsDit *d, const float *features, int rows)
{
    size_t n = lv_tensor_numel(&d->context_t);
    float *padded = new_floats(n);

    if (!padded || rows > d->m.cfg.text_len) {
        free(padded);
        return LV_ERR(EINVAL);
    }
    memcpy(padded, features, (size_t)rows * (size_t)d->m.cfg.text_dim * sizeof(float));
    lv_device_upload(d->dev, d->context, padded, n * sizeof(float));
    free(padded);
    return lv_program_run(d->text.p, NULL, NULL);
}

int nets_dit_image(NetsDit *d, const float *condition, const float *clip)
{
    size_t at = lv_tensor_bytes(&d->velocity_t), all = lv_tensor_bytes(&d->in.latent);

    if (all > at)
        lv_device_upload(d->dev, (char *)d->latent + at, condition, all - at);
    if (!d->m.cfg.clip_dim)
        return 0;
    lv_device_upload(d->dev, d->clip, clip, lv_tensor_bytes(&d->clip_t));
    return lv_program_run(d->image.p, NULL, NULL);
}

int nets_dit_run_frames(NetsDit *d, const float *latent, const float *t, float *velocity)
{
    int ret;

    lv_device_upload(d->dev, d->latent, latent, lv_tensor_bytes(&d->velocity_t));
    lv_device_upload(d->dev, d->t, t, lv_tensor_bytes(&d->in.t));
    ret = lv_program_run(d->net.p, NULL, NULL);
    return ret < 0 ? ret : fetch(d->dev, d->velocity_t, d->velocity, velocity);
}

int nets_dit_run(NetsDit *d, const float *latent, float t, float *velocity)
{
    return nets_dit_run_frames(d, latent, &t, velocity);
}

float *nets_dit_act(NetsDit *d, int layer, int which)
{
    LvTensor t = watched(d, layer, which);
    float *v = new_floats(lv_tensor_numel(&t));

    if (v && fetch(d->dev, t, d->act[layer][which], v) < 0) {
        free(v);
        v = NULL;
    }
    return v;
}

/* Text encoder */

static int run_text(const LvUmt5 *m, const int32_t *ids, int n, const NetsOptions *opt,
                    float **features)
{
    LvGraph *g = lv_graph_new(opt->msg);
    LvTensor x = lv_external(g, "ids", LV_I32, 1, (const int[]) { n }), y;
    Run r = { .dev = opt->dev };
    void *in, *out;
    int ret;

    y = lv_umt5_trace(g, m, x, (LvDtype)opt->dtype);
    lv_output(g, y, "features");
    ret = run_new(&r, g, opt->dev);
    if (ret >= 0) {
        in  = run_bind(&r, x);
        out = run_bind(&r, y);
        *features = new_floats(lv_tensor_numel(&y));
        ret = in && out && *features ? 0 : LV_ERR(ENOMEM);
        if (ret >= 0)
            lv_device_upload(r.dev, in, ids, (size_t)n * sizeof(*ids));
        if (ret >= 0 && (ret = lv_program_run(r.p, NULL, NULL)) >= 0)
            ret = fetch(r.dev, y, out, *features);
    }
    run_free(&r);
    return ret;
}

int nets_text(const LvSafetensors *st, const char *prefix, const LvUmt5Config *cfg,
              const int32_t *ids, int n, const NetsOptions *opt, float **features)
{
    LvUmt5 m = { 0 };
    LvWeights *w = NULL;
    int ret;

    *features = NULL;
    if ((ret = open_weights(&w, st, prefix, opt)) >= 0 &&
        (ret = lv_umt5_bind(&m, cfg, w, prefix)) >= 0 &&
        (ret = lv_weights_finish(w)) >= 0)
        ret = run_text(&m, ids, n, opt, features);
    lv_umt5_free(&m);
    lv_weights_free(&w);
    return ret;
}

/* Autoencoder */

static size_t clip_values(const NetsClip *c)
{
    return (size_t)c->frames * (size_t)c->rows * (size_t)c->cols * (size_t)c->channels;
}

NetsClip nets_clip(const float *frames, int n, int channels, int rows, int cols)
{
    NetsClip c = { NULL, n, rows, cols, channels };
    size_t area = (size_t)rows * (size_t)cols, k = 0;

    c.data = new_floats(clip_values(&c));
    for (size_t f = 0; f < (size_t)n && c.data; f++)
        for (size_t i = 0; i < area; i++)
            for (size_t ch = 0; ch < (size_t)channels; ch++)
                c.data[k++] = frames[(f * (size_t)channels + ch) * area + i];
    return c;
}

float *nets_planar(const NetsClip *c)
{
    size_t area = (size_t)c->rows * (size_t)c->cols, nb = (size_t)c->channels, k = 0;
    float *p = new_floats(clip_values(c));

    for (size_t f = 0; f < (size_t)c->frames && p; f++)
        for (size_t ch = 0; ch < nb; ch++)
            for (size_t i = 0; i < area; i++)
                p[k++] = c->data[(f * area + i) * nb + ch];
    return p;
}

typedef LvTensor (*TraceHalf)(LvGraph *g, const LvTae *m, LvTensor x, LvDtype dtype,
                              LvTaeState *state);

/* Run every chunk of x through the program; out is made on the way. */
static int run_chunks(Run *r, LvTensor x, LvTensor y, const NetsClip *in, NetsClip *out)
{
    int chunks = in->frames / x.dim[0], ret = 0;
    size_t from = lv_tensor_numel(&x), to = lv_tensor_numel(&y);
    void *src = run_bind(r, x), *dst = run_bind(r, y);

    *out = (NetsClip) { NULL, chunks * y.dim[0], y.dim[1], y.dim[2], y.dim[3] };
    out->data = new_floats(clip_values(out));
    if (!src || !dst || !out->data)
        return LV_ERR(ENOMEM);
    for (int i = 0; i < chunks && ret >= 0; i++) {
        lv_device_upload(r->dev, src, in->data + (size_t)i * from,
                           from * sizeof(float));
        if ((ret = lv_program_run(r->p, NULL, NULL)) >= 0)
            ret = fetch(r->dev, y, dst, out->data + (size_t)i * to);
    }
    return ret;
}

static int run_half(const LvTae *m, TraceHalf trace, const NetsClip *in, int chunk,
                    const NetsOptions *opt, NetsClip *out)
{
    LvGraph *g = lv_graph_new(opt->msg);
    LvTensor x = lv_external(g, "frames", LV_F32, 4,
                             (const int[]) { chunk, in->rows, in->cols, in->channels });
    LvTaeState state = { .nb = 0 };
    LvTensor y = trace(g, m, x, (LvDtype)opt->dtype, &state);
    Run r = { .dev = opt->dev };
    int ret;

    lv_output(g, y, "result");
    ret = run_new(&r, g, opt->dev);
    for (int i = 0; i < state.nb && ret >= 0; i++)
        if (!run_bind(&r, state.t[i]))
            ret = LV_ERR(ENOMEM);
    if (ret >= 0)
        ret = run_chunks(&r, x, y, in, out);
    run_free(&r);
    return ret;
}

static int code(const LvSafetensors *st, const char *prefix, const LvTaeConfig *cfg,
                int encoder, const NetsClip *in, int chunk, const NetsOptions *opt,
                NetsClip *out)
{
    LvTae *m = calloc(1, sizeof(*m));
    LvWeights *w = NULL;
    int ret = LV_ERR(ENOMEM);

    *out = (NetsClip) { 0 };
    if (m && (ret = open_weights(&w, st, prefix, opt)) >= 0 &&
        (ret = lv_tae_bind(m, cfg, encoder, w, prefix)) >= 0 &&
        (ret = lv_weights_finish(w)) >= 0)
        ret = run_half(m, encoder ? lv_tae_trace_encoder : lv_tae_trace_decoder, in,
                       chunk, opt, out);
    lv_weights_free(&w);
    free(m);
    return ret;
}

int nets_decode(const LvSafetensors *st, const char *prefix, const LvTaeConfig *cfg,
                const NetsClip *z, const NetsOptions *opt, NetsClip *out)
{
    return code(st, prefix, cfg, 0, z, 1, opt, out);
}

int nets_encode(const LvSafetensors *st, const char *prefix, const LvTaeConfig *cfg,
                const NetsClip *x, int chunk, const NetsOptions *opt, NetsClip *out)
{
    return code(st, prefix, cfg, 1, x, chunk, opt, out);
}

/* Files of the DiT */

static void put_acts(NetsDit *d, int layers, const LvSafetensors *st,
                     const NetsOptions *opt)
{
    static const char *const names[3] = { "act.block%d.self_attn",
                                          "act.block%d.cross_attn", "act.block%d" };

    for (int i = 0; i < layers; i++)
        for (int which = 0; which < 3; which++) {
            float *v = nets_dit_act(d, i, which);
            char name[64];
            snprintf(name, sizeof(name), names[which], i);
            put(opt, st, name, v);
            free(v);
        }
}

/* What a file of the DiT holds. */
typedef struct DitFile {
    const LvSafetensors *st;
    const NetsOptions *opt;
    LvDitConfig cfg;
    int size[3];
    float *latent, *context, *condition, *clip, *velocity;
} DitFile;

static int open_dit_file(DitFile *f)
{
    const LvSafetensors *st = f->st;
    int ret = nets_dit_config(&f->cfg, st, f->opt->msg);

    if (ret < 0 || !(f->latent = nets_floats(st, "in.latent", f->opt->msg)) ||
        !(f->context = nets_floats(st, "in.context", f->opt->msg)))
        return LV_ERR_MODEL;
    if ((f->cfg.cond_channels && !(f->condition = nets_floats(st, "in.y", f->opt->msg))) ||
        (f->cfg.clip_dim && !(f->clip = nets_floats(st, "in.clip_fea", f->opt->msg))))
        return LV_ERR_MODEL;
    for (int i = 0; i < 3; i++)
        f->size[i] = size_of(st, "in.latent", 1 + i);
    f->velocity = new_floats(lv_safetensors_find(st, "in.latent")->numel);
    return f->velocity ? 0 : LV_ERR(ENOMEM);
}

static void close_dit_file(DitFile *f)
{
    free(f->latent);
    free(f->context);
    free(f->condition);
    free(f->clip);
    free(f->velocity);
}

/* Run it at times t, of the sample or of each latent frame, and compare what is named. */
static int run_dit_at(DitFile *f, const float *t, int frame_times, const char *velocity, int acts)
{
    NetsOptions opt = *f->opt;
    NetsDit *d = NULL;
    int ret;

    opt.frame_times = frame_times;
    if ((ret = nets_dit_open(&d, f->st, "weights.", &f->cfg, f->size, &opt)) >= 0 &&
        (ret = nets_dit_text(d, f->context, size_of(f->st, "in.context", 0))) >= 0 &&
        (ret = nets_dit_image(d, f->condition, f->clip)) >= 0 &&
        (ret = nets_dit_run_frames(d, f->latent, t, f->velocity)) >= 0) {
        if (acts)
            put_acts(d, f->cfg.layers, f->st, &opt);
        put(&opt, f->st, velocity, f->velocity);
    }
    nets_dit_close(&d);
    return ret;
}

/* The first time of each latent frame's tokens, which have the same. @return frames, or 0 */
static int times_of_frames(float *t, const DitFile *f)
{
    int tokens = lv_dit_tokens(&f->cfg, f->size), frames = f->size[0] / f->cfg.patch[0];
    int n = tokens / frames;

    if (size_of(f->st, "in.t_tokens", 0) != tokens)
        return 0;
    for (int i = 0; i < tokens; i++)
        if (t[i] != t[i / n * n])
            return 0;
    for (int i = 0; i < frames; i++)
        t[i] = t[i * n];
    return frames;
}

static int run_dit_times(DitFile *f)
{
    float *t = nets_floats(f->st, "in.t_tokens", f->opt->msg);
    int ret  = t && times_of_frames(t, f) ? run_dit_at(f, t, 1, "out.velocity", 1) :
               lv_fail(f->opt->msg, LV_ERR_MODEL, "%s: in.t_tokens: expected one time for all "
                       "tokens of a latent frame", lv_safetensors_path(f->st));

    free(t);
    return ret;
}

static int run_dit_file(const LvSafetensors *st, const NetsOptions *opt)
{
    int frames = lv_safetensors_find(st, "in.t_tokens") != NULL;
    float *t   = nets_floats(st, "in.t", opt->msg);
    DitFile f  = { .st = st, .opt = opt };
    int ret    = t ? open_dit_file(&f) : LV_ERR_MODEL;

    if (ret >= 0 && frames)
        ret = run_dit_times(&f);
    if (ret >= 0)
        ret = run_dit_at(&f, t, 0, frames ? "out.velocity_scalar_t" : "out.velocity", !frames);
    close_dit_file(&f);
    free(t);
    return ret;
}

/* Files of the text encoder */

static int encode_ids(const LvSafetensors *model, const char *prefix,
                      const LvUmt5Config *cfg, const LvSafetensors *st, const char *name,
                      const NetsOptions *opt, float **features)
{
    const LvFileTensor *t = lv_safetensors_find(st, name);
    int32_t *ids;
    int ret;

    if (!t || t->dtype != LV_I32 || t->numel < 1 || t->numel > 4096)
        return lv_fail(opt->msg, LV_ERR_MODEL, "%s: no tensor %s of type I32",
                       lv_safetensors_path(st), name);
    if (!(ids = malloc(t->size)))
        return LV_ERR(ENOMEM);
    memcpy(ids, t->data, t->size);
    ret = nets_text(model, prefix, cfg, ids, (int)t->numel, opt, features);
    free(ids);
    return ret;
}

static int run_text_file(const LvSafetensors *st, const NetsOptions *opt)
{
    const LvUmt5Config cfg = {
        .vocab = meta(st, "vocab"), .dim = meta(st, "dim"), .dim_ffn = meta(st, "ffn"),
        .dim_attn = meta(st, "dim_attn"), .heads = meta(st, "heads"),
        .layers = meta(st, "layers"), .max_distance = 128, .eps = 1e-6f,
        .buckets = size_of(st, "weights.blocks.0.pos_embedding.embedding.weight", 0),
    };
    float *features;
    int ret;

    if (cfg.layers < 1 || cfg.heads < 1)
        return lv_fail(opt->msg, LV_ERR_MODEL, "%s: metadata do not describe a text "
                       "encoder", lv_safetensors_path(st));
    ret = encode_ids(st, "weights.", &cfg, st, "in.ids", opt, &features);
    if (ret >= 0)
        put(opt, st, "out.features", features);
    if (ret >= 0)
        free(features);
    return ret;
}

/* Files of the autoencoder */

static NetsClip file_clip(const LvSafetensors *st, const char *name, const LvMsg *msg)
{
    float *v = nets_floats(st, name, msg);
    NetsClip c = { 0 };

    if (v)
        c = nets_clip(v, size_of(st, name, 0), size_of(st, name, 1),
                      size_of(st, name, 2), size_of(st, name, 3));
    free(v);
    return c;
}

static int put_clip(const NetsOptions *opt, const LvSafetensors *st, const char *name,
                    const NetsClip *c)
{
    const LvFileTensor *ref = lv_safetensors_find(st, name);
    float *planar = nets_planar(c);

    if (ref && ref->numel != clip_values(c))
        lv_msg(opt->msg, LV_MSG_ERROR, "%s: %s has %zu values, ours %zu",
               lv_safetensors_path(st), name, ref->numel, clip_values(c));
    else
        put(opt, st, name, planar);
    free(planar);
    return ref && ref->numel == clip_values(c) ? 0 : LV_ERR_MODEL;
}

static int run_tae_file(const LvSafetensors *st, const NetsOptions *opt)
{
    const LvTaeConfig cfg = { .channels = size_of(st, "weights.decoder.1.weight", 1),
                              .patch = 1 };
    NetsClip z = file_clip(st, "in.latent", opt->msg);
    NetsClip x = file_clip(st, "in.video", opt->msg), out = { 0 };
    int ret = z.data && x.data ? 0 : LV_ERR_MODEL;

    if (ret >= 0 &&
        (ret = nets_decode(st, "weights.decoder.", &cfg, &z, opt, &out)) >= 0)
        ret = put_clip(opt, st, "out.frames", &out);
    free(out.data);
    out.data = NULL;
    if (ret >= 0 &&
        (ret = nets_encode(st, "weights.encoder.", &cfg, &x, x.frames, opt, &out)) >= 0)
        ret = put_clip(opt, st, "out.latent", &out);
    free(out.data);
    free(z.data);
    free(x.data);
    return ret;
}

/* Files of Wan's autoencoder: a program for the first frame, one for the others, which
 * share their state. */

typedef LvTensor (*TraceWan)(LvGraph *g, const LvWanVae *m, LvTensor x, int first,
                             LvDtype dtype, LvWanState *state);

typedef struct WanRun {
    Run run;
    LvTensor x, y;
    LvWanState state;
    float *in, *out; /* device */
    float *act[LV_WAN_LAYERS];
} WanRun;

/* Layers whose outputs are wanted, and these of all chunks one behind the other. */
typedef struct WanActs {
    int wanted[LV_WAN_LAYERS];
    NetsClip clip[LV_WAN_LAYERS];
} WanActs;

static int bind_wan_acts(WanRun *w, const WanActs *acts)
{
    for (int i = 0; i < LV_WAN_LAYERS; i++)
        if (acts && acts->wanted[i] && !(w->act[i] = run_bind(&w->run, w->state.out[i])))
            return LV_ERR(ENOMEM);
    return 0;
}

static int open_wan(WanRun *w, const LvWanVae *m, TraceWan trace, int first, int frames,
                    const NetsClip *in, const NetsOptions *opt, const WanActs *acts)
{
    LvGraph *g = lv_graph_new(opt->msg);
    int ret;

    w->x = lv_external(g, "frames", LV_F32, 4,
                       (const int[]) { frames, in->rows, in->cols, in->channels });
    w->y = trace(g, m, w->x, first, (LvDtype)opt->dtype, &w->state);
    lv_output(g, w->y, "result");
    for (int i = 0; i < LV_WAN_LAYERS; i++)
        if (acts && acts->wanted[i])
            lv_watch(g, w->state.out[i], "activation");
    if ((ret = run_new(&w->run, g, opt->dev)) < 0)
        return ret;
    w->in  = run_bind(&w->run, w->x);
    w->out = run_bind(&w->run, w->y);
    return w->in && w->out ? bind_wan_acts(w, acts) : LV_ERR(ENOMEM);
}

/* Memory of the later program is that of the first. */
static int share_state(WanRun *first, WanRun *rest)
{
    for (int i = 0; i < rest->state.nb; i++) {
        void *data = run_bind(&rest->run, rest->state.t[i]);
        if (!data)
            return LV_ERR(ENOMEM);
        if (lv_has(&first->state.t[i]))
            lv_program_bind(first->run.p, first->state.t[i], data);
    }
    return 0;
}

static int run_wan_chunk(WanRun *w, const float *in, float *out)
{
    int ret = lv_device_upload(w->run.dev, w->in, in, lv_tensor_bytes(&w->x));

    if (ret >= 0)
        ret = lv_program_run(w->run.p, NULL, NULL);
    return ret < 0 ? ret : fetch(w->run.dev, w->y, w->out, out);
}

/* Add a chunk's frames to those of the chunks before. */
static int keep_wan_acts(const WanRun *w, WanActs *acts)
{
    for (int i = 0; i < LV_WAN_LAYERS; i++) {
        const LvTensor *t = &w->state.out[i];
        NetsClip *c = &acts->clip[i];
        size_t before = clip_values(c);
        float *data;
        if (!acts->wanted[i])
            continue;
        if (!(data = realloc(c->data, (before + lv_tensor_numel(t)) * sizeof(*data))))
            return LV_ERR(ENOMEM);
        *c = (NetsClip) { data, c->frames + t->dim[0], t->dim[1], t->dim[2], t->dim[3] };
        if (fetch(w->run.dev, *t, w->act[i], data + before) < 0)
            return LV_ERR(ENOMEM);
    }
    return 0;
}

/* Chunks: one frame, then `chunk` at a time. acts: NULL where none are wanted. */
static int run_wan(const LvWanVae *m, TraceWan trace, const NetsClip *in, int chunk,
                   const NetsOptions *opt, WanActs *acts, NetsClip *out)
{
    WanRun *w = calloc(2, sizeof(*w));
    int chunks = 1 + (in->frames - 1) / chunk, ret;
    size_t frame = clip_values(in) / (size_t)in->frames;
    float *to;

    if (!w)
        return LV_ERR(ENOMEM);
    if ((ret = open_wan(&w[0], m, trace, 1, 1, in, opt, acts)) >= 0 &&
        (ret = open_wan(&w[1], m, trace, 0, chunk, in, opt, acts)) >= 0)
        ret = share_state(&w[0], &w[1]);
    *out = (NetsClip) { NULL, w[0].y.dim[0] + (chunks - 1) * w[1].y.dim[0], w[0].y.dim[1],
                        w[0].y.dim[2], w[0].y.dim[3] };
    to = out->data = new_floats(clip_values(out));
    for (int i = 0; i < chunks && ret >= 0; i++) {
        size_t at = i ? 1 + (size_t)(i - 1) * (size_t)chunk : 0;
        if ((ret = run_wan_chunk(&w[!!i], in->data + at * frame, to)) >= 0 && acts)
            ret = keep_wan_acts(&w[!!i], acts);
        to += lv_tensor_numel(&w[!!i].y);
    }
    run_free(&w[0].run);
    run_free(&w[1].run);
    free(w);
    return ret;
}

static int run_wan_net(const LvSafetensors *st, const char *prefix, const LvTaeConfig *cfg,
                       int encoder, const NetsClip *in, const NetsOptions *opt, WanActs *acts,
                       NetsClip *out)
{
    LvWanVae *m  = calloc(1, sizeof(*m));
    LvWeights *w = NULL;
    int ret = LV_ERR(ENOMEM);

    *out = (NetsClip) { 0 };
    if (m && (ret = open_weights(&w, st, prefix, opt)) >= 0 &&
        (ret = lv_wan_vae_bind(m, cfg, 0, w, prefix)) >= 0 &&
        (ret = lv_wan_vae_bind(m, cfg, 1, w, prefix)) >= 0 &&
        (ret = lv_weights_finish(w)) >= 0)
        ret = encoder ? run_wan(m, lv_wan_vae_trace_encoder, in, 4, opt, acts, out)
                      : run_wan(m, lv_wan_vae_trace_decoder, in, 1, opt, acts, out);
    lv_weights_free(&w);
    free(m);
    return ret;
}

int nets_wan(const LvSafetensors *st, const char *prefix, const LvTaeConfig *cfg,
             int encoder, const NetsClip *in, const NetsOptions *opt, NetsClip *out)
{
    return run_wan_net(st, prefix, cfg, encoder, in, opt, NULL, out);
}

/* Both are channels last, in file and memory. */
static int run_wan_half(const LvSafetensors *st, const LvTaeConfig *cfg, int encoder,
                        const char *from, const char *to, const NetsOptions *opt)
{
    NetsClip in = { nets_floats(st, from, opt->msg), size_of(st, from, 0),
                    size_of(st, from, 1), size_of(st, from, 2), size_of(st, from, 3) };
    NetsClip out = { 0 };
    const LvFileTensor *ref = lv_safetensors_find(st, to);
    int ret = in.data && ref ? nets_wan(st, "weights.", cfg, encoder, &in, opt, &out)
                             : LV_ERR_MODEL;

    if (ret >= 0 && clip_values(&out) != ref->numel)
        ret = LV_ERR_MODEL;
    if (ret >= 0)
        put(opt, st, to, out.data);
    free(in.data);
    free(out.data);
    return ret;
}

static int run_our_wan_file(const LvSafetensors *st, const NetsOptions *opt)
{
    const LvTaeConfig cfg = { .kind = LV_VAE_WAN, .channels = meta(st, "channels"),
                              .width = meta(st, "width"), .patch = 1 };
    int ret = run_wan_half(st, &cfg, 0, "z", "z.pictures", opt);

    return ret < 0 ? ret : run_wan_half(st, &cfg, 1, "x", "x.latents", opt);
}

/* A file of the published code: tensors [channels,F,Y,X], the network told by its tensors. */

static int read_wan(LvTaeConfig *cfg, const LvSafetensors *st, const NetsOptions *opt)
{
    LvSource *src = NULL;
    int ret = lv_source_view(&src, st, opt->msg);

    if (ret >= 0) {
        const LvPart part = lv_part_find_kind(src, LV_PART_WAN_VAE);
        ret = lv_part_vae(cfg, &part, opt->msg);
    }
    lv_source_close(&src);
    return ret;
}

/* [channels,F,Y,X] with channels last, and back. */
static NetsClip wan_clip(const LvSafetensors *st, const char *name, const LvMsg *msg)
{
    NetsClip c = { NULL, size_of(st, name, 1), size_of(st, name, 2), size_of(st, name, 3),
                   size_of(st, name, 0) };
    float *v = nets_floats(st, name, msg);
    size_t n = clip_values(&c), nb = (size_t)c.channels;

    if (v && (c.data = new_floats(n)))
        for (size_t i = 0; i < n; i++)
            c.data[i % (n / nb) * nb + i / (n / nb)] = v[i];
    free(v);
    return c;
}

static int put_wan(const NetsOptions *opt, const LvSafetensors *st, const char *name,
                   const NetsClip *c)
{
    const LvFileTensor *ref = lv_safetensors_find(st, name);
    size_t n = clip_values(c), nb = (size_t)c->channels;
    float *v = new_floats(n);

    if (!v || !ref)
        n = 0;
    else if (ref->numel != n || ref->dim[0] != c->channels)
        n = 0, lv_msg(opt->msg, LV_MSG_ERROR, "%s: %s: expected [%d,%d,%d,%d]",
                      lv_safetensors_path(st), name, c->channels, c->frames, c->rows, c->cols);
    for (size_t i = 0; i < n; i++)
        v[i] = c->data[i % (n / nb) * nb + i / (n / nb)];
    if (n)
        put(opt, st, name, v);
    free(v);
    return n || !ref ? 0 : LV_ERR_MODEL;
}

/* Activations by the last layer of what they are of. */
static const struct {
    const char *name;
    int encoder, layer;
} wan_acts[] = {
    { "act.dec.middle", 0, 3 },
    { "act.dec.upsamples.0", 0, 7 },    { "act.dec.upsamples.1", 0, 11 },
    { "act.dec.upsamples.2", 0, 15 },   { "act.dec.upsamples.3", 0, 18 },
    { "act.enc.downsamples.0", 1, 3 },  { "act.enc.downsamples.1", 1, 6 },
    { "act.enc.downsamples.2", 1, 9 },  { "act.enc.downsamples.3", 1, 11 },
    { "act.enc.middle", 1, 14 },
};

typedef struct WanFile {
    const LvSafetensors *st;
    const NetsOptions *opt;
    LvTaeConfig cfg;
} WanFile;

static int put_wan_acts(const WanFile *f, int encoder, WanActs *acts)
{
    int ret = 0;

    for (int i = 0; i < LV_COUNT(wan_acts); i++)
        if (wan_acts[i].encoder == encoder && acts->wanted[wan_acts[i].layer] && ret >= 0)
            ret = put_wan(f->opt, f->st, wan_acts[i].name, &acts->clip[wan_acts[i].layer]);
    for (int i = 0; i < LV_WAN_LAYERS; i++)
        free(acts->clip[i].data);
    return ret;
}

/* x s + m for each channel, or with back its inverse */
static void scale_wan(const WanFile *f, NetsClip *c, int back)
{
    for (size_t i = 0; i < clip_values(c); i++) {
        float m = f->cfg.mean[i % (size_t)c->channels], s = f->cfg.std[i % (size_t)c->channels];
        c->data[i] = back ? (c->data[i] - m) / s : c->data[i] * s + m;
    }
}

/* What goes in, what comes of it, and whether latents are normalised there. */
typedef struct WanCase {
    int encoder;
    const char *in, *out, *normalised;
    int acts;
} WanCase;

static int run_wan_case(const WanFile *f, const WanCase *k)
{
    WanActs acts = { { 0 }, { { NULL, 0, 0, 0, 0 } } };
    NetsClip in = wan_clip(f->st, k->in, f->opt->msg), out = { 0 };
    int ret = in.data ? 0 : LV_ERR_MODEL, compared;

    for (int i = 0; i < LV_COUNT(wan_acts) && k->acts; i++)
        if (wan_acts[i].encoder == k->encoder && lv_safetensors_find(f->st, wan_acts[i].name))
            acts.wanted[wan_acts[i].layer] = 1;
    if (ret >= 0 && (ret = run_wan_net(f->st, "weights.", &f->cfg, k->encoder, &in, f->opt,
                                       k->acts ? &acts : NULL, &out)) >= 0)
        ret = put_wan(f->opt, f->st, k->out, &out);
    if (ret >= 0 && k->normalised) {
        scale_wan(f, &out, 1);
        ret = put_wan(f->opt, f->st, k->normalised, &out);
    }
    compared = put_wan_acts(f, k->encoder, &acts);
    free(in.data);
    free(out.data);
    return ret < 0 ? ret : compared;
}

/* De-normalised latents, and frames in range. */
static int run_wan_denormalised(const WanFile *f)
{
    static const char name[] = "out.video_denormalised";
    NetsClip in, out = { 0 };
    int ret;

    if (!lv_safetensors_find(f->st, name))
        return 0;
    in = wan_clip(f->st, "in.latent", f->opt->msg);
    if (!in.data)
        return LV_ERR_MODEL;
    scale_wan(f, &in, 0);
    ret = run_wan_net(f->st, "weights.", &f->cfg, 0, &in, f->opt, NULL, &out);
    for (size_t i = 0; ret >= 0 && i < clip_values(&out); i++)
        out.data[i] = fminf(fmaxf(out.data[i], -1), 1);
    if (ret >= 0)
        ret = put_wan(f->opt, f->st, name, &out);
    free(in.data);
    free(out.data);
    return ret;
}

static int run_wan_file(const LvSafetensors *st, const NetsOptions *opt)
{
    static const WanCase cases[] = {
        { 0, "in.latent", "out.video", NULL, 1 },
        { 1, "in.video", "out.mean", "out.mean_normalised", 1 },
        { 1, "in.image", "out.image_mean", NULL, 0 },
    };
    WanFile f = { .st = st, .opt = opt };
    int ret;

    if (!lv_safetensors_find(st, "in.latent"))
        return run_our_wan_file(st, opt);
    ret = read_wan(&f.cfg, st, opt);
    for (int i = 0; i < LV_COUNT(cases) && ret >= 0; i++)
        if (lv_safetensors_find(st, cases[i].in))
            ret = run_wan_case(&f, &cases[i]);
    return ret < 0 ? ret : run_wan_denormalised(&f);
}

/* Files of samplers: u(x, t) = tanh(A x + b t / 1000 + c) */

/* c: NULL for none */
static void field(float *v, const float *a, const float *b, const float *c, const float *x,
                  size_t n, double t)
{
    for (size_t i = 0; i < n; i++) {
        double sum = b[i] * t / 1000 + (c ? c[i] : 0);
        for (size_t j = 0; j < n; j++)
            sum += (double)a[i * n + j] * x[j];
        v[i] = (float)tanh(sum);
    }
}

static void put_sigmas(const NetsOptions *opt, const LvSafetensors *st,
                       const char *name, const LvSampler *s, int steps)
{
    float sigma[1001];

    for (int i = 0; i <= steps; i++)
        sigma[i] = lv_sampler_sigma(s, i);
    put(opt, st, name, sigma);
}

/* One sampler; its states are named "unipc.50.5.0.states": kind, steps, shift. */
static int run_sampler(const LvSafetensors *st, const LvFileTensor *ref,
                       const float *a, const float *b, const float *start,
                       const NetsOptions *opt)
{
    size_t n = (size_t)ref->dim[1];
    float *states = new_floats(ref->numel + 2 * n);
    LvSampler *s = NULL;
    char kind[16], name[300];
    double shift;
    int steps, ret = LV_ERR_MODEL;

    if (states && sscanf(ref->name, "%15[^.].%d.%lf", kind, &steps, &shift) == 3 &&
        steps == ref->dim[0])
        ret = lv_sampler_new(&s, lv_sampler_by_name(kind), steps, shift, n, opt->msg);
    if (ret >= 0) {
        float *x = states + ref->numel, *v = x + n;
        memcpy(x, start, n * sizeof(*x));
        for (int i = 0; i < steps; i++) {
            field(v, a, b, NULL, x, n, lv_sampler_time(s, i));
            lv_sampler_step(s, i, x, v);
            memcpy(states + (size_t)i * n, x, n * sizeof(*x));
        }
        snprintf(name, sizeof(name), "%.*ssigmas", (int)strlen(ref->name) - 6, ref->name);
        put_sigmas(opt, st, name, s, steps);
        put(opt, st, ref->name, states);
    }
    lv_sampler_free(&s);
    free(states);
    return ret;
}

static int ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);

    return n >= m && !strcmp(text + n - m, end);
}

static int run_samplers(const LvSafetensors *st, const NetsOptions *opt)
{
    float *a = nets_floats(st, "A", opt->msg), *b = nets_floats(st, "b", opt->msg);
    float *x = nets_floats(st, "x_start", opt->msg);
    int ret = a && b && x ? 0 : LV_ERR_MODEL;

    for (int i = 0; i < lv_safetensors_count(st) && ret >= 0; i++) {
        const LvFileTensor *t = lv_safetensors_at(st, i);
        if (ends_with(t->name, ".states"))
            ret = run_sampler(st, t, a, b, x, opt);
    }
    free(a);
    free(b);
    free(x);
    return ret;
}

/* Files of samplers with two experts */

/* A line of the file's cases. */
typedef struct ExpertCase {
    const char *name, *solver;
    int steps;
    double shift, boundary, guidance[LV_EXPERTS];
} ExpertCase;

/* The fields of both experts, and the prompts' terms. */
typedef struct ExpertFields {
    size_t n;
    float *a[LV_EXPERTS], *b[LV_EXPERTS], *prompt, *null;
} ExpertFields;

static int read_case(ExpertCase *c, json_t *line)
{
    return json_unpack(line, "[s,s,i,F,F,F,F]", &c->name, &c->solver, &c->steps, &c->shift,
                       &c->boundary, &c->guidance[LV_LOW], &c->guidance[LV_HIGH]) == 0 &&
           c->steps > 0 && c->steps < 1000 ? 0 : LV_ERR_MODEL;
}

/* work: [2 n] */
static void expert_step(const ExpertFields *f, const ExpertCase *c, LvSampler *s, int i, float *x,
                        float *work)
{
    int expert   = lv_sampler_expert(s, i, (float)c->boundary);
    double scale = c->guidance[expert], t = (double)lv_sampler_time(s, i);
    float *v = work, *u = work + f->n;

    field(v, f->a[expert], f->b[expert], f->prompt, x, f->n, t);
    if (scale != 1) {
        field(u, f->a[expert], f->b[expert], f->null, x, f->n, t);
        lv_guide(v, u, f->n, (float)scale);
    }
    lv_sampler_step(s, i, x, v);
}

static void put_case(const LvSafetensors *st, const NetsOptions *opt, const ExpertCase *c,
                     const char *what, const float *ours)
{
    char name[300];

    snprintf(name, sizeof(name), "out.%s.%s", c->name, what);
    put(opt, st, name, ours);
}

/* states: [steps,n] and 3 n; times, high: [steps] */
static void run_case(const LvSafetensors *st, const NetsOptions *opt, const ExpertFields *f,
                     const ExpertCase *c, LvSampler *s, float *states, float *times, float *high)
{
    float *x = states + (size_t)c->steps * f->n;

    for (int i = 0; i < c->steps; i++) {
        times[i] = lv_sampler_time(s, i);
        high[i]  = lv_sampler_expert(s, i, (float)c->boundary) == LV_HIGH;
        expert_step(f, c, s, i, x, x + f->n);
        memcpy(states + (size_t)i * f->n, x, f->n * sizeof(*x));
    }
    put_case(st, opt, c, "timesteps", times);
    put_case(st, opt, c, "use_high", high);
    put_case(st, opt, c, "states", states);
}

static int open_case(const LvSafetensors *st, const NetsOptions *opt, const ExpertFields *f,
                     const ExpertCase *c)
{
    float *states = new_floats(((size_t)c->steps + 3) * f->n), *start;
    float *times  = new_floats((size_t)c->steps), *high = new_floats((size_t)c->steps);
    LvSampler *s  = NULL;
    char name[300];
    int ret;

    snprintf(name, sizeof(name), "in.%s.noise", c->name);
    start = nets_floats(st, name, opt->msg);
    ret   = states && times && high && start && (size_t)size_of(st, name, 0) == f->n
          ? lv_sampler_new(&s, lv_sampler_by_name(c->solver), c->steps, c->shift, f->n, opt->msg)
          : LV_ERR_MODEL;
    if (ret >= 0) {
        memcpy(states + (size_t)c->steps * f->n, start, f->n * sizeof(*start));
        run_case(st, opt, f, c, s, states, times, high);
    }
    lv_sampler_free(&s);
    free(states);
    free(start);
    free(times);
    free(high);
    return ret;
}

static int open_fields(ExpertFields *f, const LvSafetensors *st, const LvMsg *msg)
{
    static const char *const names[LV_EXPERTS][2] = {
        [LV_HIGH] = { "weights.high.A", "weights.high.b" },
        [LV_LOW]  = { "weights.low.A", "weights.low.b" },
    };
    int missing = 0;

    f->n = (size_t)size_of(st, names[LV_HIGH][1], 0);
    for (int i = 0; i < LV_EXPERTS; i++) {
        missing |= !(f->a[i] = nets_floats(st, names[i][0], msg));
        missing |= !(f->b[i] = nets_floats(st, names[i][1], msg));
        missing |= size_of(st, names[i][0], 1) != (int)f->n;
    }
    missing |= !(f->prompt = nets_floats(st, "in.context", msg));
    missing |= !(f->null = nets_floats(st, "in.context_null", msg));
    return missing ? LV_ERR_MODEL : 0;
}

static void close_fields(ExpertFields *f)
{
    for (int i = 0; i < LV_EXPERTS; i++) {
        free(f->a[i]);
        free(f->b[i]);
    }
    free(f->prompt);
    free(f->null);
}

static int run_experts(const LvSafetensors *st, const NetsOptions *opt)
{
    const char *text    = lv_safetensors_meta(st, "cfg");
    json_t *root        = json_loads(text ? text : "", 0, NULL);
    const json_t *cases = json_object_get(root, "cases");
    ExpertFields f      = { 0 };
    ExpertCase c;
    int ret = json_is_array(cases) ? open_fields(&f, st, opt->msg) : LV_ERR_MODEL;

    for (size_t i = 0; i < json_array_size(cases) && ret >= 0; i++)
        if ((ret = read_case(&c, json_array_get(cases, i))) >= 0)
            ret = open_case(st, opt, &f, &c);
    if (ret < 0)
        lv_msg(opt->msg, LV_MSG_ERROR, "%s: its cases can't be read", lv_safetensors_path(st));
    close_fields(&f);
    json_decref(root);
    return ret;
}

/* The sample model: everything from ids to frames, each fed with what we made */

enum { SAMPLE_STEPS = 8, SAMPLE_SHIFT = 3, SAMPLE_GUIDANCE = 3 };

typedef struct Sample {
    const LvSafetensors *st;
    LvSafetensors *bundle;
    const NetsOptions *opt;
    LvModelConfig cfg;
    NetsDit *dit;
    float *prompt, *negative; ///< features of prompt 0, and of the empty one
    float *noise;
    int prompt_rows, negative_rows;
    int size[3];
    size_t n;                 ///< values of the latents
} Sample;

/* Features of "<name>.ids", compared with "<name>.features". */
static int sample_text(Sample *s, const char *stem, float **features, int *rows)
{
    char ids[64], name[64];
    int ret;

    snprintf(ids, sizeof(ids), "%s.ids", stem);
    snprintf(name, sizeof(name), "%s.features", stem);
    *rows = size_of(s->st, ids, 0);
    ret = encode_ids(s->bundle, "text.", &s->cfg.text, s->st, ids, s->opt, features);
    if (ret >= 0)
        put(s->opt, s->st, name, *features);
    return ret;
}

static int sample_texts(Sample *s)
{
    float *other = NULL;
    int rows, ret = sample_text(s, "prompt0", &s->prompt, &s->prompt_rows);
    char name[64], ids[80];

    for (int i = 1; ret >= 0; i++) {
        snprintf(name, sizeof(name), "prompt%d", i);
        snprintf(ids, sizeof(ids), "%s.ids", name);
        if (!lv_safetensors_find(s->st, ids))
            break;
        ret = sample_text(s, name, &other, &rows);
        free(other);
    }
    return ret < 0 ? ret : sample_text(s, "negative", &s->negative, &s->negative_rows);
}

/* Every "velocity.t<time>" of the file, on the noise with prompt 0. */
static int sample_velocities(Sample *s)
{
    float *v = new_floats(s->n);
    int ret = v ? nets_dit_text(s->dit, s->prompt, s->prompt_rows) : LV_ERR(ENOMEM);
    float t;

    for (int i = 0; i < lv_safetensors_count(s->st) && ret >= 0; i++) {
        const char *name = lv_safetensors_at(s->st, i)->name;
        if (sscanf(name, "velocity.t%f", &t) != 1)
            continue;
        if ((ret = nets_dit_run(s->dit, s->noise, t, v)) >= 0)
            put(s->opt, s->st, name, v);
    }
    free(v);
    return ret;
}

static int guided_velocity(Sample *s, const float *x, float t, float *u, float *v)
{
    int ret;

    if ((ret = nets_dit_text(s->dit, s->negative, s->negative_rows)) < 0 ||
        (ret = nets_dit_run(s->dit, x, t, u)) < 0 ||
        (ret = nets_dit_text(s->dit, s->prompt, s->prompt_rows)) < 0 ||
        (ret = nets_dit_run(s->dit, x, t, v)) < 0)
        return ret;
    lv_guide(v, u, s->n, SAMPLE_GUIDANCE);
    return 0;
}

/* states: [steps,n]; work: [3 n] */
static int sample_steps(Sample *s, LvSampler *sampler, float *states, float *work)
{
    float *x = work, *u = x + s->n, *v = u + s->n;
    int ret = 0;

    memcpy(x, s->noise, s->n * sizeof(*x));
    for (int i = 0; i < SAMPLE_STEPS && ret >= 0; i++) {
        ret = guided_velocity(s, x, lv_sampler_time(sampler, i), u, v);
        lv_sampler_step(sampler, i, x, v);
        memcpy(states + (size_t)i * s->n, x, s->n * sizeof(*x));
    }
    put_sigmas(s->opt, s->st, "euler8.sigmas", sampler, SAMPLE_STEPS);
    put(s->opt, s->st, "euler8.states", states);
    return ret;
}

/* De-normalise latents [channels,F,Y,X], decode, drop the first frames; as many as are recorded. */
static int sample_frames(Sample *s, const float *x)
{
    int area = s->size[1] * s->size[2], nb = s->cfg.vae.channels, ret;
    NetsClip z = { new_floats(s->n), s->size[0], s->size[1], s->size[2], nb }, out, cut;

    if (!z.data)
        return LV_ERR(ENOMEM);
    for (int c = 0, k = 0; c < nb; c++)
        for (int i = 0; i < s->size[0] * area; i++)
            z.data[i * nb + c] = x[k++] * s->cfg.vae.std[c] + s->cfg.vae.mean[c];
    ret = nets_decode(s->bundle, "vae.decoder.", &s->cfg.vae, &z, s->opt, &out);
    free(z.data);
    if (ret < 0)
        return ret;
    cut        = out;
    cut.frames = out.frames - (out.frames / s->size[0] - 1);
    cut.data  += (size_t)(out.frames - cut.frames) *
                 (clip_values(&out) / (size_t)out.frames);
    cut.frames = LV_MIN(cut.frames, size_of(s->st, "euler8.frames", 0));
    ret = put_clip(s->opt, s->st, "euler8.frames", &cut);
    free(out.data);
    return ret;
}

static int sample_clip(Sample *s)
{
    float *states = new_floats((SAMPLE_STEPS + 3) * s->n);
    LvSampler *sampler = NULL;
    int ret = states ? lv_sampler_new(&sampler, LV_SAMPLER_EULER, SAMPLE_STEPS,
                                      SAMPLE_SHIFT, s->n, s->opt->msg) : LV_ERR(ENOMEM);

    if (ret >= 0)
        ret = sample_steps(s, sampler, states, states + SAMPLE_STEPS * s->n);
    if (ret >= 0)
        ret = sample_frames(s, states + (SAMPLE_STEPS - 1) * s->n);
    lv_sampler_free(&sampler);
    free(states);
    return ret;
}

static int open_sample(Sample *s)
{
    int ret;

    if ((ret = lv_safetensors_open(&s->bundle, s->opt->bundle, s->opt->msg)) < 0 ||
        (ret = lv_config_read(&s->cfg, s->bundle, s->opt->msg)) < 0)
        return ret;
    if (!(s->noise = nets_floats(s->st, "noise", s->opt->msg)))
        return LV_ERR_MODEL;
    for (int i = 0; i < 3; i++)
        s->size[i] = size_of(s->st, "noise", 1 + i);
    s->n = lv_safetensors_find(s->st, "noise")->numel;
    return nets_dit_open(&s->dit, s->bundle, "dit.", &s->cfg.dit, s->size, s->opt);
}

static int run_sample_file(const LvSafetensors *st, const NetsOptions *opt)
{
    Sample s = { .st = st, .opt = opt };
    int ret;

    if ((ret = open_sample(&s)) >= 0 && (ret = sample_texts(&s)) >= 0 &&
        (ret = sample_velocities(&s)) >= 0)
        ret = sample_clip(&s);
    nets_dit_close(&s.dit);
    lv_safetensors_close(&s.bundle);
    free(s.prompt);
    free(s.negative);
    free(s.noise);
    return ret;
}

/* What a file is, by a tensor it has. */
static const struct {
    const char *tensor;
    int rank;
    int (*run)(const LvSafetensors *st, const NetsOptions *opt);
} kinds[] = {
    { "weights.patch_embedding.weight", 5, run_dit_file },
    { "weights.token_embedding.weight", 2, run_text_file },
    { "weights.decoder.1.weight",       4, run_tae_file },
    { "weights.decoder.conv1.weight",   5, run_wan_file },
    { "A",                              2, run_samplers },
    { "weights.high.A",                 2, run_experts },
    { "in.noise",                       4, pipes_run },
    { "prompt0.ids",                    1, run_sample_file },
    { "in.table.image_wh",              2, run_prepare_file },
    { "weights.visual.patch_embedding.weight", 4, run_clip_file },
};

int nets_run(const LvSafetensors *st, const NetsOptions *opt)
{
    for (int i = 0; i < LV_COUNT(kinds); i++) {
        const LvFileTensor *t = lv_safetensors_find(st, kinds[i].tensor);
        if (t && t->rank == kinds[i].rank)
            return kinds[i].run(st, opt);
    }
    return lv_fail(opt->msg, LV_ERR_UNSUPPORTED, "%s: no file of reference numbers of a "
                   "known kind", lv_safetensors_path(st));
}

int nets_is_pipeline(const LvSafetensors *st)
{
    const LvFileTensor *t = lv_safetensors_find(st, "in.noise");

    return t && t->rank == 4;
}

int nets_run_file(const char *path, const NetsOptions *opt)
{
    LvSafetensors *st;
    int ret = lv_safetensors_open(&st, path, opt->msg);

    if (ret >= 0)
        ret = nets_run(st, opt);
    lv_safetensors_close(&st);
    return ret;
}
