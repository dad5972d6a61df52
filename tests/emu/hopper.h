/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The wrappers of lv_hopper.cuh on the CPU; part of emu.h.
 *
 * Products read only what boxes have brought and what threads put there. A box is there as
 * soon as it is copied, but only who has waited for its barrier may use it, and only who
 * knows, by a barrier, that the products which read a place are over may copy to it: each
 * warp knows of others what barriers have told it, and every chunk of a tile who wrote and
 * read it last. What threads put is there for those who know of their panels_put() behind
 * it. Boxes that go back land when they are waited for, and so do products; until then the
 * accumulators of those hold NaNs.
 */

#ifndef LINVIDEO_TESTS_EMU_HOPPER_H
#define LINVIDEO_TESTS_EMU_HOPPER_H

struct LvTileMap;

/** Offset of p in the shared memory that the launch sizes. */
uint32_t shared_address(const void *p);

void barrier_make(uint64_t *b, int threads);
static inline void barriers_made(void) {}
void barrier_expect(uint64_t *b, int bytes);
void barrier_arrive(uint64_t *b);
void barrier_wait(uint64_t *b, int parity);
void copy_box(void *dst, const LvTileMap *map, int x, int y, int z, uint64_t *b);

void copy_box4(void *dst, const LvTileMap *map, int x, int y, int z, int w, uint64_t *b);

void store_box(const void *src, const LvTileMap *map, int x, int y, int z);
void stores_read(void);

/** Named barriers: wait for so many threads, or arrive. */
void emu_turn(int id, int threads, int wait);

template <int threads> static inline void turn_wait(int id) { emu_turn(id, threads, 1); }
template <int threads> static inline void turn_give(int id) { emu_turn(id, threads, 0); }

template <int n> static inline void registers_up(void) {}
template <int n> static inline void registers_down(void) {}
template <int N> static inline void hold(float (*)[4]) {}
static inline void stay_behind(float) {}

/** The running thread writes a chunk of a tile. */
void emu_put(const void *at, int bytes);

static inline void panel_store4(void *at, uint32_t v)
{
    emu_put(at, 4);
    *(uint32_t *)at = v;
}

static inline void panel_store16(void *at, uint4 v)
{
    emu_put(at, 16);
    *(uint4 *)at = v;
}

void panels_put(void);

/** Operands of a product, and which of them have rows or columns of the result along their
 *  rows. */
typedef struct EmuOperands {
    const uint32_t *held; ///< first operand, or NULL: in shared memory, at a
    uint64_t a, b;
    int turned, across;   ///< first, second operand
    int bytes;            ///< 1: elements are e4m3, 32 of them; 0: bf16, 16
} EmuOperands;

/** A product of a warpgroup for n columns. */
void emu_product(float *c, int n, EmuOperands of, int add);

void products_commit(void);
void emu_products_wait(int groups);

static inline void products_begin(void) {}
template <int n> static inline void products_wait(void) { emu_products_wait(n); }

template <int N>
static inline void product8_shared(float (*c)[4], uint64_t a, uint64_t b, int add)
{
    emu_product(*c, N, { NULL, a, b, 0, 0, 1 }, add);
}

template <int N>
static inline void product8_held(float (*c)[4], const uint32_t *a, uint64_t b, int add)
{
    emu_product(*c, N, { a, 0, b, 0, 0, 1 }, add);
}

template <int N>
static inline void product_shared(float (*c)[4], uint64_t a, uint64_t b, int add)
{
    emu_product(*c, N, { NULL, a, b, 0, 0, 0 }, add);
}

template <int N>
static inline void product_held(float (*c)[4], const uint32_t *a, uint64_t b)
{
    emu_product(*c, N, { a, 0, b, 0, 1, 0 }, 1);
}

template <int N>
static inline void product_turned(float (*c)[4], uint64_t a, uint64_t b)
{
    emu_product(*c, N, { NULL, a, b, 1, 1, 0 }, 1);
}

/* For the emulator itself */

/** Let the running fibre wait until ready(of) is not 0. */
void emu_wait_until(int (*ready)(const void *of), const void *of);

/** A block begins; its threads have met; one of them ends; all have. */
void emu_hopper_begin(int threads);
void emu_hopper_meet(void);
void emu_hopper_leave(void);
void emu_hopper_end(void);

#endif /* LINVIDEO_TESTS_EMU_HOPPER_H */
