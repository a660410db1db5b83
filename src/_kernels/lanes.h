/* Sums over vectors of doubles, in eight lanes, which every machine adds up in the same order.
 *
 * Lengths are multiples of eight: who has fewer numbers fills up with zeros. Compilers do not keep lanes of an array of
 * eight doubles in registers, but add them one by one, which takes twice as long. Registers of 512 bits are no faster
 * than those of 256: every addition waits for the one before.
 */

#ifndef GRADDESC_LANES_H
#define GRADDESC_LANES_H

#include <math.h>
#include <stddef.h>

#if !defined(__GNUC__)
#define GRADDESC_WIDTH 1
typedef double graddesc_lanes;
typedef double graddesc_loaded;
#define graddesc_size(v) fabs(v)
#define graddesc_larger(a, b) ((a) > (b) ? (a) : (b))
#else
#if defined(__AVX__)
#define GRADDESC_WIDTH 4
#else
#define GRADDESC_WIDTH 2
#endif
typedef double graddesc_lanes __attribute__((vector_size(GRADDESC_WIDTH * 8)));
/* The same in memory, wherever that is. */
typedef double graddesc_loaded __attribute__((vector_size(GRADDESC_WIDTH * 8), aligned(8), may_alias));
typedef long long graddesc_bits __attribute__((vector_size(GRADDESC_WIDTH * 8)));
static inline graddesc_lanes graddesc_size(graddesc_lanes v) {
    return (graddesc_lanes)((graddesc_bits)v & 0x7fffffffffffffffLL);
}
static inline graddesc_lanes graddesc_larger(graddesc_lanes a, graddesc_lanes b) {
    const graddesc_bits first = (graddesc_bits)(a > b);
    return (graddesc_lanes)(((graddesc_bits)a & first) | ((graddesc_bits)b & ~first));
}
#endif

enum { GRADDESC_REGISTERS = 8 / GRADDESC_WIDTH };

#define graddesc_load(a, i, k) (*(const graddesc_loaded *)((a) + (i) + (k) * GRADDESC_WIDTH))
#define graddesc_store(a, i, k) (*(graddesc_loaded *)((a) + (i) + (k) * GRADDESC_WIDTH))

static inline double graddesc_sum(const graddesc_lanes *r) {
#if GRADDESC_WIDTH == 4
    const graddesc_lanes halves = r[0] + r[1];
    return (halves[0] + halves[2]) + (halves[1] + halves[3]);
#elif GRADDESC_WIDTH == 2
    const graddesc_lanes quarters = (r[0] + r[2]) + (r[1] + r[3]);
    return quarters[0] + quarters[1];
#else
    return ((r[0] + r[4]) + (r[2] + r[6])) + ((r[1] + r[5]) + (r[3] + r[7]));
#endif
}

/* a.b */
static inline double graddesc_dot(ptrdiff_t n, const double *a, const double *b) {
    graddesc_lanes sums[GRADDESC_REGISTERS] = {0};
    for (ptrdiff_t i = 0; i < n; i += 8)
        for (int k = 0; k < GRADDESC_REGISTERS; k++) sums[k] += graddesc_load(a, i, k) * graddesc_load(b, i, k);
    return graddesc_sum(sums);
}

/* g.(a - b) */
static inline double graddesc_dot_difference(ptrdiff_t n, const double *g, const double *a, const double *b) {
    graddesc_lanes sums[GRADDESC_REGISTERS] = {0};
    for (ptrdiff_t i = 0; i < n; i += 8)
        for (int k = 0; k < GRADDESC_REGISTERS; k++)
            sums[k] += graddesc_load(g, i, k) * (graddesc_load(a, i, k) - graddesc_load(b, i, k));
    return graddesc_sum(sums);
}

/* The largest component; infinity if one is not finite. */
static inline double graddesc_largest(ptrdiff_t n, const double *a) {
    graddesc_lanes most[GRADDESC_REGISTERS] = {0}, poison[GRADDESC_REGISTERS] = {0};
    double sizes[8], poisons[8], largest = 0.0;
    for (ptrdiff_t i = 0; i < n; i += 8)
        for (int k = 0; k < GRADDESC_REGISTERS; k++) {
            const graddesc_lanes v = graddesc_load(a, i, k);
            most[k] = graddesc_larger(graddesc_size(v), most[k]);
            poison[k] += v - v;
        }
    for (int k = 0; k < GRADDESC_REGISTERS; k++) {
        graddesc_store(sizes, 0, k) = most[k];
        graddesc_store(poisons, 0, k) = poison[k];
    }
    for (int k = 0; k < 8; k++) {
        if (poisons[k] != 0.0) return INFINITY;
        if (sizes[k] > largest) largest = sizes[k];
    }
    return largest;
}

/* Add c a to d, and return d.b; one pass. */
static inline double graddesc_add_and_dot(ptrdiff_t n, double *d, double c, const double *a, const double *b) {
    graddesc_lanes sums[GRADDESC_REGISTERS] = {0};
    for (ptrdiff_t i = 0; i < n; i += 8)
        for (int k = 0; k < GRADDESC_REGISTERS; k++) {
            const graddesc_lanes v = graddesc_load(d, i, k) + c * graddesc_load(a, i, k);
            graddesc_store(d, i, k) = v;
            sums[k] += v * graddesc_load(b, i, k);
        }
    return graddesc_sum(sums);
}

#endif
