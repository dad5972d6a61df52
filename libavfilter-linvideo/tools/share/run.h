/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What commands that train share: a folder, a device, stages of steps that go on where
 * they stopped, a log of each, a graceful end.
 * Floor tools/share.
 */

#ifndef LINVIDEO_TOOLS_SHARE_RUN_H
#define LINVIDEO_TOOLS_SHARE_RUN_H

#include "backend/device.h"
#include "backend/group.h"
#include "base/msg.h"
#include "tools/share/arguments.h"
#include "train/run/log.h"
#include "train/run/trainer.h"

enum { LV_RUN_PATH = 4096, LV_TRAIN_FIELDS = 24 };

/** Options of a run, and what they opened. */
typedef struct LvRun {
    const char *command;   ///< for messages
    const char *dir, *device;
    int threads, precision, checkpoint;
    int minutes;           ///< 0: no limit
    int until;             ///< step to stop at; 0: the last
    int samples;           ///< a sheet of clips every so many steps; 0: none
    int overwrite;         ///< a file that -o names
    int lock;              ///< of the folder; -1: none
    double start;
    LvMsg msg;
    LvDevice *dev;
    LvRanks ranks;         ///< of several processes, which make the same calls
    int ended;             ///< 1: its stages returned without an error, in all ranks
    LvDtype dtype;
    char folder[LV_RUN_PATH]; ///< of dir when none was given
} LvRun;

/** What the loop needs to know of a stage. */
typedef struct LvTrainStage {
    const char *name;
    LvTrainer *trainer;
    int (*step)(void *stage);
    int (*fields)(void *stage, LvLogField *f); ///< of the last step; 3 are added
    int shown;             ///< of them, how many are worth a line on the screen
    int (*save)(void *stage, const char *run); ///< NULL: lv_trainer_save()
    int (*sample)(void *stage, const char *path); ///< write a sheet of clips; NULL: there are
                           ///< none
    void *opaque;
    double flops;          ///< of a step; 0: unknown
} LvTrainStage;

/** Help on the options that lv_run_option() takes. */
#define LV_RUN_HELP                                                                     \
    "  --minutes N       save and exit after N minutes\n"                               \
    "  --until STEP      save and exit at this step of each stage\n"                    \
    "  -y, --overwrite   overwrite the FILE of -o\n"                                    \
    "  --checkpoint      activation checkpointing: less memory, more time\n"            \
    "  --device NAME     auto, cpu, cuda, cuda:N\n"                                     \
    "  --threads N       threads of the CPU [one for each core]\n"                      \
    "  --precision NAME  of matmuls: f32, bf16 or auto, bf16 where that is fast\n"

/** Begin: messages, signals. */
void lv_run_init(LvRun *r, const char *command);

/** Take an option of all runs, "dir" among them: 1; 0: it is none; -1 after a message. */
int lv_run_option(LvRun *r, LvArgs *a);

/** Make and, in rank 0, lock the folder: dir, or else the name of a file without its folder and
 *  `ending` (or .json), with `more` behind it. 0 or -1. */
int lv_run_folder(LvRun *r, const char *file, const char *ending, const char *more);

/** Check the bundle that is to come out, before the work: `out`, or when NULL that of the
 *  folder, which may be there. inputs, ended by NULL, are never overwritten; inputs that are
 *  "" are none. 0 or an error. */
int lv_run_output(const LvRun *r, const char *out, const char *const *inputs);

/** Open the device, of several ranks each its own, and join theirs. 0 or an error. */
int lv_run_open(LvRun *r);

/** Close it, and unlock the folder. */
void lv_run_close(LvRun *r);

/** Path of a file of the folder, in buf[LV_RUN_PATH]. Returns buf. */
const char *lv_run_path(const LvRun *r, const char *name, char *buf);

/** Whether there is a file. */
int lv_run_exists(const char *file);

/** Whether this process is the one that writes, draws and tells: rank 0, or alone. */
int lv_run_leads(const LvRun *r);

/** Whether to stop: a signal came, or time is over. */
int lv_run_is_over(const LvRun *r);

/** Take steps until the stage is done or it is time to stop, for any rank, then save to the
 *  file `run`; NAME.jsonl gets a line for each.
 *  @return 1: done, 0: stopped before, negative: failed */
int lv_run_stage(LvRun *r, const LvTrainStage *s, const char *run);

/** Whether a run has taken all its steps. */
int lv_run_is_done(const LvTrainer *t);

/** Exit code of a command whose last stage returned ret; no more is begun. */
int lv_run_exit(LvRun *r, int ret);

#endif /* LINVIDEO_TOOLS_SHARE_RUN_H */
