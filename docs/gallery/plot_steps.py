"""
Schedules and searches on one problem
=====================================

Gradient descent goes downhill; how far in each step is the question. A schedule fixes the lengths beforehand. A
search evaluates the function to find a good one. Another direction than the gradient can save more still.
"""

# %%
# The problem: fit a logistic curve to labels by the mean of ``log(1 + exp(-label * score))``. Its minimum is unknown
# but easy to compute to many digits.

import matplotlib.pyplot as plt
import numpy as np

import graddesc
from graddesc import directions, line_search, schedules

rng = np.random.default_rng(5)
features = (
    rng.normal(size=(400, 12))
    @ np.diag(np.geomspace(1, 0.05, 12))
    @ rng.normal(size=(12, 12))
)
labels = np.sign(features @ rng.normal(size=12) + rng.normal(size=400))


def loss_and_gradient(weights):
    margins = labels * (features @ weights)
    loss = np.logaddexp(0, -margins).mean() + 1e-4 * (weights @ weights)
    slopes = -labels / (1 + np.exp(margins)) / len(labels)
    return loss, features.T @ slopes + 2e-4 * weights


start = np.zeros(12)
minimum = graddesc.minimize(loss_and_gradient, start, jac=True, tol=1e-12).fun

# %%
# Each run is a step and a direction. One over the greatest curvature is a constant step that never climbs.

greatest = np.linalg.norm(features, 2) ** 2 / (4 * len(labels)) + 2e-4
steepest = directions.Steepest()
runs = {
    "constant": (schedules.Constant(1 / greatest), steepest),
    "inverse square root": (schedules.InverseSqrt(4 / greatest), steepest),
    "cosine": (schedules.Cosine(3 / greatest, 300), steepest),
    "exact line search": (line_search.ExactLineSearch(), steepest),
    "backtracking": (line_search.Backtracking(), steepest),
    "Barzilai-Borwein": (line_search.BarzilaiBorwein(), steepest),
    "Nesterov, backtracking": (line_search.Backtracking(), directions.Nesterov()),
    "conjugate gradients": (
        line_search.StrongWolfe(curvature=0.4),
        directions.ConjugateGradient(),
    ),
    "L-BFGS": (line_search.StrongWolfe(), directions.LBFGS()),
}
settings = {"jac": True, "maxiter": 300, "tol": 1e-8, "history": True}
results = {
    name: graddesc.minimize(
        loss_and_gradient, start, step=step, direction=direction, **settings
    )
    for name, (step, direction) in runs.items()
}

print(f"{'':24}{'iterations':>10}{'evaluations':>13}{'loss - minimum':>16}")
for name, result in results.items():
    print(f"{name:24}{result.nit:10}{result.nfev:13}{result.fun - minimum:16.1e}")

# %%
# An iteration of a search costs more evaluations than one of a schedule. So the panel on the right counts
# evaluations.

groups = {
    "schedules": list(runs)[:3],
    "searches": list(runs)[3:6],
    "directions": list(runs)[6:],
}
palette = (
    "#0072B2",
    "#56B4E9",
    "#332288",
    "#D55E00",
    "#E69F00",
    "#882255",
    "#009E73",
    "#999933",
    "#000000",
)
colours = dict(zip(runs, palette, strict=True))
styles = dict(zip(groups, ("--", "-", "-."), strict=True))

figure, (by_iteration, by_evaluation) = plt.subplots(
    1, 2, figsize=(10.5, 4.6), sharey=True, layout="constrained"
)
for group, names in groups.items():
    for name in names:
        look = {"color": colours[name], "linestyle": styles[group], "label": name}
        history = results[name].history
        above = np.maximum(history.fun - minimum, 1e-16)
        by_iteration.plot(above, **look)
        by_evaluation.plot(history.nfev, above, **look)
by_iteration.set(
    xlabel="iteration",
    ylabel="loss above the minimum",
    yscale="log",
    ylim=(1e-14, 1),
)
by_evaluation.set(xlabel="evaluations of loss and gradient", xlim=(0, 300))
for ax in (by_iteration, by_evaluation):
    ax.grid(alpha=0.3)
figure.legend(
    *by_iteration.get_legend_handles_labels(),
    loc="outside lower center",
    ncols=3,
    frameon=False,
)
