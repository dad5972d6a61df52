/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Signals that end a command after what it is at: it looks whether one came, and leaves
 * things in order. State of the process, which has one command.
 * Floor tools/share.
 */

#ifndef LINVIDEO_TOOLS_SHARE_SIGNALS_H
#define LINVIDEO_TOOLS_SHARE_SIGNALS_H

/** Catch SIGINT and SIGTERM. timeout(1) and some shells send a signal to a command and to
 *  its group: what comes within half a second is one; a later one ends the process at once.
 *  @param ignored_too also a signal that is ignored, as in a background job, is caught */
void lv_signals_catch(int ignored_too);

/** The first signal that came, or 0. */
int lv_signals_caught(void);

/** Whether one came, also one that is blocked and not caught yet. */
int lv_signals_came(void);

/** Note a signal that was taken by other means. */
void lv_signals_note(int number);

#endif /* LINVIDEO_TOOLS_SHARE_SIGNALS_H */
