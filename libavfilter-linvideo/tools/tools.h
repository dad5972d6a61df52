/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What the files of the command `linvideo` share: arguments, progress, pictures.
 * Top floor: the library's caller.
 */

#ifndef LINVIDEO_TOOLS_TOOLS_H
#define LINVIDEO_TOOLS_TOOLS_H

#include <stdint.h>
#include <stdio.h>

#include <linvideo/linvideo.h>

#include "base/file.h"

/** Exit codes; a run stopped by signal n ends with 128 + n. */
enum { LV_EXIT_OK, LV_EXIT_FAILED, LV_EXIT_USAGE, LV_EXIT_STOPPED };

/* The subcommands. argv[0] is the name of the subcommand. Result: exit code. */
int lv_cmd_generate(int argc, char **argv);
int lv_cmd_inspect(int argc, char **argv);
int lv_cmd_setup(int argc, char **argv);
int lv_cmd_convert(int argc, char **argv);
int lv_cmd_bench(int argc, char **argv);
int lv_cmd_train(int argc, char **argv);
int lv_cmd_dataset(int argc, char **argv);
int lv_cmd_eval(int argc, char **argv);
int lv_cmd_linearize(int argc, char **argv);
int lv_cmd_distill(int argc, char **argv);
int lv_cmd_compare(int argc, char **argv);
int lv_cmd_report(int argc, char **argv);
int lv_cmd_devices(int argc, char **argv);

/** Print "linvideo: ..." and a newline to stderr. Returns code. */
int lv_tool_fail(int code, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/** A log callback: one line to stderr; opaque is an LvBar or NULL. */
void lv_tool_log(void *opaque, enum LinvideoLogLevel level, const char *message);

/** A walk over arguments: words, and options written "--name value",
 *  "--name=value" or with one dash. "--" makes words of all that follow. */
typedef struct LvArgs {
    int argc;
    char **argv;
    int at;             ///< next argument
    int words_only;     ///< "--" was seen
    const char *value;  ///< the word; or what followed "="; or NULL
    char name[64];      ///< of the option, with _ for -; "" for a word
} LvArgs;

/** Step to the next word or option: 1, or 0 after the last. */
int lv_args_next(LvArgs *a);

/** Value of the option: after "=", else the next argument, which is taken.
 *  NULL, after a message, when there is none. */
const char *lv_args_value(LvArgs *a);

/** Whether the option is -y, which sets *overwrite. */
int lv_args_overwrite(const LvArgs *a, int *overwrite);

/** Value of the option as a whole number of [low, high]: 0, or -1 after a
 *  message. */
int lv_args_int(LvArgs *a, int low, int high, int *out);

/** Help on it. */
#define LV_OVERWRITE_HELP "  -y, --overwrite       overwrite files that exist\n"

/** Bytes as text, "12.3 MiB", in buf. Returns buf. */
const char *lv_bytes_text(char *buf, size_t size, double bytes);

/** Frames per second as text, "24" or "24000/1001", in buf. Returns buf. */
const char *lv_rate_text(char *buf, size_t size, int num, int den);

/** Progress on stderr: a bar on a terminal, else a line a second at most. */
typedef struct LvBar {
    int terminal;  ///< stderr is one
    int shown;     ///< a bar stands on the last line
    double start;  ///< seconds, when the first report came; 0 before
    double last;   ///< when something was printed
} LvBar;

void lv_bar_init(LvBar *p);

/** Show what s says; opaque is an LvBar. A progress callback. */
void lv_bar_show(void *opaque, const LinvideoProgress *s);

/** Take the bar away. */
void lv_bar_clear(LvBar *p);

/** A frame's memory: planes one after the other, rows without gaps. */
typedef struct LvCanvas {
    enum LinvideoFormat format;
    int width, height;
    LinvideoFrame frame; ///< planes set
    size_t size;         ///< bytes of all planes
} LvCanvas;

/** 0 or -ENOMEM. Free with lv_canvas_free(). */
int lv_canvas_alloc(LvCanvas *p, enum LinvideoFormat format, int width,
                     int height);
void lv_canvas_free(LvCanvas *p);

/** Write the header of a YUV4MPEG2 stream (yuv420p or yuv444p). 0 or -errno. */
int lv_y4m_header(LvFile *out, const LvCanvas *p, int rate_num, int rate_den);

/** Write and flush one frame. 0 or -errno. */
int lv_y4m_frame(LvFile *out, const LvCanvas *p);

/** A note kept in a PNG. */
typedef struct LvPngText {
    const char *key;  ///< 1 to 79 letters, as "Description"
    const char *text; ///< UTF-8
} LvPngText;

/**
 * Write a picture in LINVIDEO_RGB24 as a PNG, 8 bits a channel.
 *
 * @param text notes, ended by a key of NULL; may be NULL
 * @return 0 or -errno: -ENOMEM, or out->error
 */
int lv_png_write(LvFile *out, const LvCanvas *p, const LvPngText *text);

/** A contact sheet: clips below each other, a row of frames each, evenly spread from
 *  the first to the last. */
typedef struct LvSheet {
    LvCanvas canvas;
    int width, height, frames; ///< of the clips
    int columns;               ///< frames of a row: 6, or all when they are fewer
} LvSheet;

/** 0 or -ENOMEM. Free with lv_sheet_free(). */
int lv_sheet_new(LvSheet *s, int width, int height, int frames, int rows);
void lv_sheet_free(LvSheet *s);

/** Put a clip, [frames,height,width,3] in 0..1, into a row. */
void lv_sheet_paste(LvSheet *s, int row, const float *rgb);

/** Write it as a PNG to path, "-" for standard output. 0, or -errno after a message. */
int lv_sheet_write(const LvSheet *s, const char *path);

/** A bar chart: groups of bars in per cent. */
typedef struct LvPlotBars {
    const char *title;
    const char *const *groups;  ///< names, `nb`
    const char *const *bars;    ///< names of the bars of a group, `per_group`
    const double *value;        ///< [nb,per_group]
    int nb, per_group;
} LvPlotBars;

/**
 * Write NAME.dat and NAME.gp, a script for gnuplot that makes NAME.png and NAME.svg,
 * into a folder, which is made when it is not there.
 *
 * @return 0, or -errno after a message
 */
int lv_plot_bars(const char *folder, const char *name, const LvPlotBars *bars);

/** The same for the first number behind the step in each line of a log of training,
 *  and its running mean. */
int lv_plot_log(const char *folder, const char *name, const char *log);

/** Curves over a common axis. */
typedef struct LvPlotLines {
    const char *title, *xlabel, *ylabel;
    const char *const *names;   ///< of the curves, `nb`
    const double *x;            ///< [rows]
    const double *y;            ///< [rows,nb]; a gap where it is no number
    int rows, nb;
    int logarithmic;            ///< 1: the upright axis
} LvPlotLines;

/** The same for curves. */
int lv_plot_lines(const char *folder, const char *name, const LvPlotLines *lines);

/** Let gnuplot run NAME.gp in the folder; say so when there is no gnuplot, or it
 *  failed. */
void lv_plot_run(const char *folder, const char *name);

/** GFLOP/s of a plain oneDNN matrix product, [1280,1536] x [1536,8960], with
 *  `threads` threads (0: as many as OpenMP takes). */
typedef struct LvProbe {
    double f32, bf16; ///< 0: the library cannot do it here
    char version[32]; ///< of oneDNN
} LvProbe;

/** Measure; takes about a second. 0, or -1 when oneDNN failed. */
int lv_probe(LvProbe *p, int threads);

#endif /* LINVIDEO_TOOLS_TOOLS_H */
