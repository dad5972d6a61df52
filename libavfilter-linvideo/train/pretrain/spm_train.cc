/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include <stdlib.h>
#include <string.h>

#include <new>
#include <string>
#include <unordered_map>

#include <sentencepiece_trainer.h>

extern "C" {
#include "base/common.h"
#include "base/text.h"
#include "train/pretrain/spm_train.h"
}

typedef sentencepiece::util::Status Status;

namespace {

class Texts : public sentencepiece::SentenceIterator {
public:
    Texts(const char *const *texts, int n) : texts_(texts), n_(n) { fetch(); }
    bool done() const override { return at_ >= n_; }
    void Next() override { at_++; fetch(); }
    const std::string &value() const override { return value_; }
    Status status() const override { return Status(); }

private:
    void fetch()
    {
        if (at_ < n_)
            value_ = texts_[at_];
    }

    const char *const *texts_;
    int n_, at_ = 0;
    std::string value_;
};

}

/* One thread, as sums of several depend on their order. */
static std::unordered_map<std::string, std::string> settings(int vocab)
{
    return {
        { "model_type", "unigram" },
        { "vocab_size", std::to_string(vocab) },
        { "hard_vocab_limit", "false" },
        { "byte_fallback", "true" },
        { "normalization_rule_name", "nmt_nfkc_cf" },
        { "pad_id", "0" },
        { "eos_id", "1" },
        { "unk_id", "2" },
        { "bos_id", "-1" },
        { "required_chars", "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-" },
        { "character_coverage", "1.0" },
        { "num_threads", "1" },
        { "minloglevel", "2" },
    };
}

static int train(const char *const *texts, int n, int vocab, std::string *model,
                 const LvMsg *msg)
{
    Texts iterator(texts, n);
    const Status status =
        sentencepiece::SentencePieceTrainer::Train(settings(vocab), &iterator, model);
    char shown[LV_SHOW_SIZE];

    if (status.ok())
        return 0;
    return lv_fail(msg, LV_ERR(EINVAL), "tokenizer: %s",
                   lv_text_show(shown, status.error_message(),
                                strlen(status.error_message())));
}

extern "C" int lv_spm_train(const char *const *texts, int n, int vocab, void **data,
                            size_t *size, const LvMsg *msg)
{
    *data = NULL;
    *size = 0;
    try {
        std::string model;
        const int ret = train(texts, n, vocab, &model, msg);

        if (ret < 0)
            return ret;
        *data = malloc(model.size());
        if (!*data)
            return lv_fail(msg, LV_ERR(ENOMEM), "tokenizer: no memory");
        memcpy(*data, model.data(), model.size());
        *size = model.size();
        return 0;
    } catch (const std::bad_alloc &) {
        return lv_fail(msg, LV_ERR(ENOMEM), "tokenizer: no memory");
    } catch (...) {
        return lv_fail(msg, LV_ERR(EINVAL), "tokenizer: cannot be trained");
    }
}
