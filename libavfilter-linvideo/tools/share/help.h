/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Help on options, and what the library's table knows of them.
 * Floor tools/share.
 */

#ifndef LINVIDEO_TOOLS_SHARE_HELP_H
#define LINVIDEO_TOOLS_SHARE_HELP_H

/** Print an option, "--size WxH", and what it does, in lines of 79 columns. */
void lv_help_option(const char *head, const char *help);

/** Print all options of linvideo_params_set(). */
void lv_help_parameters(void);

/** Whether it has an option of that name. */
int lv_help_has_parameter(const char *name);

#endif /* LINVIDEO_TOOLS_SHARE_HELP_H */
