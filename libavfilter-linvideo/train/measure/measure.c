/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/measure/measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/common.h"
#include "base/philox.h"
#include "train/clips/render.h"
#include "train/measure/track.h"
#include "train/measure/traits.h"

enum { OBJECTS = 40, MATERIALS = 14, NEIGHBOURS = 3,
       REFERENCES = OBJECTS + (LV_SCENE_NB - 1) * MATERIALS };

/* Deviation of the noise in lv_measure_degrade(). */
#define NOISE 0.04f

/* A clip to compare with. */
typedef struct Reference {
    LvSceneKind kind;
    float traits[LV_TRAITS];
} Reference;

struct LvMeasure {
    LvExtent size;
    double rate;
    float scale[LV_TRAITS];   ///< 1 / deviation within a kind
    Reference reference[REFERENCES];
    LvOutlines outlines;

    /* of the clip at hand */
    LvGround ground;
    float contrast;
    float *squares, *alpha;   ///< alpha: of one frame
    uint8_t *mark;
    int *stack;
    LvParts *parts;
    LvBlob *blobs;
};

/* What stands out */

static size_t pixels(const LvMeasure *m)
{
    return (size_t)m->size.width * m->size.height;
}

static void ground_at(const LvMeasure *m, float at[3], int x, int y)
{
    lv_ground_color(at, &m->ground, 2 * (x + 0.5f) / m->size.width - 1,
                    2 * (y + 0.5f) / m->size.height - 1);
}

/* How far the pixels of a frame stand out, in any direction of colour. */
static void any_alpha(LvMeasure *m, const float *frame)
{
    for (size_t i = 0; i < pixels(m); i++) {
        float at[3], d = 0;

        ground_at(m, at, i % m->size.width, i / m->size.width);
        for (int c = 0; c < 3; c++)
            d += (frame[3 * i + c] - at[c]) * (frame[3 * i + c] - at[c]);
        m->alpha[i] = sqrtf(d) / m->contrast;
    }
}

/* How much of the colour in front the pixels of a frame have. */
static void color_alpha(LvMeasure *m, const float *frame, const float color[3])
{
    for (size_t i = 0; i < pixels(m); i++) {
        float at[3], dot = 0, full = 1e-6f;

        ground_at(m, at, i % m->size.width, i / m->size.width);
        for (int c = 0; c < 3; c++) {
            dot  += (frame[3 * i + c] - at[c]) * (color[c] - at[c]);
            full += (color[c] - at[c]) * (color[c] - at[c]);
        }
        m->alpha[i] = dot / full;
    }
}

/* Mean of the pixels that stand out, those that do most counting far more; then of
 * those near that mean. */
static void front_color(LvMeasure *m, const float *rgb, float color[3])
{
    float near[3];

    for (int round = 0; round < 3; round++) {
        double sum[3] = { 0 }, weight = 1e-12;

        memcpy(near, color, sizeof(near));
        for (int f = 0; f < m->size.frames; f += 2) {
            const float *frame = rgb + 3 * pixels(m) * f;

            any_alpha(m, frame);
            for (size_t i = 0; i < pixels(m); i++) {
                const float *px = frame + 3 * i;
                double a = LV_MIN(m->alpha[i], 1.5f), w = a * a * a * a;
                float d = (px[0] - near[0]) * (px[0] - near[0]) +
                          (px[1] - near[1]) * (px[1] - near[1]) +
                          (px[2] - near[2]) * (px[2] - near[2]);

                if (a < 0.5 || (round && d > 0.15f * 0.15f))
                    continue;
                w *= w;
                weight += w;
                for (int c = 0; c < 3; c++)
                    sum[c] += w * px[c];
            }
        }
        for (int c = 0; c < 3 && weight > 1e-6; c++)
            color[c] = (float)(sum[c] / weight);
    }
}

/* Kinds */

static void clip_traits(LvMeasure *m, const float *rgb, float traits[LV_TRAITS])
{
    lv_ground_fit(&m->ground, rgb, m->size);
    m->contrast = lv_squares(m->squares, rgb, m->size, &m->ground);
    for (int f = 0; f < m->size.frames; f++) {
        any_alpha(m, rgb + 3 * pixels(m) * f);
        m->parts[f] = lv_parts_find(m->alpha, m->size.width, m->size.height, m->mark,
                                    m->stack);
    }
    lv_traits(traits, m->squares, m->size, m->contrast, m->parts);
}

static float reference_distance(const LvMeasure *m, const Reference *r,
                                const float traits[LV_TRAITS])
{
    float sum = 0;

    for (int i = 0; i < LV_TRAITS; i++) {
        float d = m->scale[i] * (traits[i] - r->traits[i]);

        sum += d * d;
    }
    return sum;
}

/* The kind whose NEIGHBOURS nearest references are nearest in sum. */
static LvSceneKind nearest_kind(const LvMeasure *m, const float traits[LV_TRAITS])
{
    float least[LV_SCENE_NB][NEIGHBOURS], best = INFINITY;
    LvSceneKind kind = 0;

    for (int k = 0; k < LV_SCENE_NB; k++)
        for (int i = 0; i < NEIGHBOURS; i++)
            least[k][i] = 1e9f;
    for (int i = 0; i < REFERENCES; i++) {
        float d = reference_distance(m, &m->reference[i], traits);
        float *list = least[m->reference[i].kind];

        for (int n = 0; n < NEIGHBOURS; n++) {
            float t = LV_MAX(list[n], d);

            list[n] = LV_MIN(list[n], d);
            d = t;
        }
    }
    for (int k = 0; k < LV_SCENE_NB; k++) {
        float sum = 0;

        for (int n = 0; n < NEIGHBOURS; n++)
            sum += sqrtf(least[k][n]);
        if (sum < best) {
            best = sum;
            kind = k;
        }
    }
    return kind;
}

/* 1 / the deviation of each trait within the kinds. */
static void set_scale(LvMeasure *m)
{
    for (int t = 0; t < LV_TRAITS; t++) {
        double sum[LV_SCENE_NB] = { 0 }, n[LV_SCENE_NB] = { 0 }, var = 0;

        for (int i = 0; i < REFERENCES; i++) {
            sum[m->reference[i].kind] += m->reference[i].traits[t];
            n[m->reference[i].kind]++;
        }
        for (int i = 0; i < REFERENCES; i++) {
            LvSceneKind k = m->reference[i].kind;
            double d = m->reference[i].traits[t] - sum[k] / n[k];

            var += d * d / n[k] / LV_SCENE_NB;
        }
        m->scale[t] = (float)(1 / sqrt(var + 1e-6));
    }
}

/* Every other reference is degraded. */
static void make_references(LvMeasure *m, float *rgb, float *room)
{
    int have[LV_SCENE_NB] = { 0 }, n = 0;

    for (uint64_t i = 0; n < REFERENCES; i++) {
        LvScene s;

        lv_scene_draw(&s, 0x7265666572, i, 0);
        if (have[s.kind] == (s.kind == LV_SCENE_OBJECT ? OBJECTS : MATERIALS))
            continue;
        have[s.kind]++;
        lv_render(&s, m->size.width, m->size.height, m->size.frames, m->rate, rgb);
        if (have[s.kind] % 2)
            lv_measure_degrade(rgb, room, m->size.width, m->size.height,
                               m->size.frames, i);
        m->reference[n].kind = s.kind;
        clip_traits(m, rgb, m->reference[n++].traits);
    }
    set_scale(m);
}

static void make_outlines(LvMeasure *m, float *rgb)
{
    for (int i = 0; i < LV_OUTLINES; i++) {
        LvScene s = { .shape = i % LV_SHAPE_NB, .size = i / LV_SHAPE_NB % LV_SIZE_NB,
                      .motion = LV_STILL, .color = LV_WHITE, .back = LV_BLACK,
                      .back2 = LV_BLACK, .turn = 1, .phase = 0.07f };
        float color[3] = { 0.97f, 0.97f, 0.97f };
        LvParts parts;

        if (i / LV_SHAPE_NB / LV_SIZE_NB && s.shape != LV_CIRCLE && s.shape != LV_RING)
            s.motion = LV_SPINNING;
        lv_render(&s, m->size.width, m->size.height, 1, m->rate, rgb);
        m->ground = (LvGround) { { { 0.05f }, { 0.05f }, { 0.05f } } };
        color_alpha(m, rgb, color);
        parts = lv_parts_find(m->alpha, m->size.width, m->size.height, m->mark,
                              m->stack);
        lv_blob_describe(&m->outlines.blob[i], m->alpha, m->size.width, m->size.height,
                         &parts);
    }
}

int lv_measure_new(LvMeasure **out, int width, int height, int frames, double rate)
{
    LvMeasure *m = lv_alloc(sizeof(*m));
    size_t n = (size_t)width * height;
    float *rgb = lv_alloc(2 * sizeof(*rgb) * 3 * n * frames);

    *out = m;
    if (m) {
        m->size    = (LvExtent) { width, height, frames };
        m->rate    = rate;
        m->squares = lv_alloc(sizeof(*m->squares) * lv_traits_room(m->size));
        m->alpha   = lv_alloc(sizeof(*m->alpha) * n);
        m->mark    = lv_alloc(n);
        m->stack   = lv_alloc(sizeof(*m->stack) * n);
        m->parts   = lv_alloc(sizeof(*m->parts) * frames);
        m->blobs   = lv_alloc(sizeof(*m->blobs) * frames);
    }
    if (!rgb || !m || !m->squares || !m->alpha || !m->mark || !m->stack || !m->parts ||
        !m->blobs) {
        lv_free(rgb);
        lv_measure_free(out);
        return LV_ERR(ENOMEM);
    }
    make_outlines(m, rgb);
    make_references(m, rgb, rgb + 3 * n * frames);
    lv_free(rgb);
    return 0;
}

void lv_measure_free(LvMeasure **m)
{
    if (!m || !*m)
        return;
    lv_free((*m)->squares);
    lv_free((*m)->alpha);
    lv_free((*m)->mark);
    lv_free((*m)->stack);
    lv_free((*m)->parts);
    lv_free((*m)->blobs);
    lv_freep(m);
}

/* Clips */

/* Mean colour of the pixels of a frame whose place along an axis, 0 to 1, lies in
 * [from, to): down, or across. */
static void band_color(const LvMeasure *m, const float *frame, int across, float from,
                       float to, float color[3])
{
    double sum[3] = { 0 }, n = 0;

    for (size_t i = 0; i < pixels(m); i++) {
        float at = across ? (i % m->size.width + 0.5f) / m->size.width :
                            (i / m->size.width + 0.5f) / m->size.height;

        if (at < from || at >= to)
            continue;
        n++;
        for (int c = 0; c < 3; c++)
            sum[c] += frame[3 * i + c];
    }
    for (int c = 0; c < 3; c++)
        color[c] = (float)(sum[c] / LV_MAX(n, 1));
}

static void measure_object(LvMeasure *m, const float *rgb, LvMeasured *found)
{
    for (int f = 0; f < m->size.frames; f++) {
        color_alpha(m, rgb + 3 * pixels(m) * f, found->rgb);
        m->parts[f] = lv_parts_find(m->alpha, m->size.width, m->size.height, m->mark,
                                    m->stack);
        lv_blob_describe(&m->blobs[f], m->alpha, m->size.width, m->size.height,
                         &m->parts[f]);
    }
    found->shape  = lv_track_shape(m->blobs, m->size.frames, &m->outlines);
    found->motion = lv_track_motion(m->blobs, m->size.frames,
                                    LV_MIN(m->size.width, m->size.height));
}

/* The first frame has one colour, the last the other; in between the sides differ. */
static void measure_wipe(LvMeasure *m, const float *rgb, LvMeasured *found)
{
    const float *last = rgb + 3 * pixels(m) * (m->size.frames - 1);
    const float *middle = rgb + 3 * pixels(m) * (m->size.frames / 2);
    float first[3], most = -INFINITY, band[3];

    band_color(m, rgb, 0, 0, 1, first);
    band_color(m, last, 0, 0, 1, found->rgb);
    found->back = found->back2 = lv_color_nearest(first);
    found->pattern = LV_PLAIN;
    for (int i = 0; i < LV_SIDE_NB; i++) {
        int far = i == LV_FROM_RIGHT || i == LV_FROM_BOTTOM;
        float d;

        band_color(m, middle, i <= LV_FROM_RIGHT, far ? 0.7f : 0, far ? 1 : 0.3f, band);
        d = lv_color_distance(band, first) - lv_color_distance(band, found->rgb);
        if (d > most) {
            most = d;
            found->side = i;
        }
    }
}

/* The two ends along the direction in which colours vary most: red, green or blue. */
static void measure_gradient(LvMeasure *m, const float *rgb, LvMeasured *found)
{
    size_t n = pixels(m) * m->size.frames;
    double mean[3] = { 0 }, cov[3][3] = { { 0 } }, axis[3] = { 1, 0.9, 0.8 };
    double low = INFINITY, high = -INFINITY, sum[2][3] = { { 0 } }, count[2] = { 0 };
    float end[2][3];

    for (size_t i = 0; i < 3 * n; i++)
        mean[i % 3] += rgb[i] / n;
    for (size_t i = 0; i < n; i++)
        for (int c = 0; c < 9; c++)
            cov[c / 3][c % 3] += (rgb[3 * i + c / 3] - mean[c / 3]) *
                                 (rgb[3 * i + c % 3] - mean[c % 3]);
    for (int round = 0; round < 30; round++) {
        double next[3], size = 1e-12;

        for (int c = 0; c < 3; c++) {
            next[c] = cov[c][0] * axis[0] + cov[c][1] * axis[1] + cov[c][2] * axis[2];
            size += next[c] * next[c];
        }
        for (int c = 0; c < 3; c++)
            axis[c] = next[c] / sqrt(size);
    }
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < n; i++) {
            double at = 0;

            for (int c = 0; c < 3; c++)
                at += axis[c] * (rgb[3 * i + c] - mean[c]);
            if (!pass) {
                low  = LV_MIN(low, at);
                high = LV_MAX(high, at);
            } else if (fabs(at - 0.5 * (low + high)) > 0.35 * (high - low)) {
                int k = at > 0.5 * (low + high);

                count[k]++;
                for (int c = 0; c < 3; c++)
                    sum[k][c] += rgb[3 * i + c];
            }
        }
    }
    for (int i = 0; i < 6; i++)
        end[i / 3][i % 3] = (float)(sum[i / 3][i % 3] / LV_MAX(count[i / 3], 1));
    memcpy(found->rgb, end[0], sizeof(found->rgb));
    found->back = found->back2 = lv_color_nearest(end[1]);
    found->pattern = LV_PLAIN;
}

/* Waves cover the lower part: their colour is at the bottom, and what is behind them
 * in the upper third, from where its shading is carried on. */
static void measure_waves(LvMeasure *m, const float *rgb, LvMeasured *found)
{
    LvGround g = { { { 0 } } };
    float top[3], lower[3];

    band_color(m, rgb, 0, 0.93f, 1, found->rgb);
    band_color(m, rgb, 0, 0, 0.1f, top);
    band_color(m, rgb, 0, 0.2f, 0.3f, lower);
    for (int c = 0; c < 3; c++) {
        g.at[c][2] = (lower[c] - top[c]) / 0.4f;
        g.at[c][0] = top[c] + 0.9f * g.at[c][2];
    }
    lv_ground_name(&found->pattern, &found->back, &found->back2, &g, -0.4f);
}

void lv_measure_clip(LvMeasure *m, const float *rgb, LvMeasured *found)
{
    float traits[LV_TRAITS];

    memset(found, 0, sizeof(*found));
    clip_traits(m, rgb, traits);
    found->kind = nearest_kind(m, traits);
    lv_ground_name(&found->pattern, &found->back, &found->back2, &m->ground, 0.9f);
    switch (found->kind) {
    case LV_SCENE_WIPE:     measure_wipe(m, rgb, found); break;
    case LV_SCENE_GRADIENT: measure_gradient(m, rgb, found); break;
    case LV_SCENE_WAVES:    measure_waves(m, rgb, found); break;
    default:                front_color(m, rgb, found->rgb); break;
    }
    found->color = lv_color_nearest(found->rgb);
    if (found->kind == LV_SCENE_OBJECT)
        measure_object(m, rgb, found);
}

/* Answers */

static int same_back(const LvMeasured *found, const LvScene *s)
{
    if (s->pattern != LV_BLEND)
        return found->back == s->back && found->back2 == s->back;
    return found->back == s->back && found->back2 == s->back2;
}

int lv_measure_matches(const LvMeasured *found, const LvScene *s)
{
    int object = s->kind == LV_SCENE_OBJECT, kind = found->kind == s->kind;
    int color = found->color == s->color, back = same_back(found, s), bits = 0;

    /* neither colour of a gradient is in front */
    if (s->kind == LV_SCENE_GRADIENT && found->color == s->back &&
        found->back == s->color)
        color = back = 1;
    if (color || s->kind == LV_SCENE_CONFETTI)
        bits |= LV_MATCH_COLOR;
    if (kind && (!object || found->shape == s->shape))
        bits |= LV_MATCH_SHAPE;
    if (kind && (!object || found->motion == s->motion) &&
        (s->kind != LV_SCENE_WIPE || found->side == s->side))
        bits |= LV_MATCH_MOTION;
    return bits | (back ? LV_MATCH_BACK : 0);
}

/* Nearly normal values of deviation 1: sums of four bytes. */
static void make_noise(float *dst, size_t n, uint64_t stream)
{
    const uint32_t key[2] = { (uint32_t)stream, (uint32_t)(stream >> 32) };
    const float scale = 1 / 147.8f;
    uint32_t w[4];

    for (size_t i = 0; i < n; i++) {
        const uint32_t ctr[4] = { (uint32_t)(i / 4), (uint32_t)(i >> 34) };
        uint32_t v;

        if (i % 4 == 0)
            lv_philox(w, ctr, key);
        v = w[i % 4];
        v = (v & 255) + (v >> 8 & 255) + (v >> 16 & 255) + (v >> 24);
        dst[i] = ((int)v - 510) * scale;
    }
}

void lv_measure_degrade(float *rgb, float *room, int width, int height, int frames,
                        uint64_t stream)
{
    size_t row = (size_t)3 * width, rows = (size_t)height * frames, n = row * rows;

    make_noise(room, n, stream);
    for (size_t y = 0; y < rows; y++) {
        size_t up = y % height ? row : 0, down = (y + 1) % height ? row : 0;

        for (size_t i = y * row; i < (y + 1) * row; i++) {
            size_t left = i % row >= 3 ? 3 : 0, right = i % row + 3 < row ? 3 : 0;
            const float *a = rgb + i - up, *b = rgb + i, *c = rgb + i + down;
            const float *l = b - left, *r = b + right;

            room[i] = NOISE * room[i] +
                      (4 * *b + 2 * (*l + *r + *a + *c) + *(l - up) + *(r - up) +
                       l[down] + r[down]) / 16;
        }
    }
    memcpy(rgb, room, n * sizeof(*rgb));
}

void lv_measure_from_u8(float *dst, const unsigned char *src, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dst[i] = src[i] / 255.0f;
}

double lv_measure_psnr(const float *a, const float *b, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    return sum > 0 ? 10 * log10((double)n / sum) : INFINITY;
}

LvFlicker lv_measure_flicker(const float *clip, int frames, size_t n)
{
    double first = 0, second = 0;

    for (size_t i = 0; i + n < n * frames; i++) {
        double d = (double)clip[i + n] - clip[i];

        first += d * d;
        if (i + 2 * n < n * frames) {
            d = (double)clip[i + 2 * n] - clip[i + n] - d;
            second += d * d;
        }
    }
    first  /= (double)n * LV_MAX(frames - 1, 1);
    second /= (double)n * LV_MAX(frames - 2, 1);
    return (LvFlicker) { sqrt(first), sqrt(second), first > 0 ? second / first : 0 };
}
