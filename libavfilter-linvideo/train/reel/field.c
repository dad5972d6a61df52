/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/reel/field.h"

#include <math.h>

#include "base/common.h"
#include "train/clips/paint.h"

static uint32_t mix(int x, int y, int z, uint32_t key)
{
    uint32_t h = key ^ (uint32_t)x * 0x8DA6B343u ^ (uint32_t)y * 0xD8163841u ^
                 (uint32_t)z * 0xCB1AB31Fu;

    h = (h ^ h >> 15) * 0x2C1B3C6Du;
    h = (h ^ h >> 12) * 0x297A2D39u;
    return h ^ h >> 15;
}

float lv_lattice(int x, int y, int z, uint32_t key)
{
    return (float)(mix(x, y, z, key) >> 8) * 0x1p-24f;
}

static float fade(float t)
{
    return t * t * t * (t * (t * 6 - 15) + 10);
}

/* Product of (x, y, z) with one of 12 gradients, the middles of a cube's edges. */
static float slope(uint32_t h, float x, float y, float z)
{
    float u, v;

    h = (h >> 8) % 12;
    u = h < 8 ? x : y;
    v = h < 4 ? y : z;
    return (h & 1 ? -u : u) + (h & 2 ? -v : v);
}

static float lerp(float a, float b, float t)
{
    return a + t * (b - a);
}

float lv_noise(float x, float y, float z, uint32_t key)
{
    float fx = floorf(x), fy = floorf(y), fz = floorf(z), u, v, plane[2];
    int ix = (int)fx, iy = (int)fy, iz = (int)fz;

    x -= fx;
    y -= fy;
    z -= fz;
    u = fade(x);
    v = fade(y);
    for (int k = 0; k < 2; k++) {
        float dz = z - (float)k;
        float a = lerp(slope(mix(ix, iy, iz + k, key), x, y, dz),
                       slope(mix(ix + 1, iy, iz + k, key), x - 1, y, dz), u);
        float b = lerp(slope(mix(ix, iy + 1, iz + k, key), x, y - 1, dz),
                       slope(mix(ix + 1, iy + 1, iz + k, key), x - 1, y - 1, dz), u);

        plane[k] = lerp(a, b, v);
    }
    return lerp(plane[0], plane[1], fade(z));
}

float lv_fbm(float x, float y, float z, int octaves, uint32_t key)
{
    float sum = 0, part = 1;

    for (int i = 0; i < octaves; i++) {
        sum += part * lv_noise(x, y, z, key + (uint32_t)i);
        x *= 2;
        y *= 2;
        z *= 1.6f;
        part *= 0.5f;
    }
    return sum;
}

void lv_cells(float near[2], float x, float y, float z, uint32_t key)
{
    int ix = (int)floorf(x), iy = (int)floorf(y);

    near[0] = near[1] = 9;
    for (int k = 0; k < 9; k++) {
        int cx = ix + k % 3 - 1, cy = iy + k / 3 - 1;
        float a = LV_TURN * (lv_lattice(cx, cy, 0, key) + z);
        float b = LV_TURN * (lv_lattice(cx, cy, 1, key) + 0.7f * z);
        float d = hypotf((float)cx + 0.5f + 0.35f * cosf(a) - x,
                         (float)cy + 0.5f + 0.35f * sinf(b) - y);

        near[1] = LV_MIN(near[1], LV_MAX(d, near[0]));
        near[0] = LV_MIN(near[0], d);
    }
}
