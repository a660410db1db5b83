# Counters that threads share. What a thread wrote before it added to one is seen by those who add to it, or read it,
# later.

cdef extern from "portable.h" nogil:
    Py_ssize_t add "graddesc_add"(Py_ssize_t *counter, Py_ssize_t amount) noexcept  # returns what it was
    Py_ssize_t read "graddesc_read"(Py_ssize_t *counter) noexcept
