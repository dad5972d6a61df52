/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Captions by a grammar of rules. A rule is alternatives parted by |, the plainest first.
 * In one, $ and a letter stand for another rule or a word of what is described, ~ for
 * the article that fits what follows.
 * Floor train/clips: knows letters, no scenes.
 */

#ifndef LINVIDEO_TRAIN_CLIPS_GRAMMAR_H
#define LINVIDEO_TRAIN_CLIPS_GRAMMAR_H

#include <stddef.h>

#include "train/clips/dice.h"

typedef struct LvWriter {
    char *buf;
    size_t at, room;   ///< letters written; room without the final NUL
    int article;       ///< an "a" was written that may have to become "an"
    int plain;         ///< always the first alternative
    void (*symbol)(struct LvWriter *w, char symbol); ///< writes what $symbol stands for
    const void *opaque; ///< what is described
    LvDice dice;       ///< of the choices
} LvWriter;

/** Write one of a rule's alternatives. */
void lv_write(LvWriter *w, const char *rule);

/** Write a rule's first alternative. */
void lv_write_first(LvWriter *w, const char *rule);

/** Write a name, or one of some other words for it (NULL: none). */
void lv_write_name(LvWriter *w, const char *name, const char *others);

/** One of n, 0 when plain; the first as often again as it falls to it. */
int lv_write_choose(LvWriter *w, int n);

enum { LV_GRAMMAR_WORDS = 2048 };

/** Words of rules, each once; they point into the rules. */
typedef struct LvWordList {
    struct { const char *s; int n; } list[LV_GRAMMAR_WORDS];
    int nb;
} LvWordList;

/** Add the words of a rule (NULL: none). */
void lv_words_add(LvWordList *w, const char *rule);

/** Add the words of nb rules. */
void lv_words_add_all(LvWordList *w, const char *const *rules, int nb);

/** Write them sorted, with spaces between. @return bytes, or -1 when buf is too small */
int lv_words_print(LvWordList *w, char *buf, size_t size);

#endif /* LINVIDEO_TRAIN_CLIPS_GRAMMAR_H */
