/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The tokenizer of a GGUF file as a sentencepiece model, which model/spm.c checks then; and
 * the other way round.
 */

#include "model/spm_gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/spm.h"

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

/* To GGUF */

#define GGML "tokenizer.ggml."

/* Score of rows of an encoder that no piece stands for, as llama.cpp's converter has it. */
#define PAD_SCORE -1000.0f

static void put_tokens(LvGgufMeta *m, const LvSpm *spm, int rows)
{
    LvSpmPiece p;
    size_t at = 0;
    char pad[24];

    lv_gguf_meta_array(m, GGML "tokens", LV_GGUF_STRING, (uint64_t)rows);
    while (lv_spm_next(spm, &at, &p))
        lv_gguf_meta_string(m, p.text, p.n);
    for (int i = spm->pieces; i < rows; i++) {
        snprintf(pad, sizeof(pad), "[PAD%d]", i);
        lv_gguf_meta_string(m, pad, strlen(pad));
    }
}

static void put_scores(LvGgufMeta *m, const LvSpm *spm, int rows)
{
    float score = PAD_SCORE;
    LvSpmPiece p;
    size_t at = 0;

    lv_gguf_meta_array(m, GGML "scores", LV_GGUF_F32, (uint64_t)rows);
    while (lv_spm_next(spm, &at, &p))
        lv_gguf_meta_bytes(m, &p.score, sizeof(p.score));
    for (int i = spm->pieces; i < rows; i++)
        lv_gguf_meta_bytes(m, &score, sizeof(score));
}

static void put_types(LvGgufMeta *m, const LvSpm *spm, int rows)
{
    int32_t type = LV_SPM_UNUSED;
    LvSpmPiece p;
    size_t at = 0;

    lv_gguf_meta_array(m, GGML "token_type", LV_GGUF_I32, (uint64_t)rows);
    while (lv_spm_next(spm, &at, &p)) {
        int32_t own = p.type;
        lv_gguf_meta_bytes(m, &own, sizeof(own));
    }
    for (int i = spm->pieces; i < rows; i++)
        lv_gguf_meta_bytes(m, &type, sizeof(type));
}

/* Ids that have a meaning, by the pieces that the format calls so. */
static void put_ids(LvGgufMeta *m, const LvSpm *spm)
{
    size_t at = 0;
    LvSpmPiece p;

    for (uint32_t id = 0; lv_spm_next(spm, &at, &p); id++)
        if (p.type == LV_SPM_UNKNOWN)
            lv_gguf_meta_u32(m, GGML "unknown_token_id", id);
        else if (p.type == LV_SPM_CONTROL && p.n == 5 && !memcmp(p.text, "<pad>", 5))
            lv_gguf_meta_u32(m, GGML "padding_token_id", id);
    lv_gguf_meta_u32(m, GGML "eos_token_id", (uint32_t)spm->eos);
    lv_gguf_meta_bool(m, GGML "add_bos_token", 0);
    lv_gguf_meta_bool(m, GGML "add_eos_token", 1);
}

static void put_tokenizer(LvGgufMeta *m, const LvSpm *spm, int rows)
{
    lv_gguf_meta_text(m, GGML "model", "t5");
    lv_gguf_meta_text(m, GGML "pre", "default");
    put_tokens(m, spm, rows);
    put_scores(m, spm, rows);
    put_types(m, spm, rows);
    put_ids(m, spm);
    lv_gguf_meta_bool(m, GGML "add_space_prefix", spm->prefix);
    lv_gguf_meta_bool(m, GGML "remove_extra_whitespaces", spm->trim);
    if (!spm->map_size)
        return;
    lv_gguf_meta_array(m, GGML "precompiled_charsmap", LV_GGUF_U8, spm->map_size);
    lv_gguf_meta_bytes(m, spm->map, spm->map_size);
}

static void put_encoder(LvGgufMeta *m, const LvUmt5Config *c)
{
    const struct { const char *key; int value; } sizes[] = {
        { "context_length", 512 }, { "embedding_length", c->dim },
        { "feed_forward_length", c->dim_ffn }, { "block_count", c->layers },
        { "attention.head_count", c->heads },
        { "attention.key_length", c->dim_attn / c->heads },
        { "attention.value_length", c->dim_attn / c->heads },
        { "attention.relative_buckets_count", c->buckets }, { "vocab_size", c->vocab },
    };
    char key[64];

    for (int i = 0; i < LV_COUNT(sizes); i++) {
        snprintf(key, sizeof(key), LV_GGUF_TEXT ".%s", sizes[i].key);
        lv_gguf_meta_u32(m, key, (uint32_t)sizes[i].value);
    }
    lv_gguf_meta_f32(m, LV_GGUF_TEXT ".attention.layer_norm_epsilon", c->eps);
    lv_gguf_meta_f32(m, LV_GGUF_TEXT ".attention.layer_norm_rms_epsilon", c->eps);
}

int lv_files_gguf_of_text(LvGgufMeta *m, const LvUmt5Config *c, const void *data,
                          size_t size, const LvMsg *msg)
{
    LvSpm spm;
    int ret;

    put_encoder(m, c);
    if (!data)
        return m->failed ? lv_fail(msg, LV_ERR(ENOMEM), "tokenizer: out of memory") : 0;
    if ((ret = lv_spm_read(&spm, data, size, msg)) < 0)
        return ret;
    if (spm.pieces > c->vocab)
        ret = lv_fail(msg, LV_ERR_MODEL, "tokenizer: expected at most %d pieces, the rows of "
                      "the text encoder, got %d", c->vocab, spm.pieces);
    else if (!spm.escape || spm.suffix)
        ret = lv_fail(msg, LV_ERR_UNSUPPORTED, "tokenizer: GGUF can't hold one that writes "
                      "blanks as they are, or after words");
    else
        put_tokenizer(m, &spm, c->vocab);
    lv_spm_free(&spm);
    return ret < 0 || !m->failed ? ret : lv_fail(msg, LV_ERR(ENOMEM),
                                                 "tokenizer: out of memory");
}
