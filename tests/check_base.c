/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Tests of the base floor, and of the tokenizer and the prompt cleaning.
 */

#include <check.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/common.h"
#include "base/convert.h"
#include "base/half.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/map.h"
#include "base/msg.h"
#include "base/philox.h"
#include "base/safetensors.h"
#include "base/text.h"
#include "model/prompt.h"
#include "model/tokenizer.h"

#ifndef LV_TEST_DIR
#define LV_TEST_DIR "tests"
#endif
#define SPM_FILE LV_TEST_DIR "/ref/tokenizer.spm"

/* An assertion for long loops: libcheck's own take a system call each. */
#define EXPECT(condition, ...)             \
    do {                                   \
        if (!(condition))                  \
            ck_abort_msg(__VA_ARGS__);     \
    } while (0)

/* --- messages, caught --- */

typedef struct Caught {
    char line[2048];
    int count, level;
} Caught;

static Caught caught;

static void catch_line(void *opaque, int level, const char *line)
{
    Caught *c = opaque;

    snprintf(c->line, sizeof(c->line), "%s", line);
    c->level = level;
    c->count++;
}

static const LvMsg catcher = { catch_line, &caught, LV_MSG_DEBUG };

/* Exactly one error line since the last call, with these texts in it. */
static void expect_error(const char *what, const char *first, const char *second)
{
    ck_assert_msg(caught.count == 1, "%s: %d messages, last: %s", what, caught.count,
                  caught.line);
    ck_assert_int_eq(caught.level, LV_MSG_ERROR);
    ck_assert_msg(strstr(caught.line, first) && strstr(caught.line, second),
                  "%s: message is \"%s\", expected \"%s\" and \"%s\"", what, caught.line,
                  first, second);
    memset(&caught, 0, sizeof(caught));
}

static void expect_silence(const char *what)
{
    ck_assert_msg(caught.count == 0, "%s: message \"%s\"", what, caught.line);
}

/* --- files --- */

static char dir[64];

static void make_dir(void)
{
    strcpy(dir, "/tmp/linvideo-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void remove_dir(void)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -r '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

/* Path of a file in the directory of this test. */
static const char *in_dir(const char *name)
{
    static char path[2][160];
    static int turn;

    turn ^= 1;
    snprintf(path[turn], sizeof(path[turn]), "%s/%s", dir, name);
    return path[turn];
}

static void write_file(const char *path, const void *data, size_t size)
{
    FILE *f = fopen(path, "wb");

    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(data, 1, size, f), size);
    ck_assert_int_eq(fclose(f), 0);
}

/* --- common.h --- */

START_TEST(test_dtypes)
{
    ck_assert_str_eq(lv_dtype_name(LV_NONE), "none");
    ck_assert_uint_eq(lv_dtype_size(LV_NONE), 0);
    for (int i = LV_NONE + 1; i < LV_DTYPE_NB; i++) {
        size_t size = lv_dtype_size((LvDtype)i);

        if (lv_dtype_block((LvDtype)i) > 1) {
            ck_assert_uint_eq(size, 0);
            ck_assert_int_eq(lv_dtype_by_name(lv_dtype_name((LvDtype)i)), LV_NONE);
            continue;
        }
        ck_assert_int_eq(lv_dtype_by_name(lv_dtype_name((LvDtype)i)), i);
        ck_assert(size == 1 || size == 2 || size == 4 || size == 8);
    }
    ck_assert_int_eq(lv_dtype_by_name("none"), LV_NONE);
    ck_assert_int_eq(lv_dtype_by_name("f32"), LV_NONE);
    ck_assert_int_eq(lv_dtype_by_name(""), LV_NONE);
    ck_assert_uint_eq(lv_dtype_size(LV_BF16), 2);
    ck_assert_uint_eq(lv_dtype_size(LV_F8_E4M3), 1);
    ck_assert_uint_eq(lv_dtype_size(LV_I64), 8);
}
END_TEST

static int same_bits(float a, float b)
{
    return lv_f32_bits(a) == lv_f32_bits(b);
}

/* Value of f16 bits, by its definition. */
static float f16_value(int h)
{
    int e = h >> 10 & 31, m = h & 1023;
    double v = e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);

    if (e == 31)
        v = INFINITY;
    return (float)(h & 0x8000 ? -v : v);
}

START_TEST(test_f16)
{
    for (int h = 0; h < 65536; h++) {
        float f = lv_f16_f32((uint16_t)h);

        if ((h & 0x7C00) == 0x7C00 && (h & 1023)) {
            EXPECT(isnan(f) && isnan(lv_f16_f32(lv_f32_f16(f))), "f16 NaN %04x", h);
            continue;
        }
        EXPECT(same_bits(f, f16_value(h)), "f16 %04x is %a, expected %a", h, f,
               f16_value(h));
        EXPECT(lv_f32_f16(f) == h, "f16 %04x comes back as %04x", h, lv_f32_f16(f));
    }
}
END_TEST

/* Between neighbours h and h + 1: the middle goes to the even one. */
START_TEST(test_f16_rounding)
{
    for (int h = 0; h < 0x7BFF; h++) {
        float a = lv_f16_f32((uint16_t)h), b = lv_f16_f32((uint16_t)(h + 1));
        float middle = a + (b - a) / 2;

        EXPECT(lv_f32_f16(middle) == h + (h & 1) &&
                   lv_f32_f16(-middle) == (0x8000 | (h + (h & 1))),
               "middle after f16 %04x becomes %04x", h, lv_f32_f16(middle));
        EXPECT(lv_f32_f16(nextafterf(middle, a)) == h, "below the middle after %04x", h);
        EXPECT(lv_f32_f16(nextafterf(middle, b)) == h + 1, "above the one after %04x", h);
    }
    ck_assert_int_eq(lv_f32_f16(65519.996f), 0x7BFF);
    ck_assert_int_eq(lv_f32_f16(65520.0f), 0x7C00);
    ck_assert_int_eq(lv_f32_f16(-3e38f), 0xFC00);
    ck_assert_int_eq(lv_f32_f16(0x1p-149f), 0);
    ck_assert_int_eq(lv_f32_f16(-0.0f), 0x8000);
}
END_TEST

START_TEST(test_bf16)
{
    for (int h = 0; h < 65536; h++) {
        float f = lv_bf16_f32((uint16_t)h);

        EXPECT(lv_f32_bits(f) == (uint32_t)h << 16, "bf16 %04x is %a", h, f);
        EXPECT(isnan(f) ? isnan(lv_bf16_f32(lv_f32_bf16(f))) : lv_f32_bf16(f) == h,
               "bf16 %04x comes back as %04x", h, lv_f32_bf16(f));
    }
    /* A NaN whose upper half alone would read as infinity. */
    ck_assert(isnan(lv_bf16_f32(lv_f32_bf16(lv_bits_f32(0x7F800001)))));
    ck_assert(isnan(lv_bf16_f32(lv_f32_bf16(lv_bits_f32(0xFFFFFFFF)))));
}
END_TEST

START_TEST(test_bf16_rounding)
{
    for (uint32_t h = 0; h < 0x7F80; h++) {
        EXPECT(lv_f32_bf16(lv_bits_f32(h << 16 | 0x7FFF)) == h &&
                   lv_f32_bf16(lv_bits_f32(h << 16 | 0x8000)) == h + (h & 1) &&
                   lv_f32_bf16(lv_bits_f32(h << 16 | 0x8001)) == h + 1 &&
                   lv_f32_bf16(lv_bits_f32(0x80000000 | h << 16 | 0x8001)) ==
                       (0x8000 | (h + 1)),
               "rounding after bf16 %04x", (unsigned)h);
    }
    ck_assert_uint_eq(lv_f32_bf16(3.4028235e38f), 0x7F80);
}
END_TEST

START_TEST(test_to_f32)
{
    static const float want[3] = { 1.5f, -2.0f, 0.25f };
    static const double f64[3] = { 1.5, -2.0, 0.25 };
    static const uint16_t f16[3] = { 0x3E00, 0xC000, 0x3400 };
    static const uint16_t bf16[3] = { 0x3FC0, 0xC000, 0x3E80 };
    const struct {
        LvDtype dtype;
        const void *data;
    } source[] = {
        { LV_F32, want }, { LV_F64, f64 }, { LV_F16, f16 }, { LV_BF16, bf16 },
    };
    uint8_t odd[32];
    float got[3];

    for (int i = 0; i < LV_COUNT(source); i++) {
        memcpy(odd + 1, source[i].data, 3 * lv_dtype_size(source[i].dtype));
        ck_assert_int_eq(lv_to_f32(got, odd + 1, source[i].dtype, 3), 0);
        ck_assert_msg(!memcmp(got, want, sizeof(want)), "from %s",
                      lv_dtype_name(source[i].dtype));
    }
    ck_assert_int_eq(lv_to_f32(got, odd, LV_BOOL, 3), LV_ERR_UNSUPPORTED);
    ck_assert_int_eq(lv_to_f32(got, odd, LV_Q8_0, 3), LV_ERR_UNSUPPORTED);
}
END_TEST

START_TEST(test_alloc)
{
    static const size_t size[] = { 0, 1, 63, 64, 65, 100000 };
    size_t product;

    for (int i = 0; i < LV_COUNT(size); i++) {
        uint8_t *p = lv_alloc(size[i]);

        ck_assert_ptr_nonnull(p);
        ck_assert_uint_eq((uintptr_t)p % LV_ALIGN, 0);
        for (size_t k = 0; k < size[i]; k++)
            EXPECT(p[k] == 0, "byte %zu of %zu is not zero", k, size[i]);
        lv_freep(&p);
        ck_assert_ptr_null(p);
    }
    ck_assert_ptr_null(lv_alloc(SIZE_MAX));
    ck_assert_ptr_null(lv_alloc(SIZE_MAX - LV_ALIGN + 1));
    lv_free(NULL);
    ck_assert_int_eq(lv_mul(&product, SIZE_MAX / 2, 2), 0);
    ck_assert_int_eq(lv_mul(&product, SIZE_MAX / 2 + 1, 2), -1);
}
END_TEST

START_TEST(test_msg)
{
    LvMsg quiet = catcher, silent = { NULL, NULL, LV_MSG_DEBUG };
    char text[3000];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    quiet.level = LV_MSG_WARNING;
    lv_msg(&quiet, LV_MSG_INFO, "not wanted");
    lv_msg(&silent, LV_MSG_ERROR, "nowhere to go");
    lv_msg(NULL, LV_MSG_ERROR, "nowhere to go");
    expect_silence("levels");
    lv_msg(&quiet, LV_MSG_WARNING, "%s %d", "seven", 7);
    ck_assert_int_eq(caught.level, LV_MSG_WARNING);
    ck_assert_str_eq(caught.line, "seven 7");
    ck_assert_int_eq(lv_fail(&catcher, -5, "%s", text), -5);
    ck_assert_uint_eq(strlen(caught.line), 2047);
}
END_TEST

/* --- text.h --- */

START_TEST(test_utf8)
{
    static const char *const wrong[] = {
        "\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC2", "\xC2\x41", "\xE0\x80\x80",
        "\xE0\x9F\xBF", "\xE2\x82", "\xED\xA0\x80", "\xED\xBF\xBF",
        "\xF0\x80\x80\x80", "\xF0\x8F\xBF\xBF", "\xF0\x9F\x98",
        "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFE", "\xFF",
    };
    uint32_t got = 0;
    char s[4];

    for (uint32_t cp = 0; cp <= 0x10FFFF; cp++) {
        int len = cp >= 0xD800 && cp <= 0xDFFF ? 0 : lv_utf8_put(s, cp);

        EXPECT(!len || (lv_utf8_get(&got, s, (size_t)len) == len && got == cp),
               "U+%04X comes back as U+%04X", (unsigned)cp, (unsigned)got);
    }
    for (int i = 0; i < LV_COUNT(wrong); i++)
        ck_assert_msg(!lv_utf8_get(&got, wrong[i], strlen(wrong[i])), "wrong[%d]", i);
}
END_TEST

START_TEST(test_text)
{
    char shown[LV_SHOW_SIZE], big[1000];

    ck_assert(lv_text_is_plain("blocks.0.\xC3\xA9", 11));
    ck_assert(lv_text_is_plain("", 0));
    ck_assert(!lv_text_is_plain("a\0b", 3));
    ck_assert(!lv_text_is_plain("a\x1F", 2));
    ck_assert(!lv_text_is_plain("a\x7F", 2));
    ck_assert(!lv_text_is_plain("a\xC2\x85", 3));
    ck_assert(!lv_text_is_plain("a\xFF", 2));
    ck_assert_str_eq(lv_text_show(shown, "a\n\xFF\0z", 5), "a\\x0A\\xFF\\x00z");
    memset(big, 1, sizeof(big));
    lv_text_show(shown, big, sizeof(big));
    ck_assert_uint_lt(strlen(shown), LV_SHOW_SIZE);
    ck_assert_str_eq(shown + strlen(shown) - 7, "\\x01...");
}
END_TEST

/* --- philox.h --- */

START_TEST(test_philox_known)
{
    static const struct {
        uint32_t ctr[4], key[2], out[4];
    } known[] = {
        { { 0, 0, 0, 0 }, { 0, 0 },
          { 0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8 } },
        { { 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF }, { 0xFFFFFFFF, 0xFFFFFFFF },
          { 0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD } },
        { { 0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344 }, { 0xA4093822, 0x299F31D0 },
          { 0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1 } },
    };
    uint32_t out[4];

    for (int i = 0; i < LV_COUNT(known); i++) {
        lv_philox(out, known[i].ctr, known[i].key);
        ck_assert_msg(!memcmp(out, known[i].out, sizeof(out)),
                      "vector %d: %08x %08x %08x %08x", i, out[0], out[1], out[2],
                      out[3]);
    }
}
END_TEST

START_TEST(test_normal_moments)
{
    enum { N = 1 << 20 };
    float *x = malloc(N * sizeof(*x));
    double sum[5] = { 0 }, neighbours = 0;

    ck_assert_ptr_nonnull(x);
    lv_philox_normal(x, N, 1234, 5);
    for (int i = 0; i < N; i++) {
        for (int k = 1; k <= 4; k++)
            sum[k] += pow(x[i], k) / N;
        neighbours += i ? (double)x[i] * x[i - 1] / N : 0;
        EXPECT(fabsf(x[i]) < 6.77f, "value %d is %g", i, x[i]);
    }
    /* Five standard deviations of each mean. */
    ck_assert_double_lt(fabs(sum[1]), 5 * sqrt(1.0 / N));
    ck_assert_double_lt(fabs(sum[2] - 1), 5 * sqrt(2.0 / N));
    ck_assert_double_lt(fabs(sum[3]), 5 * sqrt(15.0 / N));
    ck_assert_double_lt(fabs(sum[4] - 3), 5 * sqrt(96.0 / N));
    ck_assert_double_lt(fabs(neighbours), 5 * sqrt(1.0 / N));
    free(x);
}
END_TEST

/* The definition in philox.h, by the C library: within one f32 step of it. */
START_TEST(test_normal_definition)
{
    enum { BLOCKS = 20000 };
    const uint64_t seed = 0x0123456789ABCDEF, stream = 0xFEDCBA9876543210;
    const uint32_t key[2] = { 0x89ABCDEF, 0x01234567 };
    const long double turn = 6.283185307179586476925286766559L;
    float *x = malloc(4 * BLOCKS * sizeof(*x));

    ck_assert_ptr_nonnull(x);
    lv_philox_normal(x, 4 * BLOCKS, seed, stream);
    for (uint32_t b = 0; b < BLOCKS; b++) {
        const uint32_t ctr[4] = { b, 0, 0x76543210, 0xFEDCBA98 };
        uint32_t w[4];

        lv_philox(w, ctr, key);
        for (int i = 0; i < 4; i++) {
            long double r = sqrtl(-2 * logl((w[i & 2] + 0.5L) / 4294967296.0L));
            long double a = turn * ((w[i | 1] + 0.5L) / 4294967296.0L);
            long double want = r * (i & 1 ? sinl(a) : cosl(a));

            float got = x[4 * (size_t)b + (size_t)i];

            EXPECT(fabsl(got - want) <= 0x1.01p-24L * fabsl(want) + 2e-15L,
                   "block %u value %d: %.9g, expected %.9Lg", b, i, got, want);
        }
    }
    free(x);
}
END_TEST

START_TEST(test_normal_bits)
{
    static const uint32_t want[8] = {
        0x40082C17, 0x400A53F3, 0xBED108E0, 0xBFD472CA,
        0x40015D4B, 0xBDDDA09E, 0x3EA52DFA, 0x40061DE4,
    };
    float x[9];

    for (size_t n = 0; n <= 8; n++) {
        for (int i = 0; i < 9; i++)
            x[i] = -77;
        lv_philox_normal(x, n, 42, 1);
        for (size_t i = 0; i < 9; i++)
            ck_assert_msg(lv_f32_bits(x[i]) == (i < n ? want[i] : lv_f32_bits(-77)),
                          "n = %zu, value %zu: %08x", n, i, lv_f32_bits(x[i]));
    }
    lv_philox_normal(x, 4, 42, 2);
    ck_assert_uint_ne(lv_f32_bits(x[0]), want[0]);
    lv_philox_normal(x, 4, 43, 1);
    ck_assert_uint_ne(lv_f32_bits(x[0]), want[0]);
}
END_TEST

/* --- map.h --- */

/* Whether a sanitiser, which takes memory of its own, is in the program. */
static int is_sanitised(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return 1;
#else
    return 0;
#endif
}

START_TEST(test_map)
{
    LvMap map = { 0 };

    write_file(in_dir("five"), "hello", 5);
    ck_assert_int_eq(lv_map_open(&map, in_dir("five"), &catcher), 0);
    ck_assert_uint_eq(map.size, 5);
    ck_assert_int_eq(memcmp(map.data, "hello", 5), 0);
    lv_map_close(&map);
    ck_assert_ptr_null(map.data);
    lv_map_close(&map);
    write_file(in_dir("empty"), "", 0);
    ck_assert_int_eq(lv_map_open(&map, in_dir("empty"), &catcher), 0);
    ck_assert_uint_eq(map.size, 0);
    ck_assert_ptr_null(map.data);
    lv_map_close(&map);
    expect_silence("good files");
}
END_TEST

START_TEST(test_map_errors)
{
    LvMap map;

    ck_assert_int_eq(lv_map_open(&map, in_dir("missing"), &catcher), -ENOENT);
    expect_error("missing", in_dir("missing"), "No such file");
    ck_assert_ptr_null(map.data);
    ck_assert_int_eq(lv_map_open(&map, dir, &catcher), -EINVAL);
    expect_error("directory", dir, "not a regular file");
    ck_assert_int_eq(mkfifo(in_dir("pipe"), 0600), 0);
    ck_assert_int_eq(lv_map_open(&map, in_dir("pipe"), &catcher), -EINVAL);
    expect_error("pipe", in_dir("pipe"), "not a regular file");
    ck_assert_int_eq(lv_map_open(&map, "/dev/null", &catcher), -EINVAL);
    expect_error("device", "/dev/null", "not a regular file");
    write_file(in_dir("file"), "x", 1);
    ck_assert_int_eq(lv_map_open(&map, in_dir("file/below"), &catcher), -ENOTDIR);
    expect_error("below a file", in_dir("file/below"), "Not a directory");
    write_file(in_dir("file"), "hello", 5);
    ck_assert_int_eq(lv_map_open_upto(&map, in_dir("file"), 4, &catcher), -EFBIG);
    expect_error("too large", in_dir("file"), "expected at most 4 bytes, got 5");
    ck_assert_ptr_null(map.data);
    ck_assert_int_eq(lv_map_open_upto(&map, in_dir("file"), 5, &catcher), 0);
    lv_map_close(&map);
}
END_TEST

enum { PAGES = 5, PAGE = 4096, LATE = PAGES * PAGE - 100 };

/* A file of numbers, last written long ago, opened late. */
static void open_late(LvMap *map, const char *path)
{
    static uint32_t numbers[LATE / 4];

    for (int i = 0; i < LATE / 4; i++)
        numbers[i] = (uint32_t)i;
    write_file(path, numbers, LATE);
    ck_assert_int_eq(utimensat(AT_FDCWD, path, (const struct timespec[2]) { { 1, 0 }, { 1, 0 } },
                               0), 0);
    ck_assert_int_eq(lv_map_open_late(map, path, &catcher), 0);
    ck_assert_uint_eq(map->size, LATE);
}

static uint32_t number(const LvMap *map, size_t i)
{
    uint32_t v;

    memcpy(&v, map->data + 4 * i, sizeof(v));
    return v;
}

START_TEST(test_map_late)
{
    static const struct { size_t at, size; } parts[] = {
        { 0, 4 }, { PAGE - 4, 8 }, { 3 * PAGE, PAGE }, { LATE - 4, 4 }, { 0, LATE },
    };
    uint32_t two[2];
    LvMap map;

    open_late(&map, in_dir("late"));
    for (int i = 0; i < LV_COUNT(parts); i++) {
        const uint8_t *p = map.data + parts[i].at;
        ck_assert_int_eq(lv_map_load(&map, p, parts[i].size, &catcher), 0);
        for (size_t k = parts[i].at / 4; k < (parts[i].at + parts[i].size) / 4; k++)
            ck_assert_uint_eq(number(&map, k), k);
        if (i % 2)
            lv_map_drop(&map, p, parts[i].size);
    }
    lv_map_drop(&map, map.data, map.size);
    ck_assert_int_eq(lv_map_read(&map, 4 * 1023, two, sizeof(two), &catcher), 0);
    ck_assert(two[0] == 1023 && two[1] == 1024);
    ck_assert_int_eq(lv_map_finish(&map, &catcher), 0);
    ck_assert_int_eq(truncate(in_dir("late"), 0), 0);
    lv_map_drop(&map, map.data, map.size);
    ck_assert_uint_eq(number(&map, LATE / 4 - 1), LATE / 4 - 1);
    lv_map_close(&map);
    expect_silence("a file read late");
}
END_TEST

/* What happens to a file that is open. */
static void damage(int how, const char *path)
{
    FILE *f;

    if (how < 3) {
        ck_assert_int_eq(truncate(path, how == 0 ? 0 : how == 1 ? PAGE : LATE + 1), 0);
        return;
    }
    ck_assert_ptr_nonnull(f = fopen(path, "r+"));
    ck_assert_int_eq(fputc('x', f), 'x');
    fclose(f);
}

START_TEST(test_map_changed)
{
    static const char *const words[] = {
        "expected 20380 bytes, got 0", "expected 20380 bytes, got 4096",
        "expected 20380 bytes, got 20381", "it was written to",
    };
    char part[128];
    LvMap map;

    snprintf(part, sizeof(part), "changed since it was opened");
    open_late(&map, in_dir("late"));
    ck_assert_int_eq(lv_map_load(&map, map.data, 8, &catcher), 0);
    damage(_i, in_dir("late"));
    ck_assert_uint_eq(number(&map, 1), 1);
    ck_assert_int_eq(lv_map_load(&map, map.data, 8, &catcher), 0);
    ck_assert_int_eq(lv_map_load(&map, map.data + PAGE, 8, &catcher), -ESTALE);
    expect_error("changed", in_dir("late"), words[_i]);
    ck_assert_int_eq(lv_map_finish(&map, &catcher), -ESTALE);
    expect_error("changed", in_dir("late"), part);
    lv_map_close(&map);
}
END_TEST

/* The number of the next descriptor. */
static int next_fd(void)
{
    int fd = dup(0);

    close(fd);
    return fd;
}

START_TEST(test_map_failing)
{
    int fd = next_fd(), folder;
    char part[16];
    LvMap map;

    open_late(&map, in_dir("late"));
    folder = open(dir, O_RDONLY);
    ck_assert_int_eq(dup2(folder, fd), fd);
    ck_assert_int_eq(lv_map_load(&map, map.data, 8, &catcher), -EISDIR);
    expect_error("a read that fails", in_dir("late"), "cannot be read at byte 0: Is a dir");
    ck_assert_int_eq(lv_map_read(&map, 4, part, 8, &catcher), -EISDIR);
    expect_error("a read that fails", in_dir("late"), "cannot be read at byte 4: Is a dir");
    lv_map_close(&map);
    close(folder);
}
END_TEST

START_TEST(test_map_replaced)
{
    LvMap map;

    open_late(&map, in_dir("late"));
    write_file(in_dir("other"), "other", 5);
    ck_assert_int_eq(rename(in_dir("other"), in_dir("late")), 0);
    ck_assert_int_eq(lv_map_load(&map, map.data, map.size, &catcher), 0);
    ck_assert_uint_eq(number(&map, 3000), 3000);
    lv_map_close(&map);
    expect_silence("a file that another took the name of");
}
END_TEST

/* --- safetensors.h --- */

/* A file of exactly its size, so that reading past its end is seen. */
static uint8_t *build(size_t *size, uint64_t length, const char *json, size_t n,
                      size_t data)
{
    uint8_t *p = malloc(8 + n + data);

    ck_assert_ptr_nonnull(p);
    *size = 8 + n + data;
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(length >> 8 * i);
    memcpy(p + 8, json, n);
    for (size_t i = 0; i < data; i++)
        p[8 + n + i] = (uint8_t)i;
    return p;
}

static const char good[] =
    "{\"__metadata__\":{\"format\":\"pt\",\"long\":\"a\\nb\"},"
    "\"w\":{\"dtype\":\"F16\",\"shape\":[2,3],\"data_offsets\":[3,15]},"
    "\"bytes\":{\"data_offsets\":[0,3],\"dtype\":\"U8\",\"shape\":[3]},"
    "\"none\":{\"dtype\":\"F8_E4M3\",\"shape\":[0],\"data_offsets\":[15,15]},"
    "\"s\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[15,19]}}   ";

static void check_good(const LvSafetensors *st, const uint8_t *data)
{
    const LvFileTensor *t;

    ck_assert_int_eq(lv_safetensors_count(st), 4);
    for (int i = 1; i < 4; i++)
        ck_assert_int_lt(strcmp(lv_safetensors_at(st, i - 1)->name,
                                lv_safetensors_at(st, i)->name), 0);
    t = lv_safetensors_find(st, "w");
    ck_assert_ptr_nonnull(t);
    ck_assert_int_eq(t->dtype, LV_F16);
    ck_assert_int_eq(t->rank, 2);
    ck_assert(t->dim[0] == 2 && t->dim[1] == 3 && t->numel == 6 && t->size == 12);
    ck_assert_int_eq(memcmp(t->data, data + 3, 12), 0);
    t = lv_safetensors_find(st, "none");
    ck_assert(t && t->rank == 1 && t->dim[0] == 0 && t->numel == 0 && t->size == 0);
    t = lv_safetensors_find(st, "s");
    ck_assert(t && t->rank == 0 && t->numel == 1 && t->size == 4 && t->dtype == LV_F32);
    ck_assert_ptr_null(lv_safetensors_find(st, "x"));
    ck_assert_ptr_null(lv_safetensors_find(st, "__metadata__"));
    ck_assert_str_eq(lv_safetensors_meta(st, "format"), "pt");
    ck_assert_str_eq(lv_safetensors_meta(st, "long"), "a\nb");
    ck_assert_ptr_null(lv_safetensors_meta(st, "nothing"));
}

START_TEST(test_safetensors_good)
{
    size_t size, n = strlen(good);
    uint8_t *p = build(&size, n, good, n, 19);
    LvSafetensors *st;

    ck_assert_int_eq(lv_safetensors_parse(&st, p, size, "mem", &catcher), 0);
    ck_assert_str_eq(lv_safetensors_path(st), "mem");
    check_good(st, p + 8 + n);
    lv_safetensors_close(&st);
    ck_assert_ptr_null(st);
    lv_safetensors_close(&st);
    write_file(in_dir("good"), p, size);
    ck_assert_int_eq(lv_safetensors_open(&st, in_dir("good"), &catcher), 0);
    ck_assert_str_eq(lv_safetensors_path(st), in_dir("good"));
    check_good(st, p + 8 + n);
    lv_safetensors_close(&st);
    expect_silence("good file");
    free(p);
}
END_TEST

/* A file may hold no tensor at all, and no metadata. */
START_TEST(test_safetensors_bare)
{
    static const char *const bare[] = {
        "{}", "{}      ", "{ }", "{\"__metadata__\":{}}",
    };
    LvSafetensors *st;
    size_t size;

    for (int i = 0; i < LV_COUNT(bare); i++) {
        uint8_t *p = build(&size, strlen(bare[i]), bare[i], strlen(bare[i]), 0);

        ck_assert_int_eq(lv_safetensors_parse(&st, p, size, "mem", &catcher), 0);
        ck_assert_int_eq(lv_safetensors_count(st), 0);
        ck_assert_ptr_null(lv_safetensors_find(st, ""));
        ck_assert_ptr_null(lv_safetensors_meta(st, "x"));
        lv_safetensors_close(&st);
        free(p);
    }
    expect_silence("bare files");
}
END_TEST

#define ONE(dtype, shape, offsets) \
    "{\"a\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define TWO(shape, first, second) \
    "{\"a\":{\"dtype\":\"U8\",\"shape\":" shape ",\"data_offsets\":" first "}," \
    "\"b\":{\"dtype\":\"U8\",\"shape\":" shape ",\"data_offsets\":" second "}}"
#define NAMED(name) \
    "{\"" name "\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}"
#define X16 "xxxxxxxxxxxxxxxx"
#define X256 X16 X16 X16 X16 X16 X16 X16 X16 X16 X16 X16 X16 X16 X16 X16 X16

static const struct {
    const char *json;
    size_t data;
    const char *message;
} hostile[] = {
    /* the header as a whole */
    { "", 0, "does not begin with '{'" },
    { "[]", 0, "does not begin with '{'" },
    { " {}", 0, "does not begin with '{'" },
    { "\xEF\xBB\xBF{}", 0, "does not begin with '{'" },
    { "   ", 0, "does not begin with '{'" },
    { "{}\n", 0, "does not end with '}'" },
    { "{}\t ", 0, "does not end with '}'" },
    { "{} x", 0, "does not end with '}'" },
    { "{", 0, "does not end with '}'" },
    { "{\"}", 0, "header: " },
    { "{\"\\", 0, "does not end with '}'" },
    { "{} {}", 0, "end of file expected" },
    { "{}}", 0, "end of file expected" },
    { "{\"a\":1}{}", 0, "end of file expected" },
    { "{\"a\":1,}", 0, "ends in a comma" },
    { "{,}", 0, "does not begin with a name" },
    { "{1:2}", 0, "does not begin with a name" },
    { "{\"a\" 1}", 0, "header: " },
    { "{\"a\":{}", 0, "is not closed" },
    { "{'a':1}", 0, "header: " },
    { "{\"a\":{}\x01}", 0, "header: expected a comma or }, got '\\x01'" },
    { "{\"a\":[[[[[[[[]]]]]]]]}", 0, "nested too deep" },
    { "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{}}}}}}}}}", 0,
      "nested too deep" },
    { "{\"a\":[[[[[[[]]]]]]]}", 0, "tensor a: entry is not an object" },
    /* names and keys */
    { "{\"a\":1,\"a\":1}", 0, "expected each name once" },
    { "{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0, "expected each name once" },
    { ONE("\"U8\",\"dtype\":\"U8\"", "[1]", "[0,1]"), 1,
      "expected each name once" },
    { "{\"__metadata__\":{},\"__metadata__\":{}}", 0, "expected each name once" },
    { "{\"a\":1,\"\\u0061\":1}", 0, "expected each name once" },
    { NAMED("\\u0000"), 1, "\\u0000" },
    { NAMED("a\\u0001"), 1, "tensor a\\x01: control character" },
    { NAMED("a\\n"), 1, "tensor a\\x0A: control character" },
    { NAMED("a\x7F"), 1, "tensor a\\x7F: control character" },
    { NAMED("a\\u0085"), 1, "tensor a\\xC2\\x85: control character" },
    { NAMED("a\x1B[31m"), 1, "header: " },
    { NAMED("\xFF"), 1, "header: expected UTF-8, got byte 0xff" },
    { NAMED("\xC0\xAF"), 1, "header: expected UTF-8, got byte 0xc0" },
    { NAMED("\xED\xA0\x80"), 1, "header: expected UTF-8, got byte 0xed" },
    { NAMED("\\ud800"), 1, "header: expected a Unicode character" },
    { NAMED("x" X256), 1, "name of 257 bytes, at most 256" },
    /* metadata */
    { "{\"__metadata__\":[]}", 0, "__metadata__ is not an object" },
    { "{\"__metadata__\":null}", 0, "__metadata__ is not an object" },
    { "{\"__metadata__\":{\"k\":1}}", 0, "value of k is not a string" },
    { "{\"__metadata__\":{\"k\":{}}}", 0, "value of k is not a string" },
    { "{\"__metadata__\":{\"k\":\"1\",}}", 0, "ends in a comma" },
    { "{\"__metadata__\":{\"k\":\"1\" \"2\"}}", 0, "header: " },
    { "{\"__metadata__\":{1}}", 0, "header: " },
    /* entries */
    { "{\"a\":null}", 0, "tensor a: entry is not an object" },
    { "{\"a\":{}}", 0, "tensor a: dtype is missing" },
    { "{\"a\":{\"dtype\":\"U8\"}}", 0, "tensor a: shape is missing" },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[]}}", 0, "data_offsets are not two integers" },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1],\"x\":0}}", 1,
      "tensor a: 4 keys" },
    /* dtype */
    { ONE("7", "[1]", "[0,1]"), 1, "dtype is missing or not a string" },
    { ONE("\"F99\"", "[1]", "[0,1]"), 1, "unknown dtype F99" },
    { ONE("\"none\"", "[1]", "[0,0]"), 0, "unknown dtype none" },
    { ONE("\"u8\\u001b\"", "[1]", "[0,1]"), 1, "unknown dtype u8\\x1B" },
    /* shape */
    { ONE("\"U8\"", "1", "[0,1]"), 1, "shape is missing or not an array" },
    { ONE("\"U8\"", "[\"1\"]", "[0,1]"), 1, "shape[0] is not an integer" },
    { ONE("\"U8\"", "[1,1.0]", "[0,1]"), 1, "shape[1] is not an integer" },
    { ONE("\"U8\"", "[1e0]", "[0,1]"), 1, "shape[0] is not an integer" },
    { ONE("\"U8\"", "[true]", "[0,1]"), 1, "shape[0] is not an integer" },
    { ONE("\"U8\"", "[-1]", "[0,1]"), 1, "a negative number" },
    { ONE("\"U8\"", "[01]", "[0,1]"), 1, "header: " },
    { ONE("\"U8\"", "[+1]", "[0,1]"), 1, "header: " },
    { ONE("\"U8\"", "[9223372036854775808]", "[0,1]"), 1, "expected an integer of 64 bits" },
    { ONE("\"U8\"", "[1,1,1,1,1,1,1,1,1]", "[0,1]"), 1, "rank 9, at most 8" },
    { ONE("\"U8\"", "[4294967296,4294967296]", "[0,0]"), 0, "elements overflows" },
    { ONE("\"U8\"", "[9223372036854775807,2,2,0]", "[0,0]"), 0, "elements overflows" },
    { ONE("\"F64\"", "[4611686018427387904]", "[0,0]"), 0, "the size overflows" },
    /* data_offsets */
    { ONE("\"U8\"", "[1]", "1"), 1, "data_offsets are not two integers" },
    { ONE("\"U8\"", "[1]", "[0]"), 1, "data_offsets are not two integers" },
    { ONE("\"U8\"", "[1]", "[0,1,1]"), 1, "data_offsets are not two integers" },
    { ONE("\"U8\"", "[1]", "[0,1.5]"), 1, "data_offsets are not two integers" },
    { ONE("\"U8\"", "[0]", "[-0,0]"), 0, "a negative number" },
    { ONE("\"U8\"", "[1]", "[1,0]"), 1, "[1, 0] run backwards" },
    { ONE("\"F32\"", "[1]", "[0,4]"), 3, "cut off: expected 66 bytes, got 65; download it again" },
    { ONE("\"U8\"", "[1]", "[9223372036854775806,9223372036854775807]"), 1,
      "data begins at byte 9223372036854775806, leaving a hole after byte 0" },
    { ONE("\"F32\"", "[2]", "[0,4]"), 4, "span 4 bytes, dtype and shape need 8" },
    { ONE("\"F32\"", "[0]", "[0,4]"), 4, "span 4 bytes, dtype and shape need 0" },
    /* tiling */
    { "{}", 1, "1 bytes of data, the tensors cover 0" },
    { ONE("\"F32\"", "[1]", "[0,4]"), 5, "5 bytes of data, the tensors cover 4" },
    { ONE("\"U8\"", "[1]", "[1,2]"), 2, "a: data begins at byte 1, leaving a hole" },
    { TWO("[4]", "[0,4]", "[5,9]"), 9, "b: data begins at byte 5, leaving a hole" },
    { TWO("[4]", "[0,4]", "[3,7]"), 7, "tensor b: data begins at byte 3, overlapping" },
    { TWO("[4]", "[0,4]", "[0,4]"), 4, "data begins at byte 0, overlapping" },
    { TWO("[4]", "[4,8]", "[0,4]"), 9, "9 bytes of data, the tensors cover 8" },
};

/* The bytes, which it frees, are refused with this message. */
static void expect_refused(uint8_t *p, size_t size, const char *message)
{
    LvSafetensors *st = (LvSafetensors *)(void *)p;
    int ret = lv_safetensors_parse(&st, p, size, "mem", &catcher);

    ck_assert_int_eq(ret, LV_ERR_MODEL);
    ck_assert_ptr_null(st);
    expect_error("parsing", "mem: ", message);
    free(p);
}

START_TEST(test_safetensors_hostile)
{
    size_t size, n = strlen(hostile[_i].json);
    uint8_t *p = build(&size, n, hostile[_i].json, n, hostile[_i].data);

    expect_refused(p, size, hostile[_i].message);
}
END_TEST

START_TEST(test_safetensors_nul)
{
    static const struct {
        const char *json;
        size_t n;
        const char *message;
    } nul[] = {
        { "{}\0", 3, "does not end with '}'" },
        { "{\0}", 3, "header: " },
        { "{\"a\0b\":1}", 9, "header: " },
    };
    size_t size;

    for (int i = 0; i < LV_COUNT(nul); i++) {
        uint8_t *p = build(&size, nul[i].n, nul[i].json, nul[i].n, 0);

        expect_refused(p, size, nul[i].message);
    }
}
END_TEST

START_TEST(test_safetensors_length)
{
    static const struct {
        uint64_t length;
        const char *message;
    } wrong[] = {
        { 0, "does not begin with '{'" },
        { 1, "does not end with '}'" },
        { 3, "header of 3 bytes, the file has 2 left" },
        { 100000000, "header of 100000000 bytes, the file has 2 left" },
        { 100000001, "header of 100000001 bytes, at most 100000000" },
        { UINT64_MAX, "header of 18446744073709551615 bytes, at most 100000000" },
        { UINT64_MAX - 7, "header of 18446744073709551608 bytes, at most 100000000" },
    };
    size_t size;

    for (int i = 0; i < LV_COUNT(wrong); i++) {
        uint8_t *p = build(&size, wrong[i].length, "{}", 2, 0);

        expect_refused(p, size, wrong[i].message);
    }
}
END_TEST

/* Headers of one entry, of many that are no tensors, of many keys: what they cost is no
 * more than their size allows. The limit is of this process; sanitisers need more. */
static const struct {
    const char *begin, *again, *end, *message;
} amplified[] = {
    { "{\"a\":[", "{},", "{}]}", "tensor a: entry of" },
    { "{", "\"\":1,", "\"a\":1}", "entries do not fit" },
    { "{\"__metadata__\":{\"k\":[", "[],", "1]}}", "value of k is not a string" },
    { "{\"__metadata__\":{", "\"\":\"\",", "\"\":\"\"}}", "more than 65536 keys" },
};

START_TEST(test_safetensors_amplified)
{
    enum { BYTES = 20000000 };
    size_t again = strlen(amplified[_i].again), n = strlen(amplified[_i].begin), size;
    struct rlimit limit;
    char *json = malloc(BYTES + 64);
    uint8_t *p;

    memcpy(json, amplified[_i].begin, n);
    for (; n < BYTES; n += again)
        memcpy(json + n, amplified[_i].again, again);
    strcpy(json + n, amplified[_i].end);
    n += strlen(amplified[_i].end);
    p  = build(&size, n, json, n, 0);
    free(json);
    if (!getrlimit(RLIMIT_DATA, &limit) && !is_sanitised())
        ck_assert_int_eq(setrlimit(RLIMIT_DATA, &(struct rlimit) { 6 * BYTES,
                                                                   limit.rlim_max }), 0);
    expect_refused(p, size, amplified[_i].message);
}
END_TEST

/* Every shortened file is refused, with one message. */
START_TEST(test_safetensors_truncated)
{
    size_t size, n = strlen(good);
    uint8_t *whole = build(&size, n, good, n, 19);

    for (size_t k = 0; k < size; k++) {
        uint8_t *p = malloc(LV_MAX(k, 1));

        ck_assert_ptr_nonnull(p);
        memcpy(p, whole, k);
        expect_refused(p, k, "bytes");
    }
    free(whole);
}
END_TEST

START_TEST(test_safetensors_open_errors)
{
    LvSafetensors *st;

    ck_assert_int_eq(lv_safetensors_open(&st, in_dir("missing"), &catcher), -ENOENT);
    expect_error("missing", in_dir("missing"), "No such file");
    ck_assert_ptr_null(st);
    ck_assert_int_eq(lv_safetensors_open(&st, dir, &catcher), -EINVAL);
    expect_error("directory", dir, "not a regular file");
    write_file(in_dir("empty"), "", 0);
    ck_assert_int_eq(lv_safetensors_open(&st, in_dir("empty"), &catcher), LV_ERR_MODEL);
    expect_error("empty", in_dir("empty"), "0 bytes, a header takes at least 8");
    ck_assert_ptr_null(st);
}
END_TEST

static const uint8_t sample_bytes[64] = { 9, 8, 7, 6, 5, 4, 3, 2, 1 };

static const LvFileTensor written[] = {
    { .name = "z.bytes", .dtype = LV_U8, .rank = 1, .dim = { 3 }, .size = 3,
      .data = sample_bytes },
    { .name = "b", .dtype = LV_BF16, .rank = 2, .dim = { 2, 3 }, .size = 12,
      .data = sample_bytes + 1 },
    { .name = "quote\"\xC3\xA9", .dtype = LV_F32, .rank = 0, .size = 4,
      .data = sample_bytes + 2 },
    { .name = "a", .dtype = LV_F32, .rank = 3, .dim = { 1, 2, 1 }, .size = 8,
      .data = sample_bytes + 3 },
    { .name = "empty", .dtype = LV_I64, .rank = 2, .dim = { 0, 5 }, .size = 0 },
};

START_TEST(test_write)
{
    static const char *const meta[] = { "k", "v", "config", "{\"a\": [1]}\n\"\\", NULL };
    static const char *const order[] = {
        "empty", "a", "quote\"\xC3\xA9", "b", "z.bytes",
    };
    const uint8_t *at;
    LvSafetensors *st;

    ck_assert_int_eq(lv_safetensors_write(in_dir("f"), written, LV_COUNT(written), meta,
                                          &catcher), 0);
    ck_assert_int_eq(lv_safetensors_open(&st, in_dir("f"), &catcher), 0);
    ck_assert_int_eq(lv_safetensors_count(st), LV_COUNT(written));
    for (int i = 0; i < LV_COUNT(written); i++) {
        const LvFileTensor *w = &written[i], *t = lv_safetensors_find(st, w->name);

        ck_assert_msg(t && t->dtype == w->dtype && t->rank == w->rank &&
                          t->size == w->size &&
                          !memcmp(t->dim, w->dim, sizeof(t->dim)), "%s", w->name);
        ck_assert(!w->size || !memcmp(t->data, w->data, w->size));
    }
    at = lv_safetensors_find(st, "empty")->data;
    ck_assert_uint_eq((uintptr_t)at % 8, 0);
    for (int i = 0; i < LV_COUNT(order); i++) {
        const LvFileTensor *t = lv_safetensors_find(st, order[i]);

        ck_assert_ptr_eq(t->data, at);
        at += t->size;
    }
    ck_assert_str_eq(lv_safetensors_meta(st, "k"), "v");
    ck_assert_str_eq(lv_safetensors_meta(st, "config"), meta[3]);
    lv_safetensors_close(&st);
    expect_silence("writing");
}
END_TEST

/* An existing file is replaced, without metadata and without tensors too. */
START_TEST(test_write_again)
{
    static const char *const no_meta[] = { NULL };
    LvSafetensors *st;

    write_file(in_dir("f"), "old", 3);
    write_file(in_dir(".part-0123456789ab-f"), "left over from a crash", 22);
    ck_assert_int_eq(lv_safetensors_write(in_dir("f"), written, 1, NULL, &catcher), 0);
    ck_assert_int_eq(lv_safetensors_open(&st, in_dir("f"), &catcher), 0);
    ck_assert_int_eq(lv_safetensors_count(st), 1);
    ck_assert_ptr_null(lv_safetensors_meta(st, "k"));
    lv_safetensors_close(&st);
    ck_assert_int_ne(access(in_dir(".part-0123456789ab-f"), F_OK), 0);
    ck_assert_int_eq(lv_safetensors_write(in_dir("f"), NULL, 0, no_meta, &catcher), 0);
    ck_assert_int_eq(lv_safetensors_open(&st, in_dir("f"), &catcher), 0);
    ck_assert_int_eq(lv_safetensors_count(st), 0);
    lv_safetensors_close(&st);
    expect_silence("writing again");
}
END_TEST

START_TEST(test_write_errors)
{
    static const char *const bad_meta[] = { "k", "\xFF", NULL };
    static const struct {
        LvFileTensor tensor;
        const char *message;
    } wrong[] = {
        { { .name = "a\n", .dtype = LV_U8, .size = 1 }, "a\\x0A: no valid name" },
        { { .name = "__metadata__", .dtype = LV_U8, .size = 1 }, "no valid name" },
        { { .name = "\xC0", .dtype = LV_U8, .size = 1 }, "no valid name" },
        { { .name = "a", .dtype = LV_NONE, .size = 0 }, "do not fit its dtype (none)" },
        { { .name = "a", .dtype = LV_F32, .size = 3 }, "3 bytes do not fit" },
        { { .name = "a", .dtype = LV_U8, .rank = 9, .size = 1 }, "1 bytes do not fit" },
        { { .name = "a", .dtype = LV_U8, .rank = 1, .dim = { -1 }, .size = 1 },
          "1 bytes do not fit" },
    };
    LvFileTensor twice[2] = { written[0], written[0] };
    const char *path = in_dir("f");

    for (int i = 0; i < LV_COUNT(wrong); i++) {
        LvFileTensor t = wrong[i].tensor;

        t.data = sample_bytes;
        ck_assert_int_eq(lv_safetensors_write(path, &t, 1, NULL, &catcher), -EINVAL);
        expect_error("wrong tensor", path, wrong[i].message);
    }
    ck_assert_int_eq(lv_safetensors_write(path, twice, 2, NULL, &catcher), -EINVAL);
    expect_error("twice", path, "tensor z.bytes is duplicated");
    ck_assert_int_eq(lv_safetensors_write(path, written, 1, bad_meta, &catcher), -EINVAL);
    expect_error("metadata", path, "not valid UTF-8");
    ck_assert_int_ne(access(path, F_OK), 0);
    path = in_dir("missing/f");
    ck_assert_int_eq(lv_safetensors_write(path, written, 1, NULL, &catcher), -ENOENT);
    expect_error("no directory", path, "No such file");
    path = in_dir("f");
    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_int_eq(lv_safetensors_write(path, written, 1, NULL, &catcher), -EISDIR);
    expect_error("a directory", path, "Is a directory");
}
END_TEST

/* --- prompt cleaning --- */

static const struct {
    const char *text, *clean;
} prompts[] = {
    { "", "" },
    { "a red circle", "a red circle" },
    /* white space */
    { " \t a  red\n\ncircle \r\n", "a red circle" },
    { "a\u00A0b\u2003c\u3000d\u2028e\u1680f\fg\xC2\x85h", "a b c d e f g h" },
    { " \u3000 ", "" },
    { "a\u200Bb", "a\u200Bb" },
    /* characters */
    { "\u2018a\u2019 \u201Cb\u201D \u201Ec\u201F \u02BC", "'a' \"b\" \"c\" '" },
    { "\uFF21\uFF42\uFF0C\uFF11\uFF5E", "Ab,1~" },
    { "\uFF61\uFF71\uFFE5\uFFE3", "\u3002\u30A2\u00A5 \u0304" },
    { "\uFFC8\uFFEF", "\uFFC8\uFFEF" },
    { "\uFB01sh \uFB04 \uFB05 \u0133 \u01C4 \u0149", "fish ffl \u017Ft ij D\u017D 'n" },
    { "a\001b\x7F" "c\x0B" "d\uFEFFe\u206Af\xC2\x80g\uFFF9", "abcdefg" },
    { "\x1B[1;31mred\x1B[0m \x1B[x\x1B[12", "red [12" },
    { "\u00AB\u00E9\u00BB \U0001F600 \u4E2D", "\u00AB\u00E9\u00BB \U0001F600 \u4E2D" },
    /* references */
    { "&lt;b&gt; &amp; &quot;", "<b> & \"" },
    { "&amp;lt;", "<" },
    { "&amp;amp;amp;lt;", "&lt;" },
    { "<&amp;amp;lt;", "<&lt;" },
    { "<&amp;lt;", "<<" },
    { "&eacute;&nbsp;&hellip;", "\u00E9 \u2026" },
    { "&ldquo;x&rdquo;", "\"x\"" },
    { "<&ldquo;", "<\u201C" },
    { "&amp &ampx &notit; &notin; &copy=1", "& &x \u00ACit; \u2209 \u00A9=1" },
    { "&nGt; &CounterClockwiseContourIntegral;", "\u226B\u20D2 \u2233" },
    { "&#65;&#x42;&#X43;&#68 &#0069;", "ABCD E" },
    { "&#128;&#x9f; &#0; &#xD800; &#x110000; &#99999999999999999999;",
      "\u20AC\u0178 \uFFFD \uFFFD \uFFFD \uFFFD" },
    { "a&#1;b&#x7f;c&#xFFFE;d&#xFDD0;e&#13;f", "abcde f" },
    { "& && &; &# &#; &#x; &#xg; &x; &Amp; &nosuch;",
      "& && &; &# &#; &#x; &#xg; &x; &Amp; &nosuch;" },
    { "&ngtr &zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz;",
      "&ngtr &zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz;" },
    { "trailing &", "trailing &" },
};

START_TEST(test_clean)
{
    char *got = lv_prompt_clean(prompts[_i].text, &catcher);

    expect_silence(prompts[_i].text);
    ck_assert_ptr_nonnull(got);
    ck_assert_str_eq(got, prompts[_i].clean);
    free(got);
}
END_TEST

START_TEST(test_clean_invalid)
{
    ck_assert_ptr_null(lv_prompt_clean("abc\xFF", &catcher));
    expect_error("stray byte", "not valid UTF-8", "byte 3 of 4");
    ck_assert_ptr_null(lv_prompt_clean("\xED\xA0\x80", &catcher));
    expect_error("surrogate", "not valid UTF-8", "byte 0 of 3");
    ck_assert_ptr_null(lv_prompt_clean("ab\xE2\x82", &catcher));
    expect_error("cut off", "not valid UTF-8", "byte 2 of 4");
}
END_TEST

/* --- tokenizer --- */

static LvTokenizer *tokenizer;
static LvMap spm;

static void open_tokenizer(void)
{
    ck_assert_int_eq(lv_map_open(&spm, SPM_FILE, &catcher), 0);
    ck_assert_int_eq(lv_tokenizer_open(&tokenizer, spm.data, spm.size, &catcher), 0);
    expect_silence("good tokenizer");
}

static void close_tokenizer(void)
{
    lv_tokenizer_close(&tokenizer);
    ck_assert_ptr_null(tokenizer);
    lv_tokenizer_close(&tokenizer);
    lv_map_close(&spm);
}

/* Ids as sentencepiece's own Python package gave them, and </s>. */
static const struct {
    const char *text;
    int n;
    int32_t ids[16];
} cut[] = {
    { "a large red circle moving left on a blue gradient background", 12,
      { 3, 16, 25, 8, 19, 17, 20, 3, 6, 13, 4, 1 } },
    { "white snow falling on a black background", 8, { 41, 30, 11, 20, 3, 5, 4, 1 } },
    { "a small green star spinning on a pink background", 10,
      { 3, 29, 14, 35, 32, 20, 3, 22, 4, 1 } },
    { "", 1, { 1 } },
    { " \n ", 1, { 1 } },
    { "\uFF41  Small\u3000GREEN&#32;star", 5, { 3, 29, 14, 35, 1 } },
};

static int encode(const char *text, int32_t *ids, int max)
{
    return lv_tokenizer_encode(tokenizer, text, ids, max, &catcher);
}

START_TEST(test_encode)
{
    int32_t ids[64];

    ck_assert_int_eq(lv_tokenizer_size(tokenizer), 370);
    for (int i = 0; i < LV_COUNT(cut); i++) {
        int n = encode(cut[i].text, ids, 64);

        expect_silence(cut[i].text);
        ck_assert_int_eq(n, cut[i].n);
        for (int k = 0; k < n; k++)
            ck_assert_msg(ids[k] == cut[i].ids[k], "\"%s\": id %d is %d, expected %d",
                          cut[i].text, k, ids[k], cut[i].ids[k]);
        /* Just enough room. */
        ck_assert_int_eq(encode(cut[i].text, ids, n), n);
    }
}
END_TEST

/* An unknown character becomes its bytes: four of them, and the space before. */
START_TEST(test_encode_bytes)
{
    int32_t ids[64];
    int n = encode("\U0001F600", ids, 64);

    ck_assert_int_ge(n, 6);
    for (int i = 0; i < n; i++)
        ck_assert(ids[i] >= 0 && ids[i] < lv_tokenizer_size(tokenizer));
    ck_assert_int_eq(ids[n - 1], 1);
    ck_assert_int_eq(ids[n - 2] - ids[n - 3], 0x80 - 0x98);
    ck_assert_int_eq(ids[n - 5] - ids[n - 4], 0xF0 - 0x9F);
}
END_TEST

START_TEST(test_encode_errors)
{
    char *big = malloc(70001);
    int32_t ids[64];

    ck_assert_ptr_nonnull(big);
    memset(big, 'a', 70000);
    big[70000] = 0;
    ck_assert_int_eq(encode(cut[0].text, ids, 11), -EINVAL);
    expect_error("over-long", "12 tokens", "takes 11");
    ck_assert_int_eq(encode("", ids, 0), -EINVAL);
    expect_error("no room", "1 tokens", "takes 0");
    ck_assert_int_eq(encode("a\xFFz", ids, 64), -EINVAL);
    expect_error("invalid", "UTF-8", "byte 1 of 3");
    ck_assert_int_eq(encode(big, ids, 64), -EINVAL);
    expect_error("huge", "70000 bytes", "at most 65536");
    free(big);
}
END_TEST

/* A small model, field by field. */
typedef struct Model {
    uint8_t data[4096];
    size_t n;
} Model;

static void put_varint(Model *m, uint64_t v)
{
    for (; v > 127; v >>= 7)
        m->data[m->n++] = (uint8_t)(v | 128);
    m->data[m->n++] = (uint8_t)v;
}

static void put_bytes(Model *m, int field, const void *data, size_t n)
{
    put_varint(m, (uint64_t)field << 3 | 2);
    put_varint(m, n);
    memcpy(m->data + m->n, data, n);
    m->n += n;
}

static void put_number(Model *m, int field, uint64_t v)
{
    put_varint(m, (uint64_t)field << 3);
    put_varint(m, v);
}

static void put_piece(Model *m, const char *text, size_t n, float score, int type)
{
    Model piece = { .n = 0 };

    put_bytes(&piece, 1, text, n);
    put_varint(&piece, 2 << 3 | 5);
    memcpy(piece.data + piece.n, &score, 4);
    piece.n += 4;
    put_number(&piece, 3, (uint64_t)type);
    put_bytes(m, 1, piece.data, piece.n);
}

static void put_settings(Model *m, int part, int field, uint64_t v)
{
    Model settings = { .n = 0 };

    put_number(&settings, field, v);
    put_bytes(m, part, settings.data, settings.n);
}

/* A character map of 256 units; unit[i] of those given replace empty ones. */
static void put_map(Model *m, const uint32_t (*unit)[2], int n, const char *texts,
                    size_t size)
{
    Model map = { .n = 4 + 1024 }, part = { .n = 0 };

    map.data[1] = 4;
    for (int i = 0; i < n; i++)
        memcpy(map.data + 4 + 4 * unit[i][0], &unit[i][1], 4);
    memcpy(map.data + map.n, texts, size);
    put_bytes(&part, 2, map.data, map.n + size);
    put_bytes(m, 3, part.data, part.n);
}

static void start_model(Model *m)
{
    m->n = 0;
    put_piece(m, "<unk>", 5, 0, 2);
    put_piece(m, "</s>", 4, 0, 3);
    put_piece(m, "a", 1, -1, 1);
    put_piece(m, "b", 1, -1.5f, 1);
}

/* Label and offset (in units of 1) of a trie unit; end: a rule ends there. */
static uint32_t trie_unit(uint32_t label, uint32_t offset, uint32_t end)
{
    return label | end << 8 | offset << 10;
}

START_TEST(test_small_model)
{
    static const int32_t want[] = { 2, 2, 0, 3, 1 };
    /* Root at 0 with offset 1: 'x' leads to 1 ^ 'x', whose rule is at 1 ^ 'x' ^ 2. */
    const uint32_t unit[][2] = { { 0, trie_unit(0, 1, 0) },
                                 { 1 ^ 'x', trie_unit('x', 2, 1) },
                                 { 1 ^ 'x' ^ 2, 0x80000002 } };
    LvTokenizer *t;
    int32_t ids[8];
    Model m;

    start_model(&m);
    put_settings(&m, 3, 3, 0);
    put_map(&m, unit, 3, "z\0aa\0", 5);
    ck_assert_int_eq(lv_tokenizer_open(&t, m.data, m.n, &catcher), 0);
    ck_assert_int_eq(lv_tokenizer_size(t), 4);
    ck_assert_int_eq(lv_tokenizer_encode(t, "xqb", ids, 8, &catcher), 5);
    ck_assert_int_eq(memcmp(ids, want, sizeof(want)), 0);
    lv_tokenizer_close(&t);
    expect_silence("small model");
}
END_TEST

/* What makes the small model unreadable. */
static void spoil(Model *m, int kind)
{
    const uint32_t outside[][2] = { { 0, trie_unit(0, 1000, 0) } };
    const uint32_t far_outside[][2] = { { 0, 0x200 | 0x7FFFFC00 } };
    const uint32_t no_text[][2] = { { 0, trie_unit(0, 1, 0) },
                                    { 1 ^ 'x', trie_unit('x', 2, 1) },
                                    { 1 ^ 'x' ^ 2, 0x80000007 } };
    /* 'x' leads from 'x' to 'x', and each time a rule ends. */
    const uint32_t circle[][2] = { { 0, trie_unit(0, 'x' ^ 'y', 0) },
                                   { 'y', trie_unit('x', 'x', 1) } };
    static char text[2000];

    memset(text, 'x', sizeof(text));
    switch (kind) {
    case 0: m->n = 0; break;
    case 1: put_piece(m, "<unk2>", 6, 0, 2); break;
    case 2: put_piece(m, "a", 1, 0, 1); break;
    case 3: put_piece(m, "", 0, 0, 1); break;
    case 4: put_piece(m, "c\0d", 3, 0, 1); break;
    case 5: put_piece(m, "\xFF", 1, 0, 1); break;
    case 6: put_piece(m, text, 1025, 0, 1); break;
    case 7: put_piece(m, text, 65, 0, 4); break;
    case 8: put_piece(m, "c", 1, NAN, 1); break;
    case 9: put_piece(m, "c", 1, INFINITY, 1); break;
    case 10: put_piece(m, "c", 1, 0, 7); break;
    case 11: put_settings(m, 2, 3, 2); break;
    case 12: put_settings(m, 2, 35, 1); break;
    case 13: put_piece(m, "<0x41>", 6, 0, 6); break;
    case 14: put_varint(m, 1 << 3 | 2); put_varint(m, UINT64_MAX); break;
    case 15: put_varint(m, 1 << 3 | 3); break;
    case 16: put_varint(m, 1 << 3 | 2); put_varint(m, 4000000000); break;
    case 17: put_bytes(m, 1, "\x0A\x05" "a", 3); break;
    case 18: put_bytes(m, 3, "\x12\x03\0\4\0", 5); break;
    case 19: put_bytes(m, 3, "\x12\x06\xFF\xFF\xFF\xFFxx", 8); break;
    case 20: put_map(m, outside, 1, "z", 2); break;
    case 21: put_map(m, far_outside, 1, "z", 2); break;
    case 22: put_map(m, no_text, 3, "z", 2); break;
    case 23: put_map(m, no_text, 3, text, 8); break;
    case 24: put_map(m, circle, 2, text, 2); m->data[m->n - 1] = 0; break;
    case 25: memset(m->data, 0x80, 12); break;
    case 26: put_bytes(m, 2, "\xFF", 1); break;
    case 27: m->data[m->n++] = 0x0A; break;
    case 28: text[399] = 0; put_map(m, no_text, 3, text, 400); break;
    }
}

static const char *const spoiled[] = {
    "0 bytes", "2 unknown pieces, expected 1", "a is already defined",
    "piece 4 () is empty", "piece 4 (c\\x00d) is not UTF-8",
    "piece 4 (\\xFF) is not UTF-8",
    "too long", "too long", "piece 4 (c) has no finite score",
    "piece 4 (c) has no finite score", "piece 4 (c) has an unknown type",
    "not a unigram model", "256 byte pieces", "byte piece <0x41> is found",
    "cut off", "cut off", "cut off", "broken record of a piece",
    "character map: cut off", "character map: trie of 4294967295 bytes in 6",
    "character map leads outside", "character map leads outside",
    "character map has a rule whose text is missing",
    "character map has a rule whose text is missing",
    "character map has too many rules", "cut off", "broken settings", "cut off",
    "character map has a rule whose text is missing",
};

/* Run body with what it writes to the standard error caught; bytes of it. */
static off_t stderr_bytes(void (*body)(int), int arg)
{
    int saved = dup(2), fd = open(in_dir("stderr"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    off_t n;

    ck_assert(saved >= 0 && fd >= 0);
    fflush(stderr);
    dup2(fd, 2);
    body(arg);
    fflush(stderr);
    dup2(saved, 2);
    close(saved);
    n = lseek(fd, 0, SEEK_END);
    close(fd);
    return n;
}

static void open_spoiled(int kind)
{
    LvTokenizer *t;
    Model m;

    start_model(&m);
    spoil(&m, kind);
    ck_assert_int_eq(lv_tokenizer_open(&t, m.data, m.n, &catcher), LV_ERR_MODEL);
    ck_assert_ptr_null(t);
}

START_TEST(test_unreadable)
{
    ck_assert_int_eq(stderr_bytes(open_spoiled, _i), 0);
    expect_error("unreadable", "tokenizer: ", spoiled[_i]);
}
END_TEST

/* Missing pieces, and parts of the file that are not used. */
START_TEST(test_model_parts)
{
    LvTokenizer *t;
    Model m = { .n = 0 };

    put_piece(&m, "<unk>", 5, 0, 2);
    put_piece(&m, "a", 1, -1, 1);
    ck_assert_int_eq(lv_tokenizer_open(&t, m.data, m.n, &catcher), LV_ERR_MODEL);
    expect_error("no end", "tokenizer: ", "no control piece </s>");
    m.n = 0;
    put_piece(&m, "</s>", 4, 0, 3);
    put_piece(&m, "a", 1, -1, 1);
    ck_assert_int_eq(lv_tokenizer_open(&t, m.data, m.n, &catcher), LV_ERR_MODEL);
    expect_error("no unknown", "tokenizer: ", "0 unknown pieces, expected 1");
    m.n = 0;
    put_piece(&m, "</s>", 4, 0, 3);
    put_piece(&m, "<unk>", 5, 0, 2);
    ck_assert_int_eq(lv_tokenizer_open(&t, m.data, m.n, &catcher), LV_ERR_MODEL);
    expect_error("no pieces", "tokenizer: ", "no pieces are loaded");
    start_model(&m);
    put_bytes(&m, 4, "\x0A\x06\x0A\x01" "a\x12\x01" "b", 8);
    put_bytes(&m, 200, "extension", 9);
    ck_assert_int_eq(lv_tokenizer_open(&t, m.data, m.n, &catcher), 0);
    lv_tokenizer_close(&t);
    expect_silence("a failing self-test inside");
}
END_TEST

static void open_damaged(int arg)
{
    uint8_t *p = malloc(spm.size);
    uint32_t word[4], key[2] = { 7, 0 };
    int32_t ids[64];

    ck_assert_ptr_nonnull(p);
    for (int i = 0; i < arg; i++) {
        const uint32_t ctr[4] = { (uint32_t)i };
        size_t size = spm.size;
        LvTokenizer *t;
        int ret;

        lv_philox(word, ctr, key);
        memcpy(p, spm.data, size);
        if (i % 3 == 0)
            size = word[0] % size;
        else if (i % 3 == 1)
            memset(p + word[1] % size, (int)word[2], size - word[1] % size);
        else
            p[word[0] % size] ^= (uint8_t)(1 + word[1] % 255);
        ret = lv_tokenizer_open(&t, p, size, &catcher);
        ck_assert(ret == LV_ERR_MODEL ? !t && caught.count == 1 : !ret && !caught.count);
        memset(&caught, 0, sizeof(caught));
        if (!ret)
            lv_tokenizer_encode(t, cut[0].text, ids, 64, NULL);
        lv_tokenizer_close(&t);
    }
    free(p);
}

/* Cut, overwritten or with a byte changed: opened or refused, never more. */
START_TEST(test_damaged)
{
    ck_assert_int_eq(stderr_bytes(open_damaged, 90), 0);
}
END_TEST

/* --- the suite --- */

static TCase *add_case(Suite *suite, const char *name)
{
    TCase *tc = tcase_create(name);

    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, make_dir, remove_dir);
    suite_add_tcase(suite, tc);
    return tc;
}

static void add_common(Suite *suite)
{
    TCase *tc = add_case(suite, "common");

    tcase_add_test(tc, test_dtypes);
    tcase_add_test(tc, test_f16);
    tcase_add_test(tc, test_f16_rounding);
    tcase_add_test(tc, test_bf16);
    tcase_add_test(tc, test_bf16_rounding);
    tcase_add_test(tc, test_to_f32);
    tcase_add_test(tc, test_alloc);
    tcase_add_test(tc, test_msg);
    tcase_add_test(tc, test_utf8);
    tcase_add_test(tc, test_text);
    tcase_add_test(tc, test_map);
    tcase_add_test(tc, test_map_errors);
    tcase_add_test(tc, test_map_late);
    tcase_add_loop_test(tc, test_map_changed, 0, 4);
    tcase_add_test(tc, test_map_failing);
    tcase_add_test(tc, test_map_replaced);
}

static void add_philox(Suite *suite)
{
    TCase *tc = add_case(suite, "philox");

    tcase_add_test(tc, test_philox_known);
    tcase_add_test(tc, test_normal_moments);
    tcase_add_test(tc, test_normal_definition);
    tcase_add_test(tc, test_normal_bits);
}

static void add_safetensors(Suite *suite)
{
    TCase *tc = add_case(suite, "safetensors");

    tcase_add_test(tc, test_safetensors_good);
    tcase_add_test(tc, test_safetensors_bare);
    tcase_add_loop_test(tc, test_safetensors_hostile, 0, LV_COUNT(hostile));
    tcase_add_test(tc, test_safetensors_nul);
    tcase_add_test(tc, test_safetensors_length);
    tcase_add_loop_test(tc, test_safetensors_amplified, 0, LV_COUNT(amplified));
    tcase_add_test(tc, test_safetensors_truncated);
    tcase_add_test(tc, test_safetensors_open_errors);
    tcase_add_test(tc, test_write);
    tcase_add_test(tc, test_write_again);
    tcase_add_test(tc, test_write_errors);
}

static void add_tokenizer(Suite *suite)
{
    TCase *tc = add_case(suite, "tokenizer");

    tcase_add_loop_test(tc, test_clean, 0, LV_COUNT(prompts));
    tcase_add_test(tc, test_clean_invalid);
    tcase_add_test(tc, test_small_model);
    tcase_add_loop_test(tc, test_unreadable, 0, LV_COUNT(spoiled));
    tcase_add_test(tc, test_model_parts);
    tc = add_case(suite, "tokenizer file");
    tcase_add_checked_fixture(tc, open_tokenizer, close_tokenizer);
    tcase_add_test(tc, test_encode);
    tcase_add_test(tc, test_encode_bytes);
    tcase_add_test(tc, test_encode_errors);
    tcase_add_test(tc, test_damaged);
}

/* --- hashes --- */

/* Published values of XXH64, and some of xxhsum's. */
static const struct {
    const char *text, *line;
} no_json[] = {
    { "", "expected an object or a list, got its end" },
    { "not", "expected an object or a list, got 'not'" },
    { "[3", "expected a comma or ], got its end" },
    { "[1 2]", "expected a comma or ], got '2'" },
    { "{", "expected a name in quotes or }, got its end" },
    { "{'a':1}", "expected a name in quotes or }, got '''" },
    { "{\"a\" 1}", "expected a colon, got '1'" },
    { "{\"a\":1 2}", "expected a comma or }, got '2'" },
    { "{\"a\":1,\"a\":1}", "expected each name once, got '\"a\"'" },
    { "[1] 2", "expected one value and nothing behind it, got '2'" },
    { "[nul]", "expected a value, got 'nul'" },
    { "[,]", "expected a value, got ','" },
    { "[a_value_that_is_longer_than_a_line]", "expected a value, got 'a'" },
    { "[\"a", "expected a quote at the end of a string, got '\"a'" },
    { "[\"a\n\"]", "expected a quote at the end of a string, got '\"a'" },
    { "[\"\x01\"]", "expected a string without control characters, got byte 0x1" },
    { "[\"\\q\"]", "expected one of \"\\/bfnrtu behind \\, got '\"\\q'" },
    { "[\"\\ud800\"]", "expected a Unicode character, got '\"\\ud800\"'" },
    { "[\"\\u0000\"]", "expected a string without NUL, got '\"\\u0000\"'" },
    { "{\"\\u0000\":1}", "expected a name without NUL, got '\"\\u0000\"'" },
    { "[\"\xC0\xAF\"]", "expected UTF-8, got byte 0xc0" },
    { "[99999999999999999999]", "expected an integer of 64 bits, got '99999999999999999999'" },
    { "[1e999]", "expected a number of double precision, got '1e999'" },
};

START_TEST(test_json_expected)
{
    char shown[LV_SHOW_SIZE];
    json_error_t error;

    ck_assert_ptr_null(json_loads(no_json[_i].text, JSON_REJECT_DUPLICATES, &error));
    ck_assert_str_eq(lv_json_expected(shown, &error), no_json[_i].line);
}
END_TEST

static const struct {
    const char *text;
    uint64_t seed, hash;
} hashes[] = {
    { "", 0, 0xEF46DB3751D8E999u }, { "a", 0, 0xD24EC4F1A98C6E5Bu },
    { "abc", 0, 0x44BC2CF5AD770999u }, { "xxhash", 0, 0x32DD38952C4BC720u },
    { "xxhash", 20141025, 0xB559B98D844E0635u },
    { "Nobody inspects the spammish repetition", 0, 0xFBCEA83C8A378BF1u },
};

START_TEST(test_hashes)
{
    char moved[64];

    ck_assert_uint_eq(lv_hash_text(hashes[_i].seed, hashes[_i].text), hashes[_i].hash);
    strcpy(moved + 1, hashes[_i].text); /* unaligned */
    ck_assert_uint_eq(lv_hash_text(hashes[_i].seed, moved + 1), hashes[_i].hash);
}
END_TEST

/* Any of 200 bits changes the hash, and so does the length. */
START_TEST(test_hash_bits)
{
    uint8_t data[100] = { 0 };

    for (size_t n = 0; n < sizeof(data); n++) {
        uint64_t h = lv_hash(0, data, n);
        ck_assert_uint_ne(h, lv_hash(0, data, n + 1));
        ck_assert_uint_ne(h, lv_hash(1, data, n));
        for (size_t i = 0; i < 8 * n; i++) {
            data[i / 8] ^= (uint8_t)(1 << i % 8);
            ck_assert_uint_ne(h, lv_hash(0, data, n));
            data[i / 8] ^= (uint8_t)(1 << i % 8);
        }
    }
}
END_TEST

/* --- numbers that are not finite --- */

static const struct {
    LvDtype dtype, as;
    uint32_t bits;
    int is_bad;
} odd[] = {
    { LV_F32, LV_F32, 0x7F800000, 1 }, { LV_F32, LV_F32, 0xFF800000, 1 },
    { LV_F32, LV_F32, 0x7FC00000, 1 }, { LV_F32, LV_F32, 0xFFFFFFFF, 1 },
    { LV_F32, LV_F32, 0x7F7FFFFF, 0 }, { LV_F32, LV_F32, 0xFF7FFFFF, 0 },
    { LV_F32, LV_BF16, 0x7F7FFFFF, 1 }, { LV_F32, LV_BF16, 0x7F7F7FFF, 0 },
    { LV_F32, LV_F32, 1, 0 }, { LV_F16, LV_F32, 0x7C00, 1 }, { LV_F16, LV_F32, 0xFE00, 1 },
    { LV_F16, LV_F32, 0x7BFF, 0 }, { LV_BF16, LV_F32, 0x7F80, 1 },
    { LV_BF16, LV_BF16, 0xFFC0, 1 }, { LV_BF16, LV_BF16, 0x7F7F, 0 },
    { LV_F8_E4M3, LV_BF16, 0x7F, 1 }, { LV_F8_E4M3, LV_F32, 0xFF, 1 },
    { LV_F8_E4M3, LV_F32, 0x7E, 0 }, { LV_F8_E4M3, LV_F32, 0xFE, 0 },
};

START_TEST(test_find_nonfinite)
{
    static const size_t places[] = { 0, 1, 4095, 4096, 5000, 9999 };
    size_t size = lv_dtype_size(odd[_i].dtype), n = 10000;
    uint8_t *data = calloc(n + 1, size), *p = data + 1; /* unaligned */

    ck_assert_uint_eq(lv_find_nonfinite(p, odd[_i].dtype, odd[_i].as, n), n);
    for (int i = 0; i < LV_COUNT(places); i++) {
        memcpy(p + places[i] * size, &odd[_i].bits, size);
        ck_assert_uint_eq(lv_find_nonfinite(p, odd[_i].dtype, odd[_i].as, n),
                          odd[_i].is_bad ? places[i] : n);
        memset(p + places[i] * size, 0, size);
    }
    ck_assert_uint_eq(lv_find_nonfinite(p, odd[_i].dtype, odd[_i].as, 0), 0);
    free(data);
}
END_TEST

static void add_numbers(Suite *suite)
{
    TCase *tc = add_case(suite, "numbers");

    tcase_add_loop_test(tc, test_json_expected, 0, LV_COUNT(no_json));
    tcase_add_loop_test(tc, test_hashes, 0, LV_COUNT(hashes));
    tcase_add_test(tc, test_hash_bits);
    tcase_add_loop_test(tc, test_find_nonfinite, 0, LV_COUNT(odd));
}

int main(void)
{
    Suite *suite = suite_create("base");
    SRunner *runner = srunner_create(suite);
    int failed;

    add_common(suite);
    add_philox(suite);
    add_safetensors(suite);
    add_tokenizer(suite);
    add_numbers(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
