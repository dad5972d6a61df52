/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Charts by gnuplot.
 * Floor tools/share.
 */

#ifndef LINVIDEO_TOOLS_SHARE_PLOT_H
#define LINVIDEO_TOOLS_SHARE_PLOT_H

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

#endif /* LINVIDEO_TOOLS_SHARE_PLOT_H */
