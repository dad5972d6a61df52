/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The commands. Each is defined in its own file, cmd_NAME.c.
 * Floor tools/cmd.
 */

#ifndef LINVIDEO_TOOLS_CMD_COMMANDS_H
#define LINVIDEO_TOOLS_CMD_COMMANDS_H

typedef struct LvCommand {
    const char *name;
    const char *about; ///< for the list of commands
    /** argv[0] is the name of the command. Returns an exit code of tools/share/message.h. */
    int (*run)(int argc, char **argv);
} LvCommand;

/** In the order of the help. */
extern const LvCommand lv_cmd_generate;
extern const LvCommand lv_cmd_serve;
extern const LvCommand lv_cmd_inspect;
extern const LvCommand lv_cmd_setup;
extern const LvCommand lv_cmd_convert;
extern const LvCommand lv_cmd_train;
extern const LvCommand lv_cmd_linearize;
extern const LvCommand lv_cmd_distill;
extern const LvCommand lv_cmd_compare;
extern const LvCommand lv_cmd_report;
extern const LvCommand lv_cmd_bench;
extern const LvCommand lv_cmd_dataset;
extern const LvCommand lv_cmd_eval;
extern const LvCommand lv_cmd_devices;

#endif /* LINVIDEO_TOOLS_CMD_COMMANDS_H */
