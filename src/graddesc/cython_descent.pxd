# Minimise compiled functions from Cython, without the GIL.
#
#     from graddesc.cython_descent cimport default_settings, minimize, report_t, settings_t
#
# minimize() goes down from x, which it overwrites with the best point, and returns the status of graddesc.minimize. It
# allocates its workspace, 11 + 2 lbfgs_memory arrays of n, and frees it; -1 is returned if there is no memory.

ctypedef double (*value_t)(int n, double *x, void *data) noexcept nogil
ctypedef void (*gradient_t)(int n, double *x, double *gradient, void *data) noexcept nogil

cdef enum step_kind:
    SCHEDULE
    EXACT
    BACKTRACKING
    STRONG_WOLFE
    BARZILAI_BORWEIN
    POLYAK
    EXACT_BY_SLOPES
    HAGER_ZHANG

cdef enum direction_kind:
    STEEPEST
    HEAVY_BALL
    NESTEROV
    CONJUGATE_GRADIENT
    LBFGS
    ADAM

ctypedef struct settings_t:
    int step                    # one of step_kind
    bint has_initial            # backtracking: whether every search starts from initial
    double initial              # exact (by values), backtracking: the first trial
    double tolerance            # exact: relative error of the step
    int max_trials              # exact, strong Wolfe, Hager-Zhang
    double factor               # backtracking
    double sufficient_decrease  # backtracking, strong Wolfe, Hager-Zhang, Barzilai-Borwein
    double curvature            # strong Wolfe, Hager-Zhang
    double blur                 # Hager-Zhang: how far the value may rise, relative to itself
    int formula                 # Barzilai-Borwein: 0 alternating, 1 adaptive, 2 long, 3 short
    int memory                  # Barzilai-Borwein: values remembered
    double least                # Polyak: the least value
    double relaxation           # Polyak
    int direction               # one of direction_kind
    double momentum             # heavy ball, Nesterov
    bint growing_momentum       # Nesterov: momentum by the iteration
    bint restart                # Nesterov
    int conjugate               # 0 Hager-Zhang, 1 Polak-Ribiere, 2 Hestenes-Stiefel, 3 Fletcher-Reeves, 4 Dai-Yuan
    int lbfgs_memory            # pairs remembered
    double mean_decay           # Adam
    double square_decay
    double epsilon
    double tol
    double xtol
    double ftol
    double target
    double max_time
    int maxiter
    long long maxfun

ctypedef struct report_t:
    double fun
    double optimality
    int status
    long long nit
    long long nfev
    long long njev

cdef settings_t default_settings() noexcept nogil

# low, high: the bounds of each variable, infinite where there is none, equal where it is fixed; NULL without any.
# steps: the step of each iteration if settings.step is SCHEDULE, the last of n_steps for all later ones; else unused.
cdef int minimize(
    value_t value,
    gradient_t gradient,
    void *data,
    int n,
    double *x,
    const double *low,
    const double *high,
    const settings_t *settings,
    const double *steps,
    int n_steps,
    report_t *report,
) noexcept nogil
