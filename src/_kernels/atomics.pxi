# Counters that threads share. What a thread wrote before it added to one is seen by those who add to it, or read it,
# later.

cdef extern from *:
    """
    #if defined(_MSC_VER) && !defined(__clang__)
    #include <intrin.h>
    #if defined(_WIN64)
    #define graddesc_add(counter, amount) _InterlockedExchangeAdd64((counter), (amount))
    #else
    #define graddesc_add(counter, amount) _InterlockedExchangeAdd((volatile long *) (counter), (amount))
    #endif
    #define graddesc_read(counter) graddesc_add((counter), 0)
    #else
    #define graddesc_add(counter, amount) __atomic_fetch_add((counter), (amount), __ATOMIC_ACQ_REL)
    #define graddesc_read(counter) __atomic_load_n((counter), __ATOMIC_ACQUIRE)
    #endif
    """
    Py_ssize_t add "graddesc_add"(Py_ssize_t *counter, Py_ssize_t amount) noexcept nogil  # returns what it was
    Py_ssize_t read "graddesc_read"(Py_ssize_t *counter) noexcept nogil
