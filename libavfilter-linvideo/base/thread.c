/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "base/thread.h"

#include <signal.h>

int lv_thread_start(pthread_t *thread, void *(*run)(void *opaque), void *opaque)
{
    sigset_t all, old;
    int ret;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    ret = pthread_create(thread, NULL, run, opaque);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return ret;
}
