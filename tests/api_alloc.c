/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The allocator as the library's own objects see it. The program is linked with
 * --wrap for each name here, which turns the calls of these objects, and not those
 * of shared libraries, to the functions below.
 */

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "tests/api_kit.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
void __real_free(void *p);

void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);
void __wrap_free(void *p);

static atomic_long count, live, fail_at;
static atomic_int armed, fail_all;

void kit_arm(long n, int all)
{
    count    = 0;
    fail_at  = n;
    fail_all = all;
    armed    = 1;
}

long kit_disarm(void)
{
    armed = 0;
    return count;
}

long kit_live(void)
{
    return live;
}

/* Whether this allocation is to fail. */
static int fails(void)
{
    long n = armed ? ++count : 0, at = fail_at;

    return n && at && (n == at || (fail_all && n > at));
}

static void *counted(void *p)
{
    live += p != NULL;
    return p;
}

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : counted(__real_malloc(n));
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : counted(__real_calloc(n, size));
}

void *__wrap_realloc(void *p, size_t n)
{
    void *q = fails() ? NULL : __real_realloc(p, n);

    return p ? q : counted(q);
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
    return fails() ? NULL : counted(__real_aligned_alloc(align, n));
}

char *__wrap_strdup(const char *s)
{
    return fails() ? NULL : counted(__real_strdup(s));
}

char *__wrap_strndup(const char *s, size_t n)
{
    return fails() ? NULL : counted(__real_strndup(s, n));
}

void __wrap_free(void *p)
{
    live -= p != NULL;
    __real_free(p);
}
