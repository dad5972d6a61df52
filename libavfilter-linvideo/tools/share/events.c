/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tools/share/events.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/common.h"
#include "base/file.h"
#include "base/text.h"
#include "tools/share/message.h"
#include "tools/share/signals.h"

#define EVERY 0.1 ///< seconds

static int write_line(const char *text)
{
    LvFile out;
    int ret = lv_file_output(&out, "-", NULL);

    if (ret < 0)
        return ret;
    out.stop = lv_signals_came;
    lv_file_print(&out, "%s\n", text);
    return lv_file_finish(&out, NULL);
}

/* Print an object, and free it. */
static void put(LvEvents *e, json_t *event)
{
    char *text = event ? json_dumps(event, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;

    flockfile(stdout);
    if (!e->error)
        e->error = text ? write_line(text) : -ENOMEM;
    funlockfile(stdout);
    free(text);
    json_decref(event);
}

void lv_events_log(void *opaque, enum LinvideoLogLevel level, const char *message)
{
    char line[4096];

    if (level == LINVIDEO_LOG_WARNING)
        put(opaque, json_pack("{ss ss}", "event", "warning", "message",
                              lv_text_line(line, sizeof(line), message)));
    else
        lv_tool_log(NULL, level, message);
}

void lv_events_progress(void *opaque, const LinvideoProgress *p)
{
    LvEvents *e = opaque;
    double now  = lv_seconds();

    if (e->stage == (int)p->stage && e->step == p->step && now - e->last < EVERY)
        return;
    e->stage = (int)p->stage;
    e->step  = p->step;
    e->last  = now;
    put(e, json_pack("{ss ss sI sI si si sf sf}", "event", "progress", "stage", p->stage_name,
                     "clip", (json_int_t)p->clip, "clips", (json_int_t)p->clips, "step", p->step,
                     "steps", p->steps, "fraction", p->fraction, "elapsed", p->elapsed));
}

void lv_events_begin(LvEvents *e, const LinvideoContext *c)
{
    LinvideoInfo i;
    char rate[32], model[256];

    linvideo_info(c, &i);
    put(e, json_pack("{ss ss ss ss si si ss sI sI si}", "event", "begin", "model",
                     lv_text_line(model, sizeof(model), i.model),
                     "device", i.device, "precision", i.precision, "width", i.width,
                     "height", i.height, "rate",
                     lv_rate_text(rate, sizeof(rate), i.rate_num, i.rate_den),
                     "frames", (json_int_t)i.frames, "seed", (json_int_t)i.seed,
                     "steps", i.steps));
}

json_t *lv_events_result(const LinvideoContext *c, const LvSink *s)
{
    LinvideoInfo i;
    char rate[32], path[4096], model[256];

    linvideo_info(c, &i);
    return json_pack("{ss sI si si ss sI ss s{sf sf sf sf}}", "output",
                     lv_text_line(path, sizeof(path), s->path), "frames",
                     (json_int_t)s->frames, "width", i.width, "height", i.height, "rate",
                     lv_rate_text(rate, sizeof(rate), i.rate_num, i.rate_den), "seed",
                     (json_int_t)i.seed, "model",
                     lv_text_line(model, sizeof(model), i.model), "seconds",
                     "loading", i.seconds[0], "text", i.seconds[1], "denoising", i.seconds[2],
                     "decoding", i.seconds[3]);
}

void lv_events_done(LvEvents *e, const LinvideoContext *c, const LvSink *s)
{
    json_t *event  = json_pack("{ss}", "event", "done");
    json_t *result = lv_events_result(c, s);

    if (event && result)
        json_object_update(event, result);
    json_decref(result);
    put(e, event);
}

void lv_events_failed(LvEvents *e, int code)
{
    char error[4096], line[4096];

    lv_tool_last_error(error);
    put(e, json_pack("{ss si ss}", "event", "failed", "code", code, "message",
                        lv_text_line(line, sizeof(line), error)));
}

int lv_events_end(const LvEvents *e, int code)
{
    if (!e->error || lv_signals_came())
        return code;
    lv_tool_fail(0, "standard output: %s; events were lost", strerror(-e->error));
    return code ? code : LV_EXIT_FAILED;
}
