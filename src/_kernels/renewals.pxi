# Sums of squares whose weights are renewed, in small regions: included by direct.pyx, whose regions and factors serve.
#
# The losses are those of stencil.pyx, FIRST or SECOND, with epsilon: the sum of sqrt(epsilon^2 + Q), where Q of a pixel
# is a weighted sum of squared differences: PAIR, of neighbours, and LINE and CELL, second and mixed ones. Once the
# weights of the pixels are known, so are those of the differences, and the sum of weighted squares is solved. Pixels
# belong to one region if the square of some pixel has both: then regions do not know of each other.
#
# What the pixels of a region are to each other is its form: lists of differences by their taps, places among the values
# of the region. Its unknown pixels come first, then the known ones that have a weight, whose square has an unknown
# pixel, then the others around. Differences of known pixels alone are added up once, when the values are given.
#
# Regions of few pixels that are not near the image's border share their forms, and LANES of them are renewed side by
# side, in the lanes of vectors: what the bits of a region are does not depend on its neighbours in them.
#
# The equations are solved for the correction, not for the pixels: what rounding does to it the next one sees.

cdef enum:
    PAIR = 0
    LINE = 1
    CELL = 2
    KINDS = 3

cdef enum:
    # Lists of differences: those of an unknown pixel by kind, then those of known ones alone, then pairs of neighbours.
    FIXED = KINDS
    NEIGHBOURS = 2 * KINDS
    LISTS = 2 * KINDS + 1

cdef enum:
    LANES = 8
    MOST_SHARED = 3  # pixels of a region whose form is shared; at most PANEL
    MOST_AROUND = 512  # pixels of a region's surroundings, for each of its own

# A pivot beside its diagonal, at least, where weights are of many magnitudes: what a correction gets wrong the next one
# mends, if only it is about right.
cdef double LEAST_PIVOT = 1e-13
cdef double SLOWEST = 0.97  # the greatest ratio of the series of what renewals bring
cdef double DOUBT = 2  # how much more that series may hold than it shows


cdef struct Difference:
    int[4] taps


cdef struct Differences:
    Difference *items
    Py_ssize_t count
    Py_ssize_t room


cdef struct Form:
    int lanes  # of the groups that have it
    int unknown
    int weighed
    int values
    Py_ssize_t[LISTS] first  # where its differences start among all of a list
    int[LISTS] count
    Py_ssize_t offset  # where those of its values from the first of its pixels start
    Py_ssize_t row  # where those of the rows of its matrix do
    Py_ssize_t panel
    Py_ssize_t size  # numbers in the panels
    double cost


cdef struct Group:
    # One region, or as many as there are lanes, side by side: the values of all lanes, then the next ones of all.
    int form
    int used
    Py_ssize_t value  # where its values start
    Py_ssize_t course


cdef struct Course:
    # Where a region is, and what renewals have brought, the last one first.
    Py_ssize_t first  # flat index of its first pixel
    double[3] brought
    int renewals
    bint settled
    bint stuck  # rounding does not let it be solved
    bint left  # not even as a sum of squares


cdef struct Renewing:
    const Form *forms
    const Panel *panels
    const Py_ssize_t *offsets
    Differences[LISTS] lists
    const Group *groups
    Course *courses
    const Py_ssize_t *cuts
    double *values
    double *squares  # of known pixels alone, of the shape of one channel's values
    Py_ssize_t stride  # of the channels of the values
    Py_ssize_t channels
    double epsilon
    double tol
    double least_contrast
    double most_brought
    bint plain  # all weights are alike
    double *workspaces
    Py_ssize_t workspace_size


# ---- forms ----

cdef bint append(Differences *list, const Difference *item) noexcept nogil:
    cdef void *grown
    if list.count == list.room:
        grown = realloc(list.items, (2 * list.room + 64) * sizeof(Difference))
        if grown == NULL:
            return False
        list.items = <Difference *> grown
        list.room = 2 * list.room + 64
    list.items[list.count] = item[0]
    list.count += 1
    return True


cdef struct Span:
    # Of a row: its first column, and where it starts among the values.
    Py_ssize_t left
    Py_ssize_t start


cdef struct Surroundings:
    # The pixels around a region, row by row, and where among its values they are; -1 for nowhere.
    Py_ssize_t top
    Py_ssize_t rows
    Py_ssize_t size
    Py_ssize_t row_room
    Py_ssize_t room
    Span *spans
    int *value
    Place *places  # of the values


cdef struct Builder:
    const Grid *grid  # by rows
    Surroundings around
    Form *form
    Differences[LISTS] lists
    Panel *panels
    Py_ssize_t panel_count
    Py_ssize_t panel_room
    Py_ssize_t *offsets
    Py_ssize_t offset_count
    Py_ssize_t offset_room
    bint short_of_memory


cdef inline int *value_at(const Surroundings *around, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    cdef const Span *span = around.spans + i - around.top
    return around.value + span.start + j - span.left


cdef inline int number(Builder *builder, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    # Of a pixel among the values, where it is put if it is not.
    cdef int *value = value_at(&builder.around, i, j)
    if value[0] < 0:
        value[0] = builder.form.values
        builder.around.places[value[0]].major = <int> i
        builder.around.places[value[0]].minor = <int> j
        builder.form.values += 1
    return value[0]


cdef void add_difference(
    Builder *builder, int kind, Py_ssize_t i, Py_ssize_t j, int down, int right
) noexcept nogil:
    # The PAIR of a pixel and its neighbour, the LINE around it, or the CELL of which it is the first pixel.
    cdef Difference item
    cdef int k, first = INT_MAX
    memset(&item, 0, sizeof(item))
    if kind == LINE:
        i -= down
        j -= right
    for k in range(kind + 2):
        if kind == CELL:
            item.taps[k] = number(builder, i + k // 2, j + k % 2)
        else:
            item.taps[k] = number(builder, i + k * down, j + k * right)
        first = min(first, item.taps[k])
    if not append(&builder.lists[kind if first < builder.form.unknown else FIXED + kind], &item):
        builder.short_of_memory = True


cdef inline bint has_weight(const Builder *builder, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    return 0 <= value_at(&builder.around, i, j)[0] < builder.form.weighed


cdef void add_square(Builder *builder, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    # The differences of a pixel's square that are not added with another one.
    cdef Py_ssize_t rows = builder.grid.majors, cols = builder.grid.minors
    cdef bint up = i > 0, down = i + 1 < rows, left = j > 0, right = j + 1 < cols
    if builder.grid.kind == FIRST:
        if right:
            add_difference(builder, PAIR, i, j, 0, 1)
        if down:
            add_difference(builder, PAIR, i, j, 1, 0)
        if left and not has_weight(builder, i, j - 1):
            add_difference(builder, PAIR, i, j - 1, 0, 1)
        if up and not has_weight(builder, i - 1, j):
            add_difference(builder, PAIR, i - 1, j, 1, 0)
        return
    if left and right:
        add_difference(builder, LINE, i, j, 0, 1)
    if up and down:
        add_difference(builder, LINE, i, j, 1, 0)
    # A cell is added with the first of its four pixels that has a weight.
    if right and down:
        add_difference(builder, CELL, i, j, 0, 0)
    if left and down and not has_weight(builder, i, j - 1):
        add_difference(builder, CELL, i, j - 1, 0, 0)
    if up and right and not (has_weight(builder, i - 1, j) or has_weight(builder, i - 1, j + 1)):
        add_difference(builder, CELL, i - 1, j, 0, 0)
    if up and left and not (
        has_weight(builder, i - 1, j - 1) or has_weight(builder, i - 1, j) or has_weight(builder, i, j - 1)
    ):
        add_difference(builder, CELL, i - 1, j - 1, 0, 0)


cdef void add_neighbours(Builder *builder, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    # The pairs of an unknown pixel, but for those that an unknown neighbour before has.
    cdef Difference item
    cdef Py_ssize_t a, b
    cdef int t
    memset(&item, 0, sizeof(item))
    item.taps[0] = number(builder, i, j)
    for t in range(4):
        a = i + (t == 2) - (t == 0)
        b = j + (t == 3) - (t == 1)
        if 0 <= a < builder.grid.majors and 0 <= b < builder.grid.minors:
            item.taps[1] = number(builder, a, b)
            if t >= 2 or item.taps[1] >= builder.form.unknown:
                if not append(&builder.lists[NEIGHBOURS], &item):
                    builder.short_of_memory = True


cdef inline Place place_of(const Region *region, const Place *places, Py_ssize_t p) noexcept nogil:
    # Row and column.
    cdef Place place = places[p]
    if region.by_columns:
        place.major, place.minor = place.minor, place.major
    return place


cdef bint lay_out_surroundings(
    Surroundings *around, const Region *region, const Place *places, bint *fits,
) noexcept nogil:
    # Each row from two columns before its pixels, and those of the two rows on either side, to two behind them. `fits`
    # tells whether that is not much more than the region has. False where there is no memory.
    cdef Py_ssize_t p, k, first = INT_MAX, last = 0, width
    cdef Place place
    cdef Span *span
    for p in range(region.count):
        place = place_of(region, places, p)
        first, last = min(first, place.major), max(last, place.major)
    around.top, around.rows = first - 2, last - first + 5
    if around.rows > around.row_room:
        release(around.spans)
        around.spans = <Span *> malloc(around.rows * sizeof(Span))
        around.row_room = around.rows
        if around.spans == NULL:
            return False
    for k in range(around.rows):
        around.spans[k].left = INT_MAX
        around.spans[k].start = -1  # its last column, until all are known
    for p in range(region.count):
        place = place_of(region, places, p)
        for k in range(place.major - 2 - around.top, place.major + 3 - around.top):
            span = around.spans + k
            span.left, span.start = min(span.left, place.minor - 2), max(span.start, place.minor + 2)
    around.size = 0
    for k in range(around.rows):
        span = around.spans + k
        width = max(span.start + 1 - span.left, 0)
        span.start = around.size
        around.size += width
    fits[0] = around.size <= MOST_AROUND * region.count
    return True


cdef bint clear_surroundings(Surroundings *around) noexcept nogil:
    if around.size > around.room:
        release(around.value)
        release(around.places)
        around.value = <int *> malloc(around.size * sizeof(int))
        around.places = <Place *> malloc(around.size * sizeof(Place))
        around.room = around.size
    if around.value == NULL or around.places == NULL:
        return False
    memset(around.value, -1, around.size * sizeof(int))
    return True


cdef bint build_form(Builder *builder, const Region *region, const Place *places) noexcept nogil:
    # In the surroundings of the region. False where there is no memory.
    cdef Form *form = builder.form
    cdef Py_ssize_t p, a, b
    cdef Place place
    cdef int k
    if not clear_surroundings(&builder.around):
        return False
    form.unknown = <int> region.count
    form.values = 0
    for k in range(LISTS):
        form.first[k] = builder.lists[k].count
    for p in range(region.count):
        place = place_of(region, places, p)
        number(builder, place.major, place.minor)
    for p in range(region.count):
        place = builder.around.places[p]
        for a in range(max(place.major - 1, 0), min(place.major + 2, builder.grid.majors)):
            for b in range(max(place.minor - 1, 0), min(place.minor + 2, builder.grid.minors)):
                if builder.grid.kind == SECOND or a == place.major or b == place.minor:
                    number(builder, a, b)
    form.weighed = form.values
    for p in range(form.weighed):
        place = builder.around.places[p]
        add_square(builder, place.major, place.minor)
    if builder.grid.kind == SECOND:  # of first differences they are the pairs that move
        for p in range(form.unknown):
            place = builder.around.places[p]
            add_neighbours(builder, place.major, place.minor)
    for k in range(LISTS):
        form.count[k] = <int> (builder.lists[k].count - form.first[k])
    lay_out_panels(builder)
    if not builder.short_of_memory:
        note_offsets(builder)
    return not builder.short_of_memory


cdef void note_offsets(Builder *builder) noexcept nogil:
    cdef Form *form = builder.form
    cdef const Place *places = builder.around.places
    cdef const Panel *panel
    cdef Py_ssize_t more = form.values + form.unknown, room = 2 * builder.offset_room + more + 256, p
    cdef Py_ssize_t *offsets
    cdef void *grown
    if builder.offset_count + more > builder.offset_room:
        grown = realloc(builder.offsets, room * sizeof(Py_ssize_t))
        if grown == NULL:
            builder.short_of_memory = True
            return
        builder.offsets = <Py_ssize_t *> grown
        builder.offset_room = room
    offsets = builder.offsets + builder.offset_count
    form.offset = builder.offset_count
    form.row = form.offset + form.values
    builder.offset_count += more
    for p in range(form.values):
        offsets[p] = (places[p].major - places[0].major) * builder.grid.minors + places[p].minor - places[0].minor
    # In panels, or where there are lanes in a triangle.
    for p in range(form.unknown):
        panel = builder.panels + form.panel + p // PANEL
        offsets[form.values + p] = (
            p * (p + 1) // 2 if form.lanes > 1 else panel.offset + PANEL * (1 - panel.first) + p % PANEL
        )


cdef void lay_out_panels(Builder *builder) noexcept nogil:
    # As far as the taps of moving differences reach.
    cdef Form *form = builder.form
    cdef Py_ssize_t count = (form.unknown + PANEL - 1) // PANEL, k, room, first
    cdef const Difference *item
    cdef Panel *panels
    cdef void *grown
    cdef int kind, t
    form.panel = builder.panel_count
    form.size = 0
    if builder.panel_count + count > builder.panel_room:
        room = 2 * builder.panel_room + count + 64
        grown = realloc(builder.panels, room * sizeof(Panel))
        if grown == NULL:
            builder.short_of_memory = True
            return
        builder.panels = <Panel *> grown
        builder.panel_room = room
    builder.panel_count += count
    panels = builder.panels + form.panel
    for k in range(count):
        panels[k].first = k * PANEL
    for kind in range(KINDS):
        for k in range(form.count[kind]):
            item = builder.lists[kind].items + form.first[kind] + k
            first = form.unknown
            for t in range(kind + 2):
                first = min(first, item.taps[t])
            first = first // PANEL * PANEL
            for t in range(kind + 2):
                if item.taps[t] < form.unknown:
                    panels[item.taps[t] // PANEL].first = min(panels[item.taps[t] // PANEL].first, first)
    for k in range(count):
        panels[k].offset = form.size
        form.size += PANEL * (1 + min((k + 1) * PANEL, <Py_ssize_t> form.unknown) - panels[k].first)


# ---- a renewal ----
#
# With a literal number of lanes their loops are vectors.

cdef inline void measure_difference(
    int kind, int lanes, const Difference *item, const double *x, double *out
) noexcept nogil:
    # Second differences as differences of first ones, which are exact where pixels are alike.
    cdef const double *a = x + item.taps[0] * lanes
    cdef const double *b = x + item.taps[1] * lanes
    cdef const double *c = x + item.taps[2] * lanes
    cdef const double *d = x + item.taps[3] * lanes
    cdef int lane
    for lane in range(lanes):
        if kind == PAIR:
            out[lane] = a[lane] - b[lane]
        elif kind == LINE:
            out[lane] = (a[lane] - b[lane]) + (c[lane] - b[lane])
        else:
            out[lane] = (a[lane] - b[lane]) - (c[lane] - d[lane])


cdef inline double tap_of(int kind, int t) noexcept nogil:
    if kind == LINE:
        return -2 if t == 1 else 1
    return 1 if t == 0 or t == 3 else -1


cdef inline void add_squares(
    int kind, int lanes, const Difference *items, Py_ssize_t count, const double *values, Py_ssize_t stride,
    Py_ssize_t channels, double *squares,
) noexcept nogil:
    # To those of pixels, which are means over the channels; those of pixels without a weight are not read.
    cdef double[LANES] value
    cdef double[LANES] total
    cdef double share = (1 if kind == LINE else 0.5) / <double> channels
    cdef double *square
    cdef Py_ssize_t k, c
    cdef int t, lane
    for k in range(count):
        for lane in range(lanes):
            total[lane] = 0
        for c in range(channels):
            measure_difference(kind, lanes, items + k, values + c * stride, value)
            for lane in range(lanes):
                total[lane] += value[lane] * value[lane]
        for lane in range(lanes):
            total[lane] *= share
        for t in range(kind + 2):
            if kind != LINE or t == 1:
                square = squares + items[k].taps[t] * lanes
                for lane in range(lanes):
                    square[lane] += total[lane]


cdef inline void add_all_squares(
    int lanes, const Renewing *job, const Form *form, int lists, const double *values, double *squares,
) noexcept nogil:
    add_squares(
        PAIR, lanes, job.lists[lists + PAIR].items + form.first[lists + PAIR], form.count[lists + PAIR], values,
        job.stride, job.channels, squares,
    )
    add_squares(
        LINE, lanes, job.lists[lists + LINE].items + form.first[lists + LINE], form.count[lists + LINE], values,
        job.stride, job.channels, squares,
    )
    add_squares(
        CELL, lanes, job.lists[lists + CELL].items + form.first[lists + CELL], form.count[lists + CELL], values,
        job.stride, job.channels, squares,
    )


cdef inline void add_equations(
    int kind, int lanes, const Renewing *job, const Form *form, const double *values, const double *weights,
    double *numbers, double *right,
) noexcept nogil:
    # To the matrix, below its diagonal, and to the right-hand sides, channel by channel, of the correction.
    cdef const Difference *items = job.lists[kind].items + form.first[kind]
    cdef const Py_ssize_t *rows = job.offsets + form.row
    cdef Py_ssize_t column = PANEL if lanes == 1 else 1
    cdef double[LANES] value
    cdef double[LANES] weight
    cdef double *out
    cdef const double *tap_weight
    cdef double product
    cdef Py_ssize_t k, c
    cdef int s, t, lane, a, b
    for k in range(form.count[kind]):
        tap_weight = weights + items[k].taps[1 if kind == LINE else 0] * lanes
        for lane in range(lanes):
            weight[lane] = tap_weight[lane]
        if kind != LINE:
            for t in range(1, kind + 2):
                tap_weight = weights + items[k].taps[t] * lanes
                for lane in range(lanes):
                    weight[lane] += tap_weight[lane]
            for lane in range(lanes):
                weight[lane] *= 0.5
        for c in range(job.channels):
            measure_difference(kind, lanes, items + k, values + c * job.stride, value)
            for lane in range(lanes):
                value[lane] *= weight[lane]
            for t in range(kind + 2):
                a = items[k].taps[t]
                if a < form.unknown:
                    out = right + (c * form.unknown + a) * lanes
                    for lane in range(lanes):
                        out[lane] -= tap_of(kind, t) * value[lane]
        for t in range(kind + 2):
            a = items[k].taps[t]
            if a >= form.unknown:
                continue
            for s in range(t + 1):
                b = items[k].taps[s]
                if b < form.unknown:
                    product = tap_of(kind, s) * tap_of(kind, t)
                    out = numbers + (rows[max(a, b)] + column * min(a, b)) * lanes
                    for lane in range(lanes):
                        out[lane] += product * weight[lane]


cdef inline int solve_in_lanes(
    double *numbers, int count, double safe, double *right, Py_ssize_t channels
) noexcept nogil:
    # By Cholesky's factors of a triangle, their diagonal inverted. A bit for each lane that has no safe pivot.
    cdef double *row
    cdef double *other
    cdef double *x
    cdef double[LANES] sums
    cdef double[LANES] least
    cdef Py_ssize_t c
    cdef int i, j, k, lane, unsafe = 0
    for i in range(count):
        row = numbers + i * (i + 1) // 2 * LANES
        for lane in range(LANES):
            least[lane] = safe * row[i * LANES + lane]
        for j in range(i + 1):
            other = numbers + j * (j + 1) // 2 * LANES
            for lane in range(LANES):
                sums[lane] = row[j * LANES + lane]
            for k in range(j):
                for lane in range(LANES):
                    sums[lane] -= row[k * LANES + lane] * other[k * LANES + lane]
            if j < i:
                for lane in range(LANES):
                    row[j * LANES + lane] = sums[lane] * other[j * LANES + lane]
        for lane in range(LANES):
            unsafe |= (not sums[lane] > least[lane]) << lane
            row[i * LANES + lane] = 1 / sqrt(sums[lane])
    for c in range(channels):
        x = right + c * count * LANES
        for i in range(count):
            row = numbers + i * (i + 1) // 2 * LANES
            for lane in range(LANES):
                sums[lane] = x[i * LANES + lane]
            for k in range(i):
                for lane in range(LANES):
                    sums[lane] -= row[k * LANES + lane] * x[k * LANES + lane]
            for lane in range(LANES):
                x[i * LANES + lane] = sums[lane] * row[i * LANES + lane]
        for i in range(count - 1, -1, -1):
            row = numbers + i * (i + 1) // 2 * LANES
            for lane in range(LANES):
                sums[lane] = x[i * LANES + lane] * row[i * LANES + lane]
                x[i * LANES + lane] = sums[lane]
            for k in range(i):
                for lane in range(LANES):
                    x[k * LANES + lane] -= row[k * LANES + lane] * sums[lane]
    return unsafe


cdef inline Py_ssize_t workspace_of(const Form *form, Py_ssize_t channels) noexcept nogil:
    # Right-hand sides, weights, and the matrix.
    cdef Py_ssize_t matrix = form.size
    if form.lanes > 1:
        matrix = form.unknown * (form.unknown + 1) // 2
    return form.lanes * (channels * form.unknown + form.values + matrix)


cdef inline int correct(
    int lanes, const Renewing *job, const Group *group, double *workspace
) noexcept nogil:
    # Renew the weights and solve for the correction, which is left at the start of the workspace. A bit for each lane
    # in which rounding forbids it.
    cdef const Form *form = job.forms + group.form
    cdef const Panel *panels = job.panels + form.panel
    cdef const double *values = job.values + group.value
    cdef double *right = workspace
    cdef double *weights = right + job.channels * form.unknown * lanes
    cdef double *numbers = weights + form.values * lanes
    cdef double squared = job.epsilon * job.epsilon, safe = SAFE_PIVOT if job.plain else LEAST_PIVOT
    cdef Py_ssize_t k, c
    memcpy(weights, job.squares + group.value, form.values * lanes * sizeof(double))
    memset(right, 0, job.channels * form.unknown * lanes * sizeof(double))
    memset(numbers, 0, (workspace_of(form, job.channels) - (numbers - workspace)) * sizeof(double))
    if not job.plain:
        add_all_squares(lanes, job, form, 0, values, weights)
    for k in range(form.weighed * lanes):
        weights[k] = 1 if job.plain else 1 / sqrt(squared + weights[k])
    add_equations(PAIR, lanes, job, form, values, weights, numbers, right)
    add_equations(LINE, lanes, job, form, values, weights, numbers, right)
    add_equations(CELL, lanes, job, form, values, weights, numbers, right)
    if lanes > 1:
        return solve_in_lanes(numbers, form.unknown, safe, right, job.channels)
    for k in range((form.unknown + PANEL - 1) // PANEL):
        if not factorise_panel(panels, k, <int> min(PANEL, form.unknown - k * PANEL), safe, numbers):
            return 1
    for c in range(job.channels):
        substitute(panels, numbers, form.unknown, right + c * form.unknown, form.unknown, 1)
    return 0


cdef inline void find_contrasts(
    int lanes, const Renewing *job, const Group *group, double *out
) noexcept nogil:
    # The root mean square difference of neighbours of which one is unknown, differences clipped to [-1, 1].
    cdef const Form *form = job.forms + group.form
    cdef int list = PAIR if form.count[PAIR] else NEIGHBOURS, lane
    cdef const Difference *pairs = job.lists[list].items + form.first[list]
    cdef double[LANES] value
    cdef Py_ssize_t k, c
    for lane in range(lanes):
        out[lane] = 0
    for c in range(job.channels):
        for k in range(form.count[list]):
            measure_difference(PAIR, lanes, pairs + k, job.values + group.value + c * job.stride, value)
            for lane in range(lanes):
                value[lane] = clip(value[lane], -1, 1)
                out[lane] += value[lane] * value[lane]
    for lane in range(lanes):
        out[lane] = sqrt(out[lane] / <double> max(form.count[list] * job.channels, 1))


cdef double still_to_come(const double *brought) noexcept nogil:
    # What renewals have yet to bring, as a geometric series, by what the last three of them have brought.
    cdef double ratio = 1
    if brought[0] == 0:
        return 0
    if brought[1] > 0 and brought[2] > 0:
        ratio = max(brought[0] / brought[1], sqrt(brought[0] / brought[2]))
    ratio = min(ratio, SLOWEST)
    return DOUBT * brought[0] * ratio / (1 - ratio)


def to_come(double last, double second, double third):
    """Return what renewals have yet to bring, by what the last three of them have brought."""
    cdef double[3] brought
    brought[0], brought[1], brought[2] = last, second, third
    return still_to_come(brought)


cdef inline void renew_group(
    int lanes, const Renewing *job, const Group *group, double *workspace
) noexcept nogil:
    cdef const Form *form = job.forms + group.form
    cdef Course *course = job.courses + group.course
    cdef double *values = job.values + group.value
    cdef double[LANES] limit
    cdef double[LANES] total
    cdef double[LANES] going
    cdef double part
    cdef int unsafe = correct(lanes, job, group, workspace), lane
    cdef Py_ssize_t p, c
    for lane in range(lanes):
        going[lane] = 0
        total[lane] = 0
    for lane in range(group.used):
        if unsafe >> lane & 1 and not course[lane].settled:
            course[lane].stuck = True
        going[lane] = not (course[lane].settled or course[lane].stuck)
    for c in range(job.channels):
        for p in range(form.unknown):
            for lane in range(lanes):
                part = workspace[(c * form.unknown + p) * lanes + lane]
                values[c * job.stride + p * lanes + lane] += part if going[lane] > 0 else 0
    if job.plain:
        return
    find_contrasts(lanes, job, group, limit)
    for lane in range(lanes):
        limit[lane] = max(job.least_contrast, limit[lane])
    for p in range(job.channels * form.unknown):
        for lane in range(lanes):
            part = clip(workspace[p * lanes + lane], -job.most_brought * limit[lane], job.most_brought * limit[lane])
            total[lane] += part * part
    for lane in range(group.used):
        if going[lane] > 0:
            course[lane].brought[2] = course[lane].brought[1]
            course[lane].brought[1] = course[lane].brought[0]
            course[lane].brought[0] = sqrt(total[lane] / <double> (job.channels * form.unknown))
            course[lane].renewals += 1
            course[lane].settled = (
                course[lane].renewals > 2 and still_to_come(course[lane].brought) <= job.tol * limit[lane]
            )


cdef void fix_squares(const Renewing *job, const Group *group) noexcept nogil:
    # What known pixels alone add to the squares.
    cdef const Form *form = job.forms + group.form
    memset(job.squares + group.value, 0, form.values * form.lanes * sizeof(double))
    if form.lanes == 1:
        add_all_squares(1, job, form, FIXED, job.values + group.value, job.squares + group.value)
    else:
        add_all_squares(LANES, job, form, FIXED, job.values + group.value, job.squares + group.value)


cdef bint rests(const Renewing *job, const Group *group) noexcept nogil:
    cdef int lane
    for lane in range(group.used):
        if not (job.courses[group.course + lane].settled or job.courses[group.course + lane].stuck):
            return False
    return True


cdef void renew_part(void *argument, Py_ssize_t part, Py_ssize_t seat) noexcept nogil:
    cdef const Renewing *job = <const Renewing *> argument
    cdef double *workspace = job.workspaces + seat * job.workspace_size
    cdef Py_ssize_t k
    for k in range(job.cuts[part], job.cuts[part + 1]):
        if job.plain:
            fix_squares(job, job.groups + k)
        if rests(job, job.groups + k):
            continue
        if job.forms[job.groups[k].form].lanes == 1:
            renew_group(1, job, job.groups + k, workspace)
        else:
            renew_group(LANES, job, job.groups + k, workspace)


# ---- from a mask to forms ----

cdef enum:
    SLOTS = 4096  # a power of two, of the forms that are shared
    TRIES = 16
    PATTERN = 8  # rows and columns of a region whose form is, at most


cdef struct Shared:
    uint64_t pattern  # a bit for each pixel; 0 where there is none
    int form
    Py_ssize_t group  # the last one, which may have lanes left


cdef uint64_t pattern_of(const Grid *grid, const Region *region, const Place *places) noexcept nogil:
    # 0 where the region is large, or near the image's border.
    cdef uint64_t pattern = 0
    cdef Py_ssize_t p, left = places[0].minor
    if region.count > MOST_SHARED:
        return 0
    for p in range(region.count):
        left = min(left, places[p].minor)
    for p in range(region.count):
        if (
            not is_inner(grid, places[p].major, places[p].minor)
            or places[p].major - places[0].major >= PATTERN or places[p].minor - left >= PATTERN
        ):
            return 0
        pattern |= (<uint64_t> 1) << (PATTERN * (places[p].major - places[0].major) + places[p].minor - left)
    return pattern


cdef Shared *find_shared(Shared *shared, uint64_t pattern) noexcept nogil:
    # Where the pattern is, or may be put; NULL where there is no room.
    cdef Py_ssize_t k = <Py_ssize_t> ((pattern * <uint64_t> 0x9E3779B97F4A7C15) >> 52)
    for _ in range(TRIES):
        if shared[k].pattern == 0 or shared[k].pattern == pattern:
            return shared + k
        k = (k + 1) & (SLOTS - 1)
    return NULL


cdef struct Made:
    # From a mask.
    Form *forms
    Py_ssize_t form_count
    Group *groups
    Py_ssize_t group_count
    Course *courses
    Py_ssize_t values


cdef bint form_groups(Draft *draft, Builder *builder, Shared *shared, Made *out) noexcept nogil:
    # Give each region that is solved directly a form, and lanes of a group. False where there is no memory.
    cdef Shared *slot
    cdef Shared own
    cdef Region *region
    cdef Group *group
    cdef Form *form
    cdef Place place
    cdef const Place *places
    cdef uint64_t pattern
    cdef bint fits = True
    cdef Py_ssize_t k, courses = 0
    for k in range(draft.region_count):
        region = &draft.regions[k]
        places = (draft.turned if region.by_columns else draft.grouped) + region.start
        if not region.direct:
            continue
        pattern = pattern_of(builder.grid, region, places)
        slot = find_shared(shared, pattern) if pattern else NULL
        if slot == NULL or slot.pattern == 0:
            if not lay_out_surroundings(&builder.around, region, places, &fits):
                return False
            region.direct = fits
            if not fits:
                continue
            if slot == NULL:
                slot = &own
            form = builder.form = out.forms + out.form_count
            form.lanes = LANES if pattern else 1
            if not build_form(builder, region, places):
                return False
            form.cost = region.cost + 20 * form.weighed
            slot.pattern, slot.form, slot.group = pattern, <int> out.form_count, -1
            out.form_count += 1
        form = out.forms + slot.form
        if slot.group < 0 or out.groups[slot.group].used == form.lanes:
            slot.group = out.group_count
            out.group_count += 1
            group = out.groups + slot.group
            group.form, group.used, group.value, group.course = slot.form, 0, out.values, courses
            out.values += form.values * form.lanes
            courses += form.lanes
        group = out.groups + slot.group
        place = place_of(region, places, 0)
        out.courses[group.course + group.used].first = place.major * builder.grid.minors + place.minor
        group.used += 1
    return True


cdef class Renewals:
    """Small regions whose weights are renewed, and the unknown pixels that are left; made by ``renewals``.

    Attributes, arrays of int64: `index`, shape (m,), flat indices of the values that regions read and write; and after
    ``begin`` `places`, shape (n,), where among them the unknown pixels stand that are solved here, and `left`, flat
    indices of those that are not: of regions that are too large, or whose sum of squares has no safe pivot. `going` and
    `stuck` count the regions that have not settled, and those that rounding stops.
    """

    cdef readonly int64_t[::1] index
    cdef readonly int64_t[::1] places
    cdef readonly int64_t[::1] left
    cdef readonly Py_ssize_t going
    cdef readonly Py_ssize_t stuck
    cdef Builder builder
    cdef Made made
    cdef int64_t[::1] too_large
    cdef double[:, ::1] values
    cdef bint begun
    cdef double *squares
    cdef double cost
    cdef Py_ssize_t[PARTS + 1] cuts

    def __init__(self):
        raise TypeError("Renewals are made by renewals()")

    def __dealloc__(self):
        cdef int k
        for k in range(LISTS):
            release(self.builder.lists[k].items)
        release(self.builder.panels)
        release(self.builder.offsets)
        release(self.builder.around.spans)
        release(self.builder.around.value)
        release(self.builder.around.places)
        release(self.made.forms)
        release(self.made.groups)
        release(self.made.courses)
        release(self.squares)

    cdef Renewing job(self):
        cdef Renewing job
        cdef int k
        memset(&job, 0, sizeof(job))
        for k in range(LISTS):
            job.lists[k] = self.builder.lists[k]
        job.forms, job.groups, job.courses = self.made.forms, self.made.groups, self.made.courses
        job.panels, job.offsets = self.builder.panels, self.builder.offsets
        job.cuts, job.squares = &self.cuts[0], self.squares
        job.stride, job.channels = self.values.shape[1], self.values.shape[0]
        job.values = &self.values[0, 0]
        return job

    cdef int run(self, Renewing *job, int threads) except -1:
        cdef Py_ssize_t k
        for k in range(self.made.form_count):
            job.workspace_size = max(job.workspace_size, workspace_of(job.forms + k, job.channels))
        threads = max(threads, 1) if job.channels * self.cost > LITTLE_WORK else 1
        job.workspaces = <double *> reserve(threads * job.workspace_size, sizeof(double))
        with nogil:
            run_seated(renew_part, job, PARTS, threads)
        release(job.workspaces)
        return 0

    def begin(self, double[:, ::1] values not None, int threads):
        """Take values, shape (channels, m), and write the minimum of the sum of squares to those that are unknown.

        values is referred to, not copied, and each ``renew`` changes it.
        """
        cdef Renewing job
        require(
            values.shape[0] > 0 and values.shape[1] == self.index.shape[0], "values must have a column for each index"
        )
        self.values = values
        self.begun = True
        self.restart()
        if self.made.group_count:
            job = self.job()
            job.plain = True
            self.run(&job, threads)
        self.list_unknown()

    cdef void restart(self) noexcept:
        cdef const Group *group
        cdef const Form *form
        cdef Py_ssize_t k, c, p
        for k in range(self.made.group_count):
            group = self.made.groups + k
            form = self.made.forms + group.form
            for p in range(group.course, group.course + group.used):
                self.made.courses[p].renewals = 0
                self.made.courses[p].settled = self.made.courses[p].stuck = self.made.courses[p].left = False
            for c in range(self.values.shape[0]):
                for p in range(form.unknown * form.lanes):
                    self.values[c, group.value + p] = 0

    cdef int list_unknown(self) except -1:
        # What is stuck as a sum of squares is left.
        cdef const Group *group
        cdef const Form *form
        cdef Course *course
        cdef Py_ssize_t k, p, at, solved = 0, left = self.too_large.shape[0]
        cdef int lane
        cdef int64_t[::1] places, rest
        places, rest = integers(self.index.shape[0]), integers(left + self.index.shape[0])
        if left:
            rest[:left] = self.too_large
        self.going = self.stuck = 0
        for k in range(self.made.group_count):
            group = self.made.groups + k
            form = self.made.forms + group.form
            for lane in range(group.used):
                course = self.made.courses + group.course + lane
                course.settled = course.left = course.stuck
                course.stuck = False
                self.going += not course.left
                for p in range(form.unknown):
                    at = group.value + p * form.lanes + lane
                    if course.left:
                        rest[left] = self.index[at]
                        left += 1
                    else:
                        places[solved] = at
                        solved += 1
        self.places, self.left = places[:solved], rest[:left]
        return 0

    def renew(self, double epsilon, double tol, double least_contrast, double most_brought, int threads):
        """Renew the weights of the regions that have not settled, and solve for them."""
        cdef Renewing job
        cdef const Group *group
        cdef const Course *course
        cdef Py_ssize_t k
        cdef int lane
        require(self.begun, "begin must come first")
        if self.going == 0:
            return
        job = self.job()
        job.epsilon, job.tol = epsilon, tol
        job.least_contrast, job.most_brought = least_contrast, most_brought
        self.run(&job, threads)
        self.going = self.stuck = 0
        for k in range(self.made.group_count):
            group = self.made.groups + k
            for lane in range(group.used):
                course = self.made.courses + group.course + lane
                self.stuck += course.stuck
                self.going += not (course.stuck or course.settled)

    cdef int finish(self, Draft *draft) except -1:
        # Where the values are, and what is too large.
        cdef const Group *group
        cdef const Form *form
        cdef const Region *region
        cdef const Place *place
        cdef Py_ssize_t k, v, p, first, left = 0
        cdef int lane
        cdef int64_t[::1] index = integers(self.made.values), rest
        for k in range(self.made.group_count):
            group = self.made.groups + k
            form = self.made.forms + group.form
            for lane in range(form.lanes):
                first = self.made.courses[group.course + (lane if lane < group.used else 0)].first
                for v in range(form.values):
                    index[group.value + v * form.lanes + lane] = first + self.builder.offsets[form.offset + v]
        for k in range(draft.region_count):
            left += 0 if draft.regions[k].direct else draft.regions[k].count
        rest = integers(left)
        left = 0
        for k in range(draft.region_count):
            region = &draft.regions[k]
            for p in range(0 if region.direct else region.count):
                place = draft.grouped + region.start + p
                rest[left] = place.major * draft.grids[0].minors + place.minor
                left += 1
        self.index, self.too_large = index[:self.made.values], rest[:left]
        self.squares = <double *> reserve(self.made.values, sizeof(double))
        self.share_out()
        return 0

    cdef void share_out(self) noexcept:
        # Parts of about the same cost.
        cdef double seen = 0
        cdef Py_ssize_t k, part = 0
        for k in range(self.made.group_count):
            self.cost += self.made.forms[self.made.groups[k].form].cost
        for k in range(self.made.group_count):
            while part + 1 < PARTS and seen * PARTS >= self.cost * (part + 1):
                part += 1
                self.cuts[part] = k
            seen += self.made.forms[self.made.groups[k].form].cost
        for k in range(part + 1, PARTS + 1):
            self.cuts[k] = self.made.group_count


def renewals(int kind, const unsigned char[:, ::1] free not None, double most, int threads, double densest=1):
    """Return the Renewals of the regions of unknown pixels, where free is not 0; kind 0 is FIRST, 1 SECOND.

    None where a greater share of the pixels than `densest` is unknown. A region is left as ``factorise`` leaves it, or
    if its rows reach much further than it.
    """
    cdef Draft draft
    cdef Renewals out
    cdef Shared *shared = NULL
    cdef bint done
    lay_out(&draft, kind, free, most, densest)
    out = Renewals.__new__(Renewals)
    try:
        if not find_regions(&draft, True, threads):
            return None
        out.made.forms = <Form *> reserve(draft.region_count, sizeof(Form))
        out.made.groups = <Group *> reserve(draft.region_count, sizeof(Group))
        out.made.courses = <Course *> reserve(LANES * draft.region_count, sizeof(Course))
        out.builder.grid = &draft.grids[0]
        shared = <Shared *> calloc(SLOTS, sizeof(Shared))
        if shared == NULL:
            raise MemoryError()
        with nogil:
            done = form_groups(&draft, &out.builder, shared, &out.made)
        if not done:
            raise MemoryError()
        out.finish(&draft)
    finally:
        out.builder.grid = NULL
        release(shared)
        discard(&draft)
    return out
