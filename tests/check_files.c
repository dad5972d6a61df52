/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Tests of containers, of quantised blocks, and of sources of tensors.
 */

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/convert.h"
#include "base/half.h"
#include "base/philox.h"
#include "base/quant.h"
#include "base/source.h"

static char folder[] = "/tmp/linvideo-files-XXXXXX";
static char message[2048];
static int messages;

static void catch_line(void *opaque, int level, const char *line)
{
    (void)opaque, (void)level;
    snprintf(message, sizeof(message), "%s", line);
    messages++;
}

static const LvMsg catcher = { catch_line, NULL, LV_MSG_ERROR };

static const char *path_of(const char *name)
{
    static char path[4][128];
    static int turn;

    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof(path[turn]), "%s/%s", folder, name);
    return path[turn];
}

static void write_bytes(const char *path, const void *data, size_t n)
{
    FILE *f = fopen(path, "wb");

    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(data, 1, n, f), n);
    fclose(f);
}

static void expect(const char *part)
{
    ck_assert_msg(messages == 1 && strstr(message, part), "%d messages, the last: %s; "
                  "expected: %s", messages, message, part);
    messages = 0;
}

static uint32_t roll(uint32_t i)
{
    static const uint32_t key[2] = { 7, 9 };
    uint32_t word[4];

    lv_philox(word, (const uint32_t[4]) { i, 1, 2, 3 }, key);
    return word[0];
}

/* --- blocks: every element by the formula of its type --- */

static double f16_at(const uint8_t *p)
{
    return lv_f16_f32((uint16_t)(p[0] + 256 * p[1]));
}

/* Nibble of element j of 32. */
static int small_nibble(const uint8_t *q, int j)
{
    return j < 16 ? q[j] % 16 : q[j - 16] / 16;
}

static int bit_of(uint32_t word, int i)
{
    return (int)((word >> i) & 1);
}

static uint32_t word_at(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static double small_value(LvDtype t, const uint8_t *p, int j)
{
    double d = f16_at(p), m = f16_at(p + 2);

    switch (t) {
    case LV_Q8_0: return d * (int8_t)p[2 + j];
    case LV_Q4_0: return d * (small_nibble(p + 2, j) - 8);
    case LV_Q4_1: return d * small_nibble(p + 4, j) + m;
    case LV_Q5_0: return d * (small_nibble(p + 6, j) + 16 * bit_of(word_at(p + 2), j) - 16);
    default:      return d * (small_nibble(p + 8, j) + 16 * bit_of(word_at(p + 4), j)) + m;
    }
}

/* Q4_K and Q5_K */
static double k_value(LvDtype t, const uint8_t *p, int e)
{
    int i = e / 32, l = e % 32, sc, mn, n;
    const uint8_t *s = p + 4, *h = p + 16, *q = p + (t == LV_Q4_K ? 16 : 48);

    if (i < 4) {
        sc = s[i] & 63;
        mn = s[i + 4] & 63;
    } else {
        sc = (s[i + 4] & 15) | ((s[i - 4] >> 6) << 4);
        mn = (s[i + 4] >> 4) | ((s[i] >> 6) << 4);
    }
    n = q[32 * (i / 2) + l];
    n = i % 2 ? n >> 4 : n & 15;
    if (t == LV_Q5_K)
        n += 16 * ((h[l] >> i) & 1);
    return f16_at(p) * sc * n - f16_at(p + 2) * mn;
}

static double q6_value(const uint8_t *p, int e)
{
    int half = e / 128, r = e % 128 / 32, l = e % 32;
    int low = p[64 * half + l + 32 * (r % 2)], top;

    low = r < 2 ? low & 15 : low >> 4;
    top = (p[128 + 32 * half + l] >> 2 * r) & 3;
    return f16_at(p + 208) * (int8_t)p[192 + 8 * half + 2 * r + l / 16] *
           ((low | top << 4) - 32);
}

static double q3_value(const uint8_t *p, int e)
{
    int half = e / 128, r = e % 128 / 32, l = e % 32, i = e / 16;
    const uint8_t *s = p + 96;
    int b  = (p[32 + 32 * half + l] >> 2 * r) & 3, hi = (p[l] >> (4 * half + r)) & 1;
    int sc = (i < 8 ? s[i] & 15 : s[i - 8] >> 4) | ((s[8 + i % 4] >> 2 * (i / 4)) & 3) << 4;

    return f16_at(p + 108) * (sc - 32) * (b - (hi ? 0 : 4));
}

static double q2_value(const uint8_t *p, int e)
{
    int half = e / 128, r = e % 128 / 32, l = e % 32, i = e / 16;
    int b = (p[16 + 32 * half + l] >> 2 * r) & 3;

    return f16_at(p + 80) * (p[i] & 15) * b - f16_at(p + 82) * (p[i] >> 4);
}

static double block_value(LvDtype t, const uint8_t *p, int e)
{
    switch (t) {
    case LV_Q2_K: return q2_value(p, e);
    case LV_Q3_K: return q3_value(p, e);
    case LV_Q4_K:
    case LV_Q5_K: return k_value(t, p, e);
    case LV_Q6_K: return q6_value(p, e);
    default:      return small_value(t, p, e);
    }
}

/* Where the f16 numbers of a block lie. */
static void tame(LvDtype t, uint8_t *p)
{
    static const int at[][2] = { { LV_Q2_K, 80 }, { LV_Q3_K, 108 }, { LV_Q6_K, 208 } };
    int d = 0;

    for (int i = 0; i < LV_COUNT(at); i++)
        d = (int)t == at[i][0] ? at[i][1] : d;
    p[d + 1] &= 0xBF; /* no infinities */
    if (t == LV_Q4_1 || t == LV_Q5_1 || t == LV_Q2_K || t == LV_Q4_K || t == LV_Q5_K)
        p[d + 3] &= 0xBF;
}

START_TEST(test_blocks)
{
    LvDtype t = (LvDtype)(LV_Q4_0 + _i);
    int elements = (int)lv_dtype_block(t), bytes;
    uint8_t p[1024];
    float x[512];
    size_t n;

    ck_assert_int_eq(lv_block(t)->dtype, t);
    ck_assert_int_eq(lv_dtype_bytes(&n, t, (size_t)elements), 0);
    bytes = (int)n;
    for (uint32_t round = 0; round < 200; round++) {
        for (int i = 0; i < 2 * bytes; i++)
            p[i] = (uint8_t)roll(round * 1000 + (uint32_t)i);
        tame(t, p);
        tame(t, p + bytes);
        ck_assert_int_eq(lv_to_f32(x, p, t, 2 * (size_t)elements), 0);
        for (int e = 0; e < 2 * elements; e++) {
            const uint8_t *at = p + e / elements * bytes;
            double want = block_value(t, at, e % elements);
            double size = fabs(want) + 64 * fabs(f16_at(at + 2)) + fabs(f16_at(at));
            if (fabs(x[e] - want) > 1e-6 * size)
                ck_abort_msg("%s, element %d is %g, expected %g", lv_dtype_name(t), e,
                             x[e], want);
        }
    }
    ck_assert_int_eq(lv_to_f32(x, p, t, (size_t)elements - 1), LV_ERR_UNSUPPORTED);
}
END_TEST

static const struct {
    LvDtype t;
    float error; /* largest, as share of the largest value */
} written[] = { { LV_Q8_0, 0.0045f }, { LV_Q4_K, 0.085f }, { LV_Q6_K, 0.025f } };

START_TEST(test_block_encode)
{
    float x[512], y[512];
    uint8_t p[1024];

    for (uint32_t round = 0; round < 100; round++) {
        for (uint32_t i = 0; i < 512; i++)
            x[i] = (float)ldexp((double)roll(round * 512 + i) / 0x1p31 - (round % 3) * 0.5,
                                (int)(round % 7) - 3);
        if (round == 99)
            memset(x, 0, sizeof(x));
        ck_assert_int_eq(lv_block_encode(p, x, written[_i].t, 512), 0);
        ck_assert_int_eq(lv_to_f32(y, p, written[_i].t, 512), 0);
        for (int i = 0; i < 512; i++) {
            float top = 0;
            for (int k = i / 256 * 256; k < i / 256 * 256 + 256; k++)
                top = fmaxf(top, fabsf(x[k]));
            if (!(fabsf(x[i] - y[i]) <= written[_i].error * top))
                ck_abort_msg("%g became %g, the largest is %g", x[i], y[i], top);
        }
    }
    ck_assert_int_eq(lv_block_encode(p, x, LV_Q4_0, 512), LV_ERR_UNSUPPORTED);
}
END_TEST

/* Test number: type. */
START_TEST(test_block_nonfinite)
{
    enum { BLOCKS = 5 };
    LvDtype type = (LvDtype)(LV_Q4_0 + _i);
    const LvBlock *b = lv_block(type);
    size_t step = lv_dtype_block(type), bytes, n = BLOCKS * step;
    uint8_t p[BLOCKS * 256] = { 0 };

    lv_dtype_bytes(&bytes, type, step);
    ck_assert_uint_eq(lv_block_find_nonfinite(p, type, n), n);
    for (size_t i = 0; i < BLOCKS; i++)
        for (size_t k = 0; k < bytes; k++) {
            float x[256];
            size_t wanted = n;

            p[i * bytes + k] = 0x7C; /* the upper byte of an infinite half */
            lv_to_f32(x, p + i * bytes, type, step);
            for (size_t e = 0; e < step; e++)
                wanted = isfinite(x[e]) ? wanted : i * step;
            ck_assert_uint_eq(lv_block_find_nonfinite(p, type, n), wanted);
            p[i * bytes + k] = 0;
        }
    ck_assert_int_ge(b->halves, 1);
}
END_TEST

/* --- fp8 --- */

static double e4m3(int v)
{
    int e = v >> 3 & 15, m = v & 7;
    double x = e ? (1 + m / 8.0) * pow(2, e - 7) : m / 8.0 * pow(2, -6);

    return v & 128 ? -x : x;
}

static double e5m2(int v)
{
    int e = v >> 2 & 31, m = v & 3;
    double x = e ? (1 + m / 4.0) * pow(2, e - 15) : m / 4.0 * pow(2, -14);

    return v & 128 ? -x : x;
}

START_TEST(test_fp8)
{
    for (int v = 0; v < 256; v++) {
        uint8_t byte = (uint8_t)v;
        float x, y;

        lv_to_f32(&x, &byte, LV_F8_E4M3, 1);
        lv_to_f32(&y, &byte, LV_F8_E5M2, 1);
        if ((v & 127) == 127)
            ck_assert(isnan(x) && isnan(lv_e4m3_f32(lv_f32_e4m3(x))));
        else
            ck_assert_msg(x == e4m3(v) && lv_f32_e4m3(x) == v, "%02x is %g and %02x", v, x,
                          lv_f32_e4m3(x));
        if ((v & 127) > 0x7C)
            ck_assert(isnan(y));
        else if ((v & 127) == 0x7C)
            ck_assert(isinf(y));
        else
            ck_assert_msg(y == e5m2(v), "%02x is %g", v, y);
    }
    for (int v = 0; v < 0x7E; v++) {
        float a = lv_e4m3_f32((uint8_t)v), b = lv_e4m3_f32((uint8_t)(v + 1));
        float middle = (a + b) / 2;

        ck_assert_int_eq(lv_f32_e4m3(middle), v + (v & 1));
        ck_assert_int_eq(lv_f32_e4m3(nextafterf(middle, a)), v);
        ck_assert_int_eq(lv_f32_e4m3(nextafterf(middle, b)), v + 1);
    }
    ck_assert_int_eq(lv_f32_e4m3(1e30f), 0x7E);
    ck_assert_int_eq(lv_f32_e4m3(-INFINITY), 0xFE);
}
END_TEST

/* Many at a time: the same, at any number. */
START_TEST(test_fp8_many)
{
    float x[67];
    uint8_t y[67];

    for (uint32_t round = 0; round < 20000; round++) {
        uint32_t n = round % 68;

        for (uint32_t i = 0; i < n; i++) {
            uint32_t u = roll(round * 67 + i);

            memcpy(&x[i], &u, sizeof(u));
        }
        lv_to_e4m3(y, x, 1, n);
        for (uint32_t i = 0; i < n; i++)
            ck_assert_int_eq(y[i], lv_f32_e4m3(x[i]));
        lv_to_e4m3(y, x, -0.3f, n);
        for (uint32_t i = 0; i < n; i++)
            ck_assert_int_eq(y[i], lv_f32_e4m3(x[i] * -0.3f));
    }
}
END_TEST

/* --- GGUF --- */

/* A file that is put together byte by byte. */
typedef struct Bytes {
    uint8_t p[4096];
    size_t n;
} Bytes;

static void put(Bytes *b, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        b->p[b->n++] = (uint8_t)(v >> 8 * i);
}

static void put_text(Bytes *b, const char *s)
{
    put(b, strlen(s), 8);
    memcpy(b->p + b->n, s, strlen(s));
    b->n += strlen(s);
}

static void put_head(Bytes *b, int version, uint64_t tensors, uint64_t values)
{
    b->n = 0;
    memcpy(b->p, "GGUF", 4);
    b->n = 4;
    put(b, (uint64_t)version, 4);
    put(b, tensors, 8);
    put(b, values, 8);
}

static void put_tensor(Bytes *b, const char *name, int rank, const uint64_t *dim,
                       uint32_t type, uint64_t offset)
{
    put_text(b, name);
    put(b, (uint64_t)rank, 4);
    for (int i = 0; i < rank; i++)
        put(b, dim[i], 8);
    put(b, type, 4);
    put(b, offset, 8);
}

static void pad(Bytes *b, size_t to)
{
    while (b->n % to)
        b->p[b->n++] = 0;
}

/* Two tensors, "a" [2,3] F32 and "b" [1,32] Q8_0, and some metadata. */
static void good_file(Bytes *b, int version)
{
    put_head(b, version, 2, 3);
    put_text(b, "general.alignment");
    put(b, LV_GGUF_U32, 4);
    put(b, 64, 4);
    put_text(b, "words");
    put(b, LV_GGUF_ARRAY, 4);
    put(b, LV_GGUF_STRING, 4);
    put(b, 2, 8);
    put_text(b, "one");
    put_text(b, "");
    put_text(b, "half");
    put(b, LV_GGUF_F32, 4);
    put(b, lv_f32_bits(-0.5f), 4);
    put_tensor(b, "b", 2, (const uint64_t[]) { 32, 1 }, 8, 64);
    put_tensor(b, "a", 2, (const uint64_t[]) { 3, 2 }, 0, 0);
    pad(b, 64);
    for (int i = 0; i < 6; i++)
        put(b, lv_f32_bits((float)i), 4);
    pad(b, 64);
    put(b, lv_f32_f16(0.5f), 2);
    for (int i = 0; i < 32; i++)
        put(b, (uint64_t)i, 1);
}

START_TEST(test_gguf)
{
    Bytes b;
    LvGguf *g;
    const LvFileTensor *t;
    const LvGgufValue *v;
    const uint8_t *at;
    float x[32];

    good_file(&b, 2 + _i);
    ck_assert_int_eq(lv_gguf_parse(&g, b.p, b.n, "good", &catcher), 0);
    ck_assert_int_eq(lv_gguf_count(g), 2);
    t = lv_gguf_at(g, 0);
    ck_assert_str_eq(t->name, "a");
    ck_assert(t->rank == 2 && t->dim[0] == 2 && t->dim[1] == 3 && t->dtype == LV_F32);
    lv_to_f32(x, t->data, t->dtype, t->numel);
    ck_assert(x[0] == 0 && x[5] == 5);
    t = lv_gguf_at(g, 1);
    ck_assert(t->size == 34 && t->dim[0] == 1 && t->dim[1] == 32);
    lv_to_f32(x, t->data, t->dtype, t->numel);
    ck_assert(x[31] == 15.5f);
    ck_assert_ptr_null(lv_gguf_value(g, "word"));
    v = lv_gguf_value(g, "words");
    ck_assert(v->is_array && v->nb == 2 && v->type == LV_GGUF_STRING);
    at = v->at;
    ck_assert_uint_eq(lv_gguf_string(&at).n, 3);
    ck_assert_uint_eq(lv_gguf_string(&at).n, 0);
    v  = lv_gguf_value(g, "half");
    at = v->at;
    ck_assert(lv_gguf_number(v, &at) == -0.5);
    lv_gguf_close(&g);
    ck_assert_int_eq(messages, 0);
}
END_TEST

static const char *const gguf_parts[] = {
    "version 4", "do not fit", "not whole blocks", "duplicated", "rank 6", "type IQ4_NL",
    "unknown type 99", "expected is 64", "overflows", "not a power of two", "duplicated",
    "plain text", "type 9 or its length", "the tensors cover", "do not fit",
};

/* Spoil the file in way i. */
static void spoil(Bytes *b, int i)
{
    const uint64_t two[] = { 4, 2 }, rows[] = { 33, 1 }, six[] = { 1, 1, 1, 1, 1, 1 };
    const uint64_t huge[] = { 1ull << 62, 8 };

    put_head(b, i == 0 ? 4 : 3, i == 1 ? 1ull << 40 : i == 3 || i == 7 ? 2 : i == 14 ? 3 : 1,
             i == 9 || i == 11 || i == 12 ? 1 : i == 10 ? 2 : 0);
    if (i == 9 || i == 10 || i == 11) {
        for (int k = 0; k < 1 + (i == 10); k++) {
            put_text(b, i == 11 ? "\1" : "general.alignment");
            put(b, LV_GGUF_U32, 4);
            put(b, i == 9 ? 48 : 32, 4);
        }
    } else if (i == 12) {
        put_text(b, "nested");
        put(b, LV_GGUF_ARRAY, 4);
        put(b, LV_GGUF_ARRAY, 4);
        put(b, 1, 8);
    }
    put_tensor(b, "t", i == 4 ? 6 : 2, i == 2 ? rows : i == 4 ? six : i == 8 ? huge : two,
               i == 2 ? 8 : i == 5 ? 20 : i == 6 ? 99 : 0, 0);
    if (i == 3)
        put_tensor(b, "t", 2, two, 0, 32);
    if (i == 7)
        put_tensor(b, "u", 2, two, 0, 64 - 16);
    pad(b, 32);
    for (int k = 0; k < (i == 13 ? 40 : i == 7 ? 28 : i == 3 ? 16 : 8) && i != 14; k++)
        put(b, 0, 4);
    while (b->n < 200 && i == 1)
        put(b, 0, 1);
}

START_TEST(test_gguf_hostile)
{
    Bytes b;
    LvGguf *g;

    spoil(&b, _i);
    ck_assert_int_eq(lv_gguf_parse(&g, b.p, b.n, "spoiled", &catcher), LV_ERR_MODEL);
    ck_assert_ptr_null(g);
    if (_i == 7)
        expect("expected is 32");
    else
        expect(gguf_parts[_i]);
}
END_TEST

START_TEST(test_gguf_truncated)
{
    Bytes b;
    LvGguf *g;

    good_file(&b, 3);
    for (size_t n = 0; n < b.n; n++) {
        uint8_t *exact = malloc(n + 1);
        memcpy(exact, b.p, n);
        ck_assert_int_eq(lv_gguf_parse(&g, exact, n, "cut", &catcher), LV_ERR_MODEL);
        ck_assert_int_eq(messages, 1);
        messages = 0;
        free(exact);
    }
}
END_TEST

/* --- sources --- */

static LvFileTensor tensor(const char *name, const float *x, int rows, int cols)
{
    return (LvFileTensor) { .name = name, .dtype = LV_F32, .rank = 2,
                            .dim = { rows, cols }, .numel = (size_t)(rows * cols),
                            .data = x, .size = (size_t)(rows * cols) * 4 };
}

static void write_shards(void)
{
    static const float x[6] = { 1, 2, 3, 4, 5, 6 };
    LvFileTensor a = tensor("a", x, 2, 3), b = tensor("b", x, 3, 2);

    lv_safetensors_write(path_of("s-1.safetensors"), &a, 1,
                         (const char *[]) { "k", "v", NULL }, NULL);
    lv_safetensors_write(path_of("s-2.safetensors"), &b, 1, NULL, NULL);
    lv_gguf_write(path_of("s.gguf"), "wan", (LvFileTensor[]) { b, a }, 2, NULL, NULL);
}

static int open_index(LvSource **src, const char *json)
{
    write_bytes(path_of("s.json"), json, strlen(json));
    return lv_source_open(src, path_of("s.json"), &catcher);
}

START_TEST(test_shards)
{
    LvSource *s;
    float two[2];

    write_shards();
    ck_assert_int_eq(open_index(&s, "{\"metadata\":{},\"weight_map\":{\"b\":"
                     "\"s-2.safetensors\",\"a\":\"s-1.safetensors\"}}"), 0);
    ck_assert_int_eq(lv_source_count(s), 2);
    ck_assert_str_eq(lv_source_at(s, 0)->name, "a");
    ck_assert_int_eq(lv_source_find(s, "b")->dim[0], 3);
    ck_assert_int_eq(lv_source_index(s, lv_source_find(s, "b")), 1);
    ck_assert_str_eq(lv_source_meta(s, "k"), "v");
    ck_assert_ptr_null(lv_source_find(s, "c"));
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(lv_source_load(s, lv_source_at(s, i % 2), &catcher), 0);
        ck_assert(((const float *)lv_source_at(s, i % 2)->data)[5] == 6);
        lv_source_drop(s, lv_source_at(s, i % 2));
    }
    ck_assert_int_eq(lv_source_read(s, lv_source_at(s, 1), 16, two, sizeof(two), &catcher),
                     0);
    ck_assert(two[0] == 5 && two[1] == 6);
    lv_source_close(&s);
    ck_assert_int_eq(lv_source_open(&s, path_of("s.gguf"), &catcher), 0);
    ck_assert_ptr_nonnull(lv_source_gguf(s));
    ck_assert_int_eq(lv_source_find(s, "b")->dim[1], 2);
    ck_assert_int_eq(lv_source_load(s, lv_source_find(s, "a"), &catcher), 0);
    ck_assert(((const float *)lv_source_find(s, "a")->data)[5] == 6);
    lv_source_close(&s);
    ck_assert_int_eq(messages, 0);
}
END_TEST

static const struct {
    const char *json, *part;
} indexes[] = {
    { "{\"weight_map\":{\"a\":\"../s-1.safetensors\"}}", "not the name of a file" },
    { "{\"weight_map\":{\"a\":\"/etc/passwd\"}}", "not the name of a file" },
    { "{\"weight_map\":{\"a\":\".hidden\"}}", "not the name of a file" },
    { "{\"weight_map\":{\"a\":\"none.safetensors\"}}", "No such file" },
    { "{\"weight_map\":{\"a\":\"s-2.safetensors\"}}", "tensor a is not in s-2" },
    { "{\"weight_map\":{\"a\":\"s-1.safetensors\",\"c\":\"s-1.safetensors\"}}",
      "tensor c is not in" },
    { "{\"weight_map\":{}}", "weight_map is missing" },
    { "{\"weight_map\":{\"a\":3}}", "not a name" },
    { "{\"weight_map\":", "line 1" },
    { "{\"weight_map\":{\"b\":\"s-3.safetensors\",\"a\":\"s-1.safetensors\"}}",
      "does not list tensor c" },
    { "{\"weight_map\":{\"b\":\"s-3.safetensors\",\"c\":\"s-2.safetensors\"}}",
      "in two of its files" },
    { "PK\3\4 and so on", "PyTorch file" },
    { "{\"dit\": \"x\"}", "weight_map is missing" },
};

START_TEST(test_shards_hostile)
{
    static const float x[6] = { 0 };
    LvFileTensor both[2] = { tensor("b", x, 2, 3), tensor("c", x, 3, 2) };
    LvSource *s;

    write_shards();
    lv_safetensors_write(path_of("s-3.safetensors"), both, 2, NULL, NULL);
    ck_assert_int_lt(open_index(&s, indexes[_i].json), 0);
    ck_assert_ptr_null(s);
    expect(indexes[_i].part);
}
END_TEST

/* --- files that are no models --- */

static const struct {
    const char *bytes, *part;
    size_t n; /* 0: of the text */
} no_models[] = {
    { "", "an empty file; download it again", 0 },
    { "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
      "a git-lfs pointer", 0 },
    { "<!DOCTYPE html><html>Access denied", "a page of the web (HTML)", 0 },
    { "\xEF\xBB\xBF \n<HTML lang=\"en\">", "a page of the web (HTML)", 0 },
    { "<?xml version=\"1.0\"?><Error>", "a page of the web (HTML)", 0 },
    { "\x80\2\x8A\nl\xFC\x9C\x46\xF9 j\xA8P\x19.", "a PyTorch file (pickle)", 0 },
    { "PK\3\4\0\0\0\0\0\0", "a PyTorch file", 10 },
    { "FUGG\0\0\0\3", "big-endian", 8 },
    { "tjgg\3\0\0\0", "an old GGML file", 8 },
    { "\x1F\x8B\x08", "gzip archive; unpack it", 0 },
    { "A readme in some words.", "not a safetensors or GGUF file", 0 },
    { "GGUF\3\0\0\0", "8 bytes that do not begin", 8 },
    { "\x40\0\0\0\0\0\0\0{\"a\":", "cut off: header of 64 bytes", 13 },
};

/* Whatever it is called. */
START_TEST(test_no_models)
{
    static const char *const names[] = { "x.safetensors", "x.gguf", "x.sft", "x" };
    size_t n = no_models[_i].n ? no_models[_i].n : strlen(no_models[_i].bytes);
    LvSource *s;

    for (int i = 0; i < LV_COUNT(names); i++) {
        write_bytes(path_of(names[i]), no_models[_i].bytes, n);
        ck_assert_int_eq(lv_source_open(&s, path_of(names[i]), &catcher), LV_ERR_MODEL);
        ck_assert_ptr_null(s);
        expect(no_models[_i].part);
    }
}
END_TEST

/* A file that is cut says what it should have, and has. */
START_TEST(test_cut)
{
    static const float x[6] = { 1, 2, 3, 4, 5, 6 };
    LvFileTensor t[2] = { tensor("a", x, 2, 3), tensor("b", x, 3, 2) };
    const char *path = path_of("cut");
    char part[128];
    LvSource *s;
    LvMap map;
    size_t n;
    uint8_t *p;

    if (_i)
        lv_gguf_write(path, "wan", t, 2, NULL, NULL);
    else
        lv_safetensors_write(path, t, 2, NULL, NULL);
    ck_assert_int_eq(lv_map_open(&map, path, NULL), 0);
    n = map.size - (_i ? 8 : 0); /* GGUF: padding */
    p = malloc(n);
    memcpy(p, map.data, n);
    lv_map_close(&map);
    write_bytes(path, p, n - 30);
    free(p);
    ck_assert_int_eq(lv_source_open(&s, path, &catcher), LV_ERR_MODEL);
    snprintf(part, sizeof(part), "cut off: expected %zu bytes, got %zu; download it again",
             n, n - 30);
    expect(part);
}
END_TEST

/* --- files in parts --- */

static void write_part(const char *name, const LvFileTensor *t)
{
    ck_assert_int_eq(lv_safetensors_write(path_of(name), t, 1, NULL, NULL), 0);
}

START_TEST(test_parts)
{
    static const float x[6] = { 1, 2, 3, 4, 5, 6 };
    LvFileTensor a = tensor("a", x, 2, 3), b = tensor("b", x, 3, 2), c = tensor("c", x, 1, 6);
    static const char *const names[] = { "p-00001-of-00003.safetensors",
                                         "p-00002-of-00003.safetensors",
                                         "p-00003-of-00003.safetensors" };
    LvSource *s;

    write_part(names[0], &c);
    write_part(names[1], &a);
    write_part(names[2], &b);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(lv_source_open(&s, path_of(names[i]), &catcher), 0);
        ck_assert_int_eq(lv_source_count(s), 3);
        ck_assert_int_eq(lv_source_find(s, "b")->dim[0], 3);
        lv_source_close(&s);
        ck_assert_int_eq(lv_source_first_part(path_of(names[i])), i == 0);
    }
    unlink(path_of(names[1]));
    ck_assert_int_eq(lv_source_open(&s, path_of(names[0]), &catcher), -ENOENT);
    expect("part 2 of 3 is missing: expected it at ");
    write_part(names[1], &b);
    ck_assert_int_eq(lv_source_open(&s, path_of(names[0]), &catcher), LV_ERR_MODEL);
    expect("tensor b is in two of its files");
    write_part("p-00002-of-00001.safetensors", &a); /* names that count nothing */
    ck_assert_int_eq(lv_source_open(&s, path_of("p-00002-of-00001.safetensors"), &catcher),
                     0);
    lv_source_close(&s);
    ck_assert_int_eq(messages, 0);
}
END_TEST

/* Part no (from 0) of a GGUF file of `count`, `nb` tensors in all: one tensor. */
static void write_split(const char *name, uint64_t no, uint64_t count, uint64_t nb)
{
    Bytes b;

    put_head(&b, 3, 1, 3);
    put_text(&b, "split.no");
    put(&b, LV_GGUF_U16, 4);
    put(&b, no, 2);
    put_text(&b, "split.count");
    put(&b, LV_GGUF_U16, 4);
    put(&b, count, 2);
    put_text(&b, "split.tensors.count");
    put(&b, LV_GGUF_I32, 4);
    put(&b, nb, 4);
    put_tensor(&b, no ? "b" : "a", 2, (const uint64_t[]) { 4, 2 }, 0, 0);
    pad(&b, 32);
    for (int i = 0; i < 8; i++)
        put(&b, lv_f32_bits((float)i + (float)no), 4);
    write_bytes(path_of(name), b.p, b.n);
}

static const struct {
    const char *name;
    uint64_t no, count, nb;
    const char *part; /* NULL: it opens */
} splits[] = {
    { "g-00002-of-00002.gguf", 1, 2, 2, NULL },
    { "g-00002-of-00002.gguf", 0, 2, 2, "in two of its files" },
    { "g-00002-of-00002.gguf", 2, 2, 2, "holds part 3 by what it says, expected part 2" },
    { "g-00002-of-00002.gguf", 1, 3, 2, "part 2 of 3 of a split GGUF file, but its name" },
    { "g-00002-of-00002.gguf", 1, 2, 9, NULL },
    { "other.gguf", 1, 2, 2, "missing" },
};

START_TEST(test_splits)
{
    LvSource *s;

    write_split("g-00001-of-00002.gguf", 0, 2, 2);
    unlink(path_of("g-00002-of-00002.gguf"));
    write_split(splits[_i].name, splits[_i].no, splits[_i].count, splits[_i].nb);
    if (splits[_i].part) {
        ck_assert_int_lt(lv_source_open(&s, path_of("g-00001-of-00002.gguf"), &catcher), 0);
        expect(splits[_i].part);
        return;
    }
    ck_assert_int_eq(lv_source_open(&s, path_of(splits[_i].name), &catcher), 0);
    ck_assert_int_eq(lv_source_count(s), 2);
    ck_assert_int_eq(lv_source_load(s, lv_source_find(s, "b"), &catcher), 0);
    ck_assert(((const float *)lv_source_find(s, "b")->data)[7] == 8);
    ck_assert_ptr_nonnull(lv_gguf_value(lv_source_gguf(s), "split.count"));
    lv_source_close(&s);
    write_split("alone.gguf", 0, 2, 2);
    ck_assert_int_eq(lv_source_open(&s, path_of("alone.gguf"), &catcher), LV_ERR_MODEL);
    expect("part 1 of 2 of a split GGUF file");
    write_split("g-00001-of-00002.gguf", 0, 2, 3);
    ck_assert_int_eq(lv_source_open(&s, path_of(splits[_i].name), &catcher), LV_ERR_MODEL);
    expect("expected 3 tensors in all its parts, got 2");
}
END_TEST

/* --- wrappers of torch.compile, DDP, FSDP --- */

START_TEST(test_wrappers)
{
    static const float x[6] = { 1, 2, 3, 4, 5, 6 };
    LvFileTensor t[] = {
        tensor("blocks.0._orig_mod.q.weight", x, 2, 3), tensor("module.head.bias", x, 1, 6),
        tensor("module._orig_mod._fsdp_wrapped_module.a.module.b", x, 3, 2),
        tensor("submodule.c", x, 3, 2),
    };
    static const char *const names[] = { "a.b", "blocks.0.q.weight", "head.bias",
                                         "submodule.c" };
    LvSource *s;

    lv_safetensors_write(path_of("w"), t, LV_COUNT(t), NULL, NULL);
    ck_assert_int_eq(lv_source_open(&s, path_of("w"), &catcher), 0);
    for (int i = 0; i < LV_COUNT(names); i++) {
        ck_assert_str_eq(lv_source_at(s, i)->name, names[i]);
        ck_assert_ptr_eq(lv_source_find(s, names[i]), lv_source_at(s, i));
    }
    lv_source_close(&s);
    t[1].name = "blocks.0.q.weight";
    lv_safetensors_write(path_of("w"), t, LV_COUNT(t), NULL, NULL);
    ck_assert_int_eq(lv_source_open(&s, path_of("w"), &catcher), LV_ERR_MODEL);
    expect("tensor blocks.0.q.weight is duplicated");
}
END_TEST

static void make_folder(void)
{
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void remove_folder(void)
{
    char command[64];

    snprintf(command, sizeof(command), "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
}

int main(void)
{
    Suite *suite = suite_create("files");
    SRunner *runner = srunner_create(suite);
    TCase *tc = tcase_create("files");
    int failed;

    suite_add_tcase(suite, tc);
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, test_blocks, 0, LV_DTYPE_NB - LV_Q4_0);
    tcase_add_loop_test(tc, test_block_encode, 0, LV_COUNT(written));
    tcase_add_loop_test(tc, test_block_nonfinite, 0, LV_Q6_K - LV_Q4_0 + 1);
    tcase_add_test(tc, test_fp8_many);
    tcase_add_test(tc, test_fp8);
    tcase_add_loop_test(tc, test_gguf, 0, 2);
    tcase_add_loop_test(tc, test_gguf_hostile, 0, LV_COUNT(gguf_parts));
    tcase_add_test(tc, test_gguf_truncated);
    tc = tcase_create("sources");
    suite_add_tcase(suite, tc);
    tcase_add_unchecked_fixture(tc, make_folder, remove_folder);
    tcase_add_test(tc, test_shards);
    tcase_add_loop_test(tc, test_shards_hostile, 0, LV_COUNT(indexes));
    tcase_add_loop_test(tc, test_no_models, 0, LV_COUNT(no_models));
    tcase_add_loop_test(tc, test_cut, 0, 2);
    tcase_add_test(tc, test_parts);
    tcase_add_loop_test(tc, test_splits, 0, LV_COUNT(splits));
    tcase_add_test(tc, test_wrappers);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
