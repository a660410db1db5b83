/* What compilers and systems do each in a way of their own. Everything else in the kernels is plain C17. */

#ifndef GRADDESC_PORTABLE_H
#define GRADDESC_PORTABLE_H

#if defined(_MSC_VER) && !defined(__clang__)
#define GRADDESC_MSVC 1
#include <intrin.h>
/* No fused multiply-add, as -ffp-contract=off says to others. */
#pragma fp_contract(off)
#else
#define GRADDESC_MSVC 0
#endif

/* M_PI is no part of C. */
#define GRADDESC_PI 3.14159265358979323846

/* ---- counters that threads share ---- */

#if GRADDESC_MSVC && defined(_WIN64)
#define graddesc_add(counter, amount) _InterlockedExchangeAdd64((counter), (amount))
#define graddesc_read(counter) graddesc_add((counter), 0)
#elif GRADDESC_MSVC
#define graddesc_add(counter, amount) _InterlockedExchangeAdd((volatile long *)(counter), (amount))
#define graddesc_read(counter) graddesc_add((counter), 0)
#else
#define graddesc_add(counter, amount) __atomic_fetch_add((counter), (amount), __ATOMIC_ACQ_REL)
#define graddesc_read(counter) __atomic_load_n((counter), __ATOMIC_ACQUIRE)
#endif

/* ---- caches: for writing, into the second level, as the first has no room for rows that come later ---- */

#if GRADDESC_MSVC && defined(_M_X64)
#define graddesc_prefetch(address) _mm_prefetch((const char *)(address), _MM_HINT_T1)
#elif GRADDESC_MSVC
#define graddesc_prefetch(address) ((void)(address))
#else
#define graddesc_prefetch(address) __builtin_prefetch((address), 1, 2)
#endif

/* ---- the x86-64 level of the processor: 1 is the baseline, 3 and 4 are v3 and v4; 2 is not told apart ---- */

#if (GRADDESC_MSVC && defined(_M_X64)) || (!GRADDESC_MSVC && defined(__x86_64__))

#if GRADDESC_MSVC
static inline void graddesc_cpuid(unsigned leaf, unsigned answer[4]) {
    int words[4];
    __cpuidex(words, (int)leaf, 0);
    for (int k = 0; k < 4; k++) answer[k] = (unsigned)words[k];
}
static inline unsigned graddesc_xgetbv(void) {
    return (unsigned)_xgetbv(0);
}
#else
static inline void graddesc_cpuid(unsigned leaf, unsigned answer[4]) {
    __asm__ volatile("cpuid" : "=a"(answer[0]), "=b"(answer[1]), "=c"(answer[2]), "=d"(answer[3]) : "0"(leaf), "2"(0));
}
static inline unsigned graddesc_xgetbv(void) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}
#endif

static inline int graddesc_x86_64_level(void) {
    enum { EAX, EBX, ECX, EDX };
    /* Leaf 1, ECX: SSE3, SSSE3, FMA, CMPXCHG16B, SSE4.1, SSE4.2, MOVBE, POPCNT, OSXSAVE, AVX, F16C. */
    const unsigned v3_basic = 1u | 1u << 9 | 1u << 12 | 1u << 13 | 1u << 19 | 1u << 20 | 1u << 22 | 1u << 23 | 1u << 27
        | 1u << 28 | 1u << 29;
    /* Leaf 7, EBX: BMI1, AVX2, BMI2; AVX512F, DQ, CD, BW, VL. */
    const unsigned v3_extended = 1u << 3 | 1u << 5 | 1u << 8;
    const unsigned v4_extended = 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31;
    /* Leaf 0x80000001, ECX: LAHF, LZCNT. */
    const unsigned v3_amd = 1u | 1u << 5;
    /* What the system keeps from task to task: SSE and AVX; opmask and both halves of AVX-512. */
    const unsigned v3_state = 0x6, v4_state = 0xe6;
    unsigned basic[4], extended[4], amd[4], state;

    graddesc_cpuid(0, basic);
    if (basic[EAX] < 7) return 1;
    graddesc_cpuid(0x80000000u, amd);
    if (amd[EAX] < 0x80000001u) return 1;
    graddesc_cpuid(1, basic);
    graddesc_cpuid(7, extended);
    graddesc_cpuid(0x80000001u, amd);
    if ((basic[ECX] & v3_basic) != v3_basic) return 1;
    if ((extended[EBX] & v3_extended) != v3_extended || (amd[ECX] & v3_amd) != v3_amd) return 1;
    state = graddesc_xgetbv();
    if ((state & v3_state) != v3_state) return 1;
    return (extended[EBX] & v4_extended) == v4_extended && (state & v4_state) == v4_state ? 4 : 3;
}

#else

static inline int graddesc_x86_64_level(void) {
    return 1;
}

#endif

#endif
