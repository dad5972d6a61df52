/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The library sees only models that model/spm.c has checked and written anew,
 * so it finds nothing to print or to exit about; what it throws ends here.
 */

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <new>
#include <vector>

#include <sentencepiece_processor.h>

extern "C" {
#include "base/text.h"
#include "model/prompt.h"
#include "model/spm.h"
#include "model/tokenizer.h"
}

/* More than any 512 pieces take; what a text grows to stays bounded by it. */
#define TEXT_BYTES_MAX 65536

struct LvTokenizer {
    sentencepiece::SentencePieceProcessor sp;
    int pieces, eos;
};

typedef sentencepiece::util::Status Status;

static int status_fail(const Status &status, int code, const LvMsg *msg)
{
    const char *s = status.error_message();
    char shown[LV_SHOW_SIZE];

    return lv_fail(msg, code, "tokenizer: %s", lv_text_show(shown, s, strlen(s)));
}

static int load(LvTokenizer **out, const LvSpm *spm, const LvMsg *msg)
{
    try {
        *out = new LvTokenizer();
        (*out)->pieces = spm->pieces;
        (*out)->eos    = spm->eos;
        const Status status = (*out)->sp.LoadFromSerializedProto(
            { reinterpret_cast<const char *>(spm->data), spm->size });
        if (!status.ok())
            return status_fail(status, LV_ERR_MODEL, msg);
        return 0;
    } catch (const std::bad_alloc &) {
        return lv_fail(msg, LV_ERR(ENOMEM), "tokenizer: no memory");
    } catch (...) {
        return lv_fail(msg, LV_ERR_MODEL, "tokenizer: cannot build a trie of its pieces");
    }
}

extern "C" int lv_tokenizer_open(LvTokenizer **out, const void *data, size_t size,
                                 const LvMsg *msg)
{
    LvSpm spm;
    int ret;

    *out = NULL;
    ret  = lv_spm_read(&spm, data, size, msg);
    if (ret < 0)
        return ret;
    ret = load(out, &spm, msg);
    lv_spm_free(&spm);
    if (ret < 0)
        lv_tokenizer_close(out);
    return ret;
}

extern "C" void lv_tokenizer_close(LvTokenizer **t)
{
    if (!t)
        return;
    delete *t;
    *t = NULL;
}

extern "C" int lv_tokenizer_size(const LvTokenizer *t)
{
    return t->pieces;
}

static int encode_clean(const LvTokenizer *t, const char *text, int32_t *ids, int max,
                        const LvMsg *msg)
{
    const size_t size = strlen(text);

    if (size > TEXT_BYTES_MAX)
        return lv_fail(msg, LV_ERR(EINVAL), "the prompt has %zu bytes, at most %d", size,
                       TEXT_BYTES_MAX);
    try {
        std::vector<int> found;
        const Status status = t->sp.Encode({ text, size }, &found);
        if (!status.ok())
            return status_fail(status, LV_ERR_MODEL, msg);
        found.push_back(t->eos);
        if (max < 0 || found.size() > static_cast<size_t>(max))
            return lv_fail(msg, LV_ERR(EINVAL),
                           "the prompt makes %zu tokens, the model takes %d",
                           found.size(), max);
        for (size_t i = 0; i < found.size(); i++)
            ids[i] = found[i];
        return static_cast<int>(found.size());
    } catch (const std::bad_alloc &) {
        return lv_fail(msg, LV_ERR(ENOMEM), "tokenizer: no memory");
    } catch (...) {
        return lv_fail(msg, LV_ERR_MODEL, "tokenizer: cannot cut the prompt");
    }
}

extern "C" int lv_tokenizer_encode(const LvTokenizer *t, const char *text, int32_t *ids,
                                   int max, const LvMsg *msg)
{
    char *clean = lv_prompt_clean(text, msg);
    int ret;

    if (!clean)
        return LV_ERR(errno);
    ret = encode_clean(t, clean, ids, max, msg);
    free(clean);
    return ret;
}
