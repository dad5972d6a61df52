/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Runs networks for tests: one alone, or all that a file of reference numbers
 * asks for. Used by parity.c and check_model.c.
 *
 * Such a file holds weights (weights.*), inputs (in.*), outputs (out.*) and
 * activations (act.*) of one network in its original names. The samplers' file and
 * that of the sample model have names of their own.
 */

#ifndef LINVIDEO_TESTS_NETS_H
#define LINVIDEO_TESTS_NETS_H

#include "backend/device.h"
#include "base/safetensors.h"
#include "model/config.h"

/** A file that needs a network which the library does not have. */
#define NETS_SKIPPED 1

typedef struct NetsOptions {
    LvDevice *dev;
    int dtype;          ///< of activations in products: LV_F32 or LV_BF16
    const char *bundle; ///< model that the sample's reference belongs to
    int frame_times;    ///< 1: a DiT that is opened takes a time for each latent frame
    const LvMsg *msg;
    /** Called with each result that the file has a reference for; ours has ref's
     *  shape and order of values. */
    void (*put)(void *opaque, const LvFileTensor *ref, const float *ours);
    void *opaque;
} NetsOptions;

/**
 * Run the network that the names in st tell of.
 *
 * @return 0; NETS_SKIPPED, said in a message; LV_ERR_UNSUPPORTED for a file of no
 *         known kind; an error of the library
 */
int nets_run(const LvSafetensors *st, const NetsOptions *opt);

/** The same for the file at path. */
int nets_run_file(const char *path, const NetsOptions *opt);

/** Whether a file is one of a whole pipeline (pipes.h). */
int nets_is_pipeline(const LvSafetensors *st);

/** ||ours - ref|| / ||ref||, and the largest difference in *max (NULL: not wanted);
 *  NaN when a value of ours is. */
double nets_error(const LvFileTensor *ref, const float *ours, double *max);

/** Values of a tensor as f32, to be freed with free(); NULL, said in a message, when
 *  it is missing or of no float type. */
float *nets_floats(const LvSafetensors *st, const char *name, const LvMsg *msg);

/* Networks one by one. They bind tensors "<prefix>..." of st, which must outlive
 * them, and check that none with that prefix is left over. */

typedef struct NetsDit NetsDit;

/** Configuration of the DiT in a file of reference numbers. */
int nets_dit_config(LvDitConfig *cfg, const LvSafetensors *st, const LvMsg *msg);

/** The same of one whose tensors begin with prefix ("weights."). */
int nets_dit_config_of(LvDitConfig *cfg, const LvSafetensors *st, const char *prefix,
                       const LvMsg *msg);

/** size: frames, rows, columns of the latents. */
int nets_dit_open(NetsDit **d, const LvSafetensors *st, const char *prefix,
                  const LvDitConfig *cfg, const int size[3], const NetsOptions *opt);

/** Free *d and set it to NULL. NULL is fine. */
void nets_dit_close(NetsDit **d);

/** Set the text: features [rows,text_dim], rows <= text_len. */
int nets_dit_text(NetsDit *d, const float *features, int rows);

/** Set the image condition [cond_channels,F,Y,X], and CLIP's features [rows,clip_dim] where the
 *  network attends to them (else NULL). */
int nets_dit_image(NetsDit *d, const float *condition, const float *clip);

/** One evaluation: velocity and latent [channels,F,Y,X]. */
int nets_dit_run(NetsDit *d, const float *latent, float t, float *velocity);

/** The same of a DiT that was opened with frame_times: t [F / patch[0]]. */
int nets_dit_run_frames(NetsDit *d, const float *latent, const float *t, float *velocity);

enum { NETS_SELF_ATTN, NETS_CROSS_ATTN, NETS_BLOCK };

/** [tokens,dim] of a layer, as the last run left it; free() it. */
float *nets_dit_act(NetsDit *d, int layer, int which);

/** Encode ids; *features is [n,dim], to be freed with free(). */
int nets_text(const LvSafetensors *st, const char *prefix, const LvUmt5Config *cfg,
              const int32_t *ids, int n, const NetsOptions *opt, float **features);

/** Pictures or latents one after another, channels last. */
typedef struct NetsClip {
    float *data;                     ///< [frames,rows,cols,channels]
    int frames, rows, cols, channels;
} NetsClip;

/** Frames [n,channels,rows,cols] as a clip and back; NULL data when out of memory. */
NetsClip nets_clip(const float *frames, int n, int channels, int rows, int cols);
float *nets_planar(const NetsClip *c);

/** Decode latents one frame at a time: all frames, none dropped, into *out; free()
 *  its data. */
int nets_decode(const LvSafetensors *st, const char *prefix, const LvTaeConfig *cfg,
                const NetsClip *z, const NetsOptions *opt, NetsClip *out);

/** Encode `chunk` frames at a time; chunk divides the number of frames. */
int nets_encode(const LvSafetensors *st, const char *prefix, const LvTaeConfig *cfg,
                const NetsClip *x, int chunk, const NetsOptions *opt, NetsClip *out);

/** Run a half of Wan's autoencoder over a clip, a latent frame at a time. */
int nets_wan(const LvSafetensors *st, const char *prefix, const LvTaeConfig *cfg,
             int encoder, const NetsClip *in, const NetsOptions *opt, NetsClip *out);

#endif /* LINVIDEO_TESTS_NETS_H */
