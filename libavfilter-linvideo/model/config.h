/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Sizes and defaults of a model, as its bundle's metadata gives them.
 * Floor F4 (model): knows numbers, not weights.
 *
 * A bundle is one .safetensors file: tensors "dit.*" (names of Wan's reference),
 * "text.*" (UMT5, names of the reference), "vae.*" (TAEHV's names) and
 * "tokenizer.spm" (U8, a sentencepiece model); metadata "linvideo.config" holds
 * JSON with the sections and keys of the table in config.c.
 */

#ifndef LINVIDEO_MODEL_CONFIG_H
#define LINVIDEO_MODEL_CONFIG_H

#include "backend/ops.h"
#include "base/safetensors.h"

enum { LV_MAX_LAYERS = 128, LV_MAX_CHANNELS = 64, LV_MAX_WORDS = 12288 };

/** Latent channels of Wan2.2's own autoencoder, which only TI2V 5B has: 16 x 16 pixels a latent. */
enum { LV_WAN22_CHANNELS = 48 };

/** Rows of CLIP's features of a picture: 16 x 16 patches and the class. */
enum { LV_CLIP_ROWS = 257 };

/** Channels of the mask in front of image latents. */
enum { LV_MASK_CHANNELS = 4 };

/** Networks of a model that has one for steps of much noise and one for the others (Wan2.2
 *  A14B); a model of one network has that of LV_HIGH alone. */
enum { LV_HIGH, LV_LOW, LV_EXPERTS };

/** Kinds of self-attention. MIXED: r softmax + (1 - r) linear. */
enum LvAttnKind { LV_ATTN_SOFTMAX, LV_ATTN_LINEAR, LV_ATTN_MIXED, LV_ATTN_NB };

/** Diffusion transformer. */
typedef struct LvDitConfig {
    int dim, ffn_dim, heads, layers; ///< heads divides dim; head_dim is even
    int text_dim;  ///< width of the text encoder's output
    int text_len;  ///< rows of text attended to, zero padding included
    int freq_dim;  ///< of the time sinusoid, even
    int channels;  ///< of the latents, in and out
    int cond_channels; ///< of the image condition, behind the latents' on the way in; 0: none
    int clip_dim;  ///< width of CLIP's image features; 0: none are attended to
    int clip_images; ///< pictures that they are of: 1 or 2; 0 without clip_dim
    int patch[3];  ///< frames, rows, columns of latents in a token
    float eps;     ///< of all norms
    enum LvMapKind map; ///< of linear layers
    int map_dim;   ///< columns P of their maps; 0 when no layer has any
    float map_eps; ///< of their denominators
    uint8_t attention[LV_MAX_LAYERS]; ///< enum LvAttnKind of each layer
} LvDitConfig;

/** UMT5 encoder. */
typedef struct LvUmt5Config {
    int vocab, dim, dim_attn, dim_ffn, heads, layers;
    int buckets, max_distance; ///< of the relative position bias
    float eps;
    char words[LV_MAX_WORDS];  ///< all that its captions had, in lower case, with spaces
                               ///< between; "": not told
} LvUmt5Config;

/** Image tower of CLIP. */
typedef struct LvClipConfig {
    int dim, ffn_dim, heads;
    int layers; ///< as the file has them: the last one is not run
} LvClipConfig;

/** Kinds of autoencoders. */
enum LvVaeKind { LV_VAE_TAE, LV_VAE_WAN };

/** Autoencoder. The layers of TAEHV's kind are found from the file's tensors. */
typedef struct LvTaeConfig {
    enum LvVaeKind kind;
    int channels;   ///< of the latents
    int patch;      ///< pixels are unshuffled by this first, 1 or more; WAN: 1, of Wan2.2 2
    int width;      ///< WAN: channels next to the pixels, of the decoder
    int encoder_width; ///< WAN of patch 2: of the encoder; 0: the file has none
    float mean[LV_MAX_CHANNELS]; ///< latents are stored as (z - mean) / std
    float std[LV_MAX_CHANNELS];
} LvTaeConfig;

/** Networks that make a video block after block (causal): the latents of a block attend to each
 *  other and to those before it. All in latents, multiples of block. */
typedef struct LvCausal {
    int block;  ///< made at once; 0: the network is not causal
    int window; ///< that softmax layers attend to: the sink, the last ones, the block itself;
                ///< 0: not told
    int sink;   ///< first ones of the video, which stay in the window; at most window - block
} LvCausal;

/** What the model was made for. */
typedef struct LvVideoConfig {
    int width, height, frames;
    int rate_num, rate_den;   ///< frames a second
    char sampler[16];         ///< name, see pipeline/sample.h
    int steps;
    float shift, guidance;    ///< guidance 1: off
    float guidance_low;       ///< that of the network of LV_LOW; 0: the same
    float boundary;           ///< steps of at least this noise level are the network's of LV_HIGH;
                              ///< 0: there is one network
    LvCausal causal;
} LvVideoConfig;

/** The sizes and frames of a clip that a model was trained on; 0: no bound. */
typedef struct LvRange {
    int min_width, max_width, min_height, max_height;
    int min_pixels, max_pixels; ///< width times height
    int min_frames, max_frames;
    int lenient; ///< 1: smaller frames and longer clips are of use too, if not as good
} LvRange;

typedef struct LvModelConfig {
    LvDitConfig dit;
    LvUmt5Config text;
    LvTaeConfig vae;
    LvVideoConfig video;
    LvRange range;  ///< section "range" of a bundle. Where there is none, and a recipe made
                    ///< the model, it is what video says: recipes train at one size
} LvModelConfig;

/** Key of a bundle's metadata that holds the configuration. */
#define LV_CONFIG_KEY "linvideo.config"

/** Kinds of a key's value: int, float, char[]. */
enum { LV_CONFIG_INT, LV_CONFIG_REAL, LV_CONFIG_NAME };

/** A key of a JSON configuration and the field it goes to. */
typedef struct LvConfigRow {
    const char *section, *key;
    int kind;
    size_t offset;    ///< of the field
    double min, max;  ///< NAME: max is the size of the array
    double fallback;  ///< when the key is absent; NAN: it is required. Of a NAME that
                      ///< is not required: what the field holds stays
} LvConfigRow;

struct json_t;

/**
 * Read keys by table from a JSON object of sections.
 *
 * @param file name for messages
 * @return 0, or LV_ERR_MODEL: "FILE: SECTION.KEY is 7, allowed is 1 to 5"
 */
int lv_config_rows(void *to, const LvConfigRow *rows, int nb, const struct json_t *root,
                   const char *file, const LvMsg *msg);

/** Read what is given of the sections "video", "sampler" and "causal" over what v holds. */
int lv_config_video(LvVideoConfig *v, const struct json_t *root, const char *file,
                    const LvMsg *msg);

/** Read a configuration from its text; as lv_config_read(). */
int lv_config_parse(LvModelConfig *c, const char *text, const char *file,
                    const LvMsg *msg);

/**
 * Parse a file of JSON that a person writes, a recipe: at most 1 MiB.
 *
 * @param[out] root NULL on error
 * @return 0, -errno of the file, -ENOMEM, LV_ERR_MODEL with the line
 */
int lv_config_load(struct json_t **root, const char *path, const LvMsg *msg);

/**
 * Read the configuration of a bundle. Every number is checked against the range
 * in config.c's table, and the sections against each other.
 *
 * @return 0, or LV_ERR_MODEL with a message: which key, what it holds, what is
 *         allowed
 */
int lv_config_read(LvModelConfig *c, const LvSafetensors *st, const LvMsg *msg);

/** Text of a configuration, as lv_config_parse() takes it; free() it. NULL when out of
 *  memory. */
char *lv_config_text(const LvModelConfig *c);

/** Latents F, Y, X for the clip of a model whose frames are frame[] (width, height),
 *  rounded up to whole patches of its network. frames, scale: frames,
 *  and pixels along an axis, that a latent stands for. */
void lv_config_latents(const LvModelConfig *c, const int frame[2], int frames, int scale,
                       int size[3]);

/** Compare two networks that are used in turn. @param name of the first, file: of the second
 *  @return 0; LV_ERR_MODEL: "FILE: expected dim 1536 as in NAME, got 2048" */
int lv_config_same(const LvDitConfig *expected, const LvDitConfig *got, const char *name,
                   const char *file, const LvMsg *msg);

/** Number of layers of a kind. */
int lv_config_layers(const LvDitConfig *c, int kind);

/** "softmax", "linear", "mixed". */
const char *lv_attn_kind_name(int kind);

/** "hedgehog", "relu", "taylor". */
const char *lv_map_name(int map);

#endif /* LINVIDEO_MODEL_CONFIG_H */
