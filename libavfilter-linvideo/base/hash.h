/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The one hash of contents: XXH64. It detects damage and distinguishes files. It is not
 * cryptographic: a forged file can have any hash.
 * Floor F1 (base).
 */

#ifndef LINVIDEO_BASE_HASH_H
#define LINVIDEO_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/** XXH64 of n bytes, which need not be aligned. Parts of a whole are hashed one after the
 *  other, each with the hash so far as its seed. */
uint64_t lv_hash(uint64_t seed, const void *data, size_t n);

/** The same of a text, without its NUL. */
uint64_t lv_hash_text(uint64_t seed, const char *text);

#endif /* LINVIDEO_BASE_HASH_H */
