/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "pipeline/prepare.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/common.h"

enum { CUBIC_TAPS = 4, LANCZOS = 3, BITS = 22 };

/* Floats */

void lv_pixels_free(LvPixels *p)
{
    free(p->rgb);
    *p = (LvPixels) { 0 };
}

static size_t values_of(int width, int height)
{
    return 3 * (size_t)width * (size_t)height;
}

static int pixels_new(LvPixels *p, int width, int height)
{
    *p = (LvPixels) { calloc(values_of(width, height), sizeof(*p->rgb)), width, height };
    return p->rgb ? 0 : LV_ERR(ENOMEM);
}

int lv_pixels_from(LvPixels *p, const LvImage *image)
{
    int ret = pixels_new(p, image->width, image->height);

    for (size_t i = 0; ret >= 0 && i < values_of(p->width, p->height); i++)
        p->rgb[i] = ((float)image->rgb[i] / 255 - 0.5f) / 0.5f;
    return ret;
}

/* Sizes */

static int check_size(const int size[2], const int image[2], const LvMsg *msg)
{
    return size[0] > 0 && size[1] > 0 ? 0 :
           lv_fail(msg, LV_ERR(EINVAL), "an image of %dx%d is too narrow for a clip of this many "
                   "pixels", image[0], image[1]);
}

int lv_prepare_size(int size[2], const int image[2], double area, const LvMsg *msg)
{
    double aspect = (double)image[1] / image[0];

    size[0] = 16 * (int)floor(floor(sqrt(area / aspect) / 8) / 2);
    size[1] = 16 * (int)floor(floor(sqrt(area * aspect) / 8) / 2);
    return check_size(size, image, msg);
}

/* How far a ratio is from another: 1 or more. */
static double apart(double a, double b)
{
    return fmax(a / b, b / a);
}

static int multiple(double x)
{
    return 32 * (int)floor(x / 32);
}

int lv_prepare_size_ti2v(int size[2], const int image[2], double area, const LvMsg *msg)
{
    double ratio = (double)image[0] / image[1], width = sqrt(area * ratio);
    int w1 = multiple(width), h1 = w1 ? multiple(area / w1) : 0;
    int h2 = multiple(area / width), w2 = h2 ? multiple(area / h2) : 0;
    int first = w1 && h1 && (!w2 || !h2 || apart(ratio, (double)w1 / h1) <
                                           apart(ratio, (double)w2 / h2));

    size[0] = first ? w1 : w2;
    size[1] = first ? h1 : h2;
    return check_size(size, image, msg);
}

/* Bicubic */

static double cubic(double x)
{
    const double a = -0.75;

    x = fabs(x);
    return x <= 1 ? ((a + 2) * x - (a + 3)) * x * x + 1
                  : x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

/* What each of o samples is made of: [o,CUBIC_TAPS] places of n, and weights. */
typedef struct Cubic {
    int *at;
    float *weight;
} Cubic;

static void cubic_free(Cubic *c)
{
    free(c->at);
    free(c->weight);
}

static int cubic_new(Cubic *c, int n, int o)
{
    size_t all = (size_t)o * CUBIC_TAPS;

    c->at     = malloc(all * sizeof(*c->at));
    c->weight = malloc(all * sizeof(*c->weight));
    if (!c->at || !c->weight)
        return LV_ERR(ENOMEM);
    for (int d = 0; d < o; d++) {
        double p = (d + 0.5) * n / o - 0.5, i = floor(p);
        for (int k = 0; k < CUBIC_TAPS; k++) {
            int at = (int)i - 1 + k;
            c->at[d * CUBIC_TAPS + k]     = LV_MIN(LV_MAX(at, 0), n - 1);
            c->weight[d * CUBIC_TAPS + k] = (float)cubic(p - i + 1 - k);
        }
    }
    return 0;
}

/* One row of the picture at its new width. */
static void stretch_row(float *to, int width, const Cubic *x, const float *row)
{
    for (int j = 0; j < width; j++)
        for (int c = 0; c < 3; c++) {
            double sum = 0;
            for (int k = 0; k < CUBIC_TAPS; k++)
                sum += (double)x->weight[j * CUBIC_TAPS + k] *
                       row[3 * x->at[j * CUBIC_TAPS + k] + c];
            to[3 * j + c] = (float)sum;
        }
}

/* wide: [rows of p,width,3] */
static void stretch(float *rgb, const int size[2], const LvPixels *p, const Cubic *x,
                    const Cubic *y, float *wide)
{
    size_t line = 3 * (size_t)size[0];

    for (int i = 0; i < p->height; i++)
        stretch_row(wide + (size_t)i * line, size[0], x, p->rgb + 3 * (size_t)i * (size_t)p->width);
    for (int i = 0; i < size[1]; i++)
        for (size_t j = 0; j < line; j++) {
            double sum = 0;
            for (int k = 0; k < CUBIC_TAPS; k++)
                sum += (double)y->weight[i * CUBIC_TAPS + k] *
                       wide[(size_t)y->at[i * CUBIC_TAPS + k] * line + j];
            rgb[(size_t)i * line + j] = (float)sum;
        }
}

int lv_prepare_stretch(float *rgb, const int size[2], const LvPixels *p)
{
    float *wide = malloc(values_of(size[0], p->height) * sizeof(*wide));
    Cubic x = { NULL, NULL }, y = { NULL, NULL };
    int ret = wide && cubic_new(&x, p->width, size[0]) >= 0 &&
              cubic_new(&y, p->height, size[1]) >= 0 ? 0 : LV_ERR(ENOMEM);

    if (ret >= 0)
        stretch(rgb, size, p, &x, &y, wide);
    cubic_free(&x);
    cubic_free(&y);
    free(wide);
    return ret;
}

/* Lanczos */

static double sinc(double x)
{
    x *= 3.14159265358979323846;
    return x ? sin(x) / x : 1;
}

static double lanczos(double x)
{
    return fabs(x) < LANCZOS ? sinc(x) * sinc(x / LANCZOS) : 0;
}

/* What each sample is made of: the first place, how many, and weights in 2^-BITS. */
typedef struct Lanczos {
    int taps;    ///< at most
    int *first, *nb;
    int32_t *weight;
} Lanczos;

static void lanczos_free(Lanczos *l)
{
    free(l->first);
    free(l->nb);
    free(l->weight);
}

/* w: [taps] */
static void lanczos_sample(Lanczos *l, int d, int n, double scale, double *w)
{
    double stretch = fmax(scale, 1), center = (d + 0.5) * scale, sum = 0;
    double reach   = LANCZOS * stretch;
    int from = LV_MAX((int)(center - reach + 0.5), 0), to = LV_MIN((int)(center + reach + 0.5), n);

    l->first[d] = from;
    l->nb[d]    = to - from;
    for (int k = 0; k < to - from; k++)
        sum += w[k] = lanczos((k + from - center + 0.5) * (1 / stretch));
    for (int k = 0; k < to - from; k++)
        l->weight[(size_t)d * (size_t)l->taps + (size_t)k] =
            (int32_t)lround(w[k] / sum * (1 << BITS));
}

static int lanczos_new(Lanczos *l, int n, int o)
{
    double scale = (double)n / o, *w;

    l->taps   = 2 * (int)ceil(LANCZOS * fmax(scale, 1)) + 1;
    l->first  = malloc((size_t)o * sizeof(*l->first));
    l->nb     = malloc((size_t)o * sizeof(*l->nb));
    l->weight = malloc((size_t)o * (size_t)l->taps * sizeof(*l->weight));
    w         = malloc((size_t)l->taps * sizeof(*w));
    for (int d = 0; d < o && l->first && l->nb && l->weight && w; d++)
        lanczos_sample(l, d, n, scale, w);
    free(w);
    return l->first && l->nb && l->weight && w ? 0 : LV_ERR(ENOMEM);
}

/* Sample d of values that are `step` apart. */
static uint8_t weigh(const Lanczos *l, int d, const uint8_t *from, size_t step)
{
    const int32_t *w = l->weight + (size_t)d * (size_t)l->taps;
    int64_t sum = 1 << (BITS - 1);

    from += (size_t)l->first[d] * step;
    for (int k = 0; k < l->nb[d]; k++)
        sum += (int64_t)w[k] * from[(size_t)k * step];
    return sum < 0 ? 0 : (uint8_t)LV_MIN(sum >> BITS, 255);
}

/* Along rows (axis 0) or columns (1), to a size that differs there alone. */
static int lanczos_pass(const LvImage *to, const LvImage *from, int axis)
{
    Lanczos l   = { 0, NULL, NULL, NULL };
    size_t line = 3 * (size_t)from->width, step = axis ? line : 3;
    int ret = lanczos_new(&l, axis ? from->height : from->width, axis ? to->height : to->width);
    uint8_t *out = to->rgb;

    for (int i = 0; i < to->height && ret >= 0; i++)
        for (int j = 0; j < to->width; j++)
            for (int c = 0; c < 3; c++)
                *out++ = weigh(&l, axis ? i : j, from->rgb + (axis ? 3 * (size_t)j
                               : (size_t)i * line) + c, step);
    lanczos_free(&l);
    return ret;
}

int lv_prepare_lanczos(const LvImage *to, const LvImage *from)
{
    LvImage wide = { NULL, to->width, from->height };
    int ret;

    if (to->width == from->width && to->height == from->height) {
        memcpy(to->rgb, from->rgb, values_of(to->width, to->height));
        return 0;
    }
    if (to->width == from->width)
        return lanczos_pass(to, from, 1);
    if (to->height == from->height)
        return lanczos_pass(to, from, 0);
    if (!(wide.rgb = malloc(values_of(wide.width, wide.height))))
        return LV_ERR(ENOMEM);
    if ((ret = lanczos_pass(&wide, from, 0)) >= 0)
        ret = lanczos_pass(to, &wide, 1);
    free(wide.rgb);
    return ret;
}

/* The middle of a picture. cut->rgb: of the caller */
static void copy_middle(const LvImage *cut, const LvImage *image)
{
    int x = (image->width - cut->width) / 2, y = (image->height - cut->height) / 2;

    for (int i = 0; i < cut->height; i++)
        memcpy(cut->rgb + values_of(cut->width, i),
               image->rgb + values_of(image->width, y + i) + 3 * x, 3 * (size_t)cut->width);
}

/* That a picture which is scaled for another size has no more pixels than memory is for. */
static int check_scaled(double width, double height, const int from[2], const int size[2],
                        const LvMsg *msg)
{
    return width * height <= LV_PREPARE_MAX ? 0 :
           lv_fail(msg, LV_ERR(EINVAL), "an image of %dx%d is too narrow for %dx%d: scaled to "
                   "that it has %.0fx%.0f pixels, expected at most %d", from[0], from[1],
                   size[0], size[1], width, height, LV_PREPARE_MAX);
}

int lv_prepare_cover(const LvImage *to, const LvImage *from, const LvMsg *msg)
{
    double scale = fmax((double)to->width / from->width, (double)to->height / from->height);
    LvImage all  = { NULL, (int)rint(from->width * scale), (int)rint(from->height * scale) };
    const int size[2] = { to->width, to->height }, own[2] = { from->width, from->height };
    int ret;

    all.width  = LV_MAX(all.width, to->width);
    all.height = LV_MAX(all.height, to->height);
    if ((ret = check_scaled(all.width, all.height, own, size, msg)) < 0)
        return ret;
    if (!(all.rgb = malloc(values_of(all.width, all.height))))
        return LV_ERR(ENOMEM);
    if ((ret = lv_prepare_lanczos(&all, from)) >= 0)
        copy_middle(to, &all);
    free(all.rgb);
    return ret;
}

int lv_prepare_shape(LvImage *cut, const LvImage *image, const int size[2])
{
    double scale = fmax((double)size[0] / image->width, (double)size[1] / image->height);

    *cut = (LvImage) { NULL, LV_MIN(LV_MAX((int)rint(size[0] / scale), 1), image->width),
                       LV_MIN(LV_MAX((int)rint(size[1] / scale), 1), image->height) };
    if (!(cut->rgb = malloc(values_of(cut->width, cut->height))))
        return LV_ERR(ENOMEM);
    copy_middle(cut, image);
    return 0;
}

/* The last picture */

/* Where n samples begin in a cut of o, about the middle: below 0, they are cut. */
static int middle(int n, int o)
{
    return o >= n ? (o - n) / 2 : -(int)rint((n - o) / 2.0);
}

int lv_prepare_last(LvPixels *cut, const LvPixels *last, const int first[2], const LvMsg *msg)
{
    double r = fmax((double)first[0] / last->width, (double)first[1] / last->height);
    int same = first[0] == last->width && first[1] == last->height;
    int height = same ? last->height : (int)rint(last->width * r);
    int width  = same ? last->width : (int)rint(last->height * r);
    int x = middle(last->width, width), y = middle(last->height, height);
    int from = LV_MAX(x, 0), to = LV_MIN(x + last->width, width), ret;
    const int own[2] = { last->width, last->height };

    if ((ret = check_scaled(width, height, own, first, msg)) < 0 ||
        (ret = pixels_new(cut, width, height)) < 0)
        return ret;
    for (int i = LV_MAX(y, 0); i < LV_MIN(y + last->height, height) && from < to; i++)
        memcpy(cut->rgb + values_of(width, i) + 3 * from,
               last->rgb + values_of(last->width, i - y) + 3 * (from - x),
               3 * (size_t)(to - from) * sizeof(float));
    return 0;
}

/* CLIP */

int lv_prepare_clip(float *rgb, const LvPixels *p)
{
    static const double mean[3] = { 0.48145466, 0.4578275, 0.40821073 };
    static const double std[3]  = { 0.26862954, 0.26130258, 0.27577711 };
    static const int size[2]    = { LV_CLIP_SIDE, LV_CLIP_SIDE };
    int ret = lv_prepare_stretch(rgb, size, p);

    for (size_t i = 0; ret >= 0 && i < values_of(LV_CLIP_SIDE, LV_CLIP_SIDE); i++)
        rgb[i] = (float)((rgb[i] * 0.5 + 0.5 - mean[i % 3]) / std[i % 3]);
    return ret;
}

/* Masks */

void lv_prepare_mask(float *mask, int frames, int last)
{
    assert(frames >= 1);
    for (int c = 0; c < LV_MASK_CHANNELS; c++)
        for (int f = 0; f < frames; f++)
            mask[c * frames + f] = !f;
    if (last)
        mask[LV_MASK_CHANNELS * frames - 1] = 1;
}

void lv_prepare_condition(float *y, const float *z, int channels, const int size[3], int last)
{
    size_t plane = (size_t)size[1] * (size_t)size[2], frames = (size_t)size[0];

    assert(channels >= 1 && size[0] >= 1);
    lv_prepare_mask(y, size[0], last);
    for (size_t i = LV_MASK_CHANNELS * frames; i-- > 0;) {
        float v = y[i];
        for (size_t k = 0; k < plane; k++)
            y[i * plane + k] = v;
    }
    memcpy(y + LV_MASK_CHANNELS * frames * plane, z,
           (size_t)channels * frames * plane * sizeof(*z));
}
