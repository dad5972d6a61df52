/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * A main() for fuzz targets where there is no fuzzing engine: it changes a seed
 * file again and again, the same way each time. Included by a target after
 * FUZZ_EDGE, the number of bytes at either end that are changed most often.
 * Tests: knows nothing of the format.
 *
 *     PROGRAM SEED-FILE [TIMES [FIRST]]
 */

#ifndef LINVIDEO_FUZZ_MUTATE_H
#define LINVIDEO_FUZZ_MUTATE_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#ifdef LV_FUZZ_MAIN

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/philox.h"

/* Random words, in order. */
typedef struct Dice {
    uint32_t ctr[4], word[4], left;
} Dice;

static uint32_t roll(Dice *d, size_t below)
{
    static const uint32_t key[2] = { 0x6C76, 0 };

    if (!d->left) {
        d->ctr[0]++;
        lv_philox(d->word, d->ctr, key);
        d->left = 4;
    }
    return (uint32_t)(d->word[--d->left] % below);
}

/* A place: mostly near either end. */
static size_t place(Dice *d, size_t n)
{
    size_t edge = n < FUZZ_EDGE ? n : FUZZ_EDGE;

    switch (roll(d, 4)) {
    case 0:
        return roll(d, n);
    case 1:
        return n - 1 - roll(d, edge);
    default:
        return roll(d, edge);
    }
}

/* Another word in place of the first number of a text from p + at on; the new number of
 * bytes. */
static size_t change_number(Dice *d, uint8_t *p, size_t n, size_t at)
{
    static const char *const words[] = {
        "0", "1", "-1", "2", "3", "64", "0.5", "65537", "2147483647", "2147483648",
        "4294967298", "9223372036854775807", "-9223372036854775808", "1e-45", "1e39",
        "1e308", "1e999", "null", "true", "\"1\"", "[]", "{}", "[1, 2]",
    };
    const char *word = words[roll(d, sizeof(words) / sizeof(*words))];
    size_t len = strlen(word), end;

    while (at < n && (p[at] < '0' || p[at] > '9'))
        at++;
    for (end = at; end < n && p[end] && strchr("0123456789.e+-", p[end]);)
        end++;
    if (at == n)
        return n;
    memmove(p + at + len, p + end, n - end);
    memcpy(p + at, word, len);
    return n - (end - at) + len;
}

/* One change to the n bytes at p (room for 2 n); the new number of bytes. */
static size_t change(Dice *d, uint8_t *p, size_t n)
{
    static const uint8_t edges[] = { 0, 1, 0x7F, 0x80, 0xFF, '"', '{', '[', ']', '}',
                                     ',', ':', '-', '9', ' ', '\\' };
    size_t at = place(d, n), len = 1 + roll(d, 16);
    size_t from = place(d, n);

    len = len < n - at ? len : n - at;
    len = len < n - from ? len : n - from;
    switch (roll(d, 16)) {
    default:
        p[at] ^= (uint8_t)(1 << roll(d, 8));
        return n;
    case 0: case 1: case 2:
        p[at] = edges[roll(d, sizeof(edges))];
        return n;
    case 3: case 4:
        p[at] = (uint8_t)roll(d, 256);
        return n;
    case 5:
        memmove(p + at, p + from, len);
        return n;
    case 6:
        memset(p + at, edges[roll(d, sizeof(edges))], len);
        return n;
    case 7:
        memmove(p + at, p + at + len, n - at - len);
        return n > len ? n - len : n;
    case 8:
        memmove(p + at + len, p + at, n - at);
        return n + len;
    case 9:
        return roll(d, 8) ? n : at + 1;
    case 10: case 11: case 12:
        return change_number(d, p, n, at);
    }
}

static void try_one(const LvMap *seed, uint32_t number)
{
    Dice d = { .ctr = { 0, number } };
    size_t n = seed->size;
    uint8_t *p = malloc(2 * n + 1024), *exact;

    if (!p)
        abort();
    memcpy(p, seed->data, n);
    for (uint32_t i = 1 + roll(&d, 4); i; i--)
        n = change(&d, p, n);
    /* A block of the very size, so that a step past its end is seen. */
    exact = realloc(p, n);
    if (!exact)
        abort();
    LLVMFuzzerTestOneInput(exact, n);
    free(exact);
}

int main(int argc, char **argv)
{
    uint32_t times = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 1000;
    uint32_t first = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 0;
    LvMap seed;

    if (argc < 2 || lv_map_open(&seed, argv[1], NULL) < 0 || !seed.size) {
        fprintf(stderr, "usage: %s SEED-FILE [TIMES [FIRST]]\n", argv[0]);
        return 2;
    }
    LLVMFuzzerTestOneInput(seed.data, seed.size);
    for (uint32_t i = first; i - first < times; i++)
        try_one(&seed, i);
    lv_map_close(&seed);
    printf("%u passed, 0 failed\n", times);
    return 0;
}

#endif /* LV_FUZZ_MAIN */

#endif /* LINVIDEO_FUZZ_MUTATE_H */
