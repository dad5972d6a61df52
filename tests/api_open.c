/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Opening: where models are found, what is refused and in which words.
 */

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/safetensors.h"
#include "tests/api_kit.h"

#define CONFIG "linvideo.config"

/* Finding models */

START_TEST(missing_by_name)
{
    static const char *const own[] = {
        "no model 'nosuch'", "nosuch.safetensors and .json in /one:/two:/data/linvideo:",
        "LINVIDEO_MODEL_PATH", NULL
    };
    static const char *const home[] = { " in /home/me/.local/share/linvideo:/", NULL };
    Watch w;
    LinvideoParams p = kit_params(&w);

    p.model = "nosuch";
    setenv("LINVIDEO_MODEL_PATH", "/one:/two", 1);
    setenv("XDG_DATA_HOME", "/data", 1);
    kit_refused(&p, &w, -ENOENT, own);
    unsetenv("LINVIDEO_MODEL_PATH");
    unsetenv("XDG_DATA_HOME");
    setenv("HOME", "/home/me", 1);
    kit_refused(&p, &w, -ENOENT, home);
}
END_TEST

static void opens(const LinvideoParams *p, const char *name, const char *path)
{
    LinvideoContext *c = kit_open(p);
    LinvideoInfo info;

    linvideo_info(c, &info);
    ck_assert_str_eq(info.model, name);
    ck_assert_str_eq(info.model_path, path);
    linvideo_close(&c);
    ck_assert_ptr_null(c);
}

static void link_model(const char *path)
{
    char *real = realpath(kit_model(), NULL);

    ck_assert_ptr_nonnull(real);
    ck_assert_int_eq(symlink(real, path), 0);
    free(real);
}

START_TEST(found_by_name)
{
    Watch w;
    LinvideoParams p = kit_params(&w);
    char folders[600];

    link_model(kit_path("found.one.safetensors"));
    snprintf(folders, sizeof(folders), "/nosuch::%s:", kit_folder());
    setenv("LINVIDEO_MODEL_PATH", folders, 1);
    p.model = "found.one";
    opens(&p, "found.one", kit_path("found.one.safetensors"));
    unsetenv("LINVIDEO_MODEL_PATH");
    p.model = kit_path("found.one.safetensors");
    opens(&p, "found.one", p.model);
    unlink(p.model);
}
END_TEST

START_TEST(found_in_data_folder)
{
    Watch w;
    LinvideoParams p = kit_params(&w);

    unsetenv("LINVIDEO_MODEL_PATH");
    setenv("XDG_DATA_HOME", kit_folder(), 1);
    mkdir(kit_path("linvideo"), 0777);
    link_model(kit_path("linvideo/motion.safetensors"));
    opens(&p, "motion", kit_path("linvideo/motion.safetensors"));
    p.model = "";
    opens(&p, "motion", kit_path("linvideo/motion.safetensors"));
    unlink(kit_path("linvideo/motion.safetensors"));
    rmdir(kit_path("linvideo"));
}
END_TEST

START_TEST(path_too_long)
{
    static const char *const parts[] = { "path too long", NULL };
    Watch w;
    LinvideoParams p = kit_params(&w);
    char path[5000];

    memset(path, 'm', sizeof(path));
    path[0] = '/';
    path[sizeof(path) - 1] = 0;
    p.model = path;
    kit_refused(&p, &w, -ENAMETOOLONG, parts);
}
END_TEST

/* Files that are no bundle */

static void refused_file(const char *path, int code, const char *part)
{
    const char *const parts[] = { path, part, NULL };
    Watch w;
    LinvideoParams p = kit_params(&w);

    p.model = path;
    kit_refused(&p, &w, code, parts);
}

START_TEST(no_file)
{
    refused_file("/nosuch/folder/model", -ENOENT, "No such file");
    refused_file("nosuch.safetensors", -ENOENT, "No such file");
    refused_file(kit_folder(), -EINVAL, "not a regular file");
    refused_file("/dev/null", -EINVAL, "not a regular file");
}
END_TEST

static void refused_bytes(const void *data, size_t size, const char *part)
{
    const char *path = kit_path("bytes");

    kit_write(path, data, size);
    refused_file(path, LINVIDEO_ERR_MODEL, part);
    unlink(path);
}

START_TEST(truncated)
{
    size_t size, head = 0;
    char *data = kit_read(kit_model(), &size);

    for (int i = 7; i >= 0; i--)
        head = head << 8 | (uint8_t)data[i];
    refused_bytes(data, 0, ": an empty file; download it again");
    refused_bytes(data, 7, ": 7 bytes, a header takes at least 8");
    refused_bytes(data, 8, "bytes, the file has 0 left");
    refused_bytes(data, 8 + head / 2, "bytes, the file has");
    refused_bytes(data, 8 + head, "bytes, got");
    refused_bytes(data, size / 2, "cut off: expected ");
    refused_bytes(data, size - 1, "cut off: expected ");
    free(data);
}
END_TEST

START_TEST(other_files)
{
    static const char text[] = "This is a text and no model, however long one reads.";
    static const char bare[] = "\x02\0\0\0\0\0\0\0{}";
    static const char junk[] = "\x02\0\0\0\0\0\0\0[]";

    refused_bytes(text, sizeof(text) - 1, "not a safetensors or GGUF file");
    refused_bytes(bare, sizeof(bare) - 1, "not a linvideo bundle");
    refused_bytes(junk, sizeof(junk) - 1, "header");
}
END_TEST

/* Bundles that differ in one thing */

typedef enum Change {
    KEEP,
    DROP,   ///< the tensor
    ADD,    ///< a tensor of this name
    TYPE,   ///< f32 becomes i32
    SHAPE,  ///< first and last dimension change places
    FLAT,   ///< all dimensions become one
    SPOIL,  ///< its bytes become junk
    CUT,    ///< its second half is lost
    BARE,   ///< no configuration
    BROKEN, ///< the configuration loses its end
} Change;

static const struct {
    Change change;
    const char *tensor;       ///< to be changed
    const char *section, *key, *json; ///< value to be set; json NULL: removed
    const char *part[KIT_PARTS];
} variants[] = {
    { DROP, "dit.head.head.weight", 0, 0, 0, { "dit.head.head.weight is missing" } },
    { DROP, "text.norm.weight", 0, 0, 0, { "text.norm.weight is missing" } },
    { DROP, "vae.decoder.3.conv.2.bias", 0, 0, 0, { "vae.decoder.3.conv.2.bias is missing" } },
    { DROP, "dit.blocks.3.norm3.bias", 0, 0, 0, { "dit.blocks.3.norm3.bias is missing" } },
    { ADD, "dit.blocks.99.norm3.bias", 0, 0, 0,
      { "1 tensor the model does not know", "dit.blocks.99.norm3.bias" } },
    { ADD, "text.more", 0, 0, 0, { "1 tensor the model does not know", "text.more" } },
    { ADD, "other", 0, 0, 0, { "1 tensor the model does not know", "other" } },
    { TYPE, "dit.head.modulation", 0, 0, 0,
      { "dit.head.modulation: file has type I32, expected F32, BF16 or F16" } },
    { TYPE, "text.norm.weight", 0, 0, 0, { "text.norm.weight: file has type I32" } },
    { SHAPE, "dit.patch_embedding.weight", 0, 0, 0,
      { "dit.patch_embedding.weight: file has [2,16,1,2,192]",
        "expected [192,16,1,2,2]" } },
    { FLAT, "dit.head.modulation", 0, 0, 0,
      { "dit.head.modulation: file has [384]", "expected [1,2,192]" } },
    { DROP, "tokenizer.spm", 0, 0, 0, { "tokenizer.spm is missing" } },
    { SPOIL, "tokenizer.spm", 0, 0, 0, { "tokenizer" } },
    { CUT, "tokenizer.spm", 0, 0, 0, { "tokenizer" } },
    { BARE, 0, 0, 0, 0, { "not a linvideo bundle", "'" CONFIG "'" } },
    { BROKEN, 0, 0, 0, 0, { CONFIG ": line 1: " } },
    { KEEP, 0, "dit", "num_heads", NULL, { CONFIG ": dit.num_heads is missing" } },
    { KEEP, 0, "video", "width", NULL, { "video.width is missing" } },
    { KEEP, 0, "sampler", "solver", NULL, { "sampler.solver is missing" } },
    { KEEP, 0, "dit", "dim", "1000000",
      { "dit.dim is 1e+06, allowed is 2 to 65536" } },
    { KEEP, 0, "dit", "num_layers", "0", { "dit.num_layers is 0, allowed is 1 to" } },
    { KEEP, 0, "dit", "num_layers", "9.5", { "dit.num_layers is not an integer" } },
    { KEEP, 0, "dit", "eps", "\"x\"", { "dit.eps is not a number" } },
    { KEEP, 0, "dit", "eps", "-1", { "dit.eps is -1, allowed" } },
    { KEEP, 0, "video", "width", "8", { "video.width is 8, allowed is 16 to 8192" } },
    { KEEP, 0, "video", "frames", "2000", { "video.frames is 2000, allowed is 1 to 1021" } },
    { KEEP, 0, "sampler", "guidance", "0.5", { "sampler.guidance is 0.5, allowed" } },
    { KEEP, 0, "sampler", "solver", "\"heun\"", { "unknown sampler 'heun'" } },
    { KEEP, 0, "sampler", "solver", "\"a name of many letters\"",
      { "sampler.solver is not a short name" } },
    { KEEP, 0, "dit", "patch", "[1, 2]", { "dit.patch is not a list of 3 numbers" } },
    { KEEP, 0, "dit", "patch", "[1, 2, 17]", { "dit.patch holds a number outside" } },
    { KEEP, 0, "dit", "attention", "[\"softmax\"]", { "does not have one name for each layer" } },
    { KEEP, 0, "vae", "latent_mean", "[0]", { "not have one number for each latent channel" } },
    { KEEP, 0, "dit", "in_channels", "8",
      { "dit.in_channels differs from vae.latent_channels" } },
    { KEEP, 0, "text", "dim", "64", { "dit.text_dim differs from text.dim" } },
    { KEEP, 0, "dit", "num_heads", "5", { "dit.num_heads does not divide dim" } },
    { KEEP, 0, "text", "num_heads", "3", { "text.num_heads does not divide dim_attn" } },
    { KEEP, 0, "text", "num_buckets", "30", { "text.num_buckets does not fit" } },
    { KEEP, 0, "dit", "ffn_dim", "512",
      { "dit.blocks.0.ffn.0.weight: file has [768,192], expected [512,192]" } },
    { KEEP, 0, "text", "vocab", "300", { "tokenizer.spm has 648 pieces", " 300 rows" } },
    { KEEP, 0, "text", "vocab", "800",
      { "text.token_embedding.weight: file has [768,128], expected [800,128]" } },
};

/* All tensors of the model, and room for one more. Returns their number. */
static int all_tensors(const LvSafetensors *st, LvFileTensor **out)
{
    int n = lv_safetensors_count(st);

    *out = calloc((size_t)n + 1, sizeof(**out));
    ck_assert_ptr_nonnull(*out);
    for (int i = 0; i < n; i++)
        (*out)[i] = *lv_safetensors_at(st, i);
    return n;
}

static void change_tensor(LvFileTensor *t, Change change)
{
    static uint8_t junk[1 << 20];
    int64_t first = t->dim[0];

    switch (change) {
    case TYPE:
        ck_assert_int_eq(t->dtype, LV_F32);
        t->dtype = LV_I32;
        break;
    case SHAPE:
        t->dim[0] = t->dim[t->rank - 1];
        t->dim[t->rank - 1] = first;
        break;
    case FLAT:
        t->dim[0] = (int64_t)t->numel;
        t->rank   = 1;
        break;
    case SPOIL:
        ck_assert_uint_le(t->size, sizeof(junk));
        memset(junk, 0xA5, sizeof(junk));
        t->data = junk;
        break;
    case CUT:
        t->size  /= 2;
        t->dim[0] = (int64_t)t->size;
        break;
    default:
        break;
    }
}

/* Returns the number of tensors that are left. */
static int change_list(LvFileTensor *list, int n, Change change, const char *name)
{
    static const float one = 1;
    int i = 0;

    if (change == ADD) {
        list[n] = (LvFileTensor) { .name = name, .dtype = LV_F32, .rank = 1,
                                   .dim = { 1 }, .numel = 1, .data = &one, .size = 4 };
        return n + 1;
    }
    while (name && i < n && strcmp(list[i].name, name))
        i++;
    ck_assert_msg(!name || i < n, "the model has no %s", name);
    if (name)
        change_tensor(&list[i], change);
    if (change != DROP)
        return n;
    list[i] = list[n - 1];
    return n - 1;
}

/* The configuration with one value changed; to be freed. */
static char *change_config(const char *text, int i)
{
    json_t *root = json_loads(text, 0, NULL);
    json_t *section = json_object_get(root, variants[i].section);
    char *out;

    ck_assert_ptr_nonnull(root);
    if (variants[i].key && !variants[i].json)
        ck_assert_int_eq(json_object_del(section, variants[i].key), 0);
    else if (variants[i].key)
        ck_assert_int_eq(json_object_set_new(section, variants[i].key,
            json_loads(variants[i].json, JSON_DECODE_ANY, NULL)), 0);
    out = json_dumps(root, 0);
    if (variants[i].change == BROKEN)
        out[strlen(out) - 1] = 0;
    json_decref(root);
    return out;
}

static void write_variant(const char *path, int i)
{
    LvSafetensors *st;
    LvFileTensor *list;
    int n;

    ck_assert_int_eq(lv_safetensors_open(&st, kit_model(), NULL), 0);
    n = all_tensors(st, &list);
    n = change_list(list, n, variants[i].change, variants[i].tensor);
    {
        char *text = change_config(lv_safetensors_meta(st, CONFIG), i);
        const char *const meta[] = { CONFIG, text, NULL };
        int bare = variants[i].change == BARE;

        ck_assert_int_eq(lv_safetensors_write(path, list, n, bare ? NULL : meta, NULL), 0);
        free(text);
    }
    free(list);
    lv_safetensors_close(&st);
}

START_TEST(variant)
{
    const char *path = kit_path("variant.safetensors");
    Watch w;
    LinvideoParams p = kit_params(&w);

    write_variant(path, _i);
    p.model = path;
    kit_refused(&p, &w, LINVIDEO_ERR_MODEL, variants[_i].part);
    unlink(path);
}
END_TEST

/* A bundle written without a change opens, so that it is the change that counts. */
START_TEST(same_bundle)
{
    const char *path = kit_path("same.safetensors");
    Watch w;
    LinvideoParams p = kit_params(&w);
    LvSafetensors *st;
    LvFileTensor *list;
    int n;

    ck_assert_int_eq(lv_safetensors_open(&st, kit_model(), NULL), 0);
    n = all_tensors(st, &list);
    {
        const char *const meta[] = { CONFIG, lv_safetensors_meta(st, CONFIG), NULL };
        ck_assert_int_eq(lv_safetensors_write(path, list, n, meta, NULL), 0);
    }
    free(list);
    lv_safetensors_close(&st);
    p.model = path;
    opens(&p, "same", path);
    unlink(path);
}
END_TEST

/* Prompts */

static void fill(char *text, size_t size, const char *word)
{
    size_t n = strlen(word);

    for (size_t i = 0; i + 1 < size; i++)
        text[i] = word[i % n];
    text[size - 1] = 0;
}

static const struct {
    const char *prompt, *file, *negative;
    const char *part;
} prompts[] = {
    { NULL, NULL, NULL, "no prompt; give prompt or prompt_file" },
    { NULL, "", NULL, "no prompt" },
    { "a circle", "some", NULL, "both prompt and prompt_file are given" },
    { "", NULL, NULL, "the prompt is empty" },
    { " \t\r\n ", NULL, NULL, "the prompt is empty" },
    { "a \xC3 circle", NULL, NULL, "not valid UTF-8 at byte 2 of 10" },
    { "\xED\xA0\x80", NULL, NULL, "not valid UTF-8 at byte 0 of 3" },
    { "a circle", NULL, "\xFF", "not valid UTF-8 at byte 0 of 1" },
};

START_TEST(bad_prompt)
{
    const char *const parts[] = { prompts[_i].part, NULL };
    Watch w;
    LinvideoParams p = kit_params(&w);

    p.prompt          = prompts[_i].prompt;
    p.prompt_file     = prompts[_i].file;
    p.negative_prompt = prompts[_i].negative;
    p.guidance        = 3;
    kit_refused(&p, &w, -EINVAL, parts);
}
END_TEST

START_TEST(steps_of_a_sampler)
{
    const char *const parts[] = { "sampler causvid takes 9 to 9 steps, not 8", NULL };
    Watch w;
    LinvideoParams p = kit_params(&w);

    p.sampler = LINVIDEO_SAMPLER_CAUSVID;
    p.steps   = 8;
    kit_refused(&p, &w, -EINVAL, parts);
}
END_TEST

START_TEST(too_many_tokens)
{
    static const char *const tokens[] = { "the prompt makes ", " tokens, the model takes 64",
                                          NULL };
    static const char *const bytes[] = { "has 65537 bytes, allowed is 65536", NULL };
    static char text[65538];
    Watch w;
    LinvideoParams p = kit_params(&w);
    int nb, max;

    fill(text, sizeof(text), "circle ");
    p.prompt = text;
    kit_refused(&p, &w, -EINVAL, bytes);
    text[700] = 0;
    kit_refused(&p, &w, -EINVAL, tokens);
    p.prompt          = "a circle";
    p.negative_prompt = text;
    p.guidance        = 3;
    kit_refused(&p, &w, -EINVAL, tokens);
    ck_assert_int_lt(linvideo_open(&(LinvideoContext *) { NULL }, &p), 0);
    ck_assert_int_eq(sscanf(w.error, "the prompt makes %d tokens, the model takes %d", &nb,
                            &max), 2);
    ck_assert(nb > 64 && nb < 700 && max == 64);
}
END_TEST

/* Words up to what the model takes, and one more. */
START_TEST(most_tokens)
{
    char text[600] = "red";
    Watch w;
    LinvideoParams p = kit_params(&w);
    LinvideoContext *c = NULL;
    int words = 0, nb, max;

    p.prompt = text;
    while (!linvideo_open(&c, &p) && ++words < 100) {
        linvideo_close(&c);
        strcat(text, " red");
    }
    ck_assert_int_eq(sscanf(w.error, "the prompt makes %d tokens, the model takes %d", &nb,
                            &max), 2);
    ck_assert_int_gt(nb, max);
    ck_assert_int_ge(words, 8);
    kit_one_error(&w, "tokens");
}
END_TEST

static void refused_prompt_file(const char *path, int code, const char *part)
{
    const char *const parts[] = { part, NULL };
    Watch w;
    LinvideoParams p = kit_params(&w);

    p.prompt      = NULL;
    p.prompt_file = path;
    kit_refused(&p, &w, code, parts);
}

START_TEST(bad_prompt_files)
{
    static char big[65537];
    const char *path = kit_path("prompt.txt");

    refused_prompt_file(path, -ENOENT, "prompt.txt: No such file");
    refused_prompt_file(kit_folder(), -EISDIR, "Is a directory");
    kit_write(path, "", 0);
    refused_prompt_file(path, -EINVAL, "the prompt is empty");
    kit_write(path, "\n", 1);
    refused_prompt_file(path, -EINVAL, "the prompt is empty");
    kit_write(path, "a\0b", 3);
    refused_prompt_file(path, -EINVAL, "holds a NUL byte");
    kit_write(path, "a\xFF", 2);
    refused_prompt_file(path, -EINVAL, "not valid UTF-8 at byte 1 of 2");
    fill(big, sizeof(big), "a");
    kit_write(path, big, sizeof(big));
    refused_prompt_file(path, -EINVAL, "has 65537 bytes, allowed is 65536");
    unlink(path);
}
END_TEST

/* A prompt of a file makes the same frames as the same prompt given. */
START_TEST(prompt_of_a_file)
{
    const char *path = kit_path("good.txt");
    Watch w;
    LinvideoParams p = kit_params(&w);
    Video a, b;

    p.frames = 2;
    a = kit_make(&p);
    kit_write(path, KIT_PROMPT "\n", sizeof(KIT_PROMPT));
    p.prompt      = NULL;
    p.prompt_file = path;
    b = kit_make(&p);
    unlink(path);
    ck_assert(kit_equal(&a, &b));
    ck_assert_str_eq(b.shot[1].prompt, KIT_PROMPT);
    kit_free(&a);
    kit_free(&b);
}
END_TEST

/* The rest */

START_TEST(frames_and_duration)
{
    static const char *const both[] = { "both frames and duration are given", NULL };
    static const char *const many[] = { "more than 1000000000 frames", "10000000 s",
                                        "1048576/1", NULL };
    Watch w;
    LinvideoParams p = kit_params(&w);

    p.frames   = 5;
    p.duration = 1000000;
    kit_refused(&p, &w, -EINVAL, both);
    p.frames   = -1;
    p.duration = 10000000000000;
    p.rate_num = 1 << 20;
    kit_refused(&p, &w, -EINVAL, many);
}
END_TEST

static const struct {
    int64_t duration;
    int num, den;
    int64_t frames;
} durations[] = {
    { 1000000, 8, 1, 8 }, { 1000001, 8, 1, 9 }, { 1, 8, 1, 1 }, { 999999, 8, 1, 8 },
    { 2000000, 24000, 1001, 48 }, { 1001000, 24000, 1001, 24 }, { 125000, 8, 1, 1 },
    { 3600000000, 30000, 1001, 107893 }, { 10000000000000, 100, 1, 1000000000 },
};

START_TEST(frames_of_a_duration)
{
    Watch w;
    LinvideoParams p = kit_params(&w);
    LinvideoContext *c;
    LinvideoInfo info;

    p.duration = durations[_i].duration;
    p.rate_num = durations[_i].num;
    p.rate_den = durations[_i].den;
    c = kit_open(&p);
    linvideo_info(c, &info);
    ck_assert_int_eq(info.frames, durations[_i].frames);
    ck_assert_int_eq(info.rate_num, durations[_i].num);
    ck_assert_int_eq(info.rate_den, durations[_i].den);
    linvideo_close(&c);
}
END_TEST

START_TEST(memory)
{
    static const char *const parts[] = { "64x64, 17 frames need ", " MiB (weights ",
                                         " are available", NULL };
    Watch w;
    LinvideoParams p = kit_params(&w);
    LinvideoContext *c = kit_open(&p);
    LinvideoInfo info;
    double need, weights, work, have;

    linvideo_info(c, &info);
    linvideo_close(&c);
    p.memory_limit = info.memory_weights + info.memory_work;
    c = kit_open(&p);
    linvideo_close(&c);
    p.memory_limit--;
    kit_refused(&p, &w, -ENOMEM, parts);
    p.memory_limit = 3 << 20;
    ck_assert_int_eq(linvideo_open(&c, &p), -ENOMEM);
    ck_assert_int_eq(sscanf(w.error, "64x64, 17 frames need %lf MiB (weights %lf, work %lf), "
                            "%lf are available", &need, &weights, &work, &have), 4);
    ck_assert(need * (1 << 20) > info.memory_weights && have == 3);
    kit_one_error(&w, "");
}
END_TEST

START_TEST(more_than_the_system_has)
{
    static const char *const parts[] = { "8192x8192, 1021 frames",
                                         " are available",
                                         NULL };
    Watch w;
    LinvideoParams p = kit_params(&w);

    p.width       = p.height = 8192;
    p.clip_frames = 1021;
    p.memory_limit = 1LL << 30;
    kit_refused(&p, &w, -ENOMEM, parts);
}
END_TEST

START_TEST(devices)
{
    static const char *const parts[] = { "unknown device 'tpu'",
                                         "auto, cpu, cuda and cuda:N", NULL };
    static const char *const good[] = { NULL, "auto", "cpu", "" };
    Watch w;
    LinvideoParams p = kit_params(&w);
    LinvideoContext *c;
    LinvideoInfo info;

    p.device = "tpu";
    kit_refused(&p, &w, -EINVAL, parts);
    for (int i = 0; i < LV_COUNT(good); i++) {
        p.device  = good[i];
        p.threads = 1;
        c = kit_open(&p);
        linvideo_info(c, &info);
        ck_assert_msg(!strncmp(info.device, "cpu (", 5) && strstr(info.device, ", 1 thread)"),
                      "%s", info.device);
        linvideo_close(&c);
    }
}
END_TEST

START_TEST(levels)
{
    static const char *const parts[] = { "no model", NULL };
    Watch w;
    LinvideoParams p = kit_params(&w);
    LinvideoContext *c;

    p.log_level = LINVIDEO_LOG_DEBUG;
    c = kit_open(&p);
    linvideo_close(&c);
    ck_assert_int_gt(w.lines[LINVIDEO_LOG_VERBOSE], 0);
    memset(&w, 0, sizeof(w));
    p.log_level = LINVIDEO_LOG_ERROR;
    c = kit_open(&p);
    linvideo_close(&c);
    ck_assert_str_eq(w.all, "");
    p.model = "nosuch";
    kit_refused(&p, &w, -ENOENT, parts);
    p.log = NULL;
    ck_assert_int_eq(linvideo_open(&c, &p), -ENOENT);
    ck_assert_ptr_null(c);
}
END_TEST

START_TEST(close_nothing)
{
    LinvideoContext *c = NULL;

    linvideo_close(NULL);
    linvideo_close(&c);
    ck_assert_ptr_null(c);
}
END_TEST

static void add_prompts(TCase *t)
{
    tcase_add_loop_test(t, bad_prompt, 0, LV_COUNT(prompts));
    tcase_add_test(t, steps_of_a_sampler);
    tcase_add_test(t, too_many_tokens);
    tcase_add_test(t, most_tokens);
    tcase_add_test(t, bad_prompt_files);
    tcase_add_test(t, prompt_of_a_file);
}

void api_add_open(Suite *suite)
{
    TCase *t = tcase_create("open");

    tcase_set_timeout(t, 120);
    suite_add_tcase(suite, t);
    tcase_add_test(t, missing_by_name);
    tcase_add_test(t, found_by_name);
    tcase_add_test(t, found_in_data_folder);
    tcase_add_test(t, path_too_long);
    tcase_add_test(t, no_file);
    tcase_add_test(t, truncated);
    tcase_add_test(t, other_files);
    tcase_add_loop_test(t, variant, 0, LV_COUNT(variants));
    tcase_add_test(t, same_bundle);
    add_prompts(t);
    tcase_add_test(t, frames_and_duration);
    tcase_add_loop_test(t, frames_of_a_duration, 0, LV_COUNT(durations));
    tcase_add_test(t, memory);
    tcase_add_test(t, more_than_the_system_has);
    tcase_add_test(t, devices);
    tcase_add_test(t, levels);
    tcase_add_test(t, close_nothing);
}
