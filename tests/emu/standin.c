/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "standin.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const texts[EMU_KIND_NB] = {
#define KIND_TEXT(KIND, text) text,
    EMU_KINDS(KIND_TEXT)
#undef KIND_TEXT
};

static int alive[EMU_KIND_NB];
static long calls, fail_at = -1;
static const char *failed;

long long emu_setting(const char *name, long long otherwise)
{
    const char *value = getenv(name);

    return value && *value ? atoll(value) : otherwise;
}

int emu_fault(const char *entry)
{
    if (fail_at < 0)
        fail_at = (long)emu_setting("EMU_FAIL_AT", 0);
    if (++calls != fail_at)
        return 0;
    failed = entry;
    return 1;
}

void emu_fail_at(long n)
{
    calls   = 0;
    fail_at = n;
    failed  = NULL;
}

long emu_calls(void)
{
    return calls;
}

const char *emu_failed(void)
{
    return failed;
}

void emu_made(int kind)
{
    alive[kind]++;
}

void emu_gone(int kind)
{
    if (--alive[kind] < 0) {
        fprintf(stderr, "emulated GPU: a %s is given back twice\n", texts[kind]);
        abort();
    }
}

const char *emu_alive(void)
{
    static char text[512];
    size_t n = 0;

    text[0] = 0;
    for (int i = 0; i < EMU_KIND_NB; i++)
        if (alive[i] && n < sizeof(text))
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%d x %s",
                                  n ? ", " : "", alive[i], texts[i]);
    return text;
}
