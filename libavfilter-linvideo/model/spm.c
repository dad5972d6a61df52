/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "model/spm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define MODEL_BYTES_MAX (64 << 20)
#define PIECES_MAX      1000000
#define PIECE_BYTES_MAX 1024 ///< the trie builder recurses this deep
#define USER_BYTES_MAX  64   ///< matches of user-defined pieces the library keeps
#define MAP_UNITS_MAX   (1 << 18)
#define MAP_MATCHES_MAX 32   ///< matches of map rules at one place it keeps
#define RULE_BYTES_MAX  255  ///< a character becomes at most this
#define EOS_PIECE "</s>"

enum { NORMAL = LV_SPM_NORMAL, UNKNOWN = LV_SPM_UNKNOWN, CONTROL = LV_SPM_CONTROL,
       USER_DEFINED = LV_SPM_USER_DEFINED, BYTE = LV_SPM_BYTE };
enum { UNIGRAM = 1 };

/* Field numbers of the file format. */
enum { MODEL_PIECE = 1, MODEL_TRAINER, MODEL_NORMALIZER };
enum { PIECE_TEXT = 1, PIECE_SCORE, PIECE_TYPE };
enum { TRAINER_TYPE = 3, TRAINER_SUFFIX = 24, TRAINER_BYTES = 35 };
enum { NORM_MAP = 2, NORM_PREFIX, NORM_TRIM, NORM_ESCAPE };

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

typedef struct Bytes {
    const uint8_t *p;
    size_t n;
} Bytes;

/* One field of a message. */
typedef struct Field {
    uint64_t number;
    int wire;
    uint64_t value; ///< of VARINT, FIXED32
    Bytes bytes;    ///< of BYTES
} Field;

typedef struct Reader {
    LvSpm *spm;
    size_t room;
    const LvMsg *msg;
    int unknowns, model_type;
    uint64_t suffix, byte_fallback, prefix, trim, escape;
    Bytes map;
} Reader;

/* --- reading the wire format --- */

static int get_varint(uint64_t *value, Bytes *in)
{
    uint64_t v = 0;

    for (int shift = 0; shift < 64 && in->n; shift += 7) {
        uint8_t c = *in->p;

        in->p++;
        in->n--;
        v |= (uint64_t)(c & 0x7F) << shift;
        if (c < 0x80) {
            *value = v;
            return 0;
        }
    }
    return -1;
}

static int get_bytes(Bytes *out, Bytes *in, uint64_t n)
{
    if (n > in->n)
        return -1;
    *out = (Bytes){ in->p, (size_t)n };
    in->p += n;
    in->n -= (size_t)n;
    return 0;
}

/* The next field of in, which is not empty; -1 when it is broken. */
static int get_field(Field *f, Bytes *in)
{
    uint64_t tag, n;

    memset(f, 0, sizeof(*f));
    if (get_varint(&tag, in) < 0)
        return -1;
    f->number = tag >> 3;
    f->wire   = tag & 7;
    switch (f->wire) {
    case VARINT:
        return get_varint(&f->value, in);
    case FIXED64:
        return get_bytes(&f->bytes, in, 8);
    case BYTES:
        return get_varint(&n, in) < 0 ? -1 : get_bytes(&f->bytes, in, n);
    case FIXED32:
        if (get_bytes(&f->bytes, in, 4) < 0)
            return -1;
        for (int i = 3; i >= 0; i--)
            f->value = f->value << 8 | f->bytes.p[i];
        return 0;
    default:
        return -1;
    }
}

static int broken(const Reader *rd, const char *what)
{
    return lv_fail(rd->msg, LV_ERR_MODEL, "tokenizer: %s", what);
}

/* --- writing --- */

static int reserve(Reader *rd, size_t n)
{
    LvSpm *spm = rd->spm;
    size_t room = 2 * (spm->size + n);
    uint8_t *p;

    if (rd->room - spm->size >= n)
        return 0;
    p = realloc(spm->data, room);
    if (!p)
        return lv_fail(rd->msg, LV_ERR(ENOMEM), "tokenizer: no memory for %zu bytes",
                       room);
    spm->data = p;
    rd->room  = room;
    return 0;
}

/* The caller has reserved. */
static void put_varint(LvSpm *spm, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        spm->data[spm->size++] = (uint8_t)(v | 0x80);
    spm->data[spm->size++] = (uint8_t)v;
}

static void put_number(LvSpm *spm, int field, uint64_t v)
{
    put_varint(spm, (uint64_t)field << 3 | VARINT);
    put_varint(spm, v);
}

static void put_head(LvSpm *spm, int field, size_t n)
{
    put_varint(spm, (uint64_t)field << 3 | BYTES);
    put_varint(spm, n);
}

static void put_bytes(LvSpm *spm, int field, Bytes b)
{
    put_head(spm, field, b.n);
    if (b.n)
        memcpy(spm->data + spm->size, b.p, b.n);
    spm->size += b.n;
}

static size_t varint_size(uint64_t v)
{
    size_t n = 1;

    while (v >>= 7)
        n++;
    return n;
}

/* --- pieces --- */

typedef struct Piece {
    Bytes text;
    uint32_t score; ///< bits of an f32
    uint64_t type;
} Piece;

static int piece_fail(const Reader *rd, const Piece *piece, const char *what)
{
    char shown[LV_SHOW_SIZE];

    return lv_fail(rd->msg, LV_ERR_MODEL, "tokenizer: piece %d (%s) %s",
                   rd->spm->pieces,
                   lv_text_show(shown, (const char *)piece->text.p, piece->text.n), what);
}

static int check_piece(Reader *rd, const Piece *piece)
{
    const char *s = (const char *)piece->text.p;
    size_t n = piece->text.n;
    uint32_t cp;
    float score;

    memcpy(&score, &piece->score, sizeof(score));
    if (!n || n > (piece->type == USER_DEFINED ? USER_BYTES_MAX : PIECE_BYTES_MAX))
        return piece_fail(rd, piece, "is empty or too long");
    for (size_t i = 0, len; i < n; i += len)
        if (!(len = (size_t)lv_utf8_get(&cp, s + i, n - i)) || !cp)
            return piece_fail(rd, piece, "is not UTF-8 text");
    if (!isfinite(score))
        return piece_fail(rd, piece, "has no finite score");
    if (piece->type < NORMAL || piece->type > BYTE)
        return piece_fail(rd, piece, "has an unknown type");
    if (rd->spm->pieces == PIECES_MAX)
        return piece_fail(rd, piece, "is one piece too many");
    rd->unknowns += piece->type == UNKNOWN;
    if (piece->type == CONTROL && n == strlen(EOS_PIECE) && !memcmp(s, EOS_PIECE, n))
        rd->spm->eos = rd->spm->pieces;
    return 0;
}

static int put_piece(Reader *rd, const Piece *piece)
{
    LvSpm *spm = rd->spm;
    size_t body = 1 + varint_size(piece->text.n) + piece->text.n + 5 + 2;
    int ret = reserve(rd, body + 16);

    if (ret < 0)
        return ret;
    put_head(spm, MODEL_PIECE, body);
    put_bytes(spm, PIECE_TEXT, piece->text);
    put_varint(spm, PIECE_SCORE << 3 | FIXED32);
    for (int i = 0; i < 4; i++)
        spm->data[spm->size++] = (uint8_t)(piece->score >> 8 * i);
    put_number(spm, PIECE_TYPE, piece->type);
    spm->pieces++;
    return 0;
}

static int read_piece(Reader *rd, Bytes in)
{
    Piece piece = { { NULL, 0 }, 0, NORMAL };
    Field f;
    int ret;

    while (in.n) {
        if (get_field(&f, &in) < 0)
            return broken(rd, "broken record of a piece");
        if (f.number == PIECE_TEXT && f.wire == BYTES)
            piece.text = f.bytes;
        else if (f.number == PIECE_SCORE && f.wire == FIXED32)
            piece.score = (uint32_t)f.value;
        else if (f.number == PIECE_TYPE && f.wire == VARINT)
            piece.type = f.value;
    }
    ret = check_piece(rd, &piece);
    return ret < 0 ? ret : put_piece(rd, &piece);
}

/* --- character map --- */

/*
 * The map is a double-array trie (spec of the format: u32 units; low byte and
 * bit 31 are the label, bit 8 says that a rule ends here, bits 10 to 30 with
 * bit 9 the offset) and the NUL-terminated texts its rules point to. The
 * library walks it without looking at bounds, so every walk that any text can
 * cause is made here once, counting the rules met on the way.
 */
typedef struct Map {
    const uint8_t *units;
    size_t count;       ///< of units
    Bytes texts;
    uint8_t *matches;   ///< per unit: 1 + most rules met when standing there
    uint32_t *queue;    ///< ring of count + 1 units to look at, each there once
    uint8_t *queued;
} Map;

static uint32_t map_unit(const Map *m, size_t i)
{
    const uint8_t *p = m->units + 4 * i;

    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static size_t map_base(size_t i, uint32_t unit)
{
    return i ^ ((size_t)(unit >> 10) << ((unit & 0x200) >> 6));
}

/* The rule that ends at a unit whose base this is. */
static int rule_fits(const Map *m, size_t base)
{
    size_t at = map_unit(m, base) & 0x7FFFFFFF;

    return at < m->texts.n &&
           memchr(m->texts.p + at, 0, LV_MIN(m->texts.n - at, RULE_BYTES_MAX + 1));
}

/* Walk on from unit i, appending what must be looked at again behind *tail. */
static const char *map_step(Map *m, size_t i, size_t *tail)
{
    size_t base = map_base(i, map_unit(m, i));

    if ((base | 0xFF) >= m->count)
        return "leads outside of it";
    for (size_t c = 1; c < 256; c++) {
        size_t next = base ^ c;
        uint32_t unit = map_unit(m, next);
        unsigned matches;

        if ((unit & 0x800000FF) != c)
            continue;
        matches = m->matches[i] + (unit >> 8 & 1);
        if (matches <= m->matches[next])
            continue;
        if (unit & 0x100 && ((map_base(next, unit) | 0xFF) >= m->count ||
                             !rule_fits(m, map_base(next, unit))))
            return "has a rule whose text is missing or too long";
        if (matches > MAP_MATCHES_MAX + 1)
            return "has too many rules for one place";
        m->matches[next] = (uint8_t)matches;
        if (!m->queued[next]) {
            m->queue[*tail] = (uint32_t)next;
            *tail = (*tail + 1) % (m->count + 1);
            m->queued[next] = 1;
        }
    }
    return NULL;
}

static const char *walk_map(Map *m)
{
    const char *fault;
    size_t head = 0, tail = 1;

    m->matches[0] = 1;
    m->queued[0]  = 1;
    m->queue[0]   = 0;
    do {
        size_t i = m->queue[head];

        head = (head + 1) % (m->count + 1);
        m->queued[i] = 0;
        if ((fault = map_step(m, i, &tail)))
            return fault;
    } while (head != tail);
    return NULL;
}

static int check_map(const Reader *rd)
{
    const uint8_t *p = rd->map.p;
    const char *fault;
    size_t trie;
    int memory;
    Map m;

    if (!rd->map.n)
        return 0;
    if (rd->map.n < 4)
        return broken(rd, "character map: cut off");
    trie = p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
    if (trie >= rd->map.n - 4 || !trie || trie % 1024 || trie / 4 > MAP_UNITS_MAX)
        return lv_fail(rd->msg, LV_ERR_MODEL,
                       "tokenizer: character map: trie of %zu bytes in %zu", trie,
                       rd->map.n);
    m = (Map){ .units = p + 4, .count = trie / 4,
               .texts = { p + 4 + trie, rd->map.n - 4 - trie } };
    m.matches = calloc(m.count, sizeof(*m.matches));
    m.queue   = calloc(m.count + 1, sizeof(*m.queue));
    m.queued  = calloc(m.count, sizeof(*m.queued));
    memory    = m.matches && m.queue && m.queued;
    fault     = memory ? walk_map(&m) : "takes more memory than there is";
    free(m.matches);
    free(m.queue);
    free(m.queued);
    if (fault)
        return lv_fail(rd->msg, memory ? LV_ERR_MODEL : LV_ERR(ENOMEM),
                       "tokenizer: character map %s", fault);
    return 0;
}

/* --- the other parts --- */

/* Which field of a part goes where. */
typedef struct Flag {
    uint64_t number;
    uint64_t *value;
} Flag;

static int read_flags(const Reader *rd, Bytes in, const Flag *flags, int n, Bytes *map)
{
    Field f;

    while (in.n) {
        if (get_field(&f, &in) < 0)
            return broken(rd, "broken settings");
        for (int i = 0; i < n; i++)
            if (f.number == flags[i].number && f.wire == VARINT)
                *flags[i].value = f.value;
        if (map && f.number == NORM_MAP && f.wire == BYTES)
            *map = f.bytes;
    }
    return 0;
}

static int read_trainer(Reader *rd, Bytes in)
{
    uint64_t type = (uint64_t)rd->model_type;
    const Flag flags[] = {
        { TRAINER_TYPE, &type },
        { TRAINER_SUFFIX, &rd->suffix },
        { TRAINER_BYTES, &rd->byte_fallback },
    };
    int ret = read_flags(rd, in, flags, LV_COUNT(flags), NULL);

    rd->model_type = type == UNIGRAM ? UNIGRAM : 0;
    return ret;
}

static int read_normalizer(Reader *rd, Bytes in)
{
    const Flag flags[] = {
        { NORM_PREFIX, &rd->prefix },
        { NORM_TRIM, &rd->trim },
        { NORM_ESCAPE, &rd->escape },
    };

    return read_flags(rd, in, flags, LV_COUNT(flags), &rd->map);
}

static int read_model(Reader *rd, Bytes in)
{
    Field f;
    int ret = 0;

    while (in.n && ret >= 0) {
        if (get_field(&f, &in) < 0)
            return broken(rd, "not a sentencepiece model, or cut off");
        if (f.wire != BYTES)
            continue;
        if (f.number == MODEL_PIECE)
            ret = read_piece(rd, f.bytes);
        else if (f.number == MODEL_TRAINER)
            ret = read_trainer(rd, f.bytes);
        else if (f.number == MODEL_NORMALIZER)
            ret = read_normalizer(rd, f.bytes);
    }
    return ret;
}

static int put_settings(Reader *rd)
{
    LvSpm *spm = rd->spm;
    const size_t trainer = 2 + 3 + 3, flags = 2 + 2 + 2;
    size_t body = flags + 1 + varint_size(rd->map.n) + rd->map.n;
    int ret = reserve(rd, body + 64);

    if (ret < 0)
        return ret;
    put_head(spm, MODEL_TRAINER, trainer);
    put_number(spm, TRAINER_TYPE, UNIGRAM);
    put_number(spm, TRAINER_SUFFIX, !!rd->suffix);
    put_number(spm, TRAINER_BYTES, !!rd->byte_fallback);
    put_head(spm, MODEL_NORMALIZER, body);
    put_bytes(spm, NORM_MAP, rd->map);
    spm->map      = spm->data + spm->size - rd->map.n;
    spm->map_size = rd->map.n;
    spm->prefix   = !!rd->prefix;
    spm->trim     = !!rd->trim;
    spm->escape   = !!rd->escape;
    spm->suffix   = !!rd->suffix;
    put_number(spm, NORM_PREFIX, !!rd->prefix);
    put_number(spm, NORM_TRIM, !!rd->trim);
    put_number(spm, NORM_ESCAPE, !!rd->escape);
    return 0;
}

static int read_all(Reader *rd, Bytes in)
{
    int ret;

    if (!in.n || in.n > MODEL_BYTES_MAX)
        return lv_fail(rd->msg, LV_ERR_MODEL, "tokenizer: %zu bytes, expected 1 to %d",
                       in.n, MODEL_BYTES_MAX);
    if ((ret = read_model(rd, in)) < 0)
        return ret;
    if (rd->model_type != UNIGRAM)
        return broken(rd, "not a unigram model");
    if (rd->unknowns != 1)
        return lv_fail(rd->msg, LV_ERR_MODEL, "tokenizer: %d unknown pieces, expected 1",
                       rd->unknowns);
    if (rd->spm->eos < 0)
        return broken(rd, "no control piece " EOS_PIECE);
    ret = check_map(rd);
    return ret < 0 ? ret : put_settings(rd);
}

int lv_spm_read(LvSpm *spm, const void *data, size_t size, const LvMsg *msg)
{
    Reader rd = { .spm = spm, .msg = msg, .model_type = UNIGRAM,
                  .prefix = 1, .trim = 1, .escape = 1 };
    int ret;

    *spm = (LvSpm){ .eos = -1 };
    ret  = read_all(&rd, (Bytes){ data, size });
    if (ret < 0)
        lv_spm_free(spm);
    return ret;
}

int lv_spm_next(const LvSpm *spm, size_t *at, LvSpmPiece *piece)
{
    Bytes in = { spm->data + *at, spm->size - *at };
    Field f, g;

    if (!in.n || get_field(&f, &in) < 0 || f.number != MODEL_PIECE)
        return 0;
    *at    = spm->size - in.n;
    *piece = (LvSpmPiece) { .type = NORMAL };
    while (f.bytes.n && get_field(&g, &f.bytes) >= 0) {
        uint32_t bits = (uint32_t)g.value;
        if (g.number == PIECE_TEXT) {
            piece->text = (const char *)g.bytes.p;
            piece->n    = g.bytes.n;
        } else if (g.number == PIECE_SCORE) {
            memcpy(&piece->score, &bits, sizeof(bits));
        } else {
            piece->type = (int)g.value;
        }
    }
    return 1;
}

void lv_spm_free(LvSpm *spm)
{
    free(spm->data);
    memset(spm, 0, sizeof(*spm));
}
