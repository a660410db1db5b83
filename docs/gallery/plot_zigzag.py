"""
The zigzag of steepest descent
==============================

Steepest descent with exact line search turns by a right angle after every step. In a narrow valley it goes to and
fro. This shows why, and what other directions do in its place.
"""

# %%
# A bowl that is seven times as steep along one axis as along the other: ``f(x) = x1^2 + 7 x2^2 + 2 x1 + x2 + 2``.

import itertools

import matplotlib.pyplot as plt
import numpy as np

import graddesc
from graddesc import plots, problems

# sphinx_gallery_thumbnail_number = 2

bowl = problems.Quadratic([[2, 0], [0, 14]], [2, 1], 2, start=[0, 1])
x, fx, iterations = graddesc.gradient_descent(bowl, bowl.gradient, bowl.start)
print(
    f"minimum {fx:.6f} at ({x[0]:.6f}, {x[1]:.6f}) after {iterations} iterations"
)

# %%
# Look along the ray from the start against the gradient. The function along it is ``phi(alpha) = f(x - alpha
# Df(x))``. An exact line search goes to its minimum. There the slope along the ray is zero, so that the next
# gradient, and with it the next step, is at a right angle to this one.

settings = {
    "jac": bowl.gradient,
    "step": graddesc.ExactLineSearch(),
    "direction": graddesc.Steepest(),
    "history": True,
}
path = graddesc.minimize(bowl, bowl.start, **settings).history

figure, (left, right) = plt.subplots(
    1, 2, figsize=(11, 4.4), layout="constrained", width_ratios=(1.15, 1)
)
plots.contour_path(
    bowl,
    path,
    window=((-1.2, 0.4), (-0.4, 1.1)),
    levels=[1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 12],
    axes=left,
)
left.set_title("the path over the contours")
plots.ray(bowl, bowl.gradient, bowl.start, window=(-0.01, 2 / 15), axes=right)
right.set_title("the slice along the first ray")

steps = np.diff(path.x, axis=0)
cosines = [
    a @ b / np.sqrt((a @ a) * (b @ b)) for a, b in itertools.pairwise(steps)
]
print(
    f"greatest cosine between a step and the next: {np.abs(cosines[:6]).max():.1e}"
)

# %%
# In the bent valley of Rosenbrock's function the steps become tiny. Three other directions begin at the same place.

valley = problems.Rosenbrock(2)
start = np.array([-2.0, -2.0])
methods = {
    "steepest descent": (graddesc.ExactLineSearch(), graddesc.Steepest()),
    "momentum": (graddesc.ExactLineSearch(), graddesc.HeavyBall()),
    "conjugate gradients": (
        graddesc.StrongWolfe(curvature=0.4),
        graddesc.ConjugateGradient(),
    ),
    "L-BFGS": (graddesc.StrongWolfe(), graddesc.LBFGS()),
}
results = {
    name: graddesc.minimize(
        valley,
        start,
        jac=valley.gradient,
        step=step,
        direction=direction,
        maxiter=20_000,
        history=True,
    )
    for name, (step, direction) in methods.items()
}
for name, result in results.items():
    print(
        f"{name:20} {result.nit:6} iterations, {result.nfev:6} evaluations, f = {result.fun:.1e}"
    )

# %%
# The whole path of steepest descent, a part of it enlarged, and the losses of all four.

steepest = results["steepest descent"].history
middle = steepest.x[len(steepest.x) // 100]
window = [(at - 0.03, at + 0.03) for at in middle]
height = valley(middle)

figure, (whole, enlarged) = plt.subplots(
    1, 2, figsize=(10.5, 4.6), layout="constrained", width_ratios=(1.2, 1)
)
plots.contour_path(
    valley, steepest, window=((-2.6, 2.6), (-2.4, 2.6)), axes=whole
)
whole.plot(*middle, "s", color="black", fillstyle="none", markersize=9)
whole.set_title("steepest descent")
levels = height * np.linspace(0.6, 1.6, 11)
plots.contour_path(
    valley, steepest, window=window, levels=levels, filled=False, axes=enlarged
)
enlarged.set_title("the zigzag in the square, enlarged")

# %%
# What that costs:

figure = plots.loss_history(
    {name: result.history for name, result in results.items()}
)
figure.axes[0].set(xscale="symlog", xlim=(0, None), title="loss by iteration")
