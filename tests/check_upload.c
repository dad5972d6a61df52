/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Tests of weights on their way to another device: the same bytes with any number of
 * threads and any memory, reads that are short, that fail, files that change meanwhile.
 * pread() and aligned_alloc() of the library are those below.
 */

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/device.h"
#include "base/half.h"
#include "base/quant.h"
#include "base/ring.h"
#include "base/source.h"
#include "loras_add.h"
#include "model/weights.h"

/* --- messages --- */

static char line[2048];
static int lines;

static void catch_line(void *opaque, int level, const char *text)
{
    (void)opaque, (void)level;
    snprintf(line, sizeof(line), "%s", text);
    lines++;
}

static const LvMsg catcher = { catch_line, NULL, LV_MSG_WARNING };

/* --- calls of the library --- */

static struct {
    size_t most;        /* bytes that a read gives; 0: all */
    off_t bad, bad_end; /* reads of these bytes fail; bad_end 0: none */
    int change_at;      /* the read of this number is preceded by a change of the file */
    const char *change; /* path; cut where size is not 0 */
    off_t size;
    size_t most_ring;   /* bytes that the ring gets at most */
} play;

static atomic_int reads;

ssize_t __real_pread(int fd, void *dst, size_t size, off_t at);
ssize_t __wrap_pread(int fd, void *dst, size_t size, off_t at);
void *__real_aligned_alloc(size_t align, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);

static void change_file(void)
{
    const struct timespec times[2] = { { 1000, 0 }, { 1000, 0 } };

    if (play.size)
        ck_assert_int_eq(truncate(play.change, play.size), 0);
    else
        ck_assert_int_eq(utimensat(AT_FDCWD, play.change, times, 0), 0);
}

ssize_t __wrap_pread(int fd, void *dst, size_t size, off_t at)
{
    int n = atomic_fetch_add(&reads, 1) + 1;

    if (n == play.change_at)
        change_file();
    if (play.bad_end && at < play.bad_end && at + (off_t)size > play.bad) {
        errno = EIO;
        return -1;
    }
    if (play.most && n % 5 == 0) {
        errno = EINTR;
        return -1;
    }
    return __real_pread(fd, dst, play.most ? LV_MIN(size, play.most) : size, at);
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
    return align > 4096 && size > play.most_ring ? NULL : __real_aligned_alloc(align, size);
}

/* --- a device that is not the host, whose copies come as late as may be --- */

static LvDeviceFns other;
static struct { void *dst; const void *src; size_t bytes; } late[LV_SENDS];
static atomic_int sends, meets; /* from two threads */
static int pins, pieces;

static void come(int n)
{
    if (late[n].dst)
        memcpy(late[n].dst, late[n].src, late[n].bytes);
    late[n].dst = NULL;
}

static int other_send(LvDevice *dev, int n, void *dst, const void *src, size_t bytes,
                      const LvMsg *msg)
{
    (void)dev, (void)msg;
    ck_assert(n >= 0 && n < LV_SENDS && !late[n].dst && meets);
    late[n].dst   = dst;
    late[n].src   = src;
    late[n].bytes = bytes;
    sends++;
    return 0;
}

static int other_sent(LvDevice *dev, int n, const LvMsg *msg)
{
    (void)dev, (void)msg;
    come(n);
    return 0;
}

static int other_meet(LvDevice *dev)
{
    (void)dev;
    meets++;
    return 0;
}

static void other_settle(LvDevice *dev)
{
    (void)dev;
    for (int i = 0; i < LV_SENDS; i++)
        come(i);
}

static void other_pin(LvDevice *dev, void *p, size_t bytes)
{
    (void)dev, (void)p, (void)bytes;
    pins++;
}

static void other_unpin(LvDevice *dev, void *p)
{
    (void)dev, (void)p;
    pins--;
}

static void *other_alloc(LvDevice *dev, size_t bytes)
{
    (void)dev;
    pieces++;
    return calloc(1, bytes);
}

static void other_free(LvDevice *dev, void *p)
{
    (void)dev;
    pieces -= p != NULL;
    free(p);
}

static const LvPinFns pin_fns = { other_pin, other_unpin };
static const LvCopyFns copies = {
    .send = other_send, .sent = other_sent, .meet = other_meet, .settle = other_settle,
};

/* late: copies beside the work; else it only uploads. */
static LvDevice *open_other(int beside)
{
    LvDevice *dev;

    ck_assert_int_eq(lv_device_open(&dev, "null", NULL, &catcher), 0);
    other       = *dev->fn;
    other.alloc = other_alloc;
    other.free  = other_free;
    if (beside) {
        other.copies = &copies;
        other.pins   = &pin_fns;
    }
    dev->fn   = &other;
    dev->host = 0;
    sends = meets = 0;
    pins  = pieces = 0;
    memset(late, 0, sizeof(late));
    return dev;
}

/* --- files --- */

static char folder[64];

static const char *path_of(const char *name)
{
    static char path[2][128];
    static int i;

    i = !i;
    snprintf(path[i], sizeof(path[i]), "%s/%s", folder, name);
    return path[i];
}

/* More than the ring holds; rows that do not divide a slot; vectors. */
enum { F32, BF16, F16, FP8, TURBO, BIAS, SMALL, NB };

static const struct {
    const char *name;
    LvDtype dtype;
    int rows, cols;       /* cols 0: a vector */
    LvDtype in_gguf;
    unsigned flags;
} tensors[NB] = {
    [F32]   = { "a.weight", LV_F32, 600, 1024, LV_F32, LV_W_MATRIX },
    [BF16]  = { "b.weight", LV_BF16, 901, 1000, LV_BF16, LV_W_MATRIX },
    [F16]   = { "c.weight", LV_F16, 333, 96, LV_Q8_0, LV_W_MATRIX },
    [FP8]   = { "d.weight", LV_F8_E4M3, 411, 768, LV_Q4_K, LV_W_MATRIX },
    [TURBO] = { "e.weight", LV_I8, 301, 1600, LV_Q8_0, LV_W_MATRIX },
    [BIAS]  = { "f.bias", LV_BF16, 777, 0, LV_F32, 0 },
    [SMALL] = { "g.bias", LV_F32, 1, 0, LV_F32, 0 },
};

typedef struct Bound {
    LvTensor t[NB];
} Bound;

static void row_of(LvWeightRow *row, int i)
{
    *row = (LvWeightRow) { .name = tensors[i].name, .flags = tensors[i].flags,
                           .offset = (size_t)i * sizeof(LvTensor),
                           .dim = { tensors[i].rows, tensors[i].cols } };
}

static float value(size_t i)
{
    return (float)((i * 2654435761u >> 7) % 2001) / 500 - 2;
}

static size_t numel(int i)
{
    return (size_t)tensors[i].rows * (size_t)LV_MAX(tensors[i].cols, 1);
}

static void *stored(LvDtype dtype, size_t n)
{
    size_t block = lv_dtype_block(dtype), bytes = 0;
    uint8_t *data;
    float *x = malloc(n * sizeof(*x));

    ck_assert_int_eq(lv_dtype_bytes(&bytes, dtype, n), 0);
    data = malloc(bytes);
    for (size_t i = 0; i < n; i++)
        x[i] = value(i);
    for (size_t i = 0; i < n && block == 1; i++) {
        uint16_t half = dtype == LV_F16 ? lv_f32_f16(x[i]) : lv_f32_bf16(x[i]);
        uint8_t small = (uint8_t)(i % 0x7E | i % 2 << 7);

        if (dtype == LV_F32)
            memcpy(data + 4 * i, &x[i], 4);
        else if (lv_dtype_size(dtype) == 2)
            memcpy(data + 2 * i, &half, 2);
        else
            data[i] = small;
    }
    if (block > 1)
        ck_assert_int_eq(lv_block_encode(data, x, dtype, n), 0);
    free(x);
    return data;
}

static LvFileTensor file_tensor(const char *name, LvDtype dtype, int rows, int cols,
                                const void *data)
{
    LvFileTensor t = { .name = name, .dtype = dtype, .rank = cols ? 2 : 1,
                       .dim = { rows, cols }, .data = data };

    t.numel = (size_t)rows * (size_t)LV_MAX(cols, 1);
    ck_assert_int_eq(lv_dtype_bytes(&t.size, dtype, t.numel), 0);
    return t;
}

static void write_safetensors(void)
{
    enum { TURBO_ROWS = (301 + 127) / 128, TURBO_COLS = (1600 + 127) / 128 };
    static float scales[411], blocks[TURBO_ROWS * TURBO_COLS];
    LvFileTensor t[NB + 2];

    for (int i = 0; i < NB; i++)
        t[i] = file_tensor(tensors[i].name, tensors[i].dtype, tensors[i].rows,
                           tensors[i].cols, stored(tensors[i].dtype, numel(i)));
    t[TURBO].name = "e.int8_weight";
    for (int i = 0; i < 411; i++)
        scales[i] = 0.01f + (float)(i % 17);
    for (int i = 0; i < LV_COUNT(blocks); i++)
        blocks[i] = 0.5f + (float)(i % 13);
    t[NB]     = file_tensor("d.weight_scale", LV_F32, 411, 0, scales);
    t[NB + 1] = file_tensor("e.scale", LV_F32, TURBO_ROWS, TURBO_COLS, blocks);
    ck_assert_int_eq(lv_safetensors_write(path_of("w.safetensors"), t, NB + 2, NULL, &catcher),
                     0);
    for (int i = 0; i < NB; i++)
        free((void *)(uintptr_t)t[i].data);
}

static void write_gguf(void)
{
    LvFileTensor t[NB];

    for (int i = 0; i < NB; i++)
        t[i] = file_tensor(tensors[i].name, tensors[i].in_gguf, tensors[i].rows,
                           tensors[i].cols, stored(tensors[i].in_gguf, numel(i)));
    ck_assert_int_eq(lv_gguf_write(path_of("w.gguf"), "wan", t, NB, NULL, &catcher), 0);
    for (int i = 0; i < NB; i++)
        free((void *)(uintptr_t)t[i].data);
}

static void start(void)
{
    strcpy(folder, "/tmp/lv_upload_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    write_safetensors();
    write_gguf();
}

static void end(void)
{
    static const char *const files[] = { "w.safetensors", "w.gguf", "b.gguf",
                                         "lora.safetensors" };

    for (int i = 0; i < LV_COUNT(files); i++)
        unlink(path_of(files[i]));
    rmdir(folder);
}

static void set_up(void)
{
    memset(&play, 0, sizeof(play));
    play.most_ring = 1 << 20; /* less than the tensors */
    atomic_store(&reads, 0);
    lines = 0;
}

/* --- loading --- */

typedef struct Load {
    const char *file;
    LvDtype wide;
    int threads;  /* 1: this process may use one core */
    int beside;   /* the device copies beside the work */
    int own;      /* the weights' own upload, else one of the caller with a room */
    size_t room;
    LvUploadAsk ask;
} Load;

static int bind(LvWeights *w, Bound *b)
{
    LvWeightRow rows[NB];

    for (int i = 0; i < NB; i++)
        row_of(&rows[i], i);
    return lv_weights_bind(w, rows, NB, "", 0, NULL, b);
}

/* Data as the host decodes them, one after the other. */
static void expect_of(const Load *l, uint8_t *data[NB], Bound *b)
{
    LvSource *src;
    LvDevice *dev;
    LvWeights *w;

    ck_assert_int_eq(lv_device_open(&dev, "null", NULL, &catcher), 0);
    ck_assert_int_eq(lv_source_open(&src, path_of(l->file), &catcher), 0);
    ck_assert_int_eq(lv_weights_new_from(&w, &(LvWeightsFrom) { .src = src, .wide = l->wide },
                                         dev, &catcher), 0);
    ck_assert_int_eq(bind(w, b), 0);
    for (int i = 0; i < NB; i++) {
        size_t bytes = lv_tensor_bytes(&b->t[i]);
        data[i] = memcpy(malloc(bytes), b->t[i].data, bytes);
    }
    lv_weights_free(&w);
    lv_source_close(&src);
    lv_device_close(&dev);
}

static void one_core(int on, cpu_set_t *had)
{
    cpu_set_t one;

    if (!on)
        return;
    ck_assert_int_eq(sched_getaffinity(0, sizeof(*had), had), 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && !CPU_COUNT(&one); i++)
        if (CPU_ISSET(i, had))
            CPU_SET(i, &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof(one), &one), 0);
}

/* want: NULL when it is to fail. @return its code */
static int load(const Load *l, uint8_t *want[NB], const Bound *shape)
{
    LvWeightsFrom from = { .wide = l->wide, .place.room_bytes = l->room };
    LvSource *src;
    LvDevice *dev = open_other(l->beside);
    LvWeights *w;
    cpu_set_t had;
    Bound b;
    int ret;

    ck_assert_int_eq(lv_source_open(&src, path_of(l->file), &catcher), 0);
    from.src  = src;
    from.place.room = l->room ? lv_device_try_alloc(dev, l->room) : NULL;
    one_core(l->threads == 1, &had);
    if (!l->own)
        ck_assert_int_eq(lv_upload_new(&from.place.upload, dev, l->ask, NULL, &catcher), 0);
    ck_assert_int_eq(lv_weights_new_from(&w, &from, dev, &catcher), 0);
    ret = bind(w, &b);
    if (!l->own && ret >= 0)
        ret = lv_upload_run(from.place.upload, lv_upload_mark(from.place.upload));
    lv_upload_free(&from.place.upload);
    if (l->threads == 1)
        ck_assert_int_eq(sched_setaffinity(0, sizeof(had), &had), 0);
    for (int i = 0; i < NB && want && ret >= 0; i++) {
        ck_assert_uint_eq(lv_tensor_bytes(&b.t[i]), lv_tensor_bytes(&shape->t[i]));
        ck_assert_msg(!memcmp(b.t[i].data, want[i], lv_tensor_bytes(&b.t[i])), "%s differs",
                      tensors[i].name);
    }
    for (int i = 0; i < LV_SENDS; i++)
        ck_assert_msg(!late[i].dst, "a copy is on its way");
    lv_weights_free(&w);
    other_free(dev, from.place.room);
    lv_source_close(&src);
    lv_device_close(&dev);
    ck_assert_int_eq(pins, 0);
    ck_assert_int_eq(pieces, 0);
    return ret;
}

static const Load loads[] = {
    { "w.safetensors", LV_BF16, 0, 1, 0, 0, NULL },
    { "w.safetensors", LV_BF16, 1, 1, 0, 1 << 19, NULL },
    { "w.safetensors", LV_F32, 0, 1, 0, 20 << 20, NULL },
    { "w.safetensors", LV_F32, 0, 0, 0, 0, NULL },
    { "w.safetensors", LV_BF16, 0, 1, 1, 0, NULL },
    { "w.gguf", LV_BF16, 0, 1, 0, 20 << 20, NULL },
    { "w.gguf", LV_F32, 1, 1, 1, 0, NULL },
    { "w.gguf", LV_F32, 0, 0, 1, 0, NULL },
};

static void same(const Load *l)
{
    uint8_t *want[NB];
    Bound shape;

    expect_of(l, want, &shape);
    ck_assert_int_eq(load(l, want, &shape), 0);
    ck_assert_int_eq(lines, 0);
    for (int i = 0; i < NB; i++)
        free(want[i]);
}

START_TEST(same_bytes)
{
    same(&loads[_i]);
    if (loads[_i].beside)
        ck_assert_int_gt(sends, 2 * LV_SENDS - 8);
}
END_TEST

START_TEST(short_reads)
{
    play.most = 50001;
    same(&loads[_i]);
}
END_TEST

/* Memory for the ring: less of it, down to slots that hold no row of some tensors. */
static const size_t rooms[] = { 32 << 20, 31 << 20, 300000, 70000 };

START_TEST(little_memory)
{
    uint8_t *want[NB];
    Bound shape;
    Load l = loads[0];

    for (int i = 0; i < 2; i++) {
        l.file = i ? "w.gguf" : "w.safetensors";
        expect_of(&l, want, &shape);
        play.most_ring = rooms[_i];
        ck_assert_int_eq(load(&l, want, &shape), 0);
        for (int k = 0; k < NB; k++)
            free(want[k]);
    }
}
END_TEST

START_TEST(no_memory)
{
    play.most_ring = 4096;
    ck_assert_int_eq(load(&loads[_i], NULL, NULL), LV_ERR(ENOMEM));
    ck_assert_int_eq(lines, 1);
    ck_assert_msg(strstr(line, "no memory") != NULL, "%s", line);
}
END_TEST

/* --- what fails --- */

/* Where a tensor lies in the file. */
static off_t place_of(const char *file, const char *name)
{
    LvSource *src;
    const LvFileTensor *t;
    const uint8_t *last = NULL;
    struct stat st;
    off_t at;

    ck_assert_int_eq(stat(path_of(file), &st), 0);
    ck_assert_int_eq(lv_source_open(&src, path_of(file), &catcher), 0);
    for (int i = 0; i < lv_source_count(src); i++) {
        t    = lv_source_at(src, i);
        last = LV_MAX(last, (const uint8_t *)t->data + t->size);
    }
    t  = lv_source_find(src, name);
    at = st.st_size - (off_t)(last - (const uint8_t *)t->data);
    lv_source_close(&src);
    return at;
}

static void poke(const char *file, off_t at, uint32_t bits, size_t size, uint32_t *had)
{
    FILE *f = fopen(path_of(file), "r+");

    ck_assert(f && !fseeko(f, at, SEEK_SET) && fread(had, 1, size, f) == size &&
              !fseeko(f, at, SEEK_SET) && fwrite(&bits, 1, size, f) == size);
    ck_assert_int_eq(fclose(f), 0);
}

/* Of several that fail the first in order is named, whichever thread is first. */
static void fails(Load l, int code, const char *part)
{
    for (int i = 0; i < 8; i++) {
        l.threads = i % 4 == 3;
        lines     = 0;
        ck_assert_int_eq(load(&l, NULL, NULL), code);
        ck_assert_msg(lines == 1 && strstr(line, part), "%d: %s; expected %s", lines, line,
                      part);
    }
}

START_TEST(not_finite)
{
    off_t at = place_of("w.safetensors", "a.weight") + 4 * (500 * 1024 + 3);
    off_t too = place_of("w.safetensors", "b.weight") + 2 * 7, bias;
    uint32_t had, had_too, had_bias;

    bias = place_of("w.safetensors", "f.bias") + 2 * 776;
    poke("w.safetensors", bias, 0x7FC0, 2, &had_bias);
    fails(loads[_i], LV_ERR_MODEL, "f.bias: element 776 is not finite");
    poke("w.safetensors", too, 0x7FC0, 2, &had_too);
    fails(loads[_i], LV_ERR_MODEL, "b.weight: row 0 holds a value that is not finite");
    poke("w.safetensors", at, 0x7FC00000, 4, &had);
    fails(loads[_i], LV_ERR_MODEL, "a.weight: row 500 holds a value that is not finite");
    poke("w.safetensors", at, had, 4, &had);
    poke("w.safetensors", too, had_too, 2, &had_too);
    poke("w.safetensors", bias, had_bias, 2, &had_bias);
}
END_TEST

START_TEST(cannot_be_read)
{
    off_t at = place_of("w.safetensors", "b.weight");

    play.bad     = at + 1000000;
    play.bad_end = at + 1000001;
    fails(loads[_i], LV_ERR(EIO), "cannot be read at byte");
    ck_assert(strstr(line, "w.safetensors"));
}
END_TEST

START_TEST(changes)
{
    struct stat st;
    static char path[128];

    snprintf(path, sizeof(path), "%s", path_of("w.safetensors"));
    ck_assert_int_eq(stat(path, &st), 0);
    play.change    = path;
    play.change_at = 30;
    ck_assert_int_eq(load(&loads[_i], NULL, NULL), LV_ERR(ESTALE));
    ck_assert_msg(lines == 1 && strstr(line, "changed since it was opened"), "%s", line);
    lines          = 0;
    play.change_at = atomic_load(&reads) + 40;
    play.size      = st.st_size - 4096;
    ck_assert_int_eq(load(&loads[_i], NULL, NULL), LV_ERR(ESTALE));
    ck_assert_msg(lines == 1 && strstr(line, "changed since it was opened, expected"), "%s",
                  line);
    play.change_at = 0;
    write_safetensors();
}
END_TEST

static int asked, cancel_at;

static int stop(void *opaque)
{
    (void)opaque;
    return ++asked == cancel_at ? LV_ERR_CANCELLED : 0;
}

START_TEST(cancelled)
{
    Load l = loads[_i];

    asked     = 0;
    cancel_at = l.beside ? 1 : 5; /* copies beside the work may be through at once */
    l.ask     = stop;
    ck_assert_int_eq(load(&l, NULL, NULL), LV_ERR_CANCELLED);
    ck_assert_int_eq(lines, 0);
    ck_assert_int_eq(asked, cancel_at);
}
END_TEST

/* --- LoRAs --- */

static void write_values(const char *file, LvFileTensor *t, int nb)
{
    for (int i = 0; i < nb; i++)
        t[i].data = stored(t[i].dtype, t[i].numel);
    if (strstr(file, ".gguf"))
        ck_assert_int_eq(lv_gguf_write(path_of(file), "wan", t, nb, NULL, &catcher), 0);
    else
        ck_assert_int_eq(lv_safetensors_write(path_of(file), t, nb, NULL, &catcher), 0);
    for (int i = 0; i < nb; i++)
        free((void *)(uintptr_t)t[i].data);
}

enum { FULL, FACTORS, BY_COLUMN }; /* the last: factors, and magnitudes of columns */

/* A tensor of a file and a row that it is bound to, whose rows may be others. */
static const struct {
    LvDtype dtype;
    int rows, cols;       /* cols 0: a vector */
    int dim[3];
    int lora;
} changed[] = {
    { LV_F32, 96, 0, { 96 }, FULL },
    { LV_F32, 96, 0, { 96 }, FACTORS },
    { LV_Q8_0, 96, 0, { 96 }, FULL },
    { LV_Q8_0, 96, 0, { 96 }, FACTORS },
    { LV_F32, 96, 0, { 1, 96 }, FACTORS },
    { LV_Q8_0, 96, 0, { 1, 96 }, FACTORS },
    { LV_Q8_0, 6, 64, { 6, 64 }, BY_COLUMN },
    { LV_Q8_0, 6, 64, { 1, 6, 64 }, BY_COLUMN },
    { LV_F32, 70, 64, { 1, 70, 64 }, BY_COLUMN },
};

static LvFileTensor write_changed(int i, LvWeightRow *row)
{
    LvFileTensor t = file_tensor("n.weight", changed[i].dtype, changed[i].rows, changed[i].cols,
                                 NULL), lora[3];
    int cols = LV_MAX(changed[i].cols, 1), kind = changed[i].lora;

    *row = (LvWeightRow) { .name = "n.weight" };
    memcpy(row->dim, changed[i].dim, sizeof(changed[i].dim));
    write_values("b.gguf", &t, 1);
    lora[0] = file_tensor("n.diff", LV_F32, changed[i].rows, changed[i].cols, NULL);
    if (kind != FULL) {
        lora[0] = file_tensor("n.lora_A.weight", LV_F32, 2, cols, NULL);
        lora[1] = file_tensor("n.lora_B.weight", LV_F32, changed[i].rows, 2, NULL);
        lora[2] = file_tensor("n.dora_scale", LV_F32, 1, cols, NULL);
    }
    write_values("lora.safetensors", lora, 1 + kind);
    return t;
}

static void bind_changed(const LvWeightRow *row, LvLoras *loras, float *x, size_t n)
{
    LvWeightsFrom from = { .wide = LV_F32, .loras = loras };
    LvSource *src;
    LvDevice *dev;
    LvWeights *w;
    LvTensor t;

    ck_assert_int_eq(lv_device_open(&dev, "null", NULL, &catcher), 0);
    ck_assert_int_eq(lv_source_open(&src, path_of("b.gguf"), &catcher), 0);
    from.src = src;
    ck_assert_int_eq(lv_weights_new_from(&w, &from, dev, &catcher), 0);
    ck_assert_int_eq(lv_weights_bind(w, row, 1, "", 0, NULL, &t), 0);
    ck_assert_uint_eq(lv_tensor_bytes(&t), n * sizeof(*x));
    memcpy(x, t.data, n * sizeof(*x));
    lv_weights_free(&w);
    lv_source_close(&src);
    lv_device_close(&dev);
}

static void open_lora(LvLoras **l)
{
    const LvLoraFile file = { .path = path_of("lora.safetensors"), .weight = 0.5f, .strict = 1 };

    ck_assert_int_eq(lv_loras_open(l, &file, 1, &catcher), 0);
}

/* A LoRA changes all elements, whichever rows the tensor is read by. */
START_TEST(lora_of_all)
{
    LvWeightRow row;
    LvFileTensor t = write_changed(_i, &row);
    size_t n = t.numel;
    float *want = malloc(n * sizeof(*want)), *got = malloc(n * sizeof(*got));
    LvLoras *l;

    open_lora(&l);
    bind_changed(&row, NULL, want, n);
    ck_assert_int_eq(loras_add(l, &row, 0, want, &t, &catcher), 0);
    bind_changed(&row, l, got, n);
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(got[i] == want[i], "element %zu: %g, expected %g", i, (double)got[i],
                      (double)want[i]);
    lv_loras_close(&l);
    free(want);
    free(got);
}
END_TEST

/* --- what all rows need fails --- */

enum { FEW = 8 }; /* rows of a read */

typedef struct Shared {
    LvSource *src;
    LvLoras *loras;
    LvDevice *dev;
    LvWeights *w;
    LvTensor t;
} Shared;

/* Tensor F32, with magnitudes of columns: each row needs all. */
static void open_shared(Shared *s, LvDevice *dev)
{
    LvWeightsFrom from = { .wide = LV_F32, .described = 1 };
    LvFileTensor lora[] = { file_tensor("a.lora_A.weight", LV_F32, 2, 1024, NULL),
                            file_tensor("a.lora_B.weight", LV_F32, 600, 2, NULL),
                            file_tensor("a.dora_scale", LV_F32, 1, 1024, NULL) };
    LvWeightRow row;

    row_of(&row, F32);
    write_values("lora.safetensors", lora, LV_COUNT(lora));
    open_lora(&s->loras);
    s->dev     = dev;
    from.loras = s->loras;
    ck_assert_int_eq(lv_source_open(&s->src, path_of("w.safetensors"), &catcher), 0);
    from.src = s->src;
    ck_assert_int_eq(lv_weights_new_from(&s->w, &from, s->dev, &catcher), 0);
    ck_assert_int_eq(lv_weights_bind(s->w, &row, 1, "", 0, NULL, &s->t), 0);
    atomic_store(&reads, 0);
}

static void close_shared(Shared *s)
{
    lv_weights_free(&s->w);
    lv_loras_close(&s->loras);
    lv_source_close(&s->src);
    lv_device_close(&s->dev);
}

/* It is tried once, not by every read; the message comes once, and it may be tried again. */
START_TEST(fails_once)
{
    off_t at = place_of("w.safetensors", "a.weight") + 4 * (500 * 1024 + 3);
    LvTensor half;
    LvDevice *dev;
    Shared s;
    float *x = malloc(FEW * 1024 * sizeof(*x));

    ck_assert_int_eq(lv_device_open(&dev, "null", NULL, &catcher), 0);
    dev->packs = 1;
    open_shared(&s, dev);
    ck_assert_int_eq(lv_weights_slice(&half, s.w, s.t, 300, 300), 0);
    play.bad     = at;
    play.bad_end = at + 1;
    ck_assert_int_eq(s.t.w->read(s.t.w, 0, FEW, x, NULL), LV_ERR(EIO));
    ck_assert_int_gt(atomic_exchange(&reads, 0), 0);
    for (size_t i = 1; i < 9; i++)
        ck_assert_int_eq(half.w->read(half.w, FEW * i, FEW, x, NULL), LV_ERR(EIO));
    ck_assert_msg(!atomic_load(&reads), "tried again by every read");
    ck_assert_int_eq(lines, 0);
    play.bad_end = 0;
    ck_assert_int_eq(lv_weight_check(&half, &catcher), LV_ERR(EIO));
    ck_assert_msg(lines == 1 && strstr(line, "cannot be read"), "%d: %s", lines, line);
    ck_assert_int_eq(lv_weight_check(&half, &catcher), 0);
    ck_assert_int_eq(half.w->read(half.w, 0, FEW, x, &catcher), 0);
    close_shared(&s);
    free(x);
}
END_TEST

/* The first part in order says it, whichever thread came first. */
START_TEST(fails_of_all)
{
    off_t at = place_of("w.safetensors", "a.weight") + 4 * (500 * 1024 + 3);
    uint32_t had;
    Shared s;
    int once;

    poke("w.safetensors", at, 0x7FC00000, 4, &had);
    for (int i = 0; i < 4; i++) {
        lines = 0;
        open_shared(&s, open_other(i % 2));
        ck_assert_int_eq(lv_weights_load(s.w, &(LvWeightsPlace) { 0 }), LV_ERR_MODEL);
        ck_assert_msg(lines == 1 && strstr(line, "a.weight: row 500"), "%d: %s", lines, line);
        once = atomic_exchange(&reads, 0);
        ck_assert_int_eq(lv_weights_load(s.w, &(LvWeightsPlace) { 0 }), LV_ERR_MODEL);
        ck_assert_int_eq(lines, 2);
        ck_assert_msg(atomic_load(&reads) == once, "%d reads, then %d", once,
                      atomic_load(&reads));
        close_shared(&s);
    }
    poke("w.safetensors", at, had, 4, &had);
}
END_TEST

/* --- places --- */

/* Each load has a room of its own; what is bound later has nothing of it. */
START_TEST(load_again)
{
    enum { ROOM = 8 << 20 };
    LvWeightsFrom from = { .wide = LV_F32, .described = 1 };
    LvDevice *dev = open_other(1);
    LvWeightsPlace place = { .room_bytes = ROOM };
    char *room[2], *data;
    LvWeightRow rows[2];
    LvWeights *w;
    LvTensor t[NB], later;
    LvSource *src;

    row_of(&rows[0], F32);
    row_of(&rows[1], BIAS);
    rows[1].offset = 0;
    ck_assert_int_eq(lv_source_open(&src, path_of("w.safetensors"), &catcher), 0);
    from.src = src;
    ck_assert_int_eq(lv_weights_new_from(&w, &from, dev, &catcher), 0);
    ck_assert_int_eq(lv_weights_bind(w, &rows[0], 1, "", 0, NULL, t), 0);
    for (int i = 0; i < 2; i++) {
        place.room = room[i] = lv_device_try_alloc(dev, ROOM - i * (5 << 20));
        place.room_bytes = (size_t)(ROOM - i * (5 << 20));
        ck_assert_int_eq(lv_upload_new(&place.upload, dev, NULL, NULL, &catcher), 0);
        ck_assert_int_eq(lv_weights_load(w, &place), 0);
        ck_assert_ptr_eq(t[0].w->data, room[i]);
        ck_assert_int_eq(lv_upload_run(place.upload, lv_upload_mark(place.upload)), 0);
        lv_upload_free(&place.upload);
    }
    ck_assert_int_eq(lv_weights_bind(w, &rows[1], 1, "", 0, NULL, &later), 0);
    data = later.data;
    ck_assert(data < room[1] || data >= room[1] + place.room_bytes);
    ck_assert(((float *)later.data)[776] == lv_bf16_f32(lv_f32_bf16(value(776))));
    lv_weights_free(&w);
    for (int i = 0; i < 2; i++)
        other_free(dev, room[i]);
    lv_source_close(&src);
    lv_device_close(&dev);
    ck_assert_int_eq(pieces, 0);
}
END_TEST

/* --- the ring alone --- */

enum { JOBS = 500, SLOT = 64 };

static int fill(const LvRingJob *job, void *slot, const LvMsg *msg)
{
    for (size_t i = 0; i < job->bytes; i++)
        ((uint8_t *)slot)[i] = (uint8_t)(job->at + i);
    if (job->at % 7 == 3)
        sched_yield();
    return !job->what || job->at < *(const size_t *)job->what ? 0 :
           lv_fail(msg, LV_ERR(EDOM), "job %zu", job->at);
}

static int take_all(LvRing *r, int slots)
{
    int taken = 0, held = 0, ret;
    LvRingJob job;
    void *data;

    while ((ret = lv_ring_take(r, held < slots || !(taken % 3), &job, &data)) > 0 || held) {
        if (ret < 0)
            return ret;
        if (ret > 0) {
            ck_assert_uint_eq(job.at, (size_t)taken);
            ck_assert(((uint8_t *)data)[0] == (uint8_t)taken);
            taken++;
            held++;
        }
        if (held == slots || !ret) {
            lv_ring_give(r);
            held--;
        }
    }
    ck_assert(ret < 0 || taken == JOBS);
    return ret;
}

START_TEST(ring)
{
    static uint8_t memory[8 * SLOT];
    int threads = _i % 4 * 2, slots = _i / 4 ? 8 : 1;
    size_t bad = JOBS / 2;
    LvRing *r;

    for (int round = 0; round < 2; round++) {
        LvRingJob job = { .fill = fill, .what = round ? &bad : NULL, .bytes = SLOT };
        ck_assert_int_eq(lv_ring_new(&r, threads, memory, SLOT, slots, &catcher), 0);
        for (job.at = 0; job.at < JOBS; job.at++)
            ck_assert_int_eq(lv_ring_add(r, &job), 0);
        ck_assert_int_eq(take_all(r, slots), round ? LV_ERR(EDOM) : 0);
        lv_ring_free(&r);
    }
    ck_assert_int_eq(lines, 1);
    ck_assert_str_eq(line, "job 250");
}
END_TEST

/* Jobs that nobody takes. */
START_TEST(left)
{
    static uint8_t memory[4 * SLOT];
    LvRingJob job = { .fill = fill, .bytes = SLOT };
    LvRing *r = NULL;

    lv_ring_free(&r);
    ck_assert_int_eq(lv_ring_new(&r, 3, memory, SLOT, 4, &catcher), 0);
    for (int i = 0; i < 100; i++)
        lv_ring_add(r, &job);
    lv_ring_free(&r);
    ck_assert_ptr_null(r);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("upload");
    TCase *tc = tcase_create("weights"), *alone = tcase_create("ring");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tc, 120);
    tcase_add_unchecked_fixture(tc, start, end);
    tcase_add_checked_fixture(tc, set_up, NULL);
    tcase_add_checked_fixture(alone, set_up, NULL);
    tcase_add_loop_test(tc, same_bytes, 0, LV_COUNT(loads));
    tcase_add_loop_test(tc, short_reads, 0, LV_COUNT(loads));
    tcase_add_loop_test(tc, little_memory, 0, LV_COUNT(rooms));
    tcase_add_loop_test(tc, no_memory, 0, 2);
    tcase_add_loop_test(tc, not_finite, 0, 5);
    tcase_add_loop_test(tc, cannot_be_read, 0, 5);
    tcase_add_loop_test(tc, changes, 0, 5);
    tcase_add_loop_test(tc, cancelled, 0, 4);
    tcase_add_loop_test(tc, lora_of_all, 0, LV_COUNT(changed));
    tcase_add_test(tc, fails_once);
    tcase_add_test(tc, fails_of_all);
    tcase_add_test(tc, load_again);
    tcase_add_loop_test(alone, ring, 0, 8);
    tcase_add_test(alone, left);
    suite_add_tcase(suite, tc);
    suite_add_tcase(suite, alone);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
