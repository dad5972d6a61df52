/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Threads of the library's own.
 * Floor F1 (base).
 */

#ifndef LINVIDEO_BASE_THREAD_H
#define LINVIDEO_BASE_THREAD_H

#include <pthread.h>

/** Start a thread that no signal comes to: those are for the program's own threads.
 *  @return 0 or the code of pthread_create() */
int lv_thread_start(pthread_t *thread, void *(*run)(void *opaque), void *opaque);

#endif /* LINVIDEO_BASE_THREAD_H */
