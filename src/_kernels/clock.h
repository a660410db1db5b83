/* Time, apart from portable.h: what windows.h defines, such as "near" and "small", is the name of a field elsewhere. */

#ifndef GRADDESC_CLOCK_H
#define GRADDESC_CLOCK_H

#if defined(_WIN32)
#if !defined(WIN32_LEAN_AND_MEAN)
#define WIN32_LEAN_AND_MEAN
#endif
#if !defined(NOMINMAX)
#define NOMINMAX
#endif
#include <windows.h>
#else
#include <time.h>
#endif

static inline double graddesc_clock(void) {
    /* Seconds since some moment; never set back. */
#if defined(_WIN32)
    LARGE_INTEGER ticks, frequency;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&frequency);
    return (double)ticks.QuadPart / (double)frequency.QuadPart;
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
#endif
}

static inline void graddesc_nap(void) {
    /* Sleep for 0.2 ms, or for the shortest time that the system knows. */
#if defined(_WIN32)
    Sleep(1);
#else
    struct timespec pause = {0, 200000};
    nanosleep(&pause, NULL);
#endif
}

#endif
