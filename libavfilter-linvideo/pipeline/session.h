/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * A session: one model, one prompt, a stream of frames. The stages in order are
 * load, text, denoise, decode; each has a file of its own here.
 * Floor F5 (pipeline): knows networks and samplers; not options, names of models or
 * pixel formats.
 *
 * Memory: weights (the model's), an arena (temporaries of the network and of the
 * decoder, which never run at the same time) and state (a slab each on host and
 * device). All sizes are known after opening; all is allocated by the first frame,
 * and no more after it until the prompt changes. Where a device that is not the host has
 * no room for all weights of the network, some of its blocks stay on the host (budget.c).
 */

#ifndef LINVIDEO_PIPELINE_SESSION_H
#define LINVIDEO_PIPELINE_SESSION_H

#include <stdatomic.h>
#include <sys/types.h>

#include "base/picture.h"
#include "graph/graph.h"
#include "model/config.h"
#include "model/dit.h"
#include "model/files.h"
#include "model/tae.h"
#include "model/tokenizer.h"
#include "model/umt5.h"
#include "model/wan_vae.h"
#include "model/weights.h"
#include "pipeline/resize.h"
#include "pipeline/sample.h"

/** The same values as enum LinvideoStage. */
enum LvStage { LV_STAGE_LOAD, LV_STAGE_TEXT, LV_STAGE_DENOISE, LV_STAGE_DECODE,
               LV_STAGE_NB };

/** State of the work; as LinvideoProgress. */
typedef struct LvProgress {
    int stage;
    int64_t clip;
    int step, steps, layer, layers;
    double fraction;
} LvProgress;

/** What to open a session with; all values are in range already. Strings and this
 *  struct need to live during lv_session_open() only. */
typedef struct LvSessionOptions {
    const char *model;   ///< path of a bundle
    const char *prompt;  ///< not empty
    const char *negative;
    int width, height;   ///< to be delivered; 0: the model's own
    int clip_frames;     ///< 0: the model's own
    int native;          ///< 1: made as asked, whatever the model was made for
    uint64_t seed;
    int steps;           ///< 0: the model's
    float guidance, shift; ///< 0: the model's
    int sampler;         ///< LvSamplerKind; AUTO: the model's
    int precision;       ///< LV_F32, LV_BF16; LV_I8: that in the network's blocks; LV_NONE:
                         ///< what is fast here
    const char *device;
    int on_device;       ///< 1: pictures stay in memory of the device
    void *context, *stream; ///< see LvDeviceOptions
    const char *isa;     ///< leaves of the CPU; NULL: the best
    int threads;
    size_t memory_limit; ///< bytes of the device; 0: what it has free
    int tile;            ///< pixels; 0: pictures are decoded whole
    int cache;           ///< LvCacheMode
    const LvLoraFile *loras; ///< [nb_loras]
    int nb_loras;
    int strict;              ///< as of lv_files_open()
    void (*progress)(void *opaque, const LvProgress *p); ///< may be NULL
    void *opaque;
} LvSessionOptions;

/** Whether features of prompts are kept on disk: AUTO where the encoder is large. */
enum LvCacheMode { LV_CACHE_AUTO, LV_CACHE_OFF, LV_CACHE_ON };

/** Ids of a prompt, and what the encoder and the network's text side make of it. */
typedef struct LvPrompt {
    int32_t *ids;  ///< [text_len]
    int nb;
    float *context; ///< device, [text_len,text_dim]
    void *kv;       ///< device, k and v of every layer
    int stale;      ///< ids changed since the context was made
    int kv_stale;   ///< the context changed since kv were made
} LvPrompt;

/** A traced and planned network. */
typedef struct LvNet {
    LvProgram *prog;
    LvSizes sizes;
} LvNet;

enum { LV_COND, LV_UNCOND, LV_BRANCHES };

/** Where tiles of a picture lie along an axis, and how much each counts. */
typedef struct LvTiles {
    int nb, size;   ///< size in latents
    int *start;     ///< [nb], in latents
    float *weight;  ///< [nb,pixels of a tile]: those of all tiles sum up to 1
    float *weight_dev; ///< the same on the device, where that pastes
} LvTiles;

enum { LV_MEMORIES = 64 };

/** A decoder traced for a frame: for the first of a clip, or for any other. */
typedef struct LvDecoder {
    LvNet net;
    LvTensor z, rgb;               ///< of a tile
    LvTensor energy;               ///< sum of squares of rgb, where that stays on the device
    LvTensor memory[LV_MEMORIES];  ///< state, of id LV_ID_NONE where it is not touched
    int nb;
} LvDecoder;

enum { LV_FIRST, LV_REST, LV_DECODERS };

typedef struct LvSession {
    const LvMsg *msg;
    pid_t process;             ///< that opened it: memory of a GPU is not a child's
    LvSessionOptions opt;      ///< strings are not kept
    LvFiles files;
    LvModelConfig cfg;         ///< video.* as chosen
    LvDevice *dev;
    LvTokenizer *tokenizer;
    LvWeights *dit_weights, *vae_weights;
    LvDit dit;
    LvUmt5 text;               ///< described; its data are there while it runs
    LvTae tae;
    LvWanVae *wan;             ///< NULL: the decoder is a TAE
    LvDtype dtype;             ///< of activations between products
    int sampler_kind;
    int size[3];               ///< of the latents: F, Y, X
    int rows, cols;            ///< of pictures made
    int scaled;                ///< 1: they are delivered through resize, not cropped
    LvResize resize;
    int branches;              ///< 1, or 2 with guidance

    LvNet net;                 ///< the network
    LvDitInputs in;
    LvTensor velocity;
    LvNet side;                ///< its text side
    LvTensor context_in;
    LvDitInputs side_out;
    LvDecoder decoder[LV_DECODERS]; ///< a TAE has but LV_REST
    LvTiles tiles[2];          ///< of rows, of columns
    size_t text_bytes;         ///< that encoding a prompt takes at most
    int streams;               ///< 1: streamed counts
    uint8_t streamed[LV_MAX_LAYERS]; ///< blocks whose matrices stay on the host
    LvSlots *slots;          ///< NULL: none do

    int loaded;
    void *arena;
    char *state, *host;        ///< slabs; the pointers below go into them
    size_t arena_bytes, state_bytes, host_bytes;
    size_t weight_bytes, work_bytes; ///< planned: packed weights, and all else
    float *x, *v[LV_BRANCHES]; ///< latents and velocities, host
    float *latent, *velocity_dev, *t, *rope; ///< device
    float *z, *rgb_dev;        ///< device
    float *energy_dev;         ///< device; see LvDecoder
    char *memory_dev;          ///< device: state of the decoder, for each tile
    size_t memory_bytes;       ///< of one tile
    float *z_host;             ///< host
    float *rgb_tile;           ///< of a tile: host; NULL where the device pastes
    float *rgb_whole;          ///< pasted: device, where that pastes
    float *rgb;                ///< to be delivered: host, or rgb_whole
    LvPrompt prompt[LV_BRANCHES];
    LvSampler *sampler;

    int64_t clip;              ///< being made
    int in_clip;               ///< it is denoised, pictures of it are to come
    int latent_frame;          ///< next to decode; size[0] when the clip is done
    int rgb_next, rgb_frames;  ///< of the pictures in rgb
    int clip_next;             ///< next picture of the clip
    double seconds[LV_STAGE_NB];
    atomic_int cancelled;
} LvSession;

/**
 * Open the model, check everything, plan. Reads no matrix of the weights.
 *
 * @param[out] s freed with lv_session_close(); NULL on error
 * @return 0; -ENOENT and others of the file; -EINVAL (prompt, size); -ENOMEM with
 *         "needs ..., ... available"; LV_ERR_MODEL, _DEVICE, _UNSUPPORTED
 */
int lv_session_open(LvSession **s, const LvSessionOptions *opt, const LvMsg *msg);

/** Free *s and set it to NULL. NULL is fine. */
void lv_session_close(LvSession **s);

/** Take another prompt from the next clip on. 0 or -EINVAL (the old one stays). */
int lv_session_set_prompt(LvSession *s, const char *prompt);

/** Frames of a clip. */
int lv_session_clip_frames(const LvSession *s);

/**
 * Make the next picture.
 *
 * @param[out] rgb  [rows,cols,3], 0 to 1 when in range; until the next call. Of the host,
 *                  or with on_device of the device
 * @param[out] clip number of its clip
 * @return 0, LV_ERR_CANCELLED, or an error
 */
int lv_session_picture(LvSession *s, const float **rgb, int64_t *clip);

/** lv_deliver() of a picture that lv_session_picture() gave; out is where it is.
 *  @return 0 or an error of the device */
int lv_session_deliver(LvSession *s, const LvPicture *out, const float *rgb);

/** Stop lv_session_picture() within a layer's time; from any thread. */
void lv_session_cancel(LvSession *s);

/* Between the files of this folder */

/** Plan a traced graph, which is freed. */
int lv_net_plan(LvNet *net, LvGraph **g, LvDevice *dev);

/** Describe the network's weights and plan all again, with what streamed[] says; add up
 *  what a run needs on the device: *sizes are the largest of all programs, but for
 *  weights, which are a sum.
 *  @return of the second: bytes */
int lv_session_plan(LvSession *s);
size_t lv_session_need(LvSession *s, LvSizes *sizes);

/** budget.c: whether there is memory for a run; decides which blocks are streamed, and
 *  tells of it. @return 0; -ENOMEM with "needs ..., ... available" */
int lv_budget_check(LvSession *s);

/** text.c: tokenize into p->ids. */
int lv_text_tokenize(LvSession *s, LvPrompt *p, const char *text);

/** text.c: make the features of prompts that changed; and with them bring kv of all
 *  branches up to date. */
int lv_text_encode(LvSession *s);
int lv_text_run(LvSession *s);

/** cache.c: features [nb,dim] of ids from disk, and to it. 1: they were there; 0: not, or
 *  there is no cache. */
int lv_cache_load(const LvSession *s, const int32_t *ids, int nb, float *features);
void lv_cache_store(const LvSession *s, const int32_t *ids, int nb,
                    const float *features);

/** text.c: trace and plan the network's text side. */
int lv_text_plan(LvSession *s);

/** text.c: weights of the text encoder; described: without data. */
int lv_text_weights(LvSession *s, int described, LvWeights **w);

/** text.c: let the network read k and v of a branch. */
void lv_text_bind(LvSession *s, int branch);

/** Bytes of a prompt's k and v. */
size_t lv_text_kv_bytes(const LvSession *s);

/** denoise.c: trace and plan the network; run all steps on s->x. */
int lv_denoise_plan(LvSession *s);
int lv_denoise_run(LvSession *s);

/** decode.c: lay out tiles; trace and plan the decoder; build and bind it; begin a clip;
 *  decode one latent frame. Bytes of tiles' weights along axis i. */
size_t lv_decode_weight_bytes(const LvSession *s, int i);

/** Whether the device puts the tiles' pictures together, not the host. */
static inline int lv_decode_pastes(const LvSession *s)
{
    return s->dev->fn->paste != NULL;
}
int lv_decode_tiles(LvSession *s);
void lv_decode_free_tiles(LvSession *s);
int lv_decode_plan(LvSession *s);
int lv_decode_build(LvSession *s);
int lv_decode_begin(LvSession *s);
int lv_decode_run(LvSession *s);

/** Report progress of a stage, and whether to go on. @return 0 or
 *  LV_ERR_CANCELLED */
int lv_session_step(LvSession *s, int stage, int step, int steps, int layer,
                    int layers);

#endif /* LINVIDEO_PIPELINE_SESSION_H */
