/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What the commands of post-training share: a recipe with changes, a model, the prompts
 * and clips that its teacher makes.
 * Floor tools/share.
 */

#ifndef LINVIDEO_TOOLS_SHARE_POST_H
#define LINVIDEO_TOOLS_SHARE_POST_H

#include "api/model.h"
#include "linvideo/linvideo.h"
#include "tools/share/arguments.h"
#include "tools/share/run.h"
#include "train/post/recipe.h"
#include "train/post/student_clips.h"
#include "train/post/trajectory.h"

enum { LV_POST_CHANGES = 64 };

typedef struct LvPost {
    LvRun run;
    const char *recipe_path, *model, *prompts_path, *trajectories_path, *out, *stage;
    const char *maps;     ///< of linearize: run of warmed-up maps
    const char *teacher_name; ///< of distill: model that is the teacher
    char *change[LV_POST_CHANGES];
    int nb_changes;
    LinvideoParams clip;  ///< size and length of clips, where they are given
    LvRecipe recipe;
    LvFrozen *teacher;
    LvTrajectories t;
} LvPost;

/** An option that is another way to write a change of the recipe. */
typedef struct LvPostChange {
    const char *option, *key; ///< "layers", "linearize.layers"
} LvPostChange;

#define LV_POST_HELP                                                                    \
    "  --recipe FILE     settings as JSON, see samples/configs; options override them\n"\
    "  --set KEY=VALUE   change one setting, as linearize.lambda=0.1; may be repeated\n"\
    "  --seed N          seed of all random numbers, train.seed\n"                      \
    "  --prompts FILE    file with a prompt on each line [captions are drawn]\n"        \
    "  --size WxH        size of the clips to train on [the model's]\n"                 \
    "  --clip-frames N   frames of a clip [the model's]\n"                              \
    "  --samples N       every N steps clips of four prompts by the weights as they are, as\n" \
    "                    DIR/STAGE-STEP.png [0: none]\n"                                \
    "  --trajectories FILE\n"                                                           \
    "                    samples of the teacher [DIR/trajectories.safetensors]\n"       \
    LV_RUN_HELP

/** Take an option: 0, or -1 after a message. */
int lv_post_option(LvPost *p, LvArgs *a, const LvPostChange *changes, int nb);

/** Go over the arguments: options, and one model. -1 to go on, or an exit code. */
int lv_post_parse(LvPost *p, int argc, char **argv, void (*help)(void),
                  const LvPostChange *changes, int nb);

/** Read the recipe, make the folder, open device and teacher; the model's name with
 *  `more` behind it is the default of the folder. */
int lv_post_open(LvPost *p, const char *teacher, const char *more);

/** Sample what is not there yet and open it: 1; 0: stopped before; or an error. */
int lv_post_trajectories(LvPost *p);

/** Size and length of clips as asked. */
LvFrozenClip lv_post_clip(const LvPost *p);

/** Path of what is made of a model: as asked, or model.safetensors (of a bundle) or model.json
 *  (of a manifest) in the run's folder, by way of buf. */
const char *lv_post_output(const LvPost *p, const LvFrozen *of, char *buf);

/** Whether what is made of a model may be written there, and the network beside it: over no
 *  file that the run reads or keeps, and over others of -o only with -y. 0 or an error */
int lv_post_check_output(const LvPost *p, const LvFrozen *of);

/** Write a sheet of clips of the first prompts, a row each, as PNG. 0 or an error. */
int lv_post_sheet(const LvSampling *s, const char *path);

void lv_post_close(LvPost *p);

#endif /* LINVIDEO_TOOLS_SHARE_POST_H */
