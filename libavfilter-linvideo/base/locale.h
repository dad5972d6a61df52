/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The C locale for a while: numbers are read and printed with a point, whatever locale
 * the program chose.
 * Floor F1 (base).
 */

#ifndef LINVIDEO_BASE_LOCALE_H
#define LINVIDEO_BASE_LOCALE_H

#include <locale.h>

typedef struct LvLocale {
    locale_t own;    ///< the C locale; 0: there was no memory for it
    locale_t before; ///< what the thread had
} LvLocale;

/** Give the calling thread the C locale. Other threads keep theirs. */
static inline void lv_locale_enter(LvLocale *l)
{
    l->own    = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    l->before = uselocale(l->own);
}

/** Give the thread back what it had. */
static inline void lv_locale_leave(const LvLocale *l)
{
    uselocale(l->before);
    if (l->own)
        freelocale(l->own);
}

#endif /* LINVIDEO_BASE_LOCALE_H */
