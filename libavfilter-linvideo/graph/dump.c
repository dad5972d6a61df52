/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "graph/dump.h"

#include <string.h>

#include "graph/internal.h"

static void print_tensor(const LvProgram *p, const LvTensor *t, FILE *out)
{
    char text[64];

    lv_tensor_text(text, sizeof(text), t);
    if (t->id < 0) {
        fprintf(out, " w%d%s", LV_ID_WEIGHT - t->id, text);
    } else if (p->info[t->id].external) {
        fprintf(out, " %s%s", p->info[t->id].name, text);
    } else {
        const LvTensorInfo *i = &p->info[t->id];
        fprintf(out, " %%%d%s@%zu(%d-%d)", t->id, text, i->offset, i->first, i->last);
    }
}

static void print_tensors(const LvProgram *p, const LvTensor *t, int nb, FILE *out)
{
    for (int i = 0; i < nb; i++)
        if (lv_has(&t[i]))
            print_tensor(p, &t[i], out);
}

void lv_program_dump(const LvProgram *p, FILE *out)
{
    for (int i = 0; i < p->nb_rec; i++) {
        const LvRecord *r   = &p->rec[i];
        const LvOpInfo *op  = lv_op_info(r->op);
        const char *slash   = strrchr(r->file, '/');

        fprintf(out, "%4d %-10s", i, op->name);
        print_tensors(p, r->u.t + op->in, op->out, out);
        fprintf(out, " <-");
        print_tensors(p, r->u.t, op->in, out);
        fprintf(out, "  # %s:%d", slash ? slash + 1 : r->file, r->line);
        if (r->layer)
            fprintf(out, " layer %d", r->layer);
        fputc('\n', out);
    }
    fprintf(out, "arena %zu bytes (bound %zu, scratch from %zu), %zu for each thread, "
            "%.3f GFLOP\n", p->sizes.arena, p->sizes.lower, p->scratch,
            p->sizes.thread, p->sizes.flops * 1e-9);
}
