"""What the processor can run, asked once at import."""

cdef extern from "portable.h" nogil:
    int x86_64_level "graddesc_x86_64_level"() noexcept


def supported_levels():
    """The x86-64 levels that this processor runs, lowest first; 'baseline' alone on other processors."""
    cdef int level = x86_64_level()
    return ("baseline",) + ("v3",) * (level >= 3) + ("v4",) * (level >= 4)
