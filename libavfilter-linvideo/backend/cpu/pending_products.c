/* Entries still to be written: products. */
#include "backend/cpu/cpu.h"
#define PENDING(name, Type)                                                     \
    int lv_cpu_##name(LvDevice *dev, const Lv##Type##Args *a, LvCall *call)     \
    {                                                                           \
        (void)dev, (void)a, (void)call;                                         \
        return LV_ERR_UNSUPPORTED;                                              \
    }
PENDING(conv_dx, ConvDx)
PENDING(conv_dw, ConvDw)
