/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The tokenizer of a GGUF file as a sentencepiece model; model/spm.c checks it then.
 */

#include <stdlib.h>
#include <string.h>

#include "model/files.h"

/* A protocol buffer that grows. */
typedef struct Proto {
    uint8_t *p;
    size_t n, room;
    int failed;
} Proto;

enum { VARINT, FIXED32 = 5, BYTES = 2, UNIGRAM = 1, BYTE_PIECE = 6 };

static void put(Proto *o, const void *data, size_t n)
{
    if (!o->failed && o->room - o->n < n) {
        size_t room = 2 * o->room + n;
        uint8_t *p  = realloc(o->p, room);
        o->failed = !p;
        o->p      = p ? p : o->p;
        o->room   = p ? room : o->room;
    }
    if (o->failed || !n)
        return;
    memcpy(o->p + o->n, data, n);
    o->n += n;
}

static void put_varint(Proto *o, uint64_t v)
{
    uint8_t byte;

    do {
        byte = (uint8_t)((v & 127) | (v > 127 ? 128 : 0));
        put(o, &byte, 1);
        v >>= 7;
    } while (v);
}

static void put_number(Proto *o, int field, uint64_t v)
{
    put_varint(o, (uint64_t)(field << 3 | VARINT));
    put_varint(o, v);
}

static void put_bytes(Proto *o, int field, const void *data, size_t n)
{
    put_varint(o, (uint64_t)(field << 3 | BYTES));
    put_varint(o, n);
    put(o, data, n);
}

static void put_float(Proto *o, int field, float v)
{
    put_varint(o, (uint64_t)(field << 3 | FIXED32));
    put(o, &v, sizeof(v));
}

static const LvGgufValue *value(const LvGguf *g, const char *key, int is_array)
{
    const LvGgufValue *v = lv_gguf_value(g, key);

    return v && v->is_array == is_array ? v : NULL;
}

/* A flag; most files leave out what is true. */
static int flag(const LvGguf *g, const char *key)
{
    const LvGgufValue *v = value(g, key, 0);
    const uint8_t *at;

    if (!v || v->type == LV_GGUF_STRING)
        return 1;
    at = v->at;
    return lv_gguf_number(v, &at) != 0;
}

/* A kind of piece; what is none becomes one that nobody knows. */
static uint64_t kind_of(double v)
{
    return v >= 0 && v < 256 ? (uint64_t)v : 255;
}

/* @return whether bytes have pieces */
static int put_pieces(Proto *o, const LvGgufValue *tokens, const LvGgufValue *scores,
                      const LvGgufValue *kinds)
{
    const uint8_t *text = tokens->at, *score = scores->at, *kind = kinds->at;
    Proto piece = { 0 };
    int bytes = 0;

    for (uint64_t i = 0; i < tokens->nb; i++) {
        LvGgufString s = lv_gguf_string(&text);
        uint64_t k;

        piece.n = 0;
        put_bytes(&piece, 1, s.s, s.n);
        put_float(&piece, 2, (float)lv_gguf_number(scores, &score));
        k = kind_of(lv_gguf_number(kinds, &kind));
        put_number(&piece, 3, k);
        bytes |= k == BYTE_PIECE;
        put_bytes(o, 1, piece.p, piece.failed ? 0 : piece.n);
        o->failed |= piece.failed;
    }
    free(piece.p);
    return bytes;
}

static void put_normalizer(Proto *o, const LvGguf *g)
{
    const LvGgufValue *map = value(g, "tokenizer.ggml.precompiled_charsmap", 1);
    Proto n = { 0 };

    if (map && (map->type == LV_GGUF_U8 || map->type == LV_GGUF_I8))
        put_bytes(&n, 2, map->at, map->nb);
    put_number(&n, 3, (uint64_t)flag(g, "tokenizer.ggml.add_space_prefix"));
    put_number(&n, 4, (uint64_t)flag(g, "tokenizer.ggml.remove_extra_whitespaces"));
    put_number(&n, 5, 1);
    put_bytes(o, 3, n.p, n.failed ? 0 : n.n);
    o->failed |= n.failed;
    free(n.p);
}

void *lv_files_spm_of_gguf(const LvGguf *g, size_t *size)
{
    const LvGgufValue *tokens = value(g, "tokenizer.ggml.tokens", 1);
    const LvGgufValue *scores = value(g, "tokenizer.ggml.scores", 1);
    const LvGgufValue *kinds  = value(g, "tokenizer.ggml.token_type", 1);
    Proto o = { 0 }, trainer = { 0 };

    *size = 0;
    if (!tokens || tokens->type != LV_GGUF_STRING || !scores || !kinds ||
        scores->type == LV_GGUF_STRING || kinds->type == LV_GGUF_STRING ||
        scores->nb != tokens->nb || kinds->nb != tokens->nb)
        return NULL;
    put_number(&trainer, 3, UNIGRAM);
    put_number(&trainer, 35, (uint64_t)put_pieces(&o, tokens, scores, kinds));
    put_bytes(&o, 2, trainer.p, trainer.failed ? 0 : trainer.n);
    put_normalizer(&o, g);
    o.failed |= trainer.failed;
    free(trainer.p);
    if (o.failed) {
        free(o.p);
        return NULL;
    }
    *size = o.n;
    return o.p;
}
