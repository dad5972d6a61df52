/* Entries still to be written: rows and elements. */
#include "backend/cpu/cpu.h"
#define PENDING(name, Type)                                                     \
    int lv_cpu_##name(LvDevice *dev, const Lv##Type##Args *a, LvCall *call)     \
    {                                                                           \
        (void)dev, (void)a, (void)call;                                         \
        return LV_ERR_UNSUPPORTED;                                              \
    }
PENDING(reduce, Reduce)
PENDING(loss, Loss)
PENDING(sqsum, Sqsum)
PENDING(adamw, Adamw)
PENDING(norm_dx, NormDx)
PENDING(gate_dx, GateDx)
PENDING(qknorm_dx, QknormDx)
PENDING(mix_dx, MixDx)
PENDING(act_dx, ActDx)
PENDING(glu_dx, GluDx)
PENDING(embed_dx, EmbedDx)
PENDING(recall_dx, RecallDx)
PENDING(upsample_dx, UpsampleDx)
