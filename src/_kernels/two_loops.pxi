# The recursion of Liu and Nocedal, with the dot() and add_and_dot() of whoever includes this.


cdef inline void two_loops(const pairs_t *pairs, Py_ssize_t n, const double *g, double *d) noexcept nogil:
    """Fill d with minus the inverse Hessian times g; each pass over d also takes the next product."""
    cdef int k, last = pairs.slots - 1, slot = pairs.next - 1 if pairs.next > 0 else last, newest = slot, before
    cdef double share, product
    cdef double *s
    cdef double *y
    cdef Py_ssize_t i
    for i in range(n):
        d[i] = -g[i]
    product = dot(n, pairs.s + slot * n, d)
    for k in range(pairs.count):
        share = product * pairs.reciprocals[slot]
        pairs.shares[slot] = share
        y = pairs.y + slot * n
        if k == pairs.count - 1:
            for i in range(n):
                d[i] = (d[i] - share * y[i]) * pairs.last_share
        else:
            before = slot - 1 if slot > 0 else last
            product = add_and_dot(n, d, -share, y, pairs.s + before * n)
            slot = before
    product = dot(n, pairs.y + slot * n, d)
    for k in range(pairs.count):
        share = pairs.shares[slot] - product * pairs.reciprocals[slot]
        s = pairs.s + slot * n
        if slot == newest:
            for i in range(n):
                d[i] += share * s[i]
        else:
            slot = slot + 1 if slot < last else 0
            product = add_and_dot(n, d, share, s, pairs.y + slot * n)
