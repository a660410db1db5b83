"""Unconstrained problems of the CUTE kind, written down from their published formulas; minimised side by side.

    python bench/cute.py [--n 100] [--every] [--picture FILE] [--output FILE]

Who runs, what is counted and what counts as solved: profiles.py.

Names in capitals are of CUTE and follow the SIF files of CUTEst [1]_, formula and start, but for five: NONSCOMP and
BIGGSB1 are without bounds and CUBE is a chain of n variables, as in [2]_; FLETCHCR is as first printed, for CUTEst has
made it the generalized function of Rosenbrock, which is here under its own name; SINQUAD is what CUTEst calls SINQUAD2.
Broyden Banded is number 31 of Moré, Garbow and Hillstrom [3]_, for in its SIF file squares and cubes are exchanged. All
others follow the collection of Andrei [2]_.

Left out of that collection are those not bounded below (Diagonal 7 and 8, Extended Tridiagonal 2, Full Hessian FH3,
BDEXP, EXPLIN1, EXPLIN2, HIMMELH, INDEF, MCCORMCK), those that come as low at infinity as anywhere (Diagonal 3,
HIMMELBG), those misprinted (Generalized Tridiagonal 2, Broyden Tridiagonal), those whose local minima make a race a
lottery (GENHUMPS, CURLY20), and some of those that resemble others.

References
----------
.. [1] N. I. M. Gould, D. Orban and Ph. L. Toint, "CUTEst: a constrained and unconstrained testing environment with safe
   threads for mathematical optimization", Computational Optimization and Applications 60 (2015) 545-557,
   :doi:`10.1007/s10589-014-9687-3`
.. [2] N. Andrei, "An unconstrained optimization test functions collection", Advanced Modeling and Optimization 10
   (2008) 147-161
.. [3] J. J. Moré, B. S. Garbow and K. E. Hillstrom, "Testing unconstrained optimization software", ACM Transactions on
   Mathematical Software 7 (1981) 17-41, :doi:`10.1145/355934.355936`
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Problem:
    """A function of n variables with its gradient, the usual start and what is known of its minimum.

    ``start`` is repeated along the variables, ``least`` is the least value; either may depend on n. A number of
    variables is allowed if it is a multiple of ``multiple``, and not below ``smallest``.
    """

    name: str
    function: Callable
    start: tuple | Callable
    least: float | Callable | None
    multiple: int
    smallest: int

    def allows(self, n):
        """Whether there may be so many variables."""
        return n >= self.smallest and n % self.multiple == 0

    def nearest(self, n=100):
        """The most variables that are allowed, up to n."""
        return max(self.smallest, n // self.multiple * self.multiple)

    def x0(self, n=None):
        """The usual start, a new array of shape (n,)."""
        n = self._checked(n)
        return np.array(self.start(n) if callable(self.start) else np.resize(self.start, n), dtype=float)

    def minimum(self, n=None):
        """The least value; None if it is not known."""
        n = self._checked(n)
        return self.least(n) if callable(self.least) else self.least

    def value_and_gradient(self, x):
        """The value, a float, and the gradient, a new array."""
        self._checked(x.size)
        with np.errstate(over="ignore", invalid="ignore"):  # far away it overflows in silence
            value, gradient = self.function(x)
        return float(value), gradient

    def _checked(self, n):
        if n is None:
            return self.nearest()
        if not self.allows(n):
            raise ValueError(f"{self.name}: n must be a multiple of {self.multiple} from {self.smallest} on, got {n}")
        return n


_collected = []


def problem(name, start, minimum, multiple=1, smallest=None):
    """Collect the function that follows: it takes x and returns its value and its gradient."""

    def collect(function):
        _collected.append(Problem(name, function, start, minimum, multiple, smallest or multiple))
        return function

    return collect


# ---- what the formulas share ----


def counted(x):
    """1, 2, ..., n."""
    return np.arange(1.0, x.size + 1)


def blocks(x, size=2):
    """The first variables of all blocks, the second ones, and so on."""
    return x.reshape(-1, size).T


def woven(*parts):
    """What `blocks` takes apart."""
    return np.stack(parts, axis=1).ravel()


def chained(*parts):
    """The gradient of a sum over neighbours: derivatives by x_i, by x_{i+1}, and so on, of the i-th terms."""
    g = np.zeros(parts[0].size + len(parts) - 1)
    for shift, part in enumerate(parts):
        g[shift : shift + part.size] += part
    return g


def valley(a, b, power, weight=100):
    """The sum of weight (b - a^power)^2 + (1 - a)^2, and its derivatives by a and by b."""
    r, q = b - a**power, 1 - a
    return weight * r @ r + q @ q, -2 * weight * power * r * a ** (power - 1) - 2 * q, 2 * weight * r


def ravine(x, power, weight):
    """The value and the gradient of (x_1 - 1)^2 + weight sum (x_{i+1} - x_i^power)^2."""
    r, q = x[1:] - x[:-1] ** power, x[0] - 1
    g = 2 * weight * chained(-power * r * x[:-1] ** (power - 1), r)
    g[0] += 2 * q
    return q**2 + weight * r @ r, g


def lowest_at(roots, function):
    """The least value of a function at the real ones of these roots."""
    return min(function(t) for t in roots[np.isreal(roots)].real)


# ---- pairs and fours of variables, each like the others ----


@problem("Extended Freudenstein & Roth", (0.5, -2), 0, multiple=2)
def freudenstein_roth(x):
    a, b = blocks(x)
    r = a - 13 + ((5 - b) * b - 2) * b
    q = a - 29 + ((b + 1) * b - 14) * b
    by_b = r * ((10 - 3 * b) * b - 2) + q * ((3 * b + 2) * b - 14)
    return r @ r + q @ q, 2 * woven(r + q, by_b)


@problem("Extended Rosenbrock", (-1.2, 1), 0, multiple=2)
def extended_rosenbrock(x):
    a, b = blocks(x)
    f, by_a, by_b = valley(a, b, power=2)
    return f, woven(by_a, by_b)


@problem("Extended White & Holst", (-1.2, 1), 0, multiple=2)
def extended_white_holst(x):
    a, b = blocks(x)
    f, by_a, by_b = valley(a, b, power=3)
    return f, woven(by_a, by_b)


@problem("Extended Beale", (1, 0.8), 0, multiple=2)
def extended_beale(x):
    a, b = blocks(x)
    p, q, r = 1.5 - a * (1 - b), 2.25 - a * (1 - b**2), 2.625 - a * (1 - b**3)
    by_a = p * (b - 1) + q * (b**2 - 1) + r * (b**3 - 1)
    return p @ p + q @ q + r @ r, 2 * woven(by_a, a * (p + 2 * b * q + 3 * b**2 * r))


@problem("Extended Tridiagonal 1", (2,), 0, multiple=2)
def extended_tridiagonal_1(x):
    a, b = blocks(x)
    r, q = a + b - 3, a - b + 1
    return r @ r + (q**4).sum(), woven(2 * r + 4 * q**3, 2 * r - 4 * q**3)


@problem("Extended Three Exponential Terms", (0.1,), lambda n: n * np.sqrt(2) * np.exp(-0.1), multiple=2)
def three_exponential_terms(x):
    a, b = blocks(x)
    p, q, r = np.exp(a + 3 * b - 0.1), np.exp(a - 3 * b - 0.1), np.exp(-a - 0.1)
    return (p + q + r).sum(), woven(p + q - r, 3 * (p - q))


@problem("Extended Himmelblau", (1,), 0, multiple=2)
def extended_himmelblau(x):
    a, b = blocks(x)
    r, q = a**2 + b - 11, a + b**2 - 7
    return r @ r + q @ q, 2 * woven(2 * a * r + q, r + 2 * b * q)


@problem("Extended PSC1", (3, 0.1), lambda n: n / 2 * 0.773199056492923, multiple=2)
def extended_psc1(x):
    a, b = blocks(x)
    r = a**2 + b**2 + a * b
    f = r @ r + (np.sin(a) ** 2 + np.cos(b) ** 2).sum()
    return f, woven(2 * r * (2 * a + b) + np.sin(2 * a), 2 * r * (2 * b + a) - np.sin(2 * b))


@problem("Extended Block Diagonal BD1", (0.1,), 0, multiple=2)
def extended_block_diagonal(x):
    a, b = blocks(x)
    e = np.exp(a - 1)
    r, q = a**2 + b**2 - 2, e - b
    return r @ r + q @ q, woven(4 * a * r + 2 * e * q, 4 * b * r - 2 * q)


def least_of_maratos(n):
    return n / 2 * lowest_at(np.roots([400, 0, -400, 1]), lambda a: a + 100 * (a**2 - 1) ** 2)


@problem("Extended Maratos", (1.1, 0.1), least_of_maratos, multiple=2)
def extended_maratos(x):
    a, b = blocks(x)
    r = a**2 + b**2 - 1
    return a.sum() + 100 * r @ r, woven(1 + 400 * a * r, 400 * b * r)


@problem("Extended Cliff", (0, -1), lambda n: n / 2 * (np.log(20) + 1) / 20, multiple=2)
def extended_cliff(x):
    a, b = blocks(x)
    r, d = (a - 3) / 100, a - b
    e = np.exp(20 * d)
    return r @ r + (e - d).sum(), woven(r / 50 + 20 * e - 1, 1 - 20 * e)


@problem("Extended Quadratic Exponential EP1", (1.5,), lambda n: n / 2 * 15.8635257629454, multiple=2)
def extended_quadratic_exponential(x):
    a, b = blocks(x)
    d = a - b
    e = np.exp(d)
    r, q = e - 5, d * (d - 11)
    by_d = 2 * r * e + 2 * q * (2 * d - 11)
    return r @ r + q @ q, woven(by_d, -by_d)


@problem("Extended DENSCHNB", (1,), 0, multiple=2)
def extended_denschnb(x):
    a, b = blocks(x)
    p, q, r = a - 2, (a - 2) * b, b + 1
    return p @ p + q @ q + r @ r, 2 * woven(p + q * b, q * p + r)


@problem("Extended DENSCHNF", (2, 0), 0, multiple=2)
def extended_denschnf(x):
    a, b = blocks(x)
    r = 2 * (a + b) ** 2 + (a - b) ** 2 - 8
    q = 5 * a**2 + (b - 3) ** 2 - 9
    return r @ r + q @ q, 4 * woven(r * (3 * a + b) + 5 * a * q, r * (a + 3 * b) + (b - 3) * q)


@problem("Extended Powell", (3, -1, 0, 1), 0, multiple=4)
def extended_powell(x):
    a, b, c, d = blocks(x, 4)
    p, q, r, s = a + 10 * b, c - d, b - 2 * c, a - d
    f = p @ p + 5 * q @ q + (r**4 + 10 * s**4).sum()
    r, s = 4 * r**3, 40 * s**3
    return f, woven(2 * p + s, 20 * p + r, 10 * q - 2 * r, -10 * q - s)


@problem("WOODS", (-3, -1), 0, multiple=4)
def woods(x):
    a, b, c, d = blocks(x, 4)
    first, by_a, by_b = valley(a, b, power=2)
    second, by_c, by_d = valley(c, d, power=2, weight=90)
    r, q = b + d - 2, b - d
    f = first + second + 10 * r @ r + 0.1 * q @ q
    return f, woven(by_a, by_b + 20 * r + 0.2 * q, by_c, by_d + 20 * r - 0.2 * q)


# ---- quadratic functions ----


@problem("Perturbed Quadratic", (0.5,), 0)
def perturbed_quadratic(x):
    i, total = counted(x), x.sum()
    return i @ x**2 + total**2 / 100, 2 * i * x + total / 50


@problem("Partial Perturbed Quadratic", (0.5,), 0)
def partial_perturbed_quadratic(x):
    i, sums = counted(x), x.cumsum()
    g = 2 * i * x + sums[::-1].cumsum()[::-1] / 50
    g[0] += 2 * x[0]
    return x[0] ** 2 + i @ x**2 + sums @ sums / 100, g


@problem("Tridiagonal Perturbed Quadratic", (0.5,), 0, smallest=3)
def tridiagonal_perturbed_quadratic(x):
    i, r = counted(x)[1:-1], x[:-2] + x[1:-1] + x[2:]
    g = 2 * chained(r, r + i * x[1:-1], r)
    g[0] += 2 * x[0]
    return x[0] ** 2 + i @ x[1:-1] ** 2 + r @ r, g


@problem("Quadratic QF1", (1,), lambda n: -0.5 / n)
def quadratic_qf1(x):
    g = counted(x) * x
    f = g @ x / 2 - x[-1]
    g[-1] -= 1
    return f, g


@problem("Staircase 1", (1,), 0)
def staircase_1(x):
    sums = x.cumsum()
    return sums @ sums, 2 * sums[::-1].cumsum()[::-1]


@problem("TRIDIA", (1,), 0, smallest=2)
def tridia(x):
    r, q, weights = 2 * x[1:] - x[:-1], x[0] - 1, counted(x)[1:]
    g = 2 * chained(-weights * r, 2 * weights * r)
    g[0] += 2 * q
    return q**2 + weights @ r**2, g


@problem("DQDRTIC", (3,), 0, smallest=3)
def dqdrtic(x):
    terms = np.full(x.size - 2, 1.0)
    weights = chained(terms, 100 * terms, 100 * terms)
    return weights @ x**2, 2 * weights * x


@problem("BIGGSB1", (0,), 0, smallest=2)
def biggsb1(x):
    r = np.diff(np.append(np.append(1.0, x), 1.0))
    return r @ r, 2 * (r[:-1] - r[1:])


# ---- sums of functions of one variable each ----


@problem("Raydan 1", (1,), lambda n: n * (n + 1) / 20)
def raydan_1(x):
    weights, e = counted(x) / 10, np.exp(x)
    return weights @ (e - x), weights * (e - 1)


@problem("Raydan 2", (1,), lambda n: n)
def raydan_2(x):
    e = np.exp(x)
    return (e - x).sum(), e - 1


def tilted(slopes):
    """The function sum exp(x_i) - slope_i x_i, and its least value as a function of n."""

    def function(x):
        e, s = np.exp(x), slopes(counted(x))
        return (e - s * x).sum(), e - s

    def least(n):
        s = slopes(np.arange(1.0, n + 1))
        return (s - s * np.log(s)).sum()

    return function, least


for _name, _start, _slopes in (
    ("Diagonal 1", lambda n: np.full(n, 1 / n), lambda i: i),
    ("Diagonal 2", lambda n: 1 / np.arange(1, n + 1), lambda i: 1 / i),
    ("Hager", (1,), np.sqrt),
):
    _function, _least = tilted(_slopes)
    problem(_name, _start, _least)(_function)
diagonal_1, least_of_diagonal_1 = tilted(lambda i: i)


@problem("Diagonal 5", (1.1,), lambda n: n * np.log(2))
def diagonal_5(x):
    return np.logaddexp(x, -x).sum(), np.tanh(x)


@problem("Diagonal 9", (1,), lambda n: least_of_diagonal_1(n - 1), smallest=2)
def diagonal_9(x):
    f, g = diagonal_1(x[:-1])
    return f + 1e4 * x[-1] ** 2, np.append(g, 2e4 * x[-1])


def least_of_qf2(n):
    # All but the last are 1.
    return lowest_at(np.roots([2 * n, 0, -2 * n, -1]), lambda t: n / 2 * (t**2 - 1) ** 2 - t)


@problem("Quadratic QF2", (0.5,), least_of_qf2)
def quadratic_qf2(x):
    i, r = counted(x), x**2 - 1
    g = 2 * i * r * x
    g[-1] -= 1
    return i @ r**2 / 2 - x[-1], g


@problem("QUARTC", (2,), 0)
def quartc(x):
    r = x - counted(x)
    return (r**4).sum(), 4 * r**3


# ---- chains of neighbours ----


@problem("Generalized Rosenbrock", (-1.2, 1), 0, smallest=2)
def generalized_rosenbrock(x):
    f, by_a, by_b = valley(x[:-1], x[1:], power=2)
    return f, chained(by_a, by_b)


@problem("CUBE", (-1.2, 1), 0, smallest=2)
def cube(x):
    return ravine(x, power=3, weight=100)


@problem("NONSCOMP", (3,), 0, smallest=2)
def nonscomp(x):
    return ravine(x, power=2, weight=4)


@problem("FLETCHCR", (0,), 0, smallest=2)
def fletchcr(x):
    r = x[1:] + 1 - x[:-1] - x[:-1] ** 2
    return 100 * r @ r, 200 * chained(-r * (1 + 2 * x[:-1]), r)


@problem("Generalized Tridiagonal 1", (2,), None, smallest=2)
def generalized_tridiagonal_1(x):
    r, q = x[:-1] + x[1:] - 3, x[:-1] - x[1:] + 1
    return r @ r + (q**4).sum(), chained(2 * r + 4 * q**3, 2 * r - 4 * q**3)


@problem("ENGVAL1", (2,), None, smallest=2)
def engval1(x):
    r = x[:-1] ** 2 + x[1:] ** 2
    return r @ r + (3 - 4 * x[:-1]).sum(), 4 * chained(r * x[:-1] - 1, r * x[1:])


@problem("EDENSCH", (8,), None, smallest=2)
def edensch(x):
    a, b = x[:-1] - 2, x[1:]
    r, q = a * b, b + 1
    return 16 + (a**4).sum() + r @ r + q @ q, chained(4 * a**3 + 2 * r * b, 2 * r * a + 2 * q)


@problem("COSINE", (1,), lambda n: 1 - n, smallest=2)
def cosine(x):
    angle = x[:-1] ** 2 - x[1:] / 2
    sin = np.sin(angle)
    return np.cos(angle).sum(), chained(-2 * x[:-1] * sin, sin / 2)


@problem("Broyden Banded", (-1,), 0)
def broyden_banded(x):
    # A residual has the five variables before its own, and the one after it.
    n, band = x.size, np.array([1, 0, 1, 1, 1, 1, 1])
    r = x * (2 + 5 * x**2) + 1 - np.convolve(x + x**2, band)[1 : n + 1]
    return r @ r, 2 * (r * (2 + 15 * x**2) - (1 + 2 * x) * np.convolve(r, band[::-1])[5 : n + 5])


# ---- chains and fans tied to the first or the last variable ----


@problem("ARWHEAD", (1,), 0, smallest=2)
def arwhead(x):
    r = x[:-1] ** 2 + x[-1] ** 2
    return r @ r + (3 - 4 * x[:-1]).sum(), 4 * np.append(r * x[:-1] - 1, x[-1] * r.sum())


@problem("BDQRTIC", (1,), None, smallest=5)
def bdqrtic(x):
    m = x.size - 4
    s = x**2
    r = 3 - 4 * x[:m]
    q = s[:m] + 2 * s[1 : m + 1] + 3 * s[2 : m + 2] + 4 * s[3 : m + 3] + 5 * s[-1]
    g = np.append(4 * x[:-1] * chained(q, 2 * q, 3 * q, 4 * q), 20 * x[-1] * q.sum())
    g[:m] -= 8 * r
    return r @ r + q @ q, g


@problem("NONDIA", (-1,), 0, smallest=2)
def nondia(x):
    r, q = x[0] - x[:-1] ** 2, x[0] - 1
    g = np.append(-400 * r * x[:-1], 0)
    g[0] += 2 * q + 200 * r.sum()
    return q**2 + 100 * r @ r, g


@problem("NONDQUAR", (1, -1), 0, smallest=3)
def nondquar(x):
    first, last, r = x[0] - x[1], x[-2] - x[-1], x[:-2] + x[1:-1] + x[-1]
    slope = 4 * r**3
    g = np.append(chained(slope, slope), slope.sum())
    g[0] += 2 * first
    g[1] -= 2 * first
    g[-2] += 2 * last
    g[-1] -= 2 * last
    return first**2 + last**2 + (r**4).sum(), g


@problem("LIARWHD", (4,), 0)
def liarwhd(x):
    r, q = x**2 - x[0], x - 1
    g = 16 * r * x + 2 * q
    g[0] -= 8 * r.sum()
    return 4 * r @ r + q @ q, g


@problem("EG2", (0,), lambda n: 0.5 - n, smallest=2)
def eg2(x):
    angle, last = x[0] + x[:-1] ** 2 - 1, x[-1] ** 2
    cos = np.cos(angle)
    g = np.append(2 * x[:-1] * cos, x[-1] * np.cos(last))
    g[0] += cos.sum()
    return np.sin(angle).sum() + np.sin(last) / 2, g


@problem("SINQUAD", (0.1,), 0, smallest=3)
def sinquad(x):
    first, last, middle = x[0] - 1, x[-1] ** 2 - x[0] ** 2, x[1:-1]
    r = np.sin(middle - x[-1]) - x[0] ** 2 + middle**2
    cos = 2 * r * np.cos(middle - x[-1])
    by_first = 4 * first**3 - 4 * x[0] * (last + r.sum())
    g = np.append(np.append(by_first, cos + 4 * r * middle), 4 * last * x[-1] - cos.sum())
    return first**4 + r @ r + last**2, g


# ---- functions of sums of all variables ----


@problem("Extended Trigonometric", (0.2,), 0)
def extended_trigonometric(x):
    i, cos, sin = counted(x), np.cos(x), np.sin(x)
    r = (1 - cos).sum() + i * (1 - cos) - sin
    return r @ r, 2 * (sin * r.sum() + r * (i * sin - cos))


def least_of_penalty(n):
    # All but the last are the same, and the last is 0.
    roots = np.roots([4 * (n - 1), 0, 1, -2])
    return lowest_at(roots, lambda t: (n - 1) * (t - 1) ** 2 + ((n - 1) * t**2 - 0.25) ** 2)


@problem("Extended Penalty", lambda n: np.arange(1, n + 1), least_of_penalty, smallest=2)
def extended_penalty(x):
    r, q = x[:-1] - 1, x @ x - 0.25
    g = 4 * q * x
    g[:-1] += 2 * r
    return r @ r + q**2, g


@problem("Extended Quadratic Penalty QP1", (1,), lambda n: n * (2 - 2.5 / n) ** 2, smallest=2)
def quadratic_penalty_qp1(x):
    r, q = x[:-1] ** 2 - 2, x @ x - 0.5
    g = 4 * q * x
    g[:-1] += 4 * r * x[:-1]
    return r @ r + q**2, g


@problem("Extended Quadratic Penalty QP2", (1,), 0, smallest=2)
def quadratic_penalty_qp2(x):
    r, q = x[:-1] ** 2 - np.sin(x[:-1]), x @ x - 100
    g = 4 * q * x
    g[:-1] += 2 * r * (2 * x[:-1] - np.cos(x[:-1]))
    return r @ r + q**2, g


@problem("POWER", (1,), 0)
def power(x):
    i = counted(x)
    total = i @ x**2
    return total**2, 4 * total * i * x


@problem("VARDIM", lambda n: 1 - np.arange(1, n + 1) / n, 0)
def vardim(x):
    i, r = counted(x), x - 1
    t = i @ r
    return r @ r + t**2 + t**4, 2 * r + (2 * t + 4 * t**3) * i


# ---- Dixon and Maany's family ----


def dixmaan(letter, weights, powers):
    """Collect one of the family: its terms have these weights, times these powers of i / n."""

    @problem(f"DIXMAAN{letter}", (2,), 1, multiple=3)
    def function(x):
        n, m = x.size, x.size // 3
        i = counted(x) / n
        a, b = weights[0] * i ** powers[0], weights[1] * i[:-1] ** powers[1]
        c, d = weights[2] * i[: 2 * m] ** powers[2], weights[3] * i[:m] ** powers[3]
        head, tail = x[:-1], x[1:]
        lift, near, far = tail + tail**2, x[: 2 * m], x[m:]
        f = 1 + a @ x**2 + b @ (head * lift) ** 2 + c @ (near**2 * far**4) + d @ (x[:m] * x[2 * m :])
        g = 2 * a * x + 2 * chained(b * head * lift**2, b * head**2 * lift * (1 + 2 * tail))
        g[: 2 * m] += 2 * c * near * far**4
        g[m:] += 4 * c * near**2 * far**3
        g[:m] += d * x[2 * m :]
        g[2 * m :] += d * x[:m]
        return f, g


dixmaan("A", (1, 0, 0.125, 0.125), (0, 0, 0, 0))
dixmaan("E", (1, 0, 0.125, 0.125), (1, 0, 0, 1))
dixmaan("I", (1, 0, 0.125, 0.125), (2, 0, 0, 2))
dixmaan("L", (1, 0.26, 0.26, 0.26), (2, 0, 0, 2))

PROBLEMS = tuple(_collected)
"""All of them, in the order of this file."""


def main():
    import profiles

    parser = profiles.parser(__doc__)
    parser.add_argument("--n", type=int, default=100, help="the most variables, fewer where n must be a multiple (100)")
    options = parser.parse_args()
    starts = ((problem, problem.x0(problem.nearest(options.n))) for problem in PROBLEMS)
    profiles.tell([profiles.Case(problem.name, x0, problem.value_and_gradient) for problem, x0 in starts], options)


if __name__ == "__main__":
    main()
