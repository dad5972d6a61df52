/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Unusual uses: NULL for every argument, ends of ranges, prompts out of pipes, options
 * that have no effect, programs with a locale of their own, children of fork().
 */

#include <jansson.h>
#include <locale.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/params.h"
#include "base/safetensors.h"
#include "tests/api_kit.h"

/* NULL */

START_TEST(null_arguments)
{
    Watch w;
    LinvideoParams p = kit_params(&w);
    LinvideoContext *c = (LinvideoContext *)&w;
    LinvideoFrame f = { .index = 0 };
    LinvideoInfo info;

    linvideo_params_default(NULL);
    ck_assert_int_eq(linvideo_params_set(NULL, "steps", "1"), -EINVAL);
    ck_assert_int_eq(linvideo_open(NULL, &p), -EINVAL);
    ck_assert_int_eq(linvideo_open(&c, NULL), -EINVAL);
    ck_assert_ptr_null(c);
    memset(&info, 0xAA, sizeof(info));
    linvideo_info(NULL, &info);
    ck_assert_int_eq(info.width, 0);
    linvideo_info(NULL, NULL);
    ck_assert_int_eq(linvideo_set_prompt(NULL, "a"), -EINVAL);
    ck_assert_int_eq(linvideo_restart(NULL, &p), -EINVAL);
    ck_assert_int_eq(linvideo_next_frame(NULL, &f), -EINVAL);
    ck_assert_int_eq(linvideo_next_frame(NULL, NULL), -EINVAL);
    linvideo_cancel(NULL);
    linvideo_close(NULL);
    linvideo_close(&c);
    ck_assert_ptr_nonnull(linvideo_strerror(-EINVAL));
}
END_TEST

START_TEST(null_in_a_context)
{
    Watch w;
    LinvideoParams p = kit_params(&w);
    LinvideoContext *c = kit_open(&p);

    linvideo_info(c, NULL);
    ck_assert_int_eq(linvideo_set_prompt(c, NULL), -EINVAL);
    kit_one_error(&w, "no prompt");
    ck_assert_int_eq(linvideo_restart(c, NULL), -EINVAL);
    kit_one_error(&w, "no parameters");
    ck_assert_int_eq(linvideo_next_frame(c, NULL), -EINVAL);
    kit_one_error(&w, "no frame");
    linvideo_close(&c);
}
END_TEST

/* Each plane is missing, then too narrow, and the context is as good as before. Loop:
 * formats. */
START_TEST(bad_planes)
{
    Watch w;
    LinvideoParams p = kit_params(&w);
    LinvideoContext *c;
    Video v;

    p.format = (enum LinvideoFormat)_i;
    p.frames = 1;
    c = kit_open(&p);
    v = kit_video(c, _i);
    for (int bad = 0; bad < 2 * kit_planes(_i); bad++) {
        LinvideoFrame f = { .index = 0 };

        for (int i = 0; i < kit_planes(_i); i++) {
            f.data[i]   = (uint8_t *)(uintptr_t)kit_plane(&v, 0, i);
            f.stride[i] = kit_cols(_i, i, v.info.width);
        }
        if (bad % 2)
            f.stride[bad / 2] = 1 - f.stride[bad / 2];
        else
            f.data[bad / 2] = NULL;
        memset(&w, 0, sizeof(w));
        ck_assert_int_eq(linvideo_next_frame(c, &f), -EINVAL);
        kit_one_error(&w, bad % 2 ? "frame: stride of plane" : "frame: plane");
        ck_assert_int_eq(w.steps, 0);
    }
    ck_assert_int_eq(kit_next(&v, c), 0);
    linvideo_close(&c);
    kit_free(&v);
}
END_TEST

/* Ranges */

static void *field(LinvideoParams *p, const LvOption *o)
{
    return (char *)p + o->offset;
}

static void put_end(LinvideoParams *p, const LvOption *o, double v)
{
    if (o->kind == LV_OPT_FLOAT)
        *(float *)field(p, o) = (float)v;
    else if (o->kind == LV_OPT_BOOL || o->kind == LV_OPT_INT || o->kind == LV_OPT_ENUM)
        *(int *)field(p, o) = (int)v;
    else if (o->kind == LV_OPT_SIZE || o->kind == LV_OPT_RATE)
        ((int *)field(p, o))[0] = ((int *)field(p, o))[1] = (int)v;
    else
        *(int64_t *)field(p, o) = (int64_t)v;
}

static void end_text(char *text, size_t size, const LvOption *o, double v)
{
    if (o->kind == LV_OPT_ENUM)
        snprintf(text, size, "%s", o->choices[(int)v].name);
    else if (o->kind == LV_OPT_SIZE)
        snprintf(text, size, "%.0fx%.0f", v, v);
    else if (o->kind == LV_OPT_RATE)
        snprintf(text, size, "%.0f", v);
    else
        snprintf(text, size, "%.12g", o->kind == LV_OPT_DURATION ? v * 1e-6 : v);
}

/* Both ends of every range are taken, as numbers and as text: the model is what is
 * missing then. Loop: options. */
START_TEST(ends_of_ranges)
{
    static const char *const parts[] = { "no model 'none'", NULL };
    const LvOption *o = lv_option_at(_i);
    char text[64];

    for (int i = 0; o->kind != LV_OPT_STRING && i < 2; i++) {
        double end = i ? o->max : o->min;
        Watch w;
        LinvideoParams p = kit_params(&w);

        p.model = "none";
        if (!strcmp(o->name, "log_level"))
            continue;
        put_end(&p, o, end);
        kit_refused(&p, &w, -ENOENT, parts);
        p = kit_params(&w);
        p.model = "none";
        end_text(text, sizeof(text), o, end);
        ck_assert_msg(!linvideo_params_set(&p, o->name, text), "%s=%s: %s", o->name, text,
                      w.error);
        kit_refused(&p, &w, -ENOENT, parts);
    }
}
END_TEST

/* Microseconds, rate, frames; 0: refused. */
static const struct {
    int64_t duration;
    int num, den;
    int64_t frames;
} lengths[] = {
    { 10000000000000, 1048576, 1048575, 10000010 },
    { 10000000000000, 1048576, 1048576, 10000000 },
    { 10000000000000, 1, 1048576, 10 },
    { 10000000000000, 100, 1, 1000000000 },
    { 10000000000000, 1048576, 10485, 0 },
    { 10000000000000, 101, 1, 0 },
    { 10000000000000, 1048576, 1, 0 },
    { 1, 1048576, 1, 2 },
    { 1, 1, 1048576, 1 },
    { 1000000, 1000000, 1000000, 1 },
    { 1000001, 1, 1, 2 },
};

START_TEST(frames_of_durations)
{
    static const char *const parts[] = { "more than 1000000000 frames", NULL };
    Watch w;
    LinvideoParams p = kit_params(&w);
    LinvideoContext *c;
    LinvideoInfo info;

    p.duration = lengths[_i].duration;
    p.rate_num = lengths[_i].num;
    p.rate_den = lengths[_i].den;
    if (!lengths[_i].frames) {
        kit_refused(&p, &w, -EINVAL, parts);
        return;
    }
    c = kit_open(&p);
    linvideo_info(c, &info);
    ck_assert_int_eq(info.frames, lengths[_i].frames);
    linvideo_close(&c);
}
END_TEST

/* Prompts out of pipes */

static void *write_prompt(void *path)
{
    kit_write(path, KIT_PROMPT "\r\n", sizeof(KIT_PROMPT) + 1);
    return NULL;
}

static void check_prompt(LinvideoParams *p)
{
    Video v;

    p->prompt = NULL;
    p->frames = 1;
    p->steps  = 1;
    v = kit_make(p);
    ck_assert_str_eq(v.shot[0].prompt, KIT_PROMPT);
    kit_free(&v);
}

START_TEST(prompt_of_a_fifo)
{
    const char *path = kit_path("fifo");
    pthread_t writer;
    Watch w;
    LinvideoParams p = kit_params(&w);

    ck_assert_int_eq(mkfifo(path, 0600), 0);
    ck_assert_int_eq(pthread_create(&writer, NULL, write_prompt, (void *)(uintptr_t)path), 0);
    p.prompt_file = path;
    check_prompt(&p);
    pthread_join(writer, NULL);
    unlink(path);
}
END_TEST

/* In pieces. */
START_TEST(prompt_of_standard_input)
{
    int fd[2], kept = dup(STDIN_FILENO);
    Watch w;
    LinvideoParams p = kit_params(&w);

    ck_assert_int_eq(pipe(fd), 0);
    ck_assert_int_eq(dup2(fd[0], STDIN_FILENO), STDIN_FILENO);
    ck_assert_int_eq(write(fd[1], KIT_PROMPT, 10), 10);
    ck_assert_int_eq(write(fd[1], &KIT_PROMPT[10], sizeof(KIT_PROMPT) - 11),
                     sizeof(KIT_PROMPT) - 11);
    close(fd[1]);
    p.prompt_file = "/dev/stdin";
    check_prompt(&p);
    dup2(kept, STDIN_FILENO);
    close(kept);
    close(fd[0]);
}
END_TEST

START_TEST(prompt_without_end)
{
    static const char *const parts[] = { "prompt_file /dev/zero has 65537 bytes", NULL };
    Watch w;
    LinvideoParams p = kit_params(&w);

    p.prompt      = NULL;
    p.prompt_file = "/dev/zero";
    kit_refused(&p, &w, -EINVAL, parts);
}
END_TEST

/* What has no effect */

/* The model as a few-step one that tells its words. */
static const char *few_steps(void)
{
    const char *path = kit_path("few.safetensors");
    LvSafetensors *st;
    LvFileTensor *list;
    json_t *root, *sampler;
    int n;

    ck_assert_int_eq(lv_safetensors_open(&st, kit_model(), NULL), 0);
    n    = lv_safetensors_count(st);
    list = calloc((size_t)n, sizeof(*list));
    for (int i = 0; i < n; i++)
        list[i] = *lv_safetensors_at(st, i);
    root    = json_loads(lv_safetensors_meta(st, "linvideo.config"), 0, NULL);
    sampler = json_object_get(root, "sampler");
    json_object_set_new(sampler, "steps", json_integer(4));
    json_object_set_new(sampler, "guidance", json_real(1));
    json_object_set_new(json_object_get(root, "text"), "words",
                        json_string("a blue circle moving red"));
    {
        char *text = json_dumps(root, 0);
        const char *const meta[] = { "linvideo.config", text, NULL };

        ck_assert_int_eq(lv_safetensors_write(path, list, n, (const char **)meta, NULL), 0);
        free(text);
    }
    json_decref(root);
    free(list);
    lv_safetensors_close(&st);
    return path;
}

#define LORA "'<lora:x:0.8>' is not interpreted; a LoRA goes with the option lora"
#define WEIGHT "is not interpreted, words have no weights"
#define UNKNOWN "the model does not know: "

static const struct {
    const char *prompt, *negative;
    int steps;
    float guidance;
    const char *said[3]; ///< parts of the warnings, in order
} unused[] = {
    { "a red circle moving", NULL, 0, 0, { NULL } },
    { "A Red CIRCLE, moving.", NULL, 8, 1, { NULL } },
    { "a red circle", "", 2, 1, { NULL } },
    { "a dragon, a Castle; a dragon", NULL, 0, 0,
      { "prompt: " UNKNOWN "dragon, castle" } },
    { "a redder re circlea", NULL, 0, 0, { UNKNOWN "redder, re, circlea" } },
    { "b c d e f g h i j k", NULL, 0, 0, { UNKNOWN "b, c, d, e, f, g, h, i and 2 more" } },
    { "a red circle at 12:30 (blue)", NULL, 0, 0, { UNKNOWN "at, 12" } },
    { "a red circle <lora:x:0.8> <LORA:y:1>", NULL, 0, 0, { "prompt: " LORA } },
    { "a (red circle:1.3) (blue: 2)", NULL, 0, 0, { "'(red circle:1.3)' " WEIGHT } },
    { "a ((red)) circle", NULL, 0, 0, { "'((red)' " WEIGHT } },
    { "a red circle (moving (blue), a 1:2)", NULL, 0, 0, { UNKNOWN "1" } },
    { "a red circle", "blue", 0, 0, { "negative_prompt: it is not used with guidance 1" } },
    { "a red circle", "blue", 0, 1, { "negative_prompt: it is not used with guidance 1" } },
    { "a red circle", "ugly", 0, 7, { "guidance: 7; ", "negative_prompt: " UNKNOWN "ugly" } },
    { "a red circle", NULL, 9, 0, { "steps: 9; the model is a few-step one, made for 4" } },
    { "a red circle", NULL, 1, 1.5f, { "guidance: 1.5; ", "steps: 1; " } },
};

START_TEST(without_effect)
{
    const char *at;
    Watch w;
    LinvideoParams p = kit_params(&w);
    LinvideoContext *c;
    int nb = 0;

    p.model           = few_steps();
    p.log_level       = LINVIDEO_LOG_WARNING;
    p.prompt          = unused[_i].prompt;
    p.negative_prompt = unused[_i].negative;
    p.steps           = unused[_i].steps;
    p.guidance        = unused[_i].guidance;
    c  = kit_open(&p);
    at = w.all;
    while (nb < 3 && unused[_i].said[nb]) {
        ck_assert_msg((at = strstr(at, unused[_i].said[nb])), "no '%s' in: %s",
                      unused[_i].said[nb], w.all);
        nb++;
    }
    ck_assert_msg(w.lines[LINVIDEO_LOG_WARNING] == nb, "%s", w.all);
    /* the same again says nothing */
    memset(&w, 0, sizeof(w));
    ck_assert_int_eq(linvideo_set_prompt(c, unused[_i].prompt), 0);
    ck_assert_str_eq(w.all, "");
    linvideo_close(&c);
    unlink(p.model);
}
END_TEST

/* A changed prompt is looked at as well. */
START_TEST(words_of_a_new_prompt)
{
    Watch w;
    LinvideoParams p = kit_params(&w);
    LinvideoContext *c;

    p.model     = few_steps();
    p.prompt    = "a red dragon";
    p.log_level = LINVIDEO_LOG_WARNING;
    c = kit_open(&p);
    memset(&w, 0, sizeof(w));
    ck_assert_int_eq(linvideo_set_prompt(c, "a dragon in a castle"), 0);
    ck_assert_str_eq(w.all, "prompt: " UNKNOWN "in, castle\n");
    linvideo_close(&c);
    unlink(p.model);
}
END_TEST

START_TEST(guidance_of_zero)
{
    Watch w;
    LinvideoParams p = kit_params(&w);

    ck_assert_int_eq(linvideo_params_set(&p, "guidance", "0"), 0);
    ck_assert_str_eq(w.all, "guidance: 0 means the model's own; 1 turns guidance off\n");
    ck_assert_int_eq(w.lines[LINVIDEO_LOG_WARNING], 1);
}
END_TEST

/* Locale */

/* Make this program speak German; 0: there is no way to. */
static int speak_german(void)
{
    char line[1024];

    snprintf(line, sizeof(line), "localedef -i de_DE -f UTF-8 '%s/de_DE.UTF-8' >/dev/null 2>&1",
             kit_folder());
    if (!setlocale(LC_ALL, "de_DE.UTF-8") && !system(line)) {
        setenv("LOCPATH", kit_folder(), 1);
        setlocale(LC_ALL, "de_DE.UTF-8");
    }
    snprintf(line, sizeof(line), "%.1f", 1.5);
    return !strcmp(line, "1,5");
}

static void keep_format(void *opaque, enum LinvideoLogLevel level, const char *line)
{
    char *kept = opaque;

    (void)level, (void)line;
    sprintf(kept, "%.1f", 1.5);
}

/* Everything that reads or prints a number. */
START_TEST(locale_of_the_program)
{
    static const char *const lora[] = { "200.5", NULL };
    char kept[16] = "", line[512];
    Watch w;
    LinvideoParams p = kit_params(&w);
    LinvideoContext *c;
    LinvideoInfo info;
    Video a, b;

    p.frames = 2;
    a = kit_make(&p);
    if (!speak_german()) {
        kit_free(&a);
        return;
    }
    b = kit_make(&p);
    ck_assert(kit_equal(&a, &b));
    ck_assert_int_eq(linvideo_params_set(&p, "guidance", "1.5"), 0);
    ck_assert(p.guidance == 1.5f);
    ck_assert_int_eq(linvideo_params_set(&p, "guidance", "1,5"), -EINVAL);
    ck_assert_int_eq(linvideo_params_set(&p, "rate", "23.976"), 0);
    ck_assert_int_eq(p.rate_den, 1001);
    ck_assert_int_eq(linvideo_params_set(&p, "duration", "0:00.5"), 0);
    ck_assert_int_eq(p.duration, 500000);
    ck_assert_int_eq(linvideo_params_set(&p, "memory_limit", "1.5G"), 0);
    memset(&w, 0, sizeof(w));
    ck_assert_int_eq(linvideo_params_set(&p, "shift", "0.001"), -EINVAL);
    kit_one_error(&w, "shift is 0.001, allowed is 0.01 to 100");
    p.frames = -1;
    p.lora   = "x@200.5";
    kit_refused(&p, &w, -EINVAL, lora);
    p.lora  = NULL;
    p.shift = p.guidance = 0;
    p.log   = keep_format;
    p.opaque   = kept;
    p.progress = NULL;
    ck_assert_int_eq(linvideo_open(&c, &p), 0);
    linvideo_info(c, &info);
    ck_assert(info.shift == 3);
    ck_assert_int_eq(linvideo_set_prompt(c, ""), -EINVAL);
    linvideo_close(&c);
    ck_assert_str_eq(kept, "1,5"); /* a callback is in the program's own locale */
    snprintf(kept, sizeof(kept), "%.1f", 1.5);
    ck_assert_str_eq(kept, "1,5");
    ck_assert_ptr_nonnull(setlocale(LC_ALL, "C"));
    snprintf(line, sizeof(line), "rm -rf '%s/de_DE.UTF-8'", kit_folder());
    ck_assert_int_eq(system(line), 0);
    kit_free(&a);
    kit_free(&b);
}
END_TEST

/* fork() */

/* The child's exit code: 0 when it made all frames, the same as in v. */
static int go_on(LinvideoContext *c, const Video *v, int done)
{
    Video mine = kit_video(c, LINVIDEO_YUV420P);
    int ret;

    alarm(60);
    mine.nb = done;
    while (!(ret = kit_next(&mine, c)))
        ;
    for (int64_t i = done; i < mine.nb; i++)
        if (!kit_same(&mine, i, v, i))
            ret = 1;
    linvideo_close(&c);
    return ret == LINVIDEO_EOF && mine.nb == v->nb ? 0 : 1;
}

/* Loop: frames that the parent makes first. */
START_TEST(children)
{
    Watch w;
    LinvideoParams p = kit_params(&w);
    LinvideoContext *c;
    Video all, v;
    int status, done = _i * 3;
    pid_t child[2];

    p.threads = 3;
    p.frames  = 7;
    p.clip_frames = 5;
    all = kit_make(&p);
    c   = kit_open(&p);
    v   = kit_video(c, LINVIDEO_YUV420P);
    for (int i = 0; i < done; i++)
        ck_assert_int_eq(kit_next(&v, c), 0);
    for (int i = 0; i < 2; i++)
        if (!(child[i] = fork())) {
            alarm(60);
            if (i)
                linvideo_close(&c);
            _exit(i ? 0 : go_on(c, &all, done));
        }
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(waitpid(child[i], &status, 0), child[i]);
        ck_assert_msg(WIFEXITED(status) && !WEXITSTATUS(status), "child %d: %x", i, status);
    }
    while (!kit_next(&v, c))
        ;
    ck_assert(kit_equal(&v, &all));
    linvideo_close(&c);
    kit_free(&v);
    kit_free(&all);
}
END_TEST

void api_add_use(Suite *suite)
{
    TCase *t = tcase_create("use");
    int options = 0;

    while (lv_option_at(options))
        options++;
    tcase_set_timeout(t, 120);
    suite_add_tcase(suite, t);
    tcase_add_test(t, null_arguments);
    tcase_add_test(t, null_in_a_context);
    tcase_add_loop_test(t, bad_planes, 0, LINVIDEO_NV12 + 1);
    tcase_add_loop_test(t, ends_of_ranges, 0, options);
    tcase_add_loop_test(t, frames_of_durations, 0, LV_COUNT(lengths));
    tcase_add_test(t, prompt_of_a_fifo);
    tcase_add_test(t, prompt_of_standard_input);
    tcase_add_test(t, prompt_without_end);
    tcase_add_loop_test(t, without_effect, 0, LV_COUNT(unused));
    tcase_add_test(t, words_of_a_new_prompt);
    tcase_add_test(t, guidance_of_zero);
    tcase_add_test(t, locale_of_the_program);
    tcase_add_loop_test(t, children, 0, 2);
}
