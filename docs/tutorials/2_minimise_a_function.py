"""
Minimise a function
===================

To get to the bottom of a valley, go where the ground falls most steeply, as far as it falls, and look again. This page
does that on a bowl and in a bent valley, shows why it zigzags, and what avoids that.
"""

# %%
# A bowl
# ------
# The function
#
# .. math:: f(x) = x_1^2 + 7 x_2^2 + 2 x_1 + x_2 + 2
#
# has the gradient :math:`\nabla f(x) = (2 x_1 + 2, 14 x_2 + 1)` and its minimum where that is zero,
# at :math:`(-1, -1/14)`, with the value :math:`27/28`.

import matplotlib.pyplot as plt
import numpy as np

import graddesc
from graddesc import plots


def f(x):
    return x[0] ** 2 + 7 * x[1] ** 2 + 2 * x[0] + x[1] + 2


def Df(x):
    return np.array([2 * x[0] + 2, 14 * x[1] + 1])


start = np.array([0.0, 1.0])
print("value", f(start), "gradient", Df(start))

# %%
# The gradient points uphill; its negative is the steepest way down. It is at right angles to the
# contour through the start.

figure = plt.figure(figsize=(9.6, 4.2), layout="constrained")
left, right = (
    figure.add_subplot(1, 2, 1, projection="3d"),
    figure.add_subplot(1, 2, 2),
)
window = ((-1.2, 1.2), (-1.2, 1.2))
plots.surface(f, Df, start, window=window, axes=left)
plots.contour_path(
    f,
    [start],
    window=window,
    levels=np.geomspace(1, 10, 8),
    filled=False,
    axes=right,
)
downhill = -Df(start) / np.linalg.norm(Df(start))
right.annotate(
    "",
    start + 0.7 * downhill,
    start,
    arrowprops={"arrowstyle": "-|>", "linewidth": 2},
)

# %%
# The ray
# -------
# How far to go? Along the ray downhill the function of two variables is one of a single variable,
# the step :math:`\alpha`:
#
# .. math:: \varphi(\alpha) = f(x - \alpha \nabla f(x))
#
# At the start, :math:`\varphi(\alpha) = f(-2 \alpha, 1 - 15 \alpha)`. Its slope at 0 is minus the
# squared length of the gradient. An exact line search goes to its minimum.

figure = plots.ray(f, Df, start, window=(-0.01, 2 / 15))

# %%
# Go there, and repeat. This is steepest descent with exact line search, written down with SciPy's
# search:

from scipy.optimize import minimize_scalar

x, path = start, [start]
while np.abs(Df(x)).max() >= 1e-5:
    g = Df(x)
    x = x - minimize_scalar(lambda alpha: f(x - alpha * g)).x * g
    path.append(x)
print(f"{len(path) - 1} steps to {x}, value {f(x):.12f}")

# %%
# `graddesc.gradient_descent` is that loop. It returns the point, the value and the number of
# iterations, of which the last finds that the gradient is small:

x, fx, k = graddesc.gradient_descent(f, Df, start)
print(f"{k} iterations to {x}, value {fx:.12f}")

figure = plots.contour_path(f, path, window=window, levels=np.geomspace(1, 10, 8))

# %%
# The path turns by a right angle after every step. It must: where the search stops, the ray touches
# a contour, and the next gradient is at right angles to that.
#
# A bent valley
# -------------
# On the bowl this costs a few steps. Rosenbrock's function :math:`(1 - x_1)^2 + 100 (x_2 -
# x_1^2)^2` has a narrow valley along a parabola, and its minimum, 0, at (1, 1).

valley = graddesc.problems.Rosenbrock()
start = np.array([-2.0, -2.0])
steepest = graddesc.minimize(
    valley,
    start,
    jac=valley.gradient,
    step=graddesc.ExactLineSearch(),
    direction=graddesc.Steepest(),
    maxiter=20_000,
    history=True,
)
print(f"{steepest.nit} iterations, {steepest.nfev} values: {steepest.x}")

# %%
# Twelve thousand iterations. The right picture is a part of the valley floor, enlarged: each step
# crosses the valley, and what it gains along it is little.

figure, (whole, enlarged) = plt.subplots(
    1, 2, figsize=(9.6, 4.2), layout="constrained"
)
plots.contour_path(valley, steepest, window=((-5, 5), (-5, 5)), axes=whole)
corner, levels = ((0.47, 0.53), (0.215, 0.275)), np.arange(0.22, 0.44, 0.02)
plots.contour_path(
    valley, steepest, window=corner, levels=levels, filled=False, axes=enlarged
)

# %%
# Do not search so hard
# ---------------------
# The exact minimum along the ray is not worth its price. `graddesc.Backtracking` takes the first
# step that lowers the function enough; `graddesc.BarzilaiBorwein` guesses the step from how the
# gradient has changed, and lets the value rise now and then, which breaks the zigzag.

runs = {"exact": steepest}
steps = {
    "backtracking": graddesc.Backtracking(),
    "Barzilai-Borwein": graddesc.BarzilaiBorwein(),
}
for name, step in steps.items():
    runs[name] = graddesc.minimize(
        valley,
        start,
        jac=valley.gradient,
        step=step,
        direction=graddesc.Steepest(),
        maxiter=20_000,
        history=True,
    )

# %%
# Do not go straight down
# -----------------------
# Other directions remember where they came from. `graddesc.HeavyBall` keeps its momentum,
# `graddesc.ConjugateGradient` avoids undoing the last step, and `graddesc.LBFGS` learns the
# curvature from its last steps. With a search under the strong conditions of Wolfe it is the
# default of `graddesc.minimize`:

directions = {
    "heavy ball": graddesc.HeavyBall(),
    "conjugate gradients": graddesc.ConjugateGradient(),
}
for name, direction in directions.items():
    step = graddesc.StrongWolfe(curvature=0.4)
    runs[name] = graddesc.minimize(
        valley,
        start,
        jac=valley.gradient,
        step=step,
        direction=direction,
        maxiter=20_000,
        history=True,
    )
runs["L-BFGS"] = graddesc.minimize(
    valley, start, jac=valley.gradient, history=True
)

print(f"{'':20} iterations  values  gradients    value")
for name, run in runs.items():
    print(f"{name:20} {run.nit:10} {run.nfev:7} {run.njev:10}  {run.fun:.1e}")

# %%
figure, (paths, losses) = plt.subplots(
    1, 2, figsize=(10.5, 4.6), layout="constrained"
)
plots.contour_path(valley, runs, axes=paths)
plots.loss_history(runs, axes=losses)
losses.set(xscale="symlog", xlim=(0, None))
paths.get_legend().remove()

# %%
# Through SciPy
# -------------
# `graddesc.minimize` is a method of `scipy.optimize.minimize` as it stands. Code that calls SciPy
# need not change more than one argument:

import scipy.optimize

result = scipy.optimize.minimize(
    valley,
    start,
    jac=valley.gradient,
    bounds=[(-2, 0.5), (-2, 2)],
    method=graddesc.minimize,
    options={"gtol": 1e-8},
)
print(result.x, result.message)

# %%
# With the bound the minimum is not in reach; what counts as small is the gradient without what
# points out of the bounds.
#
# To leave the gradient out is possible: then it is estimated by differences, which cost values.

result = graddesc.minimize(valley, start)
print(f"{result.x}, {result.nfev} values")

# %%
# Objectives that are compiled themselves run without any Python in the loop:
# :doc:`/how-to/compiled-objectives`.
