/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "tools/bench/rates.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *time_text(char *buf, size_t size, double s)
{
    if (s >= 1)
        snprintf(buf, size, "%.3f s ", s);
    else if (s >= 1e-3)
        snprintf(buf, size, "%.3f ms", 1e3 * s);
    else
        snprintf(buf, size, "%.3f us", 1e6 * s);
    return buf;
}

/* A GPU's rates: of matmuls and of memory, each with its share. */
static void print_rates(const LvBench *b, double flops, double bytes, double seconds)
{
    double matmuls = seconds > 0 ? 1e-9 * flops / seconds : 0;
    double memory   = seconds > 0 ? 1e-9 * bytes / seconds : 0;

    printf(" %9.1f %8.0f %% %9.0f %5.0f %%", 1e-3 * matmuls, 100 * matmuls / b->ceiling,
           memory, 100 * memory / b->copy);
}

/* What only moves memory is told in GB/s, of which there is no ceiling on the CPU. */
static void print_rate(const LvBench *b, double flops, double bytes, double seconds)
{
    double rate;

    if (b->copy > 0) {
        print_rates(b, flops, bytes, seconds);
        return;
    }
    rate = seconds > 0 ? 1e-9 * (flops > 0 ? flops : bytes) / seconds : 0;

    if (flops > 0)
        printf(" %9.1f %8.0f %%", rate, 100 * rate / b->ceiling);
    else
        printf(" %9.1f %10s", rate, "GB/s");
}

const char *lv_rates_head(const LvBench *b)
{
    return b->copy > 0 ? "  TFLOP/s of ceiling      GB/s of copy"
                       : "  GFLOP/s of ceiling";
}

/* A sum over like records: of one kind, or of one place in the model's source. */
typedef struct Row {
    const LvRecord *rec;
    double calls, seconds, flops, bytes;
} Row;

static int same_place(const LvRecord *a, const LvRecord *b)
{
    return a->op == b->op && a->line == b->line && !strcmp(a->file, b->file) &&
           !memcmp(a->u.t[0].dim, b->u.t[0].dim, sizeof(a->u.t[0].dim)) &&
           !memcmp(a->u.t[1].dim, b->u.t[1].dim, sizeof(a->u.t[1].dim));
}

static int same_op(const LvRecord *a, const LvRecord *b)
{
    return a->op == b->op;
}

static int compare_rows(const void *a, const void *b)
{
    return lv_timing_compare(&((const Row *)b)->seconds, &((const Row *)a)->seconds);
}

static int sum_rows(const LvBench *b, const LvTiming *r, Row *row,
                    int (*same)(const LvRecord *a, const LvRecord *b))
{
    int n = 0, k;

    for (int i = 0; i < lv_program_count(b->program); i++) {
        const LvRecord *rec = lv_program_record(b->program, i);
        double times = lv_timing_times(b, i);

        for (k = 0; k < n && !same(row[k].rec, rec); k++)
            ;
        if (k == n)
            row[n++] = (Row) { .rec = rec };
        row[k].calls   += times;
        row[k].seconds += times * r->record[i];
        row[k].flops   += times * lv_op_flops(rec->op, &rec->u);
        row[k].bytes   += times * lv_op_bytes(rec->op, &rec->u);
    }
    qsort(row, n, sizeof(*row), compare_rows);
    return n;
}

static void print_rows(const LvBench *b, const Row *row, int n, int places)
{
    char text[32], x[64], w[64];
    double total = 0;

    for (int i = 0; i < n; i++)
        total += row[i].seconds;
    printf("    %-12s %6s %12s %6s %s\n", "op", "calls", "time", "share", lv_rates_head(b));
    for (int i = 0; i < n; i++) {
        const LvRecord *r = row[i].rec;
        const char *slash = strrchr(r->file, '/');

        printf("    %-12s %6.0f %12s %4.1f %%", lv_op_info(r->op)->name, row[i].calls,
               time_text(text, sizeof(text), row[i].seconds),
               total > 0 ? 100 * row[i].seconds / total : 0);
        print_rate(b, row[i].flops, row[i].bytes, row[i].seconds);
        if (places)
            printf("  %s %s  %s:%d", lv_tensor_text(x, sizeof(x), &r->u.t[0]),
                   lv_op_info(r->op)->in > 1 && lv_has(&r->u.t[1]) ?
                   lv_tensor_text(w, sizeof(w), &r->u.t[1]) : "",
                   slash ? slash + 1 : r->file, r->line);
        putchar('\n');
    }
}

static void print_ops(const LvBench *b, const LvTiming *r)
{
    Row *row = calloc(lv_program_count(b->program) + 1, sizeof(*row));

    if (!row)
        return;
    print_rows(b, row, sum_rows(b, r, row, same_op), 0);
    putchar('\n');
    memset(row, 0, lv_program_count(b->program) * sizeof(*row));
    print_rows(b, row, sum_rows(b, r, row, same_place), 1);
    putchar('\n');
    free(row);
}

void lv_rates_print(const LvBench *b, const LvWork *w, const LvTiming *r)
{
    char mid[32], low[32], high[32];

    printf("%-24s %12s %12s %12s", w->name, time_text(mid, sizeof(mid), lv_timing_median(r)),
           time_text(low, sizeof(low), r->seconds[0]),
           time_text(high, sizeof(high), r->seconds[r->reps - 1]));
    print_rate(b, r->flops, r->bytes, lv_timing_median(r));
    putchar('\n');
    if (w->tokens)
        printf("    %s for each of %d tokens\n",
               time_text(mid, sizeof(mid), lv_timing_median(r) / w->tokens), w->tokens);
    if (b->note[0])
        printf("    %s\n", b->note);
    if (b->ops)
        print_ops(b, r);
    fflush(stdout);
}

static void print_json_ops(const LvBench *b, const LvTiming *r)
{
    Row *row = calloc(lv_program_count(b->program) + 1, sizeof(*row));
    int n = row ? sum_rows(b, r, row, same_op) : 0;

    printf(", \"ops\": {");
    for (int i = 0; i < n; i++)
        printf("%s\"%s\": {\"calls\": %.0f, \"seconds\": %.9g, \"gflop\": %.9g, "
               "\"gbyte\": %.9g}", i ? ", " : "", lv_op_info(row[i].rec->op)->name,
               row[i].calls, row[i].seconds, 1e-9 * row[i].flops, 1e-9 * row[i].bytes);
    putchar('}');
    free(row);
}

void lv_rates_json(const LvBench *b, const LvWork *w, const LvTiming *r)
{
    double rate = 1e-9 * r->flops / lv_timing_median(r);

    printf("%s  {\"name\": \"%s\", \"seconds\": %.9g, \"min\": %.9g, \"max\": %.9g, "
           "\"reps\": %d, \"gflop\": %.9g, \"gflops\": %.6g, \"share\": %.4g, "
           "\"gbyte\": %.9g",
           b->printed ? ",\n" : "", w->name, lv_timing_median(r), r->seconds[0],
           r->seconds[r->reps - 1], r->reps, 1e-9 * r->flops, rate,
           rate / b->ceiling, 1e-9 * r->bytes);
    if (b->copy > 0)
        printf(", \"copy_share\": %.4g", 1e-9 * r->bytes / lv_timing_median(r) / b->copy);
    if (w->tokens)
        printf(", \"tokens\": %d", w->tokens);
    if (b->note[0])
        printf(", \"note\": \"%s\"", b->note);
    if (b->ops)
        print_json_ops(b, r);
    putchar('}');
    fflush(stdout);
}
