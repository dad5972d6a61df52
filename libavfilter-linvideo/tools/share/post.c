/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tools/share/post.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/common.h"
#include "tools/share/arguments.h"
#include "tools/share/message.h"
#include "tools/share/output.h"
#include "tools/share/run.h"
#include "tools/share/sheet.h"
#include "train/post/publish.h"

enum { SHEET_ROWS = 4 };

static int add_change(LvPost *p, const char *key, const char *value)
{
    size_t n = strlen(value) + (key ? strlen(key) + 1 : 0) + 1;
    char *text;

    if (p->nb_changes == LV_POST_CHANGES)
        return lv_tool_fail(-1, "more than %d changes of the recipe", LV_POST_CHANGES);
    if (!(text = malloc(n)))
        return lv_tool_fail(-1, "out of memory");
    snprintf(text, n, "%s%s%s", key ? key : "", key ? "=" : "", value);
    p->change[p->nb_changes++] = text;
    return 0;
}

static int take_change(LvPost *p, LvArgs *a, const char *key)
{
    const char *value = lv_args_value(a);

    return value ? add_change(p, key, value) : -1;
}

static int take_clip(LvPost *p, LvArgs *a)
{
    const char *value = lv_args_value(a);

    if (!value)
        return -1;
    p->clip.log       = lv_tool_log;
    p->clip.log_level = LINVIDEO_LOG_ERROR;
    return linvideo_params_set(&p->clip, a->name, value) < 0 ? -1 : 0;
}

int lv_post_option(LvPost *p, LvArgs *a, const LvPostChange *changes, int nb)
{
    const struct { const char *name; const char **to; } texts[] = {
        { "recipe", &p->recipe_path }, { "prompts", &p->prompts_path }, { "o", &p->out },
        { "output", &p->out }, { "stage", &p->stage },
        { "trajectories", &p->trajectories_path }, { "maps", &p->maps },
        { "teacher", &p->teacher_name },
    };
    int taken = lv_run_option(&p->run, a);

    if (taken)
        return LV_MIN(taken, 0);
    if (!strcmp(a->name, "samples"))
        return lv_args_int(a, 0, 1 << 30, &p->run.samples);
    if (!strcmp(a->name, "size") || !strcmp(a->name, "clip_frames"))
        return take_clip(p, a);
    for (int i = 0; i < LV_COUNT(texts); i++)
        if (!strcmp(a->name, texts[i].name))
            return (*texts[i].to = lv_args_value(a)) ? 0 : -1;
    for (int i = 0; i < nb; i++)
        if (!strcmp(a->name, changes[i].option))
            return take_change(p, a, changes[i].key);
    if (!strcmp(a->name, "seed"))
        return take_change(p, a, "train.seed");
    if (!strcmp(a->name, "set"))
        return take_change(p, a, NULL);
    return lv_tool_fail(-1, "no option \"%s\"; linvideo %s --help lists them", a->name,
                        p->run.command);
}

int lv_post_parse(LvPost *p, int argc, char **argv, void (*help)(void),
                  const LvPostChange *changes, int nb)
{
    LvArgs a = { .argc = argc, .argv = argv, .at = 1 };

    while (lv_args_next(&a)) {
        if (!strcmp(a.name, "h") || !strcmp(a.name, "help"))
            return help(), LV_EXIT_OK;
        if (a.name[0] && lv_post_option(p, &a, changes, nb) < 0)
            return LV_EXIT_USAGE;
        if (!a.name[0] && p->model)
            return lv_tool_fail(LV_EXIT_USAGE, "one model at a time, not \"%s\" too",
                                a.value);
        if (!a.name[0])
            p->model = a.value;
    }
    return p->model ? -1 : lv_tool_fail(LV_EXIT_USAGE, "expected a model; linvideo %s "
                                        "--help lists the options", p->run.command);
}

LvFrozenClip lv_post_clip(const LvPost *p)
{
    return (LvFrozenClip) { p->clip.width, p->clip.height, p->clip.clip_frames };
}

const char *lv_post_output(const LvPost *p, const LvFrozen *of, char *buf)
{
    return p->out ? p->out : lv_run_path(&p->run, of->files.bundle ? "model.safetensors"
                                                                   : "model.json", buf);
}

/* Nothing that the run reads or keeps lies there, nor, without -y, what another made. */
static int check_file(const LvPost *p, const LvFrozen *of, const char *file)
{
    const LvFrozen *const models[] = { of, p->teacher };
    const char *const given[] = { p->recipe_path, p->prompts_path, p->maps,
                                  p->trajectories_path };
    static const char *const kept[] = { "trajectories.safetensors", "maps.safetensors",
                                        "linearize.safetensors", "distill.safetensors" };
    char buf[LV_RUN_PATH];
    const char *path;
    int ret = 0;

    for (int k = 0; k < LV_COUNT(models); k++)
        for (int i = 0; ret >= 0 && (path = lv_files_at(&models[k]->files, i)); i++)
            ret = lv_tool_not_input(file, path);
    for (int i = 0; i < LV_COUNT(given) && ret >= 0; i++)
        ret = lv_tool_not_input(file, given[i]);
    for (int i = 0; i < LV_COUNT(kept) && ret >= 0; i++)
        ret = lv_tool_not_input(file, lv_run_path(&p->run, kept[i], buf));
    return ret < 0 || !p->out ? ret : lv_tool_may_write(file, p->run.overwrite);
}

int lv_post_check_output(const LvPost *p, const LvFrozen *of)
{
    char buf[LV_RUN_PATH], network[LV_PUBLISH_PATH];
    const char *path = lv_post_output(p, of, buf);
    int ret = lv_publish_network(network, of, path);

    if (ret < 0 || (ret = check_file(p, of, path)) < 0 || !*network)
        return ret;
    return check_file(p, of, network);
}

static const char *or_none(const char *path)
{
    return path ? path : "";
}

int lv_post_open(LvPost *p, const char *teacher, const char *more)
{
    char path[LV_PATH_SIZE], model[LV_PATH_SIZE];
    const char *const inputs[] = { path, model, or_none(p->recipe_path),
                                   or_none(p->prompts_path), or_none(p->maps),
                                   or_none(p->trajectories_path), NULL };
    const LvFrozenClip clip = lv_post_clip(p);
    int ret;

    if ((ret = lv_recipe_read(&p->recipe, p->recipe_path, (const char *const *)p->change,
                              p->nb_changes, &p->run.msg)) < 0 ||
        (ret = lv_model_find(path, teacher, &p->run.msg)) < 0 ||
        (ret = lv_model_find(model, p->model, &p->run.msg)) < 0 ||
        (ret = lv_run_folder(&p->run, p->model, ".safetensors", more)) < 0 ||
        (ret = lv_run_output(&p->run, p->out, inputs)) < 0 ||
        (ret = lv_run_open(&p->run)) < 0)
        return ret;
    return lv_frozen_open(&p->teacher, path, &clip, p->run.dev, &p->run.msg);
}

static int progress(void *opaque, int done, int all)
{
    LvPost *p = opaque;
    int every = LV_MAX(1, all / 16);

    if (done % every == 0)
        fprintf(stderr, "linvideo: trajectories %d/%d\n", done, all);
    return lv_run_is_over(&p->run) ? LV_ERR_CANCELLED : 0;
}

static const char *trajectories(const LvPost *p, char *buf)
{
    return p->trajectories_path ? p->trajectories_path :
           lv_run_path(&p->run, "trajectories.safetensors", buf);
}

/* The teacher's samples, of the ranks by the first. */
static int sample(LvPost *p, const char *path)
{
    LvTrajectoryConfig *c = &p->recipe.trajectories;
    uint64_t seed = (uint64_t)c->seed;
    LvPrompts prompts;
    int ret = p->prompts_path ? lv_prompts_read(&prompts, p->prompts_path, &p->run.msg)
                              : lv_prompts_draw(&prompts, c->prompts, seed, p->teacher);

    if (ret >= 0)
        ret = lv_trajectories_make(p->teacher, c, &prompts, seed, p->run.dtype, path,
                                   progress, p);
    lv_prompts_free(&prompts);
    return ret;
}

int lv_post_trajectories(LvPost *p)
{
    char buf[LV_RUN_PATH];
    const char *path = trajectories(p, buf);
    int ret = lv_group_apart(p->run.dev) ? sample(p, path) : 0;

    if ((ret = lv_group_rejoin(p->run.dev, ret)) < 0)
        return ret == LV_ERR_CANCELLED ? 0 : ret;
    ret = lv_trajectories_open(&p->t, p->teacher, path);
    return ret < 0 ? ret : 1;
}

static void put_row(void *sheet, int clip, const float *rgb)
{
    lv_sheet_paste(sheet, clip, rgb);
}

int lv_post_sheet(const LvSampling *s, const char *path)
{
    int rows = LV_MIN(s->t->prompts, SHEET_ROWS), ret;
    LvSampleSize size;
    LvSheet sheet;

    if ((ret = lv_sample_size(&size, s)) < 0)
        return ret;
    if ((ret = lv_sheet_new(&sheet, size.width, size.height, size.frames, rows)) < 0)
        return lv_tool_fail(ret, "out of memory");
    if ((ret = lv_sample_clips(s, rows, put_row, &sheet)) >= 0)
        ret = lv_sheet_write(&sheet, path);
    lv_sheet_free(&sheet);
    return ret;
}

void lv_post_close(LvPost *p)
{
    lv_trajectories_close(&p->t);
    lv_frozen_close(&p->teacher);
    lv_run_close(&p->run);
    lv_recipe_free(&p->recipe);
    for (int i = 0; i < p->nb_changes; i++)
        free(p->change[i]);
}
