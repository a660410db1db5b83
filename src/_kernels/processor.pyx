"""What the processor can run, asked once at import."""

cdef extern from *:
    """
    #if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12
    static int graddesc_has_v3(void) {
        __builtin_cpu_init();
        return __builtin_cpu_supports("x86-64-v3") != 0;
    }
    static int graddesc_has_v4(void) {
        __builtin_cpu_init();
        return __builtin_cpu_supports("x86-64-v4") != 0;
    }
    #elif defined(__x86_64__) && defined(__GNUC__)
    /* Compilers that do not know the levels by name, nor f16c, lzcnt and movbe: processors with these have them too. */
    static int graddesc_has_v3(void) {
        __builtin_cpu_init();
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
            && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    }
    static int graddesc_has_v4(void) {
        return graddesc_has_v3()
            && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
            && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq")
            && __builtin_cpu_supports("avx512vl");
    }
    #else
    static int graddesc_has_v3(void) { return 0; }
    static int graddesc_has_v4(void) { return 0; }
    #endif
    """
    bint has_v3 "graddesc_has_v3"() noexcept nogil
    bint has_v4 "graddesc_has_v4"() noexcept nogil


def supported_levels():
    """The x86-64 levels that this processor runs, lowest first; 'baseline' alone on other processors."""
    return ("baseline",) + ("v3",) * has_v3() + ("v4",) * has_v4()
