/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tools/share/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

/* Seconds between two updates of the bar, and between two plain lines; lines grow
 * rarer as the run grows longer: at most one for each 3 % of it. */
#define BAR_EVERY  0.1
#define LINE_EVERY 1.0
#define LINE_SHARE 0.03

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static int terminal_width(void)
{
    struct winsize w = { 0 };
    int n;

    if (!ioctl(STDERR_FILENO, TIOCGWINSZ, &w) && w.ws_col)
        n = w.ws_col;
    else
        n = getenv("COLUMNS") ? atoi(getenv("COLUMNS")) : 0;
    return n >= 20 && n < 1000 ? n : 80;
}

void lv_bar_init(LvBar *p)
{
    const char *term = getenv("TERM");

    memset(p, 0, sizeof(*p));
    p->terminal = isatty(STDERR_FILENO) && term && *term && strcmp(term, "dumb");
}

/* "3 s", "4:05", "2:04:05" */
static const char *time_text(char *buf, size_t size, double s)
{
    int n = s + 0.5;

    if (n < 60)
        snprintf(buf, size, "%d s", n);
    else if (n < 3600)
        snprintf(buf, size, "%d:%02d", n / 60, n % 60);
    else
        snprintf(buf, size, "%d:%02d:%02d", n / 3600, n / 60 % 60, n % 60);
    return buf;
}

static double share_done(const LinvideoProgress *s)
{
    double x = (s->clip + s->fraction) / (s->clips > 0 ? s->clips : 1);

    return x < 0 ? 0 : x > 1 ? 1 : x;
}

/* What is left, by the rate up to now; nothing while that is a wild guess. */
static const char *left_text(char *buf, size_t size, double elapsed, double done)
{
    char t[24];

    if (done < 0.02 || elapsed < 0.5)
        return "";
    snprintf(buf, size, "%s left",
             time_text(t, sizeof(t), elapsed * (1 - done) / done));
    return buf;
}

static void stage_text(char *buf, size_t size, const LinvideoProgress *s)
{
    int n = 0;

    if (s->clips > 1)
        n = snprintf(buf, size, "clip %lld/%lld ", (long long)s->clip + 1,
                     (long long)s->clips);
    n += snprintf(buf + n, size - n, "%s", s->stage_name);
    if (s->steps > 1)
        snprintf(buf + n, size - n, " %d/%d", s->step, s->steps);
}

/* "denoising 3/8    [########........]  43 %  12 s left" */
static void show_bar(LvBar *p, const LinvideoProgress *s, double elapsed)
{
    char stage[96], left[40] = "", head[160], tail[64];
    double done = share_done(s);
    int width, bar, full;

    stage_text(stage, sizeof(stage), s);
    snprintf(head, sizeof(head), "%-16s ", stage);
    snprintf(tail, sizeof(tail), " %3.0f %%  %-14s", 100 * done,
             left_text(left, sizeof(left), elapsed, done));
    width = terminal_width();
    bar   = width - 3 - (int)strlen(head) - (int)strlen(tail);
    if (bar > 60)
        bar = 60;
    fputs("\r\033[K", stderr);
    if (bar >= 5) {
        full = bar * done + 0.5;
        fprintf(stderr, "%s[", head);
        for (int i = 0; i < bar; i++)
            fputc(i < full ? '#' : '.', stderr);
        fprintf(stderr, "]%s", tail);
    } else {
        fprintf(stderr, "%.*s %3.0f %%", width - 8, stage, 100 * done);
    }
    fflush(stderr);
    p->shown = 1;
}

static void show_line(const LinvideoProgress *s, double elapsed)
{
    char stage[96], left[40];
    double done = share_done(s);

    stage_text(stage, sizeof(stage), s);
    fprintf(stderr, "linvideo: %s, %.0f %%", stage, 100 * done);
    if (*left_text(left, sizeof(left), elapsed, done))
        fprintf(stderr, ", %s", left);
    fputc('\n', stderr);
}

void lv_bar_show(void *opaque, const LinvideoProgress *s)
{
    LvBar *p = opaque;
    double now = seconds(), every = BAR_EVERY;

    flockfile(stderr);
    if (!p->start)
        p->start = p->last = now;
    if (!p->terminal)
        every = LINE_EVERY + LINE_SHARE * (now - p->start);
    if (now - p->last >= every) {
        p->last = now;
        if (p->terminal)
            show_bar(p, s, now - p->start);
        else
            show_line(s, now - p->start);
    }
    funlockfile(stderr);
}

void lv_bar_clear(LvBar *p)
{
    flockfile(stderr);
    if (p->shown) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
    }
    p->shown = 0;
    funlockfile(stderr);
}
