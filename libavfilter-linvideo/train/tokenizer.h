#ifndef X
#define X
#include "base/msg.h"
#include <stdint.h>
int lv_tokenizer_train(const char *path, int vocab, uint64_t seed, int captions, const LvMsg *msg);
#endif
