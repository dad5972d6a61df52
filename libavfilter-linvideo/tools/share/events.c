/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tools/share/events.h"

#include <jansson.h>
#include <stdio.h>

#include "base/common.h"
#include "base/text.h"
#include "tools/share/message.h"

#define EVERY 0.1 ///< seconds

/* Print an object, and free it. A reader that has gone is told of at the end. */
static void put(json_t *event)
{
    if (!event)
        return;
    flockfile(stdout);
    json_dumpf(event, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    putchar('\n');
    fflush(stdout);
    funlockfile(stdout);
    json_decref(event);
}

void lv_events_log(void *opaque, enum LinvideoLogLevel level, const char *message)
{
    char line[4096];

    (void)opaque;
    if (level == LINVIDEO_LOG_WARNING)
        put(json_pack("{ss ss}", "event", "warning", "message",
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
    *e = (LvEvents) { (int)p->stage, p->step, now };
    put(json_pack("{ss ss sI sI si si sf sf}", "event", "progress", "stage", p->stage_name,
                  "clip", (json_int_t)p->clip, "clips", (json_int_t)p->clips, "step", p->step,
                  "steps", p->steps, "fraction", p->fraction, "elapsed", p->elapsed));
}

void lv_events_begin(const LinvideoContext *c)
{
    LinvideoInfo i;
    char rate[32];

    linvideo_info(c, &i);
    put(json_pack("{ss ss ss ss si si ss sI sI si}", "event", "begin", "model", i.model,
                  "device", i.device, "precision", i.precision, "width", i.width,
                  "height", i.height, "rate",
                  lv_rate_text(rate, sizeof(rate), i.rate_num, i.rate_den),
                  "frames", (json_int_t)i.frames, "seed", (json_int_t)i.seed,
                  "steps", i.steps));
}

json_t *lv_events_result(const LinvideoContext *c, const LvSink *s)
{
    LinvideoInfo i;
    char rate[32], path[4096];

    linvideo_info(c, &i);
    return json_pack("{ss sI si si ss sI ss s{sf sf sf sf}}", "output",
                     lv_text_line(path, sizeof(path), s->path), "frames",
                     (json_int_t)s->frames, "width", i.width, "height", i.height, "rate",
                     lv_rate_text(rate, sizeof(rate), i.rate_num, i.rate_den), "seed",
                     (json_int_t)i.seed, "model", i.model, "seconds",
                     "loading", i.seconds[0], "text", i.seconds[1], "denoising", i.seconds[2],
                     "decoding", i.seconds[3]);
}

void lv_events_done(const LinvideoContext *c, const LvSink *s)
{
    json_t *event  = json_pack("{ss}", "event", "done");
    json_t *result = lv_events_result(c, s);

    if (event && result)
        json_object_update(event, result);
    json_decref(result);
    put(event);
}

void lv_events_failed(int code)
{
    char error[4096], line[4096];

    lv_tool_last_error(error);
    put(json_pack("{ss si ss}", "event", "failed", "code", code, "message",
                  lv_text_line(line, sizeof(line), error)));
}
