/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Words for the completion of shells (samples/completion), a line each, out of the commands'
 * own help and the library's table of options.
 * Floor tools.
 */

#ifndef LINVIDEO_TOOLS_COMPLETE_H
#define LINVIDEO_TOOLS_COMPLETE_H

#include "tools/cmd/commands.h"

/**
 * `linvideo complete [COMMAND [OPTION]]`: print the commands; the options of a command; the
 * values of an option, nothing for those that are not counted out.
 *
 * @param commands [nb]
 * @return an exit code
 */
int lv_complete(const LvCommand *const *commands, int nb, int argc, char **argv);

#endif /* LINVIDEO_TOOLS_COMPLETE_H */
