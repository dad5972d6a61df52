/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * What compute capability 9.0 adds: boxes, barriers in shared memory, products of a
 * warpgroup. Who knows what is kept for warps, not for threads.
 */

#include <algorithm>
#include <map>
#include <vector>

#include "libavfilter-linvideo/base/half.h"
#include "tests/emu/checks.h"
#include "tests/emu/launch.h"
#include "tests/emu/standin.h"
#include "tests/emu/tilemap.h"

enum {
    WARPS = EMU_MAX_THREADS / EMU_WARP, GROUP = 4 * EMU_WARP, GROUPS = EMU_MAX_THREADS / GROUP,
    CHUNK = 16, PANEL_ROW = 128, ATOM = 1024, MAX_COLUMNS = 256, MAX_BARRIERS = 64, NAMED = 16,
    STEP = 32, /* most elements of a row in a product */
};

/* What a warp knows: of each other one how many products it has done and how often it has
 * made known what it put, of each barrier how many phases are over. */
struct Known {
    uint32_t done[WARPS], put[WARPS], phases[MAX_BARRIERS];
};

struct Barrier {
    int threads, missing;
    long long bytes;     /* still to come in this phase */
    uint32_t phases;     /* that are over */
    Known brought, told; /* by those who arrived; to those who wait */
};

struct Named {
    int arrived;
    uint32_t phases;
    Known brought, told;
};

/* Who wrote a chunk: a copy that ends with a phase of a barrier, or a warp that makes it
 * known the put-th time. Number of the last product of each warpgroup that reads it. */
struct Chunk {
    int barrier, warp; /* -1: not by one */
    uint32_t phase, put, read[GROUPS];
    int leaving;       /* boxes that take it back, not yet waited for */
};

struct Operand {
    uint32_t a[4];
};

/* A product that a warpgroup comes together for. */
struct Group {
    int arrived, n, add;
    EmuOperands of;      /* held: of the thread that came last */
    uint32_t number; /* products made so far */
    Operand held[GROUP];
    double sum[64][MAX_COLUMNS];
};

/* A place in a map, as far as it has dimensions. */
struct Place {
    int64_t at[4];
};

/* A box on its way back. */
struct Leaving {
    size_t first;
    const EmuTileMap *map;
    Place to;
};

/* Accumulators of a thread that products under way will change. */
struct Pending {
    float *c;
    size_t group; /* of products, as committed */
    std::vector<float> value;
};

struct Thread {
    std::vector<Pending> pending;
    std::vector<Leaving> leaving;
    std::vector<uint32_t> committed; /* last product of each group that is */
    uint32_t last; /* product */
};

static Known known[WARPS];
static std::vector<Barrier> barriers;
static std::map<const void *, int> barrier_at;
static Named named[NAMED];
static Chunk chunks[EMU_SHARED / CHUNK];
static Group groups[GROUPS];
static Thread threads[EMU_MAX_THREADS];
static int nb_threads, used; /* used: the block did something of what is here */

static void learn(Known *to, const Known *from)
{
    for (int i = 0; i < WARPS; i++) {
        to->done[i] = std::max(to->done[i], from->done[i]);
        to->put[i]  = std::max(to->put[i], from->put[i]);
    }
    for (int i = 0; i < MAX_BARRIERS; i++)
        to->phases[i] = std::max(to->phases[i], from->phases[i]);
}

static Known *mine(void)
{
    return &known[emu_now.thread / EMU_WARP];
}

uint32_t shared_address(const void *p)
{
    size_t at = (size_t)((const unsigned char *)p - shared);

    if (at >= emu_shared_bytes)
        emu_fail("an address is not of shared memory, byte", (long long)at);
    return (uint32_t)at;
}

/* Blocks */

void emu_hopper_begin(int nb)
{
    nb_threads = nb;
    if (!used)
        return;
    used = 0;
    barriers.clear();
    barrier_at.clear();
    for (int i = 0; i < WARPS; i++)
        known[i] = {};
    for (int i = 0; i < NAMED; i++)
        named[i] = {};
    for (int i = 0; i < GROUPS; i++)
        groups[i].arrived = groups[i].number = 0;
    for (int i = 0; i < nb; i++)
        threads[i].committed.clear();
}

void emu_hopper_meet(void)
{
    Known all = {};

    if (!used)
        return;
    for (int i = 0; i * EMU_WARP < nb_threads; i++)
        learn(&all, &known[i]);
    for (int i = 0; i * EMU_WARP < nb_threads; i++)
        known[i] = all;
}

void emu_hopper_leave(void)
{
    if (!threads[emu_now.thread].pending.empty())
        emu_fail("nobody waits for a product, columns",
                 (long long)threads[emu_now.thread].pending[0].value.size() * 2);
    if (!threads[emu_now.thread].leaving.empty())
        emu_fail("nobody waits for a box that goes back, from byte",
                 (long long)threads[emu_now.thread].leaving[0].first);
}

void emu_hopper_end(void)
{
    for (const Barrier &b : barriers)
        if (b.bytes)
            emu_fail("a block ends before its copies, bytes", b.bytes);
    for (int i = 0; i < NAMED; i++)
        if (named[i].arrived)
            emu_fail("a block ends with threads at barrier", i);
}

/* Barriers */

static Barrier *find_barrier(const uint64_t *b)
{
    auto found = barrier_at.find(b);

    if (found == barrier_at.end())
        emu_fail("a barrier that nobody made, at byte", shared_address(b));
    return &barriers[(size_t)found->second];
}

void barrier_make(uint64_t *b, int count)
{
    if (shared_address(b) % 8 || barrier_at.count(b) || barriers.size() == MAX_BARRIERS)
        emu_fail("a barrier can't be made, at byte", shared_address(b));
    if (barriers.empty()) { /* what blocks before have left does not count */
        std::fill(chunks, chunks + EMU_SHARED / CHUNK, Chunk { -1, -1, 0, 0, {}, 0 });
        barriers.reserve(MAX_BARRIERS);
    }
    used = 1;
    barrier_at[b] = (int)barriers.size();
    barriers.push_back({ count, count, 0, 0, {}, {} });
    emu_write(b, sizeof(*b));
}

static void advance(Barrier *b)
{
    if (b->missing < 0)
        emu_fail("more threads arrive than a barrier is for", b->threads);
    if (b->missing || b->bytes)
        return;
    b->missing = b->threads;
    b->told    = b->brought;
    b->told.phases[b - barriers.data()] = ++b->phases;
}

void barrier_expect(uint64_t *at, int bytes)
{
    find_barrier(at)->bytes += bytes;
    barrier_arrive(at);
}

void barrier_arrive(uint64_t *at)
{
    Barrier *b = find_barrier(at);

    learn(&b->brought, mine());
    b->missing--;
    advance(b);
}

struct Wait {
    const Barrier *barrier;
    unsigned parity;
};

static int phase_over(const void *of)
{
    const Wait *w = (const Wait *)of;

    return w->barrier->phases % 2 != w->parity;
}

void barrier_wait(uint64_t *at, int parity)
{
    Wait w = { find_barrier(at), (unsigned)parity };

    emu_wait_until(phase_over, &w);
    learn(mine(), &w.barrier->told);
}

struct Turn {
    const Named *named;
    uint32_t phases;
};

static int turn_over(const void *of)
{
    const Turn *t = (const Turn *)of;

    return t->named->phases != t->phases;
}

void emu_turn(int id, int count, int wait)
{
    Named *n = &named[id];
    Turn t   = { n, n->phases };

    used = 1;
    learn(&n->brought, mine());
    if (++n->arrived == count) {
        n->arrived = 0;
        n->told    = n->brought;
        n->phases++;
    }
    if (wait) {
        emu_wait_until(turn_over, &t);
        learn(mine(), &n->told);
    }
}

/* Boxes */

static Chunk *chunk_at(size_t at)
{
    if (at >= emu_shared_bytes)
        emu_fail("access behind shared memory, at byte", (long long)at);
    return &chunks[at / CHUNK];
}

/* Whether k knows that what was written last is there. */
static int knows(const Known *k, const Chunk *c)
{
    return (c->barrier < 0 || k->phases[c->barrier] >= c->phase) &&
           (c->warp < 0 || k->put[c->warp] >= c->put);
}

/* The running warp overwrites a chunk. */
static Chunk *claim(size_t at)
{
    Chunk *c       = chunk_at(at);
    const Known *k = mine();
    int reads      = c->leaving;

    if (c->warp != emu_now.thread / EMU_WARP && !knows(k, c))
        emu_fail("two write shared memory at once, at byte", (long long)at);
    for (int g = 0; g < GROUPS; g++)
        for (int w = 0; w < 4; w++)
            reads |= c->read[g] > k->done[g * 4 + w];
    if (reads)
        emu_fail("shared memory is written while it is read, at byte", (long long)at);
    c->barrier = c->warp = -1;
    return c;
}

/* By a copy that ends with a phase of b. */
static void claim_copy(size_t at, int b)
{
    Chunk *c = claim(at);

    c->barrier = b;
    c->phase   = barriers[(size_t)b].phases + 1;
}

void emu_put(const void *to, int bytes)
{
    size_t at = shared_address(to);
    int warp  = emu_now.thread / EMU_WARP;
    Chunk *c;

    if (at % (size_t)bytes)
        emu_fail("an access is misaligned, at byte", (long long)at);
    c       = claim(at);
    c->warp = warp;
    c->put  = known[warp].put[warp] + 1;
}

void panels_put(void)
{
    mine()->put[emu_now.thread / EMU_WARP]++;
}

/* Where byte `at` of a tile lies, in the swizzle of 128 bytes. */
static size_t swizzled(size_t at)
{
    return at ^ (at / PANEL_ROW % 8 * CHUNK);
}

/* Element of a map; NULL: outside. */
static char *element(const EmuTileMap *m, const Place &p)
{
    int64_t at = m->size * p.at[0];

    for (int d = 0; d < m->rank; d++)
        if (p.at[d] < 0 || p.at[d] >= m->dim[d])
            return NULL;
    for (int d = 1; d < m->rank; d++)
        at += p.at[d] * m->stride[d - 1];
    return (char *)m->data + at;
}

static void copy_chunk(size_t at, const EmuTileMap *m, const Place &p)
{
    const char *src = element(m, p);

    if (!src) {
        memset(shared + at, 0, CHUNK);
        return;
    }
    emu_read(src, CHUNK);
    memcpy(shared + at, src, CHUNK);
}

static void check_box(const EmuTileMap *m, size_t first, int x)
{
    if (m->magic != EMU_TILE_MAP || first % ATOM || x * m->size % CHUNK)
        emu_fail("a box can't be copied, at byte", (long long)first);
}

/* Rows of 128 bytes of a box, and where chunk c of one is in a map, from `first` on. */
static int box_rows(const EmuTileMap *m)
{
    return m->box[1] * m->box[2] * m->box[3];
}

static Place box_place(const EmuTileMap *m, const Place &first, int row, int c)
{
    return { { first.at[0] + c * (CHUNK / m->size), first.at[1] + row % m->box[1],
               first.at[2] + row / m->box[1] % m->box[2],
               first.at[3] + row / (m->box[1] * m->box[2]) } };
}

/* Where chunk c of a row of a box lies. */
static size_t box_chunk(size_t first, int row, int c)
{
    return swizzled(first + (size_t)row * PANEL_ROW + (size_t)c * CHUNK);
}

static void copy(void *dst, const LvTileMap *map, int rank, const Place &from, uint64_t *at)
{
    const EmuTileMap *m = (const EmuTileMap *)map;
    Barrier *b   = find_barrier(at);
    size_t first = shared_address(dst);

    check_box(m, first, (int)from.at[0]);
    if (m->rank != rank)
        emu_fail("a box is of a map of other dimensions", m->rank);
    for (int row = 0; row < box_rows(m); row++)
        for (int c = 0; c < PANEL_ROW / CHUNK; c++) {
            size_t to = box_chunk(first, row, c);
            claim_copy(to, (int)(b - barriers.data()));
            copy_chunk(to, m, box_place(m, from, row, c));
        }
    b->bytes -= (long long)box_rows(m) * PANEL_ROW;
    advance(b);
}

void copy_box(void *dst, const LvTileMap *map, int x, int y, int z, uint64_t *at)
{
    copy(dst, map, 3, { { x, y, z, 0 } }, at);
}

void copy_box4(void *dst, const LvTileMap *map, int x, int y, int z, int w, uint64_t *at)
{
    copy(dst, map, 4, { { x, y, z, w } }, at);
}

void store_box(const void *src, const LvTileMap *map, int x, int y, int z)
{
    Leaving l = { shared_address(src), (const EmuTileMap *)map, { { x, y, z, 0 } } };

    check_box(l.map, l.first, x);
    for (int row = 0; row < box_rows(l.map); row++)
        for (int c = 0; c < PANEL_ROW / CHUNK; c++) {
            size_t at = box_chunk(l.first, row, c);
            if (!knows(mine(), chunk_at(at)))
                emu_fail("shared memory is read while it is written, at byte",
                         (long long)at);
            chunk_at(at)->leaving++;
        }
    threads[emu_now.thread].leaving.push_back(l);
}

static void land(const Leaving *l)
{
    for (int row = 0; row < box_rows(l->map); row++)
        for (int c = 0; c < PANEL_ROW / CHUNK; c++) {
            size_t at = box_chunk(l->first, row, c);
            char *to  = element(l->map, box_place(l->map, l->to, row, c));
            chunk_at(at)->leaving--;
            if (to) {
                emu_write(to, CHUNK);
                memcpy(to, shared + at, CHUNK);
            }
        }
}

void stores_read(void)
{
    std::vector<Leaving> *all = &threads[emu_now.thread].leaving;

    for (const Leaving &l : *all)
        land(&l);
    all->clear();
}

/* Products */

struct Descriptor {
    size_t start, leading, stride;
};

static Descriptor descriptor_of(uint64_t at)
{
    Descriptor d = { (at & 0x3FFF) << 4, (at >> 16 & 0x3FFF) << 4, (at >> 32 & 0x3FFF) << 4 };

    if (at >> 62 != 1 || at >> 46 & 0xFFFF)
        emu_fail("an operand is not in the swizzle of 128 bytes", (long long)(at >> 46));
    return d;
}

/* Place of element (i, k), of `size` bytes, of an operand, i being a row or column of the
 * result. */
static size_t place(const Descriptor &d, int i, int k, int across, int size)
{
    int line = across ? k : i, along = (across ? i : k) * size;

    return swizzled(d.start + (size_t)(line / 8) * d.stride + (size_t)(line % 8) * PANEL_ROW +
                    (size_t)(along / PANEL_ROW) * d.leading + (size_t)(along % PANEL_ROW));
}

/* Product `number` of warpgroup g reads a place: all its warps have to know that it was
 * written. */
static double read_place(int g, uint32_t number, size_t at, int size)
{
    Chunk *c = chunk_at(at);
    uint16_t u;

    if (c->barrier < 0 && c->warp < 0)
        emu_fail("shared memory is read that nobody wrote, at byte", (long long)at);
    for (int w = 0; w < 4; w++)
        if (!knows(&known[g * 4 + w], c))
            emu_fail("shared memory is read while it is written, at byte", (long long)at);
    c->read[g] = number;
    if (size == 1)
        return lv_e4m3_f32((uint8_t)shared[at]);
    memcpy(&u, shared + at, sizeof(u));
    return __uint_as_float((uint32_t)u << 16);
}

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
__attribute__((target_clones("avx512f", "avx2", "default"), optimize("O3")))
#endif
static void multiply(double (*sum)[MAX_COLUMNS], const double (*a)[STEP],
                     const double (*b)[MAX_COLUMNS], int n, int step)
{
    memset(sum, 0, 64 * sizeof(*sum));
    for (int row = 0; row < 64; row++)
        for (int k = 0; k < step; k++)
            for (int col = 0; col < n; col++)
                sum[row][col] += a[row][k] * b[k][col];
}

static void gather8(const Group *g, double (*a)[STEP])
{
    for (int t = 0; t < GROUP; t++)
        for (int i = 0; i < 4; i++)
            for (int e = 0; e < 4; e++)
                a[t / 32 * 16 + t % 32 / 4 + i % 2 * 8][t % 4 * 4 + i / 2 * 16 + e] =
                    lv_e4m3_f32((uint8_t)(g->held[t].a[i] >> 8 * e));
}

static void gather(const Group *g, double (*a)[STEP])
{
    for (int t = 0; t < GROUP; t++)
        for (int i = 0; i < 4; i++)
            for (int e = 0; e < 2; e++) {
                int row = t / 32 * 16 + t % 32 / 4 + i % 2 * 8;
                uint32_t pair = g->held[t].a[i];
                a[row][t % 4 * 2 + i / 2 * 8 + e] =
                    __uint_as_float(e ? pair & 0xFFFF0000u : pair << 16);
            }
}

/* The product of a warpgroup, made by the thread that comes last. */
static void make_product(Group *g, int index)
{
    static double a[64][STEP], b[STEP][MAX_COLUMNS];
    Descriptor from = descriptor_of(g->of.b);
    const int step = g->of.bytes ? 32 : 16, size = 32 / step;

    g->number++;
    for (int k = 0; k < step; k++)
        for (int i = 0; i < g->n; i++)
            b[k][i] = read_place(index, g->number, place(from, i, k, g->of.across, size), size);
    if (g->of.held)
        (g->of.bytes ? gather8 : gather)(g, a);
    else
        for (int i = 0; i < 64; i++)
            for (int k = 0; k < step; k++)
                a[i][k] = read_place(index, g->number, place(descriptor_of(g->of.a), i, k,
                                                             g->of.turned, size), size);
    multiply(g->sum, a, b, g->n, step);
}

/* The running thread's accumulators c under way, with what they will hold. */
static Pending *pending_of(float *c, int n)
{
    Thread *t = &threads[emu_now.thread];

    for (Pending &p : t->pending)
        if (p.c == c)
            return &p;
    t->pending.push_back({ c, 0, std::vector<float>(c, c + n / 2) });
    for (int i = 0; i < n / 2; i++)
        c[i] = NAN;
    return &t->pending.back();
}

/* Take the running thread's part of a product; others may be at the next one, but not
 * have made it. */
static void add_product(const Group *g, uint32_t number, float *c, int n, int add)
{
    Pending *p = pending_of(c, n);
    int t = emu_now.thread % GROUP, row = t / 32 * 16 + t % 32 / 4, col = t % 4 * 2;

    for (int i = 0; i < n / 2; i++) {
        double sum = g->sum[row + i % 4 / 2 * 8][i / 4 * 8 + col + i % 2];
        p->value[(size_t)i] = (float)((add ? p->value[(size_t)i] : 0) + sum);
    }
    p->group = threads[emu_now.thread].committed.size();
    threads[emu_now.thread].last = number;
}

struct Made {
    const Group *group;
    uint32_t number;
};

static int product_made(const void *of)
{
    const Made *m = (const Made *)of;

    return m->group->number > m->number;
}

static int same_product(const Group *g, int n, const EmuOperands *of, int add)
{
    return g->n == n && !g->of.held == !of->held && g->of.a == of->a && g->of.b == of->b &&
           g->of.turned == of->turned && g->of.across == of->across &&
           g->of.bytes == of->bytes && g->add == add;
}

void emu_product(float *c, int n, EmuOperands of, int add)
{
    int index = emu_now.thread / GROUP;
    Group *g  = &groups[index];
    Made made = { g, g->number };

    if (g->arrived && !same_product(g, n, &of, add))
        emu_fail("threads of a warpgroup are at different products, columns", n);
    g->n = n, g->of = of, g->add = add;
    if (of.held)
        memcpy(g->held[emu_now.thread % GROUP].a, of.held, sizeof(g->held[0].a));
    if (++g->arrived == GROUP) {
        g->arrived = 0;
        make_product(g, index);
    } else {
        emu_wait_until(product_made, &made);
    }
    add_product(g, made.number + 1, c, n, add);
}

void products_commit(void)
{
    Thread *t = &threads[emu_now.thread];

    t->committed.push_back(t->last);
}

void emu_products_wait(int keep)
{
    Thread *t      = &threads[emu_now.thread];
    uint32_t *done = &mine()->done[emu_now.thread / EMU_WARP];
    size_t groups  = t->committed.size(), over = groups - std::min(groups, (size_t)keep);

    if (over)
        *done = std::max(*done, t->committed[over - 1]);
    for (size_t i = 0; i < t->pending.size();) {
        Pending &p = t->pending[i];
        if (p.group >= over) {
            i++;
            continue;
        }
        std::copy(p.value.begin(), p.value.end(), p.c);
        t->pending.erase(t->pending.begin() + (long)i);
    }
}
