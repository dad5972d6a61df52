/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Samplers: the schedule of noise levels and the rule that moves latents from
 * one to the next. All on the host, on f32 latents, coefficients in f64.
 * Floor F5 (pipeline): knows velocities, not the network that makes them.
 *
 * x_sigma = (1 - sigma) x0 + sigma eps; the model's velocity v = eps - x0; the time
 * it is fed is t = 1000 sigma (truncated for the tables of Wan's reference).
 */

#ifndef LINVIDEO_PIPELINE_SAMPLE_H
#define LINVIDEO_PIPELINE_SAMPLE_H

#include "base/common.h"
#include "base/msg.h"
#include "model/config.h"

/** The same values as enum LinvideoSampler. */
enum LvSamplerKind {
    LV_SAMPLER_AUTO,
    LV_SAMPLER_EULER,   ///< x += (sigma' - sigma) v
    LV_SAMPLER_UNIPC,   ///< order 2, bh2, with corrector: Wan's reference
    LV_SAMPLER_RENOISE, ///< x0 = x - sigma v; x = (1 - sigma') x0 + sigma' noise
    LV_SAMPLER_DPMPP,   ///< DPM-Solver++(2M), midpoint: Wan's reference
    LV_SAMPLER_CAUSVID, ///< RENOISE at CausVid's nine levels, shifted
    LV_SAMPLER_RCM,     ///< RENOISE at the first of rCM's four levels, no shift; begins
                        ///< with noise times the first
    LV_SAMPLER_CAUSVID_CAUSAL, ///< RENOISE at the three levels of CausVid's causal network,
                        ///< no shift
    LV_SAMPLER_NB
};

typedef struct LvSampler LvSampler;

/**
 * @param kind  not AUTO
 * @param steps 1 to 1000; CAUSVID: 9; RCM: 1 to 4
 * @param shift flow shift, > 0
 * @param n     elements of the latents
 * @param[out] s freed with lv_sampler_free(); NULL on error
 * @return 0, -ENOMEM, -EINVAL
 */
int lv_sampler_new(LvSampler **s, int kind, int steps, double shift, size_t n,
                   const LvMsg *msg);

/** Free *s and set it to NULL. NULL is fine. */
void lv_sampler_free(LvSampler **s);

/**
 * Begin a new clip; what was kept of the one before is cleared. Noise that
 * RENOISE adds after step i is lv_philox_normal(.., n, seed, stream + i).
 *
 * @param stream LvNoise.renoise of the clip
 */
void lv_sampler_start(LvSampler *s, uint64_t seed, uint64_t stream);

/** Steps of a sampler that are left where clips begin at `strength` of its first level, before
 *  the shift: that share of equal steps, at least one; of a list of levels those below.
 *  @param strength above 0, at most 1 */
int lv_sampler_left(int kind, int steps, double strength);

/** Begin there; before any step. Levels fall from it to 0 in lv_sampler_left() steps. */
void lv_sampler_begin_at(LvSampler *s, double strength);

/** 1: its steps add fresh noise. */
int lv_sampler_renoises(int kind);

/** What noise is multiplied with to begin: 1, but for RCM. */
float lv_sampler_scale(const LvSampler *s);

/** Time to feed the model at step i, 0 <= i < steps; in 0..1000. */
float lv_sampler_time(const LvSampler *s, int i);

/** Whose step i is, of a model of two networks: LV_HIGH where its time is 1000 boundary or more.
 *  The solver goes on over the change as if it were one network. */
int lv_sampler_expert(const LvSampler *s, int i, float boundary);

/** Sigma of step i, 0 <= i <= steps; the last is 0. */
float lv_sampler_sigma(const LvSampler *s, int i);

/** Move x[n] by step i with the model's velocity v[n] at (x, time i). Steps are
 *  taken in order, each once. Allocates nothing. */
void lv_sampler_step(LvSampler *s, int i, float *x, const float *v);

/** Classifier-free guidance: v = u + scale (v - u), in place. */
void lv_guide(float *v, const float *u, size_t n, float scale);

/** Kind by the name of an option or a model's configuration ("euler", "unipc",
 *  "renoise", "dpm++", "causvid", "rcm", "auto"); -EINVAL when unknown. */
int lv_sampler_by_name(const char *name);

/** Name of a kind. */
const char *lv_sampler_name(int kind);

#endif /* LINVIDEO_PIPELINE_SAMPLE_H */
