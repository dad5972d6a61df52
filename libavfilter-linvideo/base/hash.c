/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "base/hash.h"

#include <string.h>

/* Of the specification of XXH64. */
static const uint64_t P1 = 0x9E3779B185EBCA87u, P2 = 0xC2B2AE3D27D4EB4Fu,
                      P3 = 0x165667B19E3779F9u, P4 = 0x85EBCA77C2B2AE63u,
                      P5 = 0x27D4EB2F165667C5u;

static uint64_t read64(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

static uint32_t read32(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

static uint64_t turn(uint64_t v, int n)
{
    return v << n | v >> (64 - n);
}

static uint64_t mix(uint64_t sum, uint64_t word)
{
    return turn(sum + word * P2, 31) * P1;
}

static uint64_t merge(uint64_t h, uint64_t sum)
{
    return (h ^ mix(0, sum)) * P1 + P4;
}

/* Blocks of 32 bytes, in four sums. */
static uint64_t hash_blocks(uint64_t seed, const uint8_t **p, size_t n)
{
    uint64_t sum[4] = { seed + P1 + P2, seed + P2, seed, seed - P1 }, h;

    for (; n >= 32; n -= 32, *p += 32)
        for (int i = 0; i < 4; i++)
            sum[i] = mix(sum[i], read64(*p + 8 * i));
    h = turn(sum[0], 1) + turn(sum[1], 7) + turn(sum[2], 12) + turn(sum[3], 18);
    for (int i = 0; i < 4; i++)
        h = merge(h, sum[i]);
    return h;
}

uint64_t lv_hash(uint64_t seed, const void *data, size_t n)
{
    const uint8_t *p = data;
    uint64_t h = n >= 32 ? hash_blocks(seed, &p, n) : seed + P5;
    size_t left = n % 32;

    h += n;
    for (; left >= 8; left -= 8, p += 8)
        h = turn(h ^ mix(0, read64(p)), 27) * P1 + P4;
    for (; left >= 4; left -= 4, p += 4)
        h = turn(h ^ read32(p) * P1, 23) * P2 + P3;
    for (; left; left--, p++)
        h = turn(h ^ *p * P5, 11) * P1;
    h = (h ^ h >> 33) * P2;
    h = (h ^ h >> 29) * P3;
    return h ^ h >> 32;
}

uint64_t lv_hash_text(uint64_t seed, const char *text)
{
    return lv_hash(seed, text, strlen(text));
}
