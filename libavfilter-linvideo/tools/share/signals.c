/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tools/share/signals.h"

#include <signal.h>
#include <stdatomic.h>

#include "base/common.h"

/* Seconds. */
#define ONE_SIGNAL 0.5

static atomic_int caught;

static void on_signal(int number)
{
    static double first;

    if (!caught) {
        first  = lv_seconds();
        caught = number;
    } else if (lv_seconds() - first > ONE_SIGNAL) {
        signal(number, SIG_DFL);
        raise(number);
    }
}

void lv_signals_catch(int ignored_too)
{
    static const int numbers[] = { SIGINT, SIGTERM };

    for (int i = 0; i < LV_COUNT(numbers); i++)
        if (signal(numbers[i], on_signal) == SIG_IGN && !ignored_too)
            signal(numbers[i], SIG_IGN);
}

int lv_signals_caught(void)
{
    return caught;
}

void lv_signals_note(int number)
{
    caught = number;
}

int lv_signals_came(void)
{
    sigset_t waiting;

    return caught || (!sigpending(&waiting) && (sigismember(&waiting, SIGINT) > 0 ||
                                                sigismember(&waiting, SIGTERM) > 0));
}
