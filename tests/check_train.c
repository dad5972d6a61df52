/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Tests of floor "train": gradients of whole networks against those that PyTorch gives
 * (tests/ref/make_grads.py), and of runs: resuming, settings, logs, rates. Run from the
 * top folder.
 */

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sealed.h"
#include "graph/grad.h"
#include "graph/program.h"
#include "tests/keep.h"
#include "tests/nets.h"
#include "train/pretrain/autoencoder.h"
#include "train/pretrain/flow.h"
#include "train/pretrain/latents.h"
#include "train/pretrain/tokenizer_train.h"
#include "train/run/log.h"

#ifndef REF_DIR
#define REF_DIR "tests/ref"
#endif

/* Measured: at most 6e-6, 2.8e-7 and 1.2e-2. */
#define GRAD_BOUND    1e-4
#define FORWARD_BOUND 1e-5
#define BF16_BOUND    3e-2

static const LvMsg keep = { keep_line, NULL, LV_MSG_WARNING };

#define SUCCEEDS(call)                                            \
    do {                                                          \
        int code = (call);                                        \
        ck_assert_msg(code == 0, "%d: %s", code, last_line);      \
    } while (0)

static LvDevice *open_device(int threads)
{
    const LvDeviceOptions o = { .threads = threads };
    LvDevice *dev;

    SUCCEEDS(lv_device_open(&dev, "cpu", &o, &keep));
    return dev;
}

/* Gradients */

enum { MAX_PORTS = 16, TAE = 2 };

static const char *const files[] = {
    REF_DIR "/grads/dit.safetensors",
    REF_DIR "/grads/dit_mixed.safetensors",
    REF_DIR "/grads/tae.safetensors",
};

/* How a network is traced. */
typedef struct Way {
    int file;           ///< of files
    int untrained;      ///< 1: without lv_graph_train()
    int forward;        ///< 1: without lv_grad()
    int checkpoint;
    int threads;        ///< 0: 1
    int dtype;          ///< 0: f32
    const char *prefix; ///< of weights that are targets; NULL: all
} Way;

/* A tensor that is put from a file, or compared with it. */
typedef struct Port {
    const char *name;
    LvTensor t;
} Port;

typedef struct Net {
    LvDevice *dev;
    LvSafetensors *st;
    LvModelConfig cfg;
    LvParams *params;
    LvWeights *weights;
    LvUmt5 text;
    LvDit dit;
    LvTae tae;
    LvTask task;
    Port port[MAX_PORTS];
    int nb_ports;
    LvDitInputs in;
    LvTaeState memory[2];
    LvTensor seed[2];   ///< result, and its gradient
    float *grad;        ///< the slab, after a run
} Net;

static int is_weight(const char *name)
{
    return !strncmp(name, "dit.", 4) || !strncmp(name, "text.", 5) ||
           !strncmp(name, "vae.", 4);
}

static void bind_weights(Net *n, int file)
{
    static const char *const others[] = { "in.", "out.", "grad." };
    size_t room = 0;

    for (int i = 0; i < lv_safetensors_count(n->st); i++) {
        const LvFileTensor *t = lv_safetensors_at(n->st, i);
        room += is_weight(t->name) ? lv_param_room(t->numel) : 0;
    }
    SUCCEEDS(lv_params_new(&n->params, room, n->dev, &keep));
    SUCCEEDS(lv_weights_new_params(&n->weights, n->params, n->st, n->dev, &keep));
    for (int i = 0; i < LV_COUNT(others); i++)
        lv_weights_skip(n->weights, others[i]);
    if (file == TAE) {
        lv_tae_bind(&n->tae, &n->cfg.vae, 1, n->weights, "vae.encoder.");
        lv_tae_bind(&n->tae, &n->cfg.vae, 0, n->weights, "vae.decoder.");
    } else {
        lv_umt5_bind(&n->text, &n->cfg.text, n->weights, "text.");
        lv_dit_bind(&n->dit, &n->cfg.dit, n->weights, "dit.");
    }
    SUCCEEDS(lv_weights_finish(n->weights));
}

static void add_port(Net *n, const char *name, LvTensor t)
{
    ck_assert_int_lt(n->nb_ports, MAX_PORTS);
    n->port[n->nb_ports++] = (Port) { name, t };
}

/* An input of the shape that it has in the file. */
static LvTensor input(Net *n, LvGraph *g, const char *name)
{
    const LvFileTensor *f = lv_safetensors_find(n->st, name);
    int dim[LV_MAX_RANK];

    ck_assert_msg(f != NULL, "no %s", name);
    for (int i = 0; i < f->rank; i++)
        dim[i] = (int)f->dim[i];
    add_port(n, name, lv_external(g, name, f->dtype, f->rank, dim));
    return n->port[n->nb_ports - 1].t;
}

static void output(Net *n, LvGraph *g, const char *name, LvTensor t)
{
    lv_output(g, t, name);
    add_port(n, name, t);
}

static void trace_loss(Net *n, LvGraph *g, LvTensor y, LvTensor target)
{
    LvTensor weight = input(n, g, "in.weight");

    n->seed[0] = y;
    output(n, g, "out.loss", lv_loss(g, y, target, weight, LV_LOSS_MSE, LV_F32,
                                     &n->seed[1]));
}

static void trace_flow(Net *n, LvGraph *g, LvDtype dtype)
{
    const int *latent = input(n, g, "in.latent").dim;
    LvTensor ids = input(n, g, "in.ids"), rows = input(n, g, "in.rows");
    LvTensor key_bias = input(n, g, "in.key_bias"), v;
    LvTensor target = input(n, g, "in.target");
    const int size[] = { latent[2], latent[3], latent[4] };

    lv_dit_batch_inputs(g, &n->dit, size, latent[0], &n->in);
    n->in.latent = n->port[0].t;
    n->in.t      = input(n, g, "in.t");
    add_port(n, "rope", n->in.rope);
    v = lv_flow_trace(g, &n->text, &n->dit, &n->in, ids, rows, key_bias, dtype);
    trace_loss(n, g, v, target);
    output(n, g, "out.velocity", v);
}

static void trace_autoencoder(Net *n, LvGraph *g, LvDtype dtype)
{
    LvTensor x = input(n, g, "in.frames");
    LvTensor z = lv_tae_trace_encoder(g, &n->tae, x, dtype, &n->memory[0]);
    LvTensor y = lv_tae_trace_decoder(g, &n->tae, z, dtype, &n->memory[1]);

    trace_loss(n, g, y, x);
    output(n, g, "out.latents", z);
    output(n, g, "out.frames", y);
}

static int append_gradient(Net *n, LvGraph *g, const char *prefix)
{
    LvGradTarget *all = calloc((size_t)n->params->nb, sizeof(*all));
    int nb = 0, ret;

    lv_params_targets(n->params, all);
    for (int i = 0; i < n->params->nb; i++)
        if (!prefix || !strncmp(n->params->list[i].name, prefix, strlen(prefix)))
            all[nb++] = all[i];
    ret = lv_grad(g, &(LvGradSeed) { n->seed[0], n->seed[1] }, 1, all, nb);
    free(all);
    return ret;
}

static int plan(Net *n, LvGraph *g)
{
    LvTensor *list[MAX_PORTS + 2 * LV_TAE_MAX_LAYERS];
    int nb = 0;

    for (int i = 0; i < n->nb_ports; i++)
        list[nb++] = &n->port[i].t;
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < n->memory[k].nb; i++)
            list[nb++] = &n->memory[k].t[i];
    return lv_task_new(&n->task, &g, list, nb, n->dev, &keep);
}

/* 0 or what lv_grad() returned. */
static int open_net(Net *n, const Way *way)
{
    LvDtype dtype = way->dtype ? (LvDtype)way->dtype : LV_F32;
    LvGraph *g = lv_graph_new(&keep);
    int ret;

    memset(n, 0, sizeof(*n));
    n->dev = open_device(LV_MAX(way->threads, 1));
    SUCCEEDS(lv_safetensors_open(&n->st, files[way->file], &keep));
    SUCCEEDS(lv_config_read(&n->cfg, n->st, &keep));
    bind_weights(n, way->file);
    if (!way->untrained)
        lv_graph_train(g, way->checkpoint);
    (way->file == TAE ? trace_autoencoder : trace_flow)(n, g, dtype);
    ret = way->forward ? 0 : append_gradient(n, g, way->prefix);
    if (ret < 0) {
        lv_graph_free(&g);
        return ret;
    }
    SUCCEEDS(plan(n, g));
    return 0;
}

static void close_net(Net *n)
{
    free(n->grad);
    lv_task_free(&n->task);
    lv_umt5_free(&n->text);
    lv_dit_free(&n->dit);
    lv_weights_free(&n->weights);
    lv_params_free(&n->params);
    lv_safetensors_close(&n->st);
    lv_device_close(&n->dev);
}

static void put_rope(const Net *n, const Port *p)
{
    const int *d = n->in.latent.dim;
    float *table = malloc(lv_tensor_bytes(&p->t));

    lv_dit_rope(table, &n->cfg.dit, (const int[]) { d[2], d[3], d[4] });
    SUCCEEDS(lv_task_put(&n->task, &p->t, table));
    free(table);
}

static void run_net(Net *n)
{
    for (int i = 0; i < n->nb_ports; i++) {
        const Port *p = &n->port[i];
        if (!strcmp(p->name, "rope"))
            put_rope(n, p);
        else if (!strncmp(p->name, "in.", 3))
            SUCCEEDS(lv_task_put(&n->task, &p->t,
                                 lv_safetensors_find(n->st, p->name)->data));
    }
    SUCCEEDS(lv_task_run(&n->task));
    n->grad = malloc(n->params->size * sizeof(*n->grad));
    SUCCEEDS(lv_params_download(n->params, LV_SLAB_GRAD, n->grad));
}

static void solve(Net *n, const Way *way)
{
    SUCCEEDS(open_net(n, way));
    run_net(n);
}

static const LvFileTensor *reference(const Net *n, const LvParam *p)
{
    char name[LV_PARAM_NAME + 8];
    const LvFileTensor *f;

    snprintf(name, sizeof(name), "grad.%s", p->name);
    f = lv_safetensors_find(n->st, name);
    ck_assert_msg(f && f->numel == p->numel, "%s", name);
    return f;
}

static void outputs_within(const Net *n, double bound)
{
    for (int i = 0; i < n->nb_ports; i++) {
        const Port *p = &n->port[i];
        float *ours;
        double e;
        if (strncmp(p->name, "out.", 4))
            continue;
        ours = malloc(lv_tensor_bytes(&p->t));
        SUCCEEDS(lv_task_get(&n->task, &p->t, ours));
        e = nets_error(lv_safetensors_find(n->st, p->name), ours, NULL);
        ck_assert_msg(e <= bound, "%s: relative error %.2e", p->name, e);
        free(ours);
    }
}

/* Test number: file, then checkpoints. */
START_TEST(parity)
{
    Net n;

    solve(&n, &(Way) { .file = _i / 2, .checkpoint = _i % 2, .threads = 2 });
    outputs_within(&n, FORWARD_BOUND);
    for (int i = 0; i < n.params->nb; i++) {
        const LvParam *p = &n.params->list[i];
        double e = nets_error(reference(&n, p), n.grad + p->at, NULL);
        ck_assert_msg(e <= GRAD_BOUND, "%s: gradient: relative error %.2e", p->name, e);
    }
    close_net(&n);
}
END_TEST

/* The whole gradient: that of a small tensor may be small by chance. */
START_TEST(parity_bf16)
{
    double d2 = 0, r2 = 0;
    Net n;

    solve(&n, &(Way) { .file = _i, .dtype = LV_BF16 });
    for (int i = 0; i < n.params->nb; i++) {
        const LvParam *p = &n.params->list[i];
        const LvFileTensor *f = reference(&n, p);
        float *r = nets_floats(n.st, f->name, &keep);
        for (size_t k = 0; k < p->numel; k++) {
            double d = (double)n.grad[p->at + k] - r[k];
            d2 += d * d;
            r2 += (double)r[k] * r[k];
        }
        free(r);
    }
    ck_assert_msg(d2 <= BF16_BOUND * BF16_BOUND * r2, "gradient: relative error %.2e",
                  sqrt(d2 / r2));
    close_net(&n);
}
END_TEST

static void same_bits(const Way *a, const Way *b)
{
    size_t bytes;
    Net n[2];

    solve(&n[0], a);
    solve(&n[1], b);
    bytes = n[0].params->size * sizeof(float);
    ck_assert_uint_eq(bytes, n[1].params->size * sizeof(float));
    ck_assert_int_eq(memcmp(n[0].grad, n[1].grad, bytes), 0);
    close_net(&n[0]);
    close_net(&n[1]);
}

START_TEST(checkpoints_same_bits)
{
    same_bits(&(Way) { .file = _i }, &(Way) { .file = _i, .checkpoint = 1 });
    same_bits(&(Way) { .file = _i, .dtype = LV_BF16 },
              &(Way) { .file = _i, .dtype = LV_BF16, .checkpoint = 1 });
}
END_TEST

/* Blocks are made again, in less memory. */
START_TEST(checkpoints_save)
{
    Net n[2];

    for (int i = 0; i < 2; i++)
        SUCCEEDS(open_net(&n[i], &(Way) { .file = _i, .checkpoint = i }));
    ck_assert_int_gt(lv_program_count(n[1].task.prog),
                     lv_program_count(n[0].task.prog));
    ck_assert_uint_lt(lv_program_sizes(n[1].task.prog).lower,
                      lv_program_sizes(n[0].task.prog).lower);
    close_net(&n[0]);
    close_net(&n[1]);
}
END_TEST

START_TEST(threads_same_bits)
{
    same_bits(&(Way) { .file = _i }, &(Way) { .file = _i, .threads = 2 });
    same_bits(&(Way) { .file = _i, .dtype = LV_BF16 },
              &(Way) { .file = _i, .dtype = LV_BF16, .threads = 2 });
}
END_TEST

/* Gradients are added to what is there. */
START_TEST(sums)
{
    Net n;
    float *once;

    solve(&n, &(Way) { .file = _i });
    once = n.grad;
    run_net(&n);
    for (size_t i = 0; i < n.params->size; i++)
        ck_assert_float_le(fabsf(n.grad[i] - 2 * once[i]),
                           1e-4f * fabsf(once[i]) + 1e-6f);
    free(once);
    close_net(&n);
}
END_TEST

/* Targets have the gradients that they have in `all`, others none. */
static void only_targets(const Net *n, const Net *all, const char *prefix)
{
    for (int i = 0; i < n->params->nb; i++) {
        const LvParam *p = &n->params->list[i];
        int is_target = !strncmp(p->name, prefix, strlen(prefix));
        for (size_t k = p->at; k < p->at + p->numel; k++)
            ck_assert_msg(n->grad[k] == (is_target ? all->grad[k] : 0), "%s", p->name);
    }
}

static int count_forward(int file)
{
    Net n;
    int nb;

    SUCCEEDS(open_net(&n, &(Way) { .file = file, .forward = 1 }));
    nb = lv_program_count(n.task.prog);
    close_net(&n);
    return nb;
}

/* Fewer and fewer targets: fewer records, the same bits for those that are left. */
static void freeze(int file, const char *const *prefix, int nb)
{
    int before;
    Net all, n;

    solve(&all, &(Way) { .file = file });
    before = lv_program_count(all.task.prog);
    for (int k = 0; k < nb; k++) {
        int count;
        solve(&n, &(Way) { .file = file, .prefix = prefix[k] });
        count = lv_program_count(n.task.prog);
        ck_assert_msg(count < before, "%s: %d records", prefix[k], count);
        before = count;
        only_targets(&n, &all, prefix[k]);
        close_net(&n);
    }
    ck_assert_int_eq(before, count_forward(file));
    close_net(&all);
}

START_TEST(frozen_flow)
{
    static const char *const prefix[] = { "dit.", "dit.blocks.", "dit.blocks.1.ffn.2.",
                                          "dit.head.head.", "none" };

    freeze(_i, prefix, LV_COUNT(prefix));
}
END_TEST

START_TEST(frozen_autoencoder)
{
    static const char *const prefix[] = { "vae.decoder.", "vae.decoder.1", "none" };

    freeze(TAE, prefix, LV_COUNT(prefix));
}
END_TEST

/* Inference leaves out what gradients need. */
START_TEST(not_for_training)
{
    static const struct {
        int file;
        const char *prefix;
    } refused[] = {
        { 0, NULL }, { 1, NULL }, { TAE, NULL }, { 0, "dit.head.modulation" },
        { 0, "text.norm" }, { 1, "dit.blocks.1.self_attn.mix" },
    };
    Net n;
    int ret = open_net(&n, &(Way) { .file = refused[_i].file, .untrained = 1,
                                    .prefix = refused[_i].prefix });

    ck_assert_msg(ret == LV_ERR_UNSUPPORTED, "%d: %s", ret, last_line);
    ck_assert_msg(strstr(last_line, "without lv_graph_train") != NULL, "%s", last_line);
    close_net(&n);
}
END_TEST
enum { REFUSED = 6 };

/* Runs */

enum { STEPS = 6 };

static const char recipe[] = REF_DIR "/tiny.json";
static char folder[64];

static const char *in_folder(const char *name, char *buf)
{
    snprintf(buf, 256, "%s/%s", folder, name);
    return buf;
}

static void make_folder(void)
{
    strcpy(folder, "/tmp/linvideo-train-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void remove_folder(void)
{
    static const char *const names[] = { "a", "b", "latents", "latents-2", "tokenizer", "log" };
    char path[256];

    for (int i = 0; i < LV_COUNT(names); i++)
        unlink(in_folder(names[i], path));
    ck_assert_int_eq(rmdir(folder), 0);
}

/* What is trained: the same few calls for either. */
typedef struct Job {
    LvTrainConfig cfg;
    LvDevice *dev;
    LvDtype dtype;
    LvAutoencoder *a;
    LvFlow *f;
} Job;

static int open_job(Job *j, int flow, const char *run, int threads)
{
    char latents[2][256], tokenizer[256];
    const LvFlowFiles files = { run, in_folder("tokenizer", tokenizer),
                                { in_folder("latents", latents[0]),
                                  in_folder("latents-2", latents[1]) } };

    if (flow)
        return lv_flow_open(&j->f, &j->cfg, &files, 1, 0, j->dtype, threads, j->dev,
                            &keep);
    return lv_autoencoder_open(&j->a, &j->cfg, run, 1, j->dtype, threads, j->dev,
                               &keep);
}

static LvTrainer *trainer(const Job *j)
{
    return j->f ? j->f->trainer : j->a->trainer;
}

static void close_job(Job *j)
{
    lv_flow_close(&j->f);
    lv_autoencoder_close(&j->a);
}

static void create_run(Job *j, int flow, const char *run)
{
    SUCCEEDS(flow ? lv_flow_create(&j->cfg, run, NULL, j->dev, &keep)
                  : lv_autoencoder_create(&j->cfg, run, NULL, j->dev, &keep));
}

/* Open, take steps, save, close. */
static void take_steps(Job *j, int flow, const char *run, int steps, int threads)
{
    SUCCEEDS(open_job(j, flow, run, threads));
    for (int i = 0; i < steps; i++)
        SUCCEEDS(flow ? lv_flow_step(j->f) : lv_autoencoder_step(j->a));
    SUCCEEDS(lv_trainer_save(trainer(j), run));
    close_job(j);
}

/* Latents and tokenizer for the flow. */
static void make_material(Job *j)
{
    int vocab = j->cfg.model.text.vocab;
    LvStock stock = { .seed = 1 };
    LvLatents first;
    char run[256], path[256];

    create_run(j, 0, in_folder("a", run));
    SUCCEEDS(lv_autoencoder_open(&j->a, &j->cfg, run, 0, LV_F32, 1, j->dev, &keep));
    SUCCEEDS(lv_latents_create(j->a, 0, NULL, in_folder("latents", path), 1, NULL, NULL));
    if (j->cfg.flow.shapes > 1) {
        SUCCEEDS(lv_latents_open(&first, &j->cfg, 0, path, &keep));
        SUCCEEDS(lv_latents_create(j->a, 1, &first, in_folder("latents-2", path), 1, NULL,
                                   NULL));
        lv_latents_close(&first);
    }
    close_job(j);
    SUCCEEDS(lv_tokenizer_train(in_folder("tokenizer", path), vocab, &stock, 2000, &keep));
}

static int two_shapes; /* recipes of begin() have a second size of clips */

static void begin(Job *j, int flow)
{
    memset(j, 0, sizeof(*j));
    j->dev   = open_device(1);
    j->dtype = LV_F32;
    SUCCEEDS(lv_train_config_read(&j->cfg, recipe, &keep));
    if (two_shapes) {
        LvFlowShape *s = j->cfg.flow.shape;
        s[1] = s[0];
        s[1].height *= 2;
        s[1].micro   = 1;
        s[1].clips   = 3;
        j->cfg.flow.shapes = 2;
    }
    if (flow)
        make_material(j);
}

static void end(Job *j)
{
    lv_device_close(&j->dev);
    lv_train_config_free(&j->cfg);
}

static char *read_file(const char *path, size_t *size)
{
    FILE *f    = fopen(path, "rb");
    char *data = malloc(1 << 24);

    ck_assert(f && data);
    *size = fread(data, 1, 1 << 24, f);
    fclose(f);
    return data;
}

static int same_files(const char *a, const char *b)
{
    size_t na, nb;
    char *x = read_file(a, &na), *y = read_file(b, &nb);
    int same = na == nb && na > 0 && !memcmp(x, y, na);

    free(x);
    free(y);
    return same;
}

/* Also with another number of threads that make batches. Test number: the flow, then
 * bf16. */
START_TEST(resume)
{
    int flow = _i % 2;
    char a[256], b[256];
    Job j;

    in_folder("a", a);
    in_folder("b", b);
    begin(&j, flow);
    j.dtype = _i / 2 ? LV_BF16 : LV_F32;
    create_run(&j, flow, a);
    create_run(&j, flow, b);
    ck_assert(same_files(a, b));
    take_steps(&j, flow, a, STEPS, 1);
    take_steps(&j, flow, b, STEPS / 2, 2);
    ck_assert(!same_files(a, b));
    take_steps(&j, flow, b, STEPS - STEPS / 2, 1);
    ck_assert(same_files(a, b));
    end(&j);
}
END_TEST

/* Sizes by turns: the same bits after a stop; either step is of its own size; latents of the
 * second size are normalised as those of the first. */
START_TEST(shapes)
{
    char a[256], b[256], path[256];
    LvLatents first, second;
    Job j;

    two_shapes = 1;
    begin(&j, 1);
    create_run(&j, 1, in_folder("a", a));
    create_run(&j, 1, in_folder("b", b));
    take_steps(&j, 1, a, STEPS, 1);
    take_steps(&j, 1, b, 3, 2);
    take_steps(&j, 1, b, STEPS - 3, 1);
    ck_assert(same_files(a, b));
    SUCCEEDS(lv_latents_open(&first, &j.cfg, 0, in_folder("latents", path), &keep));
    SUCCEEDS(lv_latents_open(&second, &j.cfg, 1, in_folder("latents-2", path), &keep));
    ck_assert_uint_eq(second.size, 2 * first.size);
    ck_assert_int_eq(second.clips, 3);
    ck_assert_mem_eq(first.mean, second.mean, sizeof(float));
    lv_latents_close(&first);
    lv_latents_close(&second);
    ck_assert_int_eq(lv_latents_open(&second, &j.cfg, 1, in_folder("latents", path), &keep),
                     LV_ERR_MODEL);
    lv_latents_close(&second);
    end(&j);
}
END_TEST

/* A run that begins with the weights of another has them, and no moments. */
START_TEST(from)
{
    char a[256], b[256];
    LvSafetensors *x, *y;
    Job j;

    begin(&j, 0);
    create_run(&j, 0, in_folder("a", a));
    take_steps(&j, 0, a, 2, 1);
    SUCCEEDS(lv_autoencoder_create(&j.cfg, in_folder("b", b), a, j.dev, &keep));
    SUCCEEDS(lv_safetensors_open(&x, a, &keep));
    SUCCEEDS(lv_safetensors_open(&y, b, &keep));
    for (int i = 0; i < lv_safetensors_count(y); i++) {
        const LvFileTensor *t = lv_safetensors_at(y, i), *u = lv_safetensors_find(x, t->name);
        ck_assert(u && u->size == t->size);
        ck_assert_mem_eq(u->data, t->data, t->size);
    }
    ck_assert_ptr_null(lv_safetensors_find(y, "adam.m"));
    lv_safetensors_close(&x);
    lv_safetensors_close(&y);
    ck_assert_int_eq(lv_flow_create(&j.cfg, b, a, j.dev, &keep), LV_ERR_MODEL);
    ck_assert_msg(strstr(last_line, "got 0"), "%s", last_line);
    end(&j);
}
END_TEST

/* It learns: 40 steps at a rate that suits so small a thing. Test number: the flow. */
START_TEST(learns)
{
    LvOptim *o;
    double first = 0, last = 0;
    char run[256];
    Job j;

    begin(&j, _i);
    o = _i ? &j.cfg.flow.optim : &j.cfg.autoencoder.optim;
    o->steps = 40;
    o->lr    = 3e-3f;
    create_run(&j, _i, in_folder("a", run));
    SUCCEEDS(open_job(&j, _i, run, 1));
    for (int i = 0; i < o->steps; i++) {
        SUCCEEDS(_i ? lv_flow_step(j.f) : lv_autoencoder_step(j.a));
        if (i < 10)
            first += _i ? j.f->mse : j.a->mse;
        if (i >= 30)
            last += _i ? j.f->mse : j.a->mse;
    }
    ck_assert_msg(last < 0.9 * first, "error %g, then %g", first, last);
    close_job(&j);
    end(&j);
}
END_TEST

START_TEST(other_settings)
{
    char run[256];
    Job j;

    begin(&j, 0);
    create_run(&j, 0, in_folder("a", run));
    j.cfg.autoencoder.optim.lr = 0.25f; /* fine as long as no step is taken */
    SUCCEEDS(open_job(&j, 0, run, 1));
    close_job(&j);
    j.cfg.autoencoder.optim.lr = 0.5f;
    take_steps(&j, 0, run, 1, 1);
    j.cfg.autoencoder.optim.lr = 0.25f;
    ck_assert_int_eq(open_job(&j, 0, run, 1), LV_ERR_MODEL);
    ck_assert_ptr_null(j.a);
    ck_assert_msg(strstr(last_line, "lr=0.5 ") && strstr(last_line, "lr=0.25 "), "%s",
                  last_line);
    ck_assert_int_eq(open_job(&j, 0, files[TAE], 1), LV_ERR_MODEL);
    ck_assert_msg(strstr(last_line, "not a training run") != NULL, "%s", last_line);
    ck_assert_int_eq(open_job(&j, 0, "none", 1), -ENOENT);
    end(&j);
}
END_TEST

/* A run's file with one fault, and a hash that fits it. */
static const struct {
    const char *tensor;   /* left out, or poisoned */
    int element;          /* that becomes NaN; -1: the tensor is left out */
    const char *step;     /* in place of the metadata's beginning; NULL: as it is */
    int alone;            /* 1: no settings behind the step */
    const char *said;
} faults[] = {
    { "adam.m", -1, NULL, 0, "adam.m is missing, which a run of step 2 has" },
    { "adam.v", -1, NULL, 0, "adam.v is missing" },
    { "ema", -1, NULL, 0, "ema is missing" },
    { "adam.m", 5, NULL, 0, "adam.m: element 5 is not finite" },
    { "adam.v", 0, NULL, 0, "adam.v: element 0 is not finite" },
    { "ema", 7, NULL, 0, "ema: element 7 is not finite" },
    { "vae.encoder.0.weight", 3, NULL, 0, "vae.encoder.0.weight: row 0 holds a value that is" },
    { NULL, 0, "step=-1", 0, "is of step -1" },
    { NULL, 0, "step=1000000", 0, "is of step 1000000" },
    { NULL, 0, "step=99999999999999999999", 0, "is of step 99999999999999999999" },
    { NULL, 0, "step=two", 0, "is of step two" },
    { NULL, 0, "step=2x", 0, "is of step 2x" },
    { NULL, 0, "step=2", 1, "is of step 2 without the settings" },
    { NULL, 0, "steps", 0, "not a training run" },
};

static void write_fault(const char *from, const char *to, int i)
{
    LvFileTensor list[256];
    char state[2300];
    const char *meta[] = { "linvideo.config", NULL, "linvideo.train", state, NULL };
    const char *rest;
    float *copy = NULL;
    LvSafetensors *st;
    int nb = 0;

    SUCCEEDS(lv_safetensors_open(&st, from, &keep));
    for (int k = 0; k < lv_safetensors_count(st); k++) {
        const LvFileTensor *t = lv_safetensors_at(st, k);
        int is_it = faults[i].tensor && !strcmp(t->name, faults[i].tensor);
        if (is_it && faults[i].element < 0)
            continue;
        list[nb++] = *t;
        if (!is_it)
            continue;
        copy = malloc(t->size);
        memcpy(copy, t->data, t->size);
        copy[faults[i].element] = NAN;
        list[nb - 1].data = copy;
    }
    ck_assert(!faults[i].tensor || copy || nb < lv_safetensors_count(st));
    meta[1] = lv_safetensors_meta(st, "linvideo.config");
    rest    = lv_safetensors_meta(st, "linvideo.train");
    snprintf(state, sizeof(state), "%s%s", faults[i].step ? faults[i].step : "step=2",
             faults[i].alone ? "" : strchr(rest, ' '));
    SUCCEEDS(lv_sealed_write(to, list, nb, meta, &keep));
    lv_safetensors_close(&st);
    free(copy);
}

static int open_ready(Job *j, const char *run)
{
    int ret = open_job(j, 0, run, 1);

    close_job(j);
    return ret;
}

START_TEST(faulty_runs)
{
    char a[256], b[256];
    Job j;

    begin(&j, 0);
    create_run(&j, 0, in_folder("a", a));
    take_steps(&j, 0, a, 2, 1);
    write_fault(a, in_folder("b", b), _i);
    ck_assert_int_eq(open_ready(&j, b), LV_ERR_MODEL);
    ck_assert_msg(strstr(last_line, faults[_i].said) && strstr(last_line, b), "%s; expected: %s",
                  last_line, faults[_i].said);
    end(&j);
}
END_TEST

/* Any byte of a run's data that changes is seen; a file without a hash is taken, with a
 * warning. */
START_TEST(damaged_run)
{
    char a[256], b[256], *data, *hash;
    size_t size;
    FILE *f;
    Job j;

    begin(&j, 0);
    create_run(&j, 0, in_folder("a", a));
    take_steps(&j, 0, a, 2, 1);
    data = read_file(a, &size);
    for (size_t at = size - 1, i = 0; i < 4; i++, at -= size / 8) {
        data[at] ^= 1;
        ck_assert_ptr_nonnull(f = fopen(in_folder("b", b), "wb"));
        fwrite(data, 1, size, f);
        fclose(f);
        data[at] ^= 1;
        ck_assert_int_eq(open_ready(&j, b), LV_ERR_MODEL);
        ck_assert_msg(strstr(last_line, "is damaged or was changed") != NULL, "%s", last_line);
    }
    ck_assert_ptr_nonnull(hash = memmem(data, size, "linvideo.hash", 13));
    hash[9] = 'H';
    ck_assert_ptr_nonnull(f = fopen(b, "wb"));
    fwrite(data, 1, size, f);
    fclose(f);
    SUCCEEDS(open_ready(&j, b));
    ck_assert_msg(strstr(last_line, "has no hash") != NULL, "%s", last_line);
    free(data);
    end(&j);
}
END_TEST

/* The average takes the place of the values, and goes back. */
START_TEST(swap)
{
    size_t bytes;
    char run[256];
    float *v[3];
    Job j;

    begin(&j, 0);
    create_run(&j, 0, in_folder("a", run));
    take_steps(&j, 0, run, 2, 1);
    SUCCEEDS(open_job(&j, 0, run, 1));
    bytes = j.a->trainer->params->size * sizeof(float);
    for (int i = 0; i < 3; i++) {
        v[i] = malloc(bytes);
        lv_params_download(j.a->trainer->params, LV_SLAB_VALUE, v[i]);
        SUCCEEDS(lv_trainer_swap(j.a->trainer));
    }
    ck_assert_int_ne(memcmp(v[0], v[1], bytes), 0);
    ck_assert_int_eq(memcmp(v[0], v[2], bytes), 0);
    for (int i = 0; i < 3; i++)
        free(v[i]);
    close_job(&j);
    end(&j);
}
END_TEST

/* Rates and logs */

START_TEST(rates)
{
    const double lr = 0.5;
    LvOptim o = { .steps = 10, .warmup = 4, .lr = (float)lr, .lr_end = 0.25f };

    for (int i = 0; i < 4; i++)
        ck_assert_double_eq_tol(lv_optim_rate(&o, i), lr * (i + 1) / 4, 1e-12);
    ck_assert_double_eq_tol(lv_optim_rate(&o, 4), lr, 1e-12);
    ck_assert_double_eq_tol(lv_optim_rate(&o, 7), lr * (1 + 0.25) / 2, 1e-12);
    for (int i = 5; i < 10; i++)
        ck_assert_double_lt(lv_optim_rate(&o, i), lv_optim_rate(&o, i - 1));
    ck_assert_double_gt(lv_optim_rate(&o, 9), lr * 0.25);
    ck_assert_double_lt(lv_optim_rate(&o, 9), lr * 0.35);
    o.lr_end = 1;
    ck_assert_double_eq_tol(lv_optim_rate(&o, 9), lr, 1e-12);
    o.warmup = 0;
    o.lr_end = 0;
    ck_assert_double_eq_tol(lv_optim_rate(&o, 0), lr, 1e-12);
    o.steps = 1;
    ck_assert_double_eq_tol(lv_optim_rate(&o, 0), lr, 1e-12);
    o.steps = o.warmup = 3; /* all of it warm-up */
    ck_assert_double_eq_tol(lv_optim_rate(&o, 2), lr, 1e-12);
    o.warmup = 30;
    ck_assert_double_eq_tol(lv_optim_rate(&o, 2), lr / 10, 1e-12);
}
END_TEST

static void log_is(const char *want)
{
    char path[256];
    size_t size;
    char *text = read_file(in_folder("log", path), &size);

    text[size] = '\0';
    ck_assert_str_eq(text, want);
    free(text);
}

START_TEST(logs)
{
    const LvLogField field[] = { lv_log_number("a", 0.5), lv_log_number("b", NAN) };
    char path[256];
    FILE *f = lv_log_open(in_folder("log", path), 0, &keep);

    ck_assert_ptr_nonnull(f);
    for (int i = 1; i <= 12; i++)
        lv_log_line(f, i, field, i > 1);
    fclose(f);
    f = lv_log_open(path, 2, &keep);
    fclose(f);
    log_is("{\"step\": 1}\n{\"step\": 2, \"a\": 0.5}\n");
    f = lv_log_open(path, 12, &keep);
    lv_log_line(f, 3, field, 2);
    fputs("{\"step\": 4, \"a\"", f); /* the machine stopped here */
    fclose(f);
    f = lv_log_open(path, 4, &keep);
    lv_log_line(f, 4, NULL, 0);
    fclose(f);
    log_is("{\"step\": 1}\n{\"step\": 2, \"a\": 0.5}\n"
           "{\"step\": 3, \"a\": 0.5, \"b\": null}\n{\"step\": 4}\n");
    ck_assert_ptr_null(lv_log_open("/none/log", 0, &keep));
    ck_assert_ptr_nonnull(strstr(last_line, "/none/log"));
}
END_TEST

static TCase *tcase(Suite *suite, const char *name)
{
    TCase *t = tcase_create(name);

    tcase_set_timeout(t, 60);
    suite_add_tcase(suite, t);
    return t;
}

static Suite *train_suite(void)
{
    Suite *suite = suite_create("train");
    TCase *t = tcase(suite, "gradients");

    tcase_add_loop_test(t, parity, 0, 2 * LV_COUNT(files));
    tcase_add_loop_test(t, parity_bf16, 0, LV_COUNT(files));
    tcase_add_loop_test(t, checkpoints_same_bits, 0, LV_COUNT(files));
    tcase_add_loop_test(t, checkpoints_save, 0, TAE);
    tcase_add_loop_test(t, threads_same_bits, 0, LV_COUNT(files));
    tcase_add_loop_test(t, sums, 0, LV_COUNT(files));
    tcase_add_loop_test(t, frozen_flow, 0, TAE);
    tcase_add_test(t, frozen_autoencoder);
    tcase_add_loop_test(t, not_for_training, 0, REFUSED);

    t = tcase(suite, "runs");
    tcase_add_checked_fixture(t, make_folder, remove_folder);
    tcase_add_test(t, shapes);
    tcase_add_test(t, from);
    tcase_add_loop_test(t, resume, 0, 4);
    tcase_add_loop_test(t, learns, 0, 2);
    tcase_add_test(t, other_settings);
    tcase_add_loop_test(t, faulty_runs, 0, LV_COUNT(faults));
    tcase_add_test(t, damaged_run);
    tcase_add_test(t, swap);
    tcase_add_test(t, rates);
    tcase_add_test(t, logs);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(train_suite());
    int failed;

    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
