/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Lines in, lines out: over standard input and output, or a Unix socket of any number of
 * connections. No network.
 * Floor tools/share.
 */

#ifndef LINVIDEO_TOOLS_SHARE_SERVER_H
#define LINVIDEO_TOOLS_SHARE_SERVER_H

#include <stddef.h>

/** Bytes of the longest line. */
#define LV_SERVER_LINE (1 << 20)

/** Who sends lines. Counted: it lives until the server and all who keep it have dropped it. */
typedef struct LvPeer LvPeer;

typedef struct LvServer LvServer;

/** What is told of a peer's line: size bytes of the server's and a 0 behind them, without
 *  the end of the line. NULL: it was too long and passed over. */
typedef void LvServerLine(void *opaque, LvPeer *from, const char *line, size_t size);

/**
 * @param where "-", or the path of a socket, which only this user can open. One that nobody
 *              listens at any more is replaced; any other file there is left alone.
 * @return 0 or -errno after a message
 */
int lv_server_open(LvServer **s, const char *where);

/** Hand on lines until standard input has ended, or lv_signals_caught(): its signals are
 *  blocked in the calling thread but while this waits. @return 0, or -errno after a message */
int lv_server_run(LvServer *s, LvServerLine *line, void *opaque);

/** Close, and remove the socket. NULL is fine. */
void lv_server_close(LvServer **s);

void lv_peer_keep(LvPeer *p);
void lv_peer_drop(LvPeer *p);

/** Send a line, from any thread. This waits for a peer that reads slowly; call it without a
 *  lock. A peer that has gone, a connection that takes nothing for ten seconds, and one that
 *  takes nothing when a signal comes are told nothing more. */
void lv_peer_say(LvPeer *p, const char *line);

/** Whether all that was said has arrived. */
int lv_peer_is_there(const LvPeer *p);

#endif /* LINVIDEO_TOOLS_SHARE_SERVER_H */
