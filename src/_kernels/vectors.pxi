# What vectors.pyx makes for each instruction set, and what it is made of.


ctypedef struct pairs_t:
    # A ring of `slots` pairs s, y and of 1 / s.y. There are `count` of them; `next` is the slot after the newest.
    double *s
    double *y
    double *reciprocals
    double *shares
    int slots
    int count
    int next
    double last_share  # s.y / y.y of the newest pair


ctypedef struct vectors_t:
    double (*dot)(Py_ssize_t n, const double *a, const double *b) noexcept nogil
    double (*dot_difference)(Py_ssize_t n, const double *g, const double *a, const double *b) noexcept nogil
    double (*largest)(Py_ssize_t n, const double *a) noexcept nogil
    void (*two_loops)(const pairs_t *pairs, Py_ssize_t n, const double *g, double *d) noexcept nogil
