/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "api/prompt.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/common.h"
#include "base/text.h"

enum { MAX_PROMPT = 64 * 1024, WORDS_SHOWN = 8, WORD_SIZE = 48 };

/* Reading */

/* Standard input may be a socket, which open() refuses. */
static int open_file(const char *path)
{
    return strcmp(path, "/dev/stdin") ? open(path, O_RDONLY | O_CLOEXEC)
                                      : fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
}

/* At most size bytes; -1 with errno. */
static ssize_t read_bytes(int fd, char *data, size_t size)
{
    size_t n = 0;

    while (n < size) {
        ssize_t got = read(fd, data + n, size - n);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -1 : (ssize_t)n;
        n += (size_t)got;
    }
    return (ssize_t)n;
}

static int check_text(const char *path, int fd, const char *data, size_t n,
                      const LvMsg *msg)
{
    struct stat st;
    uintmax_t size = n;

    if (!fstat(fd, &st) && S_ISREG(st.st_mode))
        size = LV_MAX((uintmax_t)st.st_size, size);
    if (n > MAX_PROMPT)
        return lv_fail(msg, LV_ERR(EINVAL), "prompt_file %s has %ju bytes, allowed is %d",
                       path, size, MAX_PROMPT);
    if (memchr(data, 0, n))
        return lv_fail(msg, LV_ERR(EINVAL), "prompt_file %s is not text: it holds a NUL "
                       "byte", path);
    return 0;
}

static int read_file(char *data, const char *path, const LvMsg *msg)
{
    int fd    = open_file(path), ret;
    ssize_t n = fd < 0 ? -1 : read_bytes(fd, data, MAX_PROMPT + 1);

    if (n < 0)
        ret = lv_fail(msg, LV_ERR(errno), "prompt_file %s: %s", path, strerror(errno));
    else
        ret = check_text(path, fd, data, (size_t)n, msg);
    if (fd >= 0)
        close(fd);
    if (ret < 0)
        return ret;
    n -= n && data[n - 1] == '\n';
    n -= n && data[n - 1] == '\r';
    data[n] = 0;
    return 0;
}

int lv_prompt_read(char **text, const LinvideoParams *p, const LvMsg *msg)
{
    int has_file = p->prompt_file && *p->prompt_file, ret = 0;

    if (p->prompt && has_file)
        return lv_fail(msg, LV_ERR(EINVAL),
                       "both prompt and prompt_file are given; give one of them");
    if (!p->prompt && !has_file)
        return lv_fail(msg, LV_ERR(EINVAL), "no prompt; give prompt or prompt_file");
    *text = has_file ? malloc(MAX_PROMPT + 1) : strdup(p->prompt);
    if (!*text)
        return lv_fail(msg, LV_ERR(ENOMEM), "out of memory");
    if (has_file)
        ret = read_file(*text, p->prompt_file, msg);
    return ret < 0 ? ret : lv_prompt_check(*text, msg);
}

int lv_prompt_check(const char *prompt, const LvMsg *msg)
{
    if (!prompt[strspn(prompt, " \t\r\n\f\v")])
        return lv_fail(msg, LV_ERR(EINVAL), "the prompt is empty; say what to show");
    if (strlen(prompt) > MAX_PROMPT)
        return lv_fail(msg, LV_ERR(EINVAL), "the prompt has %zu bytes, allowed is %d",
                       strlen(prompt), MAX_PROMPT);
    return 0;
}

/* Syntax of other programs */

static const char *show(char dst[LV_SHOW_SIZE], const char *s, size_t n)
{
    if (n >= LV_SHOW_SIZE || !lv_text_is_plain(s, n))
        return lv_text_show(dst, s, n);
    memcpy(dst, s, n);
    dst[n] = 0;
    return dst;
}

/* "<lora:NAME:0.8>" and its like. */
static const char *find_lora(const char *text)
{
    static const char *const starts[] = { "<lora:", "<lyco:", "<hypernet:" };

    for (const char *p = text; (p = strchr(p, '<')); p++)
        for (int i = 0; i < LV_COUNT(starts); i++)
            if (!strncasecmp(p, starts[i], strlen(starts[i])))
                return p;
    return NULL;
}

/* The '(' of "(words:1.3)" or "((words))"; no "(at 12:30)". */
static const char *find_weight(const char *text)
{
    for (const char *p = text; (p = strchr(p, '(')); p++) {
        const char *at = p + 1 + strcspn(p + 1, ":()");

        if (p[1] == '(')
            return p;
        if (*at != ':' || at == p + 1 || (at[-1] >= '0' && at[-1] <= '9'))
            continue;
        at += 1 + strspn(at + 1, " ");
        if (strspn(at, "0123456789.") && at[strspn(at, "0123456789. ")] == ')')
            return p;
    }
    return NULL;
}

static size_t span_of(const char *p, char end)
{
    const char *last = strchr(p, end);

    return last ? (size_t)(last - p) + 1 : strlen(p);
}

static void warn_syntax(LvPromptSaid *said, const char *option, const char *text,
                        const LvMsg *msg)
{
    const char *lora = find_lora(text), *weight = find_weight(text);
    char shown[LV_SHOW_SIZE];

    if (lora && !said->lora++)
        lv_msg(msg, LV_MSG_WARNING, "%s: '%s' is not interpreted; a LoRA goes with the "
               "option lora, as FILE@WEIGHT", option, show(shown, lora, span_of(lora, '>')));
    if (weight && !said->weight++)
        lv_msg(msg, LV_MSG_WARNING, "%s: '%s' is not interpreted, words have no weights; "
               "the option guidance says how closely the whole prompt is followed", option,
               show(shown, weight, span_of(weight, ')')));
}

/* Words */

static int is_letter(char c)
{
    return (unsigned char)c >= 0x80 || ((c | 32) >= 'a' && (c | 32) <= 'z');
}

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Bytes of the word at p: letters and digits, "it's", "1.5". */
static size_t word_at(const char *p)
{
    size_t n = 0;

    while (is_letter(p[n]) || is_digit(p[n]) ||
           (n && p[n] == '\'' && is_letter(p[n + 1])) ||
           (n && p[n] == '.' && is_digit(p[n - 1]) && is_digit(p[n + 1])))
        n++;
    return n;
}

/* Whether a list has the word: words with spaces between. */
static int has_word(const char *list, const char *word)
{
    size_t n = strlen(word);

    for (const char *p = list; (p = strstr(p, word)); p++)
        if ((p == list || p[-1] == ' ') && (!p[n] || p[n] == ' '))
            return 1;
    return 0;
}

/* The next word, in lower case and cut to fit; tags and weights are passed over. NULL
 * after the last. */
static const char *next_word(char dst[WORD_SIZE], const char *p)
{
    size_t n, kept;

    for (; *p; p++) {
        if (find_lora(p) == p) {
            p += span_of(p, '>') - 1;
        } else if (*p == ':' && is_digit(p[1 + strspn(p + 1, " ")])) {
            p += strspn(p + 1, " ");
            p += word_at(p + 1);
        } else if ((n = word_at(p))) {
            kept = LV_MIN(n, WORD_SIZE - 1);
            for (size_t i = 0; i < kept; i++)
                dst[i] = p[i] >= 'A' && p[i] <= 'Z' ? (char)(p[i] | 32) : p[i];
            dst[kept] = 0;
            return p + n;
        }
    }
    return NULL;
}

/* Remember a word that was warned of. 0: the list is full. */
static int note(LvPromptSaid *said, const char *word)
{
    size_t n = strlen(said->words), more = strlen(word) + 1;

    if (n + more >= sizeof(said->words))
        return 0;
    snprintf(said->words + n, sizeof(said->words) - n, " %s", word);
    return 1;
}

static void warn_words(LvPromptSaid *said, const char *option, const char *text,
                       const char *words, const LvMsg *msg)
{
    char list[WORDS_SHOWN * (WORD_SIZE + 2)] = "", word[WORD_SIZE], more[32] = "";
    char shown[LV_SHOW_SIZE];
    int nb = 0;
    size_t n = 0;

    while ((text = next_word(word, text))) {
        if (has_word(words, word) || has_word(said->words, word) || !note(said, word))
            continue;
        if (nb++ < WORDS_SHOWN)
            n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s", n ? ", " : "",
                                  show(shown, word, strlen(word)));
        n = LV_MIN(n, sizeof(list) - 1);
    }
    if (nb > WORDS_SHOWN)
        snprintf(more, sizeof(more), " and %d more", nb - WORDS_SHOWN);
    if (nb)
        lv_msg(msg, LV_MSG_WARNING, "%s: the model does not know: %s%s", option, list,
               more);
}

void lv_prompt_warn(LvPromptSaid *said, const char *option, const char *text,
                    const char *words, const LvMsg *msg)
{
    warn_syntax(said, option, text, msg);
    if (*words)
        warn_words(said, option, text, words, msg);
}
