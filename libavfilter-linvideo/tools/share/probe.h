/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What the machine can do.
 * Floor tools/share.
 */

#ifndef LINVIDEO_TOOLS_SHARE_PROBE_H
#define LINVIDEO_TOOLS_SHARE_PROBE_H

/** GFLOP/s of a plain oneDNN matmul, [1280,1536] x [1536,8960], with
 *  `threads` threads (0: as many as OpenMP takes). */
typedef struct LvProbe {
    double f32, bf16; ///< 0: the library cannot do it here
    char version[32]; ///< of oneDNN
} LvProbe;

/** Measure; takes about a second. 0, or -1 when oneDNN failed. */
int lv_probe(LvProbe *p, int threads);

#endif /* LINVIDEO_TOOLS_SHARE_PROBE_H */
