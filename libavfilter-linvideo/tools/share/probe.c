/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What the machine can do: a plain matmul by oneDNN, with the weight in the
 * layout oneDNN likes best. On purpose apart from the library's own matmuls, so
 * that a fault there does not lower the ceiling it is measured against.
 */

#include "tools/share/probe.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { M = 1280, K = 1536, N = 8960, REPS = 12 };

#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t Md;
#else
typedef const dnnl_memory_desc_t *Md;
#endif

typedef struct Product {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t matmul;
    dnnl_memory_t memory[3]; ///< x, w, y
} Product;

static const int roles[3] = { DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST };

static int create_desc(Product *p, dnnl_data_type_t type)
{
    const dnnl_dims_t x = { M, K }, w = { K, N }, y = { M, N };
    int ret;

#if DNNL_VERSION_MAJOR >= 3
    dnnl_memory_desc_t md[3] = { NULL };

    dnnl_memory_desc_create_with_tag(&md[0], 2, x, type, dnnl_ab);
    dnnl_memory_desc_create_with_tag(&md[1], 2, w, type, dnnl_format_tag_any);
    dnnl_memory_desc_create_with_tag(&md[2], 2, y, dnnl_f32, dnnl_ab);
    ret = dnnl_matmul_primitive_desc_create(&p->desc, p->engine, md[0], md[1], NULL,
                                            md[2], NULL);
    for (int i = 0; i < 3; i++)
        dnnl_memory_desc_destroy(md[i]);
#else
    dnnl_memory_desc_t md[3];
    dnnl_matmul_desc_t desc;

    dnnl_memory_desc_init_by_tag(&md[0], 2, x, type, dnnl_ab);
    dnnl_memory_desc_init_by_tag(&md[1], 2, w, type, dnnl_format_tag_any);
    dnnl_memory_desc_init_by_tag(&md[2], 2, y, dnnl_f32, dnnl_ab);
    ret = dnnl_matmul_desc_init(&desc, &md[0], &md[1], NULL, &md[2]);
    if (!ret)
        ret = dnnl_primitive_desc_create(&p->desc, &desc, NULL, p->engine, NULL);
#endif
    return ret;
}

/* Numbers near one, of either type: what is multiplied must not be denormal. */
static void fill(void *data, size_t bytes, dnnl_data_type_t type)
{
    float one = 1.0f, *f = data;
    uint16_t *h = data;

    if (type == dnnl_f32)
        for (size_t i = 0; i < bytes / 4; i++)
            f[i] = one + (i & 7) * 0.125f;
    else
        for (size_t i = 0; i < bytes / 2; i++)
            h[i] = 0x3f80 + (i & 7) * 16;
}

static int create_memory(Product *p, int i, dnnl_query_t what, dnnl_data_type_t type)
{
    Md md = dnnl_primitive_desc_query_md(p->desc, what, 0);
    void *data = NULL;

    if (!md || dnnl_memory_create(&p->memory[i], md, p->engine,
                                  DNNL_MEMORY_ALLOCATE) ||
        dnnl_memory_get_data_handle(p->memory[i], &data))
        return -1;
    fill(data, dnnl_memory_desc_get_size(md), type);
    return 0;
}

static int create(Product *p, dnnl_data_type_t type)
{
    return dnnl_engine_create(&p->engine, dnnl_cpu, 0) ||
           dnnl_stream_create(&p->stream, p->engine, dnnl_stream_default_flags) ||
           create_desc(p, type) ||
           dnnl_primitive_create(&p->matmul, p->desc) ||
           create_memory(p, 0, dnnl_query_src_md, type) ||
           create_memory(p, 1, dnnl_query_weights_md, type) ||
           create_memory(p, 2, dnnl_query_dst_md, dnnl_f32) ? -1 : 0;
}

static void destroy(Product *p)
{
    for (int i = 0; i < 3; i++)
        if (p->memory[i])
            dnnl_memory_destroy(p->memory[i]);
    if (p->matmul)
        dnnl_primitive_destroy(p->matmul);
    if (p->desc)
        dnnl_primitive_desc_destroy(p->desc);
    if (p->stream)
        dnnl_stream_destroy(p->stream);
    if (p->engine)
        dnnl_engine_destroy(p->engine);
}

static int multiply(const Product *p)
{
    dnnl_exec_arg_t args[3];

    for (int i = 0; i < 3; i++)
        args[i] = (dnnl_exec_arg_t) { roles[i], p->memory[i] };
    return dnnl_primitive_execute(p->matmul, p->stream, 3, args) ||
           dnnl_stream_wait(p->stream) ? -1 : 0;
}

/* The fastest of some runs: a ceiling is what was reached once. */
static double measure(dnnl_data_type_t type)
{
    Product p = { 0 };
    double best = 0;

    for (int i = create(&p, type) ? REPS : 0; i < REPS; i++) {
        struct timespec a, b;
        double s;

        clock_gettime(CLOCK_MONOTONIC, &a);
        if (multiply(&p))
            break;
        clock_gettime(CLOCK_MONOTONIC, &b);
        s = b.tv_sec - a.tv_sec + (b.tv_nsec - a.tv_nsec) * 1e-9;
        if (!best || s < best)
            best = s;
    }
    destroy(&p);
    return best > 0 ? 2e-9 * M * N * K / best : 0;
}

int lv_probe(LvProbe *p, int threads)
{
    const dnnl_version_t *v = dnnl_version();

    if (threads > 0)
        omp_set_num_threads(threads);
    snprintf(p->version, sizeof(p->version), "%d.%d.%d", v->major, v->minor, v->patch);
    p->f32  = measure(dnnl_f32);
    p->bf16 = measure(dnnl_bf16);
    return p->f32 > 0 ? 0 : -1;
}
