"""Kriging of windows whose power spectrum is learned from their known pixels by expectation-maximisation.

A window of size x size pixels is a piece of a stationary Gaussian process on a torus of `side` x `side`, of spectrum S:
the covariance of two of its pixels is the inverse transform of S at their distance. What its known pixels then tell of
the others is their conditional mean; what they tell of S is one step of expectation-maximisation.

Windows are worked upon sixteen at a time, one in each lane: every array of a window has its lanes innermost, so that
all arithmetic is vectors' and no lane knows of another. Hence the result depends neither on the threads, which share
out the batches, nor on the instruction set. Lanes of fewer known pixels than their batch's first are filled up with
pixels that are uncorrelated with everything; who calls sorts the windows by their known pixels.

The covariance matrix is inverted by sweeping (Gauss-Jordan elimination of a symmetric matrix, in its packed lower
triangle), with the known values and ones as further rows: what these become are the weights of the kriging and its
quadratic forms. A sweep that leaves out the rows behind it gives the quadratic forms alone, for a third of the work.

Not checked: that the indices in `order` and the positions of the windows lie inside their arrays.
"""

from libc.math cimport INFINITY, log, sqrt
from libc.string cimport memset

include "threads.pxi"

cdef enum:
    LANES = 16
    MOST_CHANNELS = 4


cdef struct Shape:
    Py_ssize_t side      # of the torus
    Py_ssize_t half      # side / 2 + 1
    Py_ssize_t size      # of the window
    Py_ssize_t width     # of the table of distances: 2 * size
    Py_ssize_t capacity  # known pixels of a window at most
    Py_ssize_t channels


cdef struct Work:
    # Pieces of a thread's workspace, the lanes innermost.
    float *matrix       # packed lower triangle: capacity + channels + 1 rows
    float *column       # capacity + channels + 1
    float *valid        # capacity: 1 where a lane has a known pixel of this number
    float *taper        # capacity: the window function there
    float *noise        # capacity: the variance of what is seen there beside the process
    float *spectrum     # side * half
    float *table        # size * width: by distance
    float *blend        # size * width
    float *re           # side * side
    float *im
    float *line         # 4 * side: one line in transformation
    float *response     # 2 * side * half: the transform of the first channel's weights; the power of all
    float *pixels       # channels * size * size: windows of the pilot
    int *position       # capacity: row * width + col


cdef Py_ssize_t lay_out(Shape s, float *base, Work *work) noexcept nogil:
    # Hand out the workspace; return its number of floats.
    cdef Py_ssize_t rows = s.capacity + s.channels + 1, used = 0
    cdef Py_ssize_t lengths[14]
    cdef float **pieces[13]
    cdef int i
    pieces[:] = [
        &work.matrix, &work.column, &work.valid, &work.taper, &work.noise, &work.spectrum, &work.table, &work.blend,
        &work.re, &work.im, &work.line, &work.response, &work.pixels,
    ]
    lengths[:] = [
        rows * (rows + 1) // 2, rows, s.capacity, s.capacity, s.capacity, s.side * s.half, s.size * s.width,
        s.size * s.width, s.side * s.side, s.side * s.side, 4 * s.side, 2 * s.side * s.half,
        s.channels * s.size * s.size, s.capacity,
    ]
    for i in range(13):
        pieces[i][0] = base + used
        used += lengths[i] * LANES
    work.position = <int *> (base + used)
    return used + lengths[13] * LANES


# ---- transforms ----

cdef inline void butterfly2(
    const float *restrict re, const float *restrict im, Py_ssize_t apart, float c1, float s1,
    float *restrict re_out, float *restrict im_out, Py_ssize_t step,
) noexcept nogil:
    # One vector of a transform's stage: y0 = a + b, y1 = w (a - b), w = c1 - i s1.
    cdef float y0r[LANES]
    cdef float y0i[LANES]
    cdef float y1r[LANES]
    cdef float y1i[LANES]
    cdef float dr, di
    cdef int v
    for v in range(LANES):
        y0r[v] = re[v] + re[apart + v]
        y0i[v] = im[v] + im[apart + v]
        dr = re[v] - re[apart + v]
        di = im[v] - im[apart + v]
        y1r[v] = c1 * dr + s1 * di
        y1i[v] = c1 * di - s1 * dr
    for v in range(LANES):
        re_out[v] = y0r[v]
    for v in range(LANES):
        im_out[v] = y0i[v]
    for v in range(LANES):
        re_out[step + v] = y1r[v]
    for v in range(LANES):
        im_out[step + v] = y1i[v]


cdef inline void butterfly3(
    const float *restrict re, const float *restrict im, Py_ssize_t apart, float c1, float s1, float c2, float s2,
    float *restrict re_out, float *restrict im_out, Py_ssize_t step,
) noexcept nogil:
    # y0 = a + b + c, y1 = w (a - (b + c) / 2 - i h (b - c)), y2 = w^2 (a - (b + c) / 2 + i h (b - c)), h = sqrt(3) / 2.
    cdef float y0r[LANES]
    cdef float y0i[LANES]
    cdef float y1r[LANES]
    cdef float y1i[LANES]
    cdef float y2r[LANES]
    cdef float y2i[LANES]
    cdef float sr, si, mr, mi, dr, di, pr, pi, qr, qi
    cdef float h = <float> 0.8660254037844386, half = <float> 0.5
    cdef int v
    for v in range(LANES):
        sr = re[apart + v] + re[2 * apart + v]
        si = im[apart + v] + im[2 * apart + v]
        mr = re[v] - half * sr
        mi = im[v] - half * si
        dr = h * (re[apart + v] - re[2 * apart + v])
        di = h * (im[apart + v] - im[2 * apart + v])
        pr = mr + di
        pi = mi - dr
        qr = mr - di
        qi = mi + dr
        y0r[v] = re[v] + sr
        y0i[v] = im[v] + si
        y1r[v] = c1 * pr + s1 * pi
        y1i[v] = c1 * pi - s1 * pr
        y2r[v] = c2 * qr + s2 * qi
        y2i[v] = c2 * qi - s2 * qr
    for v in range(LANES):
        re_out[v] = y0r[v]
    for v in range(LANES):
        im_out[v] = y0i[v]
    for v in range(LANES):
        re_out[step + v] = y1r[v]
    for v in range(LANES):
        im_out[step + v] = y1i[v]
    for v in range(LANES):
        re_out[2 * step + v] = y2r[v]
    for v in range(LANES):
        im_out[2 * step + v] = y2i[v]


cdef inline void butterfly4(
    const float *restrict re, const float *restrict im, Py_ssize_t apart, float c1, float s1, float c2, float s2,
    float c3, float s3, float *restrict re_out, float *restrict im_out, Py_ssize_t step,
) noexcept nogil:
    # y0 = a + b + c + d, y1 = w (a - c - i (b - d)), y2 = w^2 (a + c - b - d), y3 = w^3 (a - c + i (b - d)).
    cdef float y0r[LANES]
    cdef float y0i[LANES]
    cdef float y1r[LANES]
    cdef float y1i[LANES]
    cdef float y2r[LANES]
    cdef float y2i[LANES]
    cdef float y3r[LANES]
    cdef float y3i[LANES]
    cdef float sr, si, dr, di, tr, ti, er, ei, pr, pi
    cdef int v
    for v in range(LANES):
        sr = re[v] + re[2 * apart + v]
        si = im[v] + im[2 * apart + v]
        dr = re[v] - re[2 * apart + v]
        di = im[v] - im[2 * apart + v]
        tr = re[apart + v] + re[3 * apart + v]
        ti = im[apart + v] + im[3 * apart + v]
        er = re[apart + v] - re[3 * apart + v]
        ei = im[apart + v] - im[3 * apart + v]
        y0r[v] = sr + tr
        y0i[v] = si + ti
        pr = sr - tr
        pi = si - ti
        y2r[v] = c2 * pr + s2 * pi
        y2i[v] = c2 * pi - s2 * pr
        pr = dr + ei
        pi = di - er
        y1r[v] = c1 * pr + s1 * pi
        y1i[v] = c1 * pi - s1 * pr
        pr = dr - ei
        pi = di + er
        y3r[v] = c3 * pr + s3 * pi
        y3i[v] = c3 * pi - s3 * pr
    for v in range(LANES):
        re_out[v] = y0r[v]
    for v in range(LANES):
        im_out[v] = y0i[v]
    for v in range(LANES):
        re_out[step + v] = y1r[v]
    for v in range(LANES):
        im_out[step + v] = y1i[v]
    for v in range(LANES):
        re_out[2 * step + v] = y2r[v]
    for v in range(LANES):
        im_out[2 * step + v] = y2i[v]
    for v in range(LANES):
        re_out[3 * step + v] = y3r[v]
    for v in range(LANES):
        im_out[3 * step + v] = y3i[v]


cdef void transform_line(
    float *re, float *im, Py_ssize_t stride, Py_ssize_t side, const float *roots, float *line,
) noexcept nogil:
    # The discrete Fourier transform of one line, in place, unnormalised; stride in vectors. Stockham's order: each
    # stage reads one buffer and writes the other. roots: cosines, then sines, of 2 pi k / side.
    cdef const float *cosine = roots
    cdef const float *sine = roots + side
    cdef float *x_re = line
    cdef float *x_im = line + side * LANES
    cdef float *y_re = line + 2 * side * LANES
    cdef float *y_im = line + 3 * side * LANES
    cdef float *swap
    cdef Py_ssize_t n = side, s = 1, radix, m, p, q, k
    cdef int v
    for k in range(side):
        for v in range(LANES):
            x_re[k * LANES + v] = re[k * stride * LANES + v]
        for v in range(LANES):
            x_im[k * LANES + v] = im[k * stride * LANES + v]
    while n > 1:
        radix = 4 if n % 4 == 0 else 2 if n % 2 == 0 else 3
        m = n // radix
        for p in range(m):
            k = p * s
            for q in range(s):
                if radix == 4:
                    butterfly4(
                        x_re + (q + s * p) * LANES, x_im + (q + s * p) * LANES, s * m * LANES,
                        cosine[k], sine[k], cosine[2 * k], sine[2 * k], cosine[3 * k], sine[3 * k],
                        y_re + (q + s * 4 * p) * LANES, y_im + (q + s * 4 * p) * LANES, s * LANES,
                    )
                elif radix == 2:
                    butterfly2(
                        x_re + (q + s * p) * LANES, x_im + (q + s * p) * LANES, s * m * LANES,
                        cosine[k], sine[k],
                        y_re + (q + s * 2 * p) * LANES, y_im + (q + s * 2 * p) * LANES, s * LANES,
                    )
                else:
                    butterfly3(
                        x_re + (q + s * p) * LANES, x_im + (q + s * p) * LANES, s * m * LANES,
                        cosine[k], sine[k], cosine[2 * k], sine[2 * k],
                        y_re + (q + s * 3 * p) * LANES, y_im + (q + s * 3 * p) * LANES, s * LANES,
                    )
        swap = x_re
        x_re = y_re
        y_re = swap
        swap = x_im
        x_im = y_im
        y_im = swap
        n = m
        s *= radix
    for k in range(side):
        for v in range(LANES):
            re[k * stride * LANES + v] = x_re[k * LANES + v]
        for v in range(LANES):
            im[k * stride * LANES + v] = x_im[k * LANES + v]


cdef void transform(
    float *re, float *im, Py_ssize_t side, Py_ssize_t rows, Py_ssize_t cols, const float *roots, float *line,
) noexcept nogil:
    # The two-dimensional transform, in place, of which only the first rows hold anything and only the first columns
    # are wanted.
    cdef Py_ssize_t i
    for i in range(rows):
        transform_line(re + i * side * LANES, im + i * side * LANES, 1, side, roots, line)
    for i in range(cols):
        transform_line(re + i * LANES, im + i * LANES, side, side, roots, line)


# ---- a batch of windows ----

cdef void read_known(
    Shape s, const float *image, const unsigned char *known, const float *noise, Py_ssize_t rows, Py_ssize_t cols,
    const int *corners, const int *order, Py_ssize_t first, Py_ssize_t last, const float *taper,
    Work *w, float *values, float *means, float *variances, Py_ssize_t *count_out,
) noexcept nogil:
    # The known pixels of each lane's window: positions, the window function and the variance of the noise there, and
    # the values, less their mean, into the rows of the matrix behind them. Lanes behind `last` repeat its window.
    cdef Py_ssize_t lane, i, j, c, k, top, left, window, every, skip, found, pixel, count = 0, number
    cdef Py_ssize_t numbers[LANES]
    cdef float total, square
    for lane in range(LANES):
        window = order[min(first + lane, last - 1)]
        top = corners[2 * window]
        left = corners[2 * window + 1]
        found = 0
        for i in range(s.size):
            for j in range(s.size):
                found += known[(top + i) * cols + left + j]
        # Of more than there is room for, every second, third, ...
        every = (found + s.capacity - 1) // s.capacity if found > s.capacity else 1
        skip = 0
        number = 0
        for i in range(s.size):
            for j in range(s.size):
                pixel = (top + i) * cols + left + j
                if known[pixel]:
                    if skip == 0:
                        w.position[number * LANES + lane] = i * s.width + j
                        w.taper[number * LANES + lane] = taper[i * s.size + j]
                        w.noise[number * LANES + lane] = noise[pixel]
                        w.valid[number * LANES + lane] = 1
                        for c in range(s.channels):
                            values[(c * s.capacity + number) * LANES + lane] = image[c * rows * cols + pixel]
                        number += 1
                        skip = every
                    skip -= 1
        numbers[lane] = number
        count = max(count, number)
    for lane in range(LANES):
        number = numbers[lane]
        variances[lane] = 0
        for c in range(s.channels):
            total = 0
            for k in range(number):
                total += values[(c * s.capacity + k) * LANES + lane]
            total /= number
            means[c * LANES + lane] = total
            square = 0
            for k in range(number):
                values[(c * s.capacity + k) * LANES + lane] -= total
                square += values[(c * s.capacity + k) * LANES + lane] * values[(c * s.capacity + k) * LANES + lane]
            variances[lane] += square / number / s.channels
        for k in range(number, count):
            w.position[k * LANES + lane] = w.position[(number - 1) * LANES + lane]
            w.taper[k * LANES + lane] = 0
            w.noise[k * LANES + lane] = 0
            w.valid[k * LANES + lane] = 0
            for c in range(s.channels):
                values[(c * s.capacity + k) * LANES + lane] = 0
    count_out[0] = count


cdef void fill_table(Shape s, const float *re, float *table) noexcept nogil:
    # The first columns of an even transform, by distance: rows 0 to size - 1, columns -size + 1 to size - 1.
    cdef Py_ssize_t i, j, row, col
    cdef float scale = <float> (1.0 / (s.side * s.side))
    cdef int v
    for i in range(s.size):
        for j in range(-s.size + 1, s.size):
            row = i
            col = j if j >= 0 else j + s.side
            if col >= s.half:
                col = s.side - col
                row = (s.side - i) % s.side
            for v in range(LANES):
                table[(i * s.width + j + s.size - 1) * LANES + v] = scale * re[(row * s.side + col) * LANES + v]


cdef void fill_matrix(Shape s, Work *w, Py_ssize_t count, const float *values) noexcept nogil:
    # The covariances of the known pixels, then the rows of the values and of ones.
    cdef float *row = w.matrix
    cdef const float *valid
    cdef const float *noise
    cdef const int *position
    cdef const float *table = w.table + (s.size - 1) * LANES
    cdef float t[LANES]
    cdef Py_ssize_t i, j, c
    cdef int v
    for i in range(count):
        position = w.position + i * LANES
        valid = w.valid + i * LANES
        noise = w.noise + i * LANES
        for j in range(i):
            for v in range(LANES):
                t[v] = table[<Py_ssize_t> (position[v] - w.position[j * LANES + v]) * LANES + v]
            for v in range(LANES):
                t[v] *= valid[v]
            for v in range(LANES):
                row[j * LANES + v] = t[v]
        for v in range(LANES):
            t[v] = table[v] + noise[v] if valid[v] != 0 else 1
        for v in range(LANES):
            row[i * LANES + v] = t[v]
        row += (i + 1) * LANES
    for c in range(s.channels + 1):
        for j in range(count * LANES):
            row[j] = values[c * s.capacity * LANES + j] if c < s.channels else w.valid[j]
        for j in range(count * LANES, (count + c + 1) * LANES):
            row[j] = 0
        row += (count + c + 1) * LANES


cdef inline void subtract_multiples(
    const float *restrict factor, const float *restrict column, Py_ssize_t count, float *restrict row
) noexcept nogil:
    # Each lane of `column`, so many vectors, times that of `factor`.
    cdef Py_ssize_t j
    cdef int v
    for j in range(count):
        for v in range(LANES):
            row[j * LANES + v] -= factor[v] * column[j * LANES + v]


cdef void sweep(
    float *matrix, Py_ssize_t count, Py_ssize_t size, bint whole, float least, float *column, double *logarithm,
) noexcept nogil:
    # Sweep the first `count` rows of a symmetric matrix: they become minus the inverse K^-1, the others B' K^-1, and
    # -B' K^-1 B among themselves. Unless whole, only the latter are right. Add up the logarithms of the pivots, which
    # are at least `least` but for rounding.
    cdef float inverse[LANES]
    cdef float factor[LANES]
    cdef float t[LANES]
    cdef float *row
    cdef float *pivot_row
    cdef Py_ssize_t i, j, k, first
    cdef int v
    for v in range(LANES):
        logarithm[v] = 0
    for k in range(count):
        pivot_row = matrix + k * (k + 1) // 2 * LANES
        first = 0 if whole else k + 1
        if whole:
            for j in range(k * LANES):
                column[j] = pivot_row[j]
        for i in range(k, size):
            row = matrix + (i * (i + 1) // 2 + k) * LANES
            for v in range(LANES):
                column[i * LANES + v] = row[v]
        for v in range(LANES):
            t[v] = column[k * LANES + v] if column[k * LANES + v] > least else least
            inverse[v] = 1 / t[v]
            if not whole:
                logarithm[v] += log(t[v])
        for i in range(first, size):
            if i == k:
                continue
            row = matrix + i * (i + 1) // 2 * LANES
            for v in range(LANES):
                factor[v] = column[i * LANES + v] * inverse[v]
            subtract_multiples(factor, column + first * LANES, i + 1 - first, row + first * LANES)
        if whole:
            for j in range(k):
                for v in range(LANES):
                    pivot_row[j * LANES + v] = column[j * LANES + v] * inverse[v]
            for v in range(LANES):
                pivot_row[k * LANES + v] = -inverse[v]
            for i in range(k + 1, size):
                row = matrix + (i * (i + 1) // 2 + k) * LANES
                for v in range(LANES):
                    row[v] = column[i * LANES + v] * inverse[v]


cdef void load_spectra(
    Shape s, const float *spectra, const int *order, Py_ssize_t first, Py_ssize_t last, float *out,
) noexcept nogil:
    cdef Py_ssize_t lane, k, length = s.side * s.half
    cdef const float *spectrum
    for lane in range(LANES):
        spectrum = spectra + order[min(first + lane, last - 1)] * length
        for k in range(length):
            out[k * LANES + lane] = spectrum[k]


cdef void store_spectra(
    Shape s, const float *spectrum, const int *order, Py_ssize_t first, Py_ssize_t last, float *spectra,
) noexcept nogil:
    cdef Py_ssize_t lane, k, length = s.side * s.half
    cdef float *out
    for lane in range(min(last - first, LANES)):
        out = spectra + order[first + lane] * length
        for k in range(length):
            out[k] = spectrum[k * LANES + lane]


cdef void load_even(Shape s, const float *spectrum, float *re, float *im) noexcept nogil:
    # A half spectrum, symmetric under negation, as the real part of a whole one.
    cdef Py_ssize_t i, j, row, col
    cdef int v
    for i in range(s.side):
        for j in range(s.side):
            row = i if j < s.half else (s.side - i) % s.side
            col = j if j < s.half else s.side - j
            for v in range(LANES):
                re[(i * s.side + j) * LANES + v] = spectrum[(row * s.half + col) * LANES + v]
    for i in range(s.side * s.side * LANES):
        im[i] = 0


cdef inline Py_ssize_t row_start(Py_ssize_t i) noexcept nogil:
    return i * (i + 1) // 2 * LANES


cdef void place_weights(Shape s, Work *w, Py_ssize_t count, Py_ssize_t channel, const float *mean) noexcept nogil:
    # The kriging's weights a = K^-1 (v - m) at their positions, as the real part of an image on the torus; with the
    # first channel the sums of K^-1 by distance, each pair once, as its imaginary part.
    cdef float a[LANES]
    cdef const float *row
    cdef const float *ones = w.matrix + row_start(count + s.channels)
    cdef const int *position
    cdef float *table = w.blend + (s.size - 1) * LANES
    cdef Py_ssize_t i, j, k, col
    cdef int v
    for k in range(s.side * s.side * LANES):
        w.re[k] = 0
    for k in range(s.side * s.side * LANES):
        w.im[k] = 0
    row = w.matrix + row_start(count + channel)
    for i in range(count):
        for v in range(LANES):
            a[v] = row[i * LANES + v] - mean[v] * ones[i * LANES + v]
        for v in range(LANES):
            k = w.position[i * LANES + v]
            w.re[(k // s.width * s.side + k % s.width) * LANES + v] += a[v]
    if channel > 0:
        return
    for k in range(s.size * s.width * LANES):
        w.blend[k] = 0
    for i in range(1, count):
        row = w.matrix + row_start(i)
        position = w.position + i * LANES
        for j in range(i):
            for v in range(LANES):
                table[<Py_ssize_t> (position[v] - w.position[j * LANES + v]) * LANES + v] -= row[j * LANES + v]
    for i in range(s.size):
        for j in range(-s.size + 1, s.size):
            col = j if j >= 0 else j + s.side
            for v in range(LANES):
                w.im[(i * s.side + col) * LANES + v] += table[(i * s.width + j) * LANES + v]


cdef void update(Shape s, Work *w, const float *prior, float mix) noexcept nogil:
    # One over-relaxed step of expectation-maximisation: S <- Z^2 / S, Z = |U|^2 / N^2 + S - S^2 q / N^2, and a little
    # of the prior. `response` holds the power |A|^2, mean over the channels, and then q.
    cdef float total[LANES]
    cdef float t[LANES]
    cdef const float *power = w.response
    cdef const float *q = w.response + s.side * s.half * LANES
    cdef float share = <float> (1.0 / (s.side * s.side)), kept = 1 - mix, square, z, weight
    cdef Py_ssize_t i, j, k
    cdef int v
    for v in range(LANES):
        total[v] = 0
    for i in range(s.side):
        for j in range(s.half):
            weight = 1 if j == 0 or 2 * j == s.side else 2
            k = (i * s.half + j) * LANES
            for v in range(LANES):
                square = share * w.spectrum[k + v] * w.spectrum[k + v]
                z = w.spectrum[k + v] - square * q[k + v]
                z = z if z > 0 else 0
                z = z + square * power[k + v]
                t[v] = z * z / w.spectrum[k + v]
            for v in range(LANES):
                total[v] += weight * t[v]
            for v in range(LANES):
                w.spectrum[k + v] = t[v]
    for v in range(LANES):
        total[v] = mix * share * total[v]
    for k in range(s.side * s.half):
        for v in range(LANES):
            t[v] = kept * w.spectrum[k * LANES + v] + prior[k] * total[v]
            t[v] = t[v] if t[v] > <float> 1e-12 else <float> 1e-12
        for v in range(LANES):
            w.spectrum[k * LANES + v] = t[v]


cdef void step_batch(
    Shape s, const float *image, const unsigned char *known, const float *noise, Py_ssize_t rows, Py_ssize_t cols,
    const int *corners, const int *order, Py_ssize_t first, Py_ssize_t last,
    const float *taper, const float *roots, const float *prior, float least, float mix,
    float *workspace, float *spectra, float *errors, float *estimates,
) noexcept nogil:
    cdef Work w
    cdef float *values
    cdef float *row
    cdef float means[LANES * MOST_CHANNELS]
    cdef float m[LANES * MOST_CHANNELS]
    cdef float variances[LANES]
    cdef float trace[LANES]
    cdef float error[LANES]
    cdef float weight[LANES]
    cdef float t[LANES]
    cdef float u[LANES]
    cdef double logarithm[LANES]
    cdef Py_ssize_t count, c, i, j, k, r, lane, window, at, mirror
    cdef const float *ones
    # Variables: Cython would write a literal as a double, and what it meets with it.
    cdef float area = <float> (s.side * s.side), half = <float> 0.5, share = <float> (1.0 / s.channels)
    cdef int v
    values = workspace + lay_out(s, workspace, &w)
    read_known(
        s, image, known, noise, rows, cols, corners, order, first, last, taper, &w, values, means, variances, &count
    )
    load_spectra(s, spectra, order, first, last, w.spectrum)
    load_even(s, w.spectrum, w.re, w.im)
    transform(w.re, w.im, s.side, s.side, s.half, roots, w.line)
    fill_table(s, w.re, w.table)
    fill_matrix(s, &w, count, values)
    sweep(w.matrix, count, count + s.channels + 1, True, least, w.column, logarithm)

    ones = w.matrix + row_start(count + s.channels)
    for c in range(s.channels):
        for v in range(LANES):
            m[c * LANES + v] = ones[(count + c) * LANES + v] / ones[(count + s.channels) * LANES + v]
    # The trace of K^-1, and the errors of leaving each pixel out, a / diag(K^-1).
    for v in range(LANES):
        trace[v] = 0
        error[v] = 0
        weight[v] = 0
    for i in range(count):
        row = w.matrix + row_start(i) + i * LANES
        for v in range(LANES):
            trace[v] -= w.valid[i * LANES + v] * row[v]
            weight[v] += w.taper[i * LANES + v]
        for c in range(s.channels):
            at = row_start(count + c) + i * LANES
            for v in range(LANES):
                t[v] = (w.matrix[at + v] - m[c * LANES + v] * ones[i * LANES + v]) / row[v]
                error[v] += w.taper[i * LANES + v] * t[v] * t[v]
    for lane in range(min(last - first, LANES)):
        errors[order[first + lane]] = error[lane] / (s.channels * weight[lane])

    for c in range(s.channels):
        place_weights(s, &w, count, c, m + c * LANES)
        transform(w.re, w.im, s.side, s.size, s.side, roots, w.line)
        for i in range(s.side):
            for j in range(s.half):
                k = (i * s.half + j) * LANES
                at = (i * s.side + j) * LANES
                mirror = ((s.side - i) % s.side * s.side + (s.side - j) % s.side) * LANES
                # Of F = transform(a + i b): the transform of a is (F(k) + conj F(-k)) / 2; b's has the real part
                # (Im F(k) + Im F(-k)) / 2.
                for v in range(LANES):
                    t[v] = half * (w.re[at + v] + w.re[mirror + v])
                    u[v] = half * (w.im[at + v] - w.im[mirror + v])
                    t[v] = share * (t[v] * t[v] + u[v] * u[v])
                    u[v] = w.im[at + v] + w.im[mirror + v] + trace[v]
                    u[v] = u[v] if u[v] > 0 else 0
                if c == 0:
                    for v in range(LANES):
                        w.response[k + v] = t[v]
                    for v in range(LANES):
                        w.response[s.side * s.half * LANES + k + v] = u[v]
                else:
                    for v in range(LANES):
                        w.response[k + v] += t[v]
        if estimates != NULL:
            # U = S A, whole and conjugate: what its transform gives is real.
            for i in range(s.side):
                for j in range(s.half):
                    k = (i * s.half + j) * LANES
                    at = (i * s.side + j) * LANES
                    r = ((s.side - i) % s.side * s.side + (s.side - j) % s.side) * LANES
                    if r < at and (j == 0 or 2 * j == s.side):
                        continue  # was written with its mirror image
                    for v in range(LANES):
                        t[v] = half * w.spectrum[k + v] * (w.re[at + v] + w.re[r + v])
                        u[v] = half * w.spectrum[k + v] * (w.im[at + v] - w.im[r + v])
                    for v in range(LANES):
                        w.re[at + v] = t[v]
                    for v in range(LANES):
                        w.re[r + v] = t[v]
                    for v in range(LANES):
                        w.im[at + v] = -u[v]
                    if r != at:
                        for v in range(LANES):
                            w.im[r + v] = u[v]
            transform(w.re, w.im, s.side, s.side, s.side, roots, w.line)
            for lane in range(min(last - first, LANES)):
                window = order[first + lane]
                for i in range(s.size):
                    for j in range(s.size):
                        estimates[((window * s.channels + c) * s.size + i) * s.size + j] = (
                            w.re[(i * s.side + j) * LANES + lane] / area + m[c * LANES + lane] + means[c * LANES + lane]
                        )
    update(s, &w, prior, mix)
    store_spectra(s, w.spectrum, order, first, last, spectra)


cdef void load_periodogram(
    Shape s, const float *pilot, Py_ssize_t rows, Py_ssize_t cols, const int *corners, const int *order,
    Py_ssize_t first, Py_ssize_t last, const float *taper, const float *roots, Work *w,
) noexcept nogil:
    # Into w.spectrum: |transform of (window - mean) sqrt(taper)|^2 / sum of the taper, mean over the channels.
    cdef Py_ssize_t c, i, j, k, at, lane, window
    cdef const float *pixels
    cdef float mean, total = 0
    cdef int v
    for i in range(s.size * s.size):
        total += taper[i]
    for k in range(s.side * s.half * LANES):
        w.spectrum[k] = 0
    for c in range(s.channels):
        for k in range(s.side * s.side * LANES):
            w.re[k] = 0
        for k in range(s.side * s.side * LANES):
            w.im[k] = 0
        for lane in range(LANES):
            window = order[min(first + lane, last - 1)]
            pixels = pilot + (c * rows + corners[2 * window]) * cols + corners[2 * window + 1]
            mean = 0
            for i in range(s.size):
                for j in range(s.size):
                    mean += pixels[i * cols + j]
            mean /= s.size * s.size
            for i in range(s.size):
                for j in range(s.size):
                    w.re[(i * s.side + j) * LANES + lane] = (
                        (pixels[i * cols + j] - mean) * <float> sqrt(taper[i * s.size + j])
                    )
        transform(w.re, w.im, s.side, s.size, s.half, roots, w.line)
        for i in range(s.side):
            for j in range(s.half):
                k = (i * s.half + j) * LANES
                at = (i * s.side + j) * LANES
                for v in range(LANES):
                    w.spectrum[k + v] += (
                        (w.re[at + v] * w.re[at + v] + w.im[at + v] * w.im[at + v]) / (total * s.channels)
                    )


cdef void measure_evidence(
    Shape s, Work *w, Py_ssize_t count, float least, const float *values, float *evidence_out,
) noexcept nogil:
    # The logarithm of the likelihood of the known pixels under the covariances of the table, up to a constant.
    cdef double logarithm[LANES]
    cdef float mean, square
    cdef Py_ssize_t c, ones
    cdef int v
    fill_matrix(s, w, count, values)
    sweep(w.matrix, count, count + s.channels + 1, False, least, w.column, logarithm)
    ones = row_start(count + s.channels)
    for v in range(LANES):
        evidence_out[v] = -<float> logarithm[v] * s.channels / 2
        for c in range(s.channels):
            mean = (
                w.matrix[ones + (count + c) * LANES + v] / w.matrix[ones + (count + s.channels) * LANES + v]
            )
            square = (
                mean * w.matrix[ones + (count + c) * LANES + v]
                - w.matrix[row_start(count + c) + (count + c) * LANES + v]
            )
            evidence_out[v] -= square / 2


cdef void begin_batch(
    Shape s, const float *image, const unsigned char *known, const float *noise, const float *pilot, Py_ssize_t rows,
    Py_ssize_t cols, const int *corners, const int *order, Py_ssize_t first, Py_ssize_t last,
    const float *taper, const float *roots, Py_ssize_t candidates, const float *priors, const float *tables,
    const float *shares, Py_ssize_t trials, float least, float *workspace, float *spectra, unsigned char *exponents,
) noexcept nogil:
    cdef Work w
    cdef float *values
    cdef float means[LANES * MOST_CHANNELS]
    cdef float scale[LANES]
    cdef float evidence[LANES]
    cdef float best[LANES]
    cdef float share[LANES]
    cdef int chosen[LANES]
    cdef Py_ssize_t count, p, k, lane, length = s.size * s.width
    cdef int v
    values = workspace + lay_out(s, workspace, &w)
    read_known(s, image, known, noise, rows, cols, corners, order, first, last, taper, &w, values, means, scale, &count)
    for v in range(LANES):
        scale[v] += <float> 1e-4
        best[v] = -INFINITY
        chosen[v] = 0
    for p in range(candidates):
        for k in range(length):
            for v in range(LANES):
                w.table[k * LANES + v] = scale[v] * tables[p * length + k]
        measure_evidence(s, &w, count, least, values, evidence)
        for v in range(LANES):
            if evidence[v] > best[v]:
                best[v] = evidence[v]
                chosen[v] = p
    load_periodogram(s, pilot, rows, cols, corners, order, first, last, taper, roots, &w)
    load_even(s, w.spectrum, w.re, w.im)
    transform(w.re, w.im, s.side, s.side, s.half, roots, w.line)
    fill_table(s, w.re, w.blend)
    for v in range(LANES):
        share[v] = 1
    for p in range(trials):
        for k in range(length):
            for v in range(LANES):
                w.table[k * LANES + v] = (
                    (1 - shares[p]) * w.blend[k * LANES + v] + shares[p] * scale[v] * tables[chosen[v] * length + k]
                )
        measure_evidence(s, &w, count, least, values, evidence)
        for v in range(LANES):
            if evidence[v] > best[v]:
                best[v] = evidence[v]
                share[v] = shares[p]
    for k in range(s.side * s.half):
        for v in range(LANES):
            w.spectrum[k * LANES + v] = (
                (1 - share[v]) * w.spectrum[k * LANES + v]
                + share[v] * scale[v] * priors[chosen[v] * s.side * s.half + k]
            )
    store_spectra(s, w.spectrum, order, first, last, spectra)
    for lane in range(min(last - first, LANES)):
        exponents[order[first + lane]] = chosen[lane]


cdef void tie_window(
    const float *spectra, const unsigned char *valid, Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t length,
    Py_ssize_t window, float *out,
) noexcept nogil:
    cdef Py_ssize_t i, j, k
    cdef float number = 0
    cdef float *target = out + window * length
    cdef const float *source
    for k in range(length):
        target[k] = 0
    for i in range(max(window // cols - 1, 0), min(window // cols + 2, rows)):
        for j in range(max(window % cols - 1, 0), min(window % cols + 2, cols)):
            if valid[i * cols + j]:
                number += 1
                source = spectra + (i * cols + j) * length
                for k in range(length):
                    target[k] += source[k]
    for k in range(length):
        target[k] /= number


# ---- parts of a job ----

cdef struct Job:
    # What a batch of windows reads and writes; step and begin have each their own of these.
    Shape shape
    const float *image
    const unsigned char *known
    const float *noise
    const float *pilot
    Py_ssize_t rows
    Py_ssize_t cols
    const int *corners
    const int *order
    Py_ssize_t count  # of windows in order
    const float *taper
    const float *roots
    const float *priors
    Py_ssize_t candidates
    const float *tables
    const float *shares
    Py_ssize_t trials
    float least  # variance of the noise
    float mix
    float *workspace
    Py_ssize_t room  # of a thread's workspace
    float *spectra
    unsigned char *exponents
    float *errors
    float *estimates


cdef void begin_part(void *argument, Py_ssize_t batch, Py_ssize_t seat) noexcept nogil:
    cdef Job *job = <Job *> argument
    begin_batch(
        job.shape, job.image, job.known, job.noise, job.pilot, job.rows, job.cols, job.corners, job.order,
        batch * LANES, job.count, job.taper, job.roots, job.candidates, job.priors, job.tables, job.shares, job.trials,
        job.least, job.workspace + seat * job.room, job.spectra, job.exponents,
    )


cdef void step_part(void *argument, Py_ssize_t batch, Py_ssize_t seat) noexcept nogil:
    cdef Job *job = <Job *> argument
    step_batch(
        job.shape, job.image, job.known, job.noise, job.rows, job.cols, job.corners, job.order, batch * LANES,
        job.count, job.taper, job.roots, job.priors, job.least, job.mix, job.workspace + seat * job.room, job.spectra,
        job.errors, job.estimates,
    )


cdef struct Tie:
    const float *spectra
    const unsigned char *valid
    Py_ssize_t rows
    Py_ssize_t cols
    Py_ssize_t length
    const int *order
    float *out


cdef void tie_part(void *argument, Py_ssize_t index) noexcept nogil:
    cdef Tie *job = <Tie *> argument
    tie_window(job.spectra, job.valid, job.rows, job.cols, job.length, job.order[index], job.out)


# ---- what Python calls ----

cdef Shape shape_of(Py_ssize_t side, Py_ssize_t size, Py_ssize_t capacity, Py_ssize_t channels) noexcept nogil:
    cdef Shape s
    s.side, s.half, s.size, s.width = side, side // 2 + 1, size, 2 * size
    s.capacity, s.channels = capacity, channels
    return s


def workspace_size(Py_ssize_t side, Py_ssize_t size, Py_ssize_t capacity, Py_ssize_t channels):
    """Return the number of floats that each thread needs."""
    cdef Work work
    cdef Shape s = shape_of(side, size, capacity, channels)
    return lay_out(s, NULL, &work) + channels * capacity * LANES


cdef Job job_on(
    Shape shape, const float[:, :, ::1] image, const unsigned char[:, ::1] known, const float[:, ::1] noise,
    const int[:, ::1] corners, const int[::1] order, const float[:, ::1] taper, const float[:, ::1] roots, float least,
    float[:, ::1] workspace, float[:, :, ::1] spectra,
) noexcept:
    cdef Job job
    memset(&job, 0, sizeof(Job))
    job.shape, job.image, job.known, job.noise = shape, &image[0, 0, 0], &known[0, 0], &noise[0, 0]
    job.rows, job.cols = image.shape[1], image.shape[2]
    job.corners, job.order, job.count = &corners[0, 0], &order[0], order.shape[0]
    job.taper, job.roots, job.least = &taper[0, 0], &roots[0, 0], least
    job.workspace, job.room, job.spectra = &workspace[0, 0], workspace.shape[1], &spectra[0, 0, 0]
    return job


def begin(
    const float[:, :, ::1] image not None, const unsigned char[:, ::1] known not None,
    const float[:, ::1] noise not None, const float[:, :, ::1] pilot not None,
    const int[:, ::1] corners not None, const int[::1] order not None,
    const float[:, ::1] taper not None, const float[:, ::1] roots not None, const float[:, :, ::1] priors not None,
    const float[:, :, ::1] tables not None, const float[::1] shares not None, float least, Py_ssize_t capacity,
    int threads, float[:, ::1] workspace not None,
    float[:, :, ::1] spectra not None, unsigned char[::1] exponents not None,
):
    """Choose the spectra of the windows in `order`: priors, or mixtures with the pilot's periodogram, by evidence.

    Reads the known pixels of image, the variance of their noise, which is never below the least, and the pilot; writes
    spectra, and to exponents which prior was the best.
    """
    cdef Job job
    cdef Shape s = shape_of(spectra.shape[1], taper.shape[0], capacity, image.shape[0])
    if s.channels > MOST_CHANNELS:
        raise ValueError("image has too many channels")
    if workspace.shape[0] < threads or workspace.shape[1] < workspace_size(s.side, s.size, capacity, s.channels):
        raise ValueError("workspace is too small")
    job = job_on(s, image, known, noise, corners, order, taper, roots, least, workspace, spectra)
    job.pilot, job.exponents = &pilot[0, 0, 0], &exponents[0]
    job.priors, job.candidates, job.tables = &priors[0, 0, 0], priors.shape[0], &tables[0, 0, 0]
    job.shares, job.trials = &shares[0], shares.shape[0]
    with nogil:
        run_seated(&begin_part, &job, (job.count + LANES - 1) // LANES, threads)


def step(
    const float[:, :, ::1] image not None, const unsigned char[:, ::1] known not None,
    const float[:, ::1] noise not None, const int[:, ::1] corners not None, const int[::1] order not None,
    const float[:, ::1] taper not None, const float[:, ::1] roots not None, const float[:, ::1] prior not None,
    float least, float mix, bint estimate, Py_ssize_t capacity, int threads,
    float[:, ::1] workspace not None,
    float[:, :, ::1] spectra not None, float[::1] errors not None, float[:, :, :, ::1] estimates not None,
):
    """Take a step of expectation-maximisation in the windows in `order`.

    Reads the known pixels of image and the variance of their noise, as `begin` does; changes spectra; writes to errors
    the mean squared error of leaving a known pixel out, and, if asked, the windows' conditional means of the process
    without noise, under the spectra as they were, to estimates.
    """
    cdef Job job
    cdef Shape s = shape_of(spectra.shape[1], taper.shape[0], capacity, image.shape[0])
    if s.channels > MOST_CHANNELS:
        raise ValueError("image has too many channels")
    if workspace.shape[0] < threads or workspace.shape[1] < workspace_size(s.side, s.size, capacity, s.channels):
        raise ValueError("workspace is too small")
    job = job_on(s, image, known, noise, corners, order, taper, roots, least, workspace, spectra)
    job.priors, job.mix, job.errors = &prior[0, 0], mix, &errors[0]
    if estimate:
        job.estimates = &estimates[0, 0, 0, 0]
    with nogil:
        run_seated(&step_part, &job, (job.count + LANES - 1) // LANES, threads)


def tie(
    const float[:, :, ::1] spectra not None, const unsigned char[:, ::1] valid not None,
    const int[::1] order not None, int threads, float[:, :, ::1] out not None,
):
    """Write to out the mean of each spectrum of `order` with those of its valid neighbours, 3 x 3 in the grid."""
    cdef Tie job
    job.spectra, job.valid, job.order, job.out = &spectra[0, 0, 0], &valid[0, 0], &order[0], &out[0, 0, 0]
    job.rows, job.cols, job.length = valid.shape[0], valid.shape[1], spectra.shape[1] * spectra.shape[2]
    with nogil:
        run_parts(&tie_part, &job, order.shape[0], threads)


cdef void add_window(
    const float *estimates, const float *taper, float weight, Py_ssize_t channels, Py_ssize_t size, Py_ssize_t rows,
    Py_ssize_t cols, float *sums, float *weights,
) noexcept nogil:
    # sums and weights point to the window's first pixel.
    cdef Py_ssize_t c, i, j
    for i in range(size):
        for j in range(size):
            weights[i * cols + j] += taper[i * size + j] * weight
        for c in range(channels):
            for j in range(size):
                sums[(c * rows + i) * cols + j] += (
                    taper[i * size + j] * weight * estimates[(c * size + i) * size + j]
                )


def merge(
    const float[:, :, :, ::1] estimates not None, const float[::1] errors not None, const int[:, ::1] corners not None,
    const int[::1] order not None, const float[:, ::1] taper not None, float floor,
    float[:, :, ::1] sums_out not None, float[:, ::1] weights_out not None,
):
    """Add the windows in `order`, each with the weight taper / (error + floor), and their weights, to the outputs."""
    cdef Py_ssize_t size = taper.shape[0], channels = estimates.shape[1], index, window, top, left
    with nogil:
        for index in range(order.shape[0]):
            window = order[index]
            top, left = corners[window, 0], corners[window, 1]
            add_window(
                &estimates[window, 0, 0, 0], &taper[0, 0], 1 / (errors[window] + floor), channels, size,
                weights_out.shape[0], weights_out.shape[1], &sums_out[0, top, left], &weights_out[top, left],
            )
