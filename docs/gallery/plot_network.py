"""
A network learns
================

The parameters of a neural network are a point of a space with many dimensions, and to learn is to go downhill there.
The boundary that it draws between two classes tells how far it has come.
"""

# %%
# Two half moons, which no straight line separates, and a network of one hidden layer. Its loss and gradient are
# written out in :class:`graddesc.demos.TwoLayerNetwork`.

import matplotlib.pyplot as plt
import numpy as np

import graddesc
from graddesc.demos import TwoLayerNetwork


def moons(count, rng):
    angle = rng.uniform(0, np.pi, count)
    upper = rng.random(count) < 0.5
    points = (
        np.where(upper[:, None], [0, 0], [1, 0.5])
        + np.where(upper, 1, -1)[:, None] * np.c_[np.cos(angle), np.sin(angle)]
    )
    return points + rng.normal(0, 0.14, (count, 2)), np.where(upper, 1.0, -1.0)


rng = np.random.default_rng(0)
points, labels = moons(240, rng)
unseen, unseen_labels = moons(2000, rng)
network = TwoLayerNetwork(points, labels, hidden=16)
start = network.start(seed=1)
print(f"{start.size} parameters, {len(points)} points")

# %%
# L-BFGS with a search for the strong conditions of Wolfe suits a network as small as this. Adam with a constant step
# is what large networks learn with; momentum is older.

methods = {
    "momentum": (graddesc.Constant(0.5), graddesc.HeavyBall()),
    "Adam": (graddesc.Constant(0.05), graddesc.Adam()),
    "L-BFGS": (graddesc.StrongWolfe(), graddesc.LBFGS()),
}
settings = {"jac": True, "maxiter": 400, "tol": 1e-6, "history": True}
results = {
    name: graddesc.minimize(
        network, start, step=step, direction=direction, **settings
    )
    for name, (step, direction) in methods.items()
}


def share_right(parameters):
    return np.mean(np.sign(network.score(parameters, unseen)) == unseen_labels)


for name, result in results.items():
    right = share_right(result.x)
    print(
        f"{name:9} {result.nfev:4} evaluations, loss {result.fun:.4f}, {right:.1%} of unseen points right"
    )

# %%
# The boundary after some iterations of L-BFGS. The shade is the network's belief.

history = results["L-BFGS"].history
x, y = np.meshgrid(np.linspace(-1.7, 2.7, 220), np.linspace(-1.3, 1.8, 160))
grid = np.c_[x.ravel(), y.ravel()]

figure, axes = plt.subplots(2, 3, figsize=(11, 6), layout="compressed")
iterations = (0, 3, 10, 30, len(history.x) - 1)
for ax, iteration in zip(axes.flat, iterations, strict=False):
    parameters = history.x[iteration]
    belief = np.tanh(network.score(parameters, grid) / 2).reshape(x.shape)
    ax.contourf(x, y, belief, np.linspace(-1, 1, 21), cmap="PuOr", alpha=0.75)
    ax.contour(x, y, belief, [0], colors="black", linewidths=2)
    for label, marker, colour in ((-1, "^", "#7F3B08"), (1, "o", "#2D004B")):
        ax.scatter(
            *points[labels == label].T,
            s=12,
            marker=marker,
            color=colour,
            edgecolor="white",
            linewidth=0.3,
        )
    ax.set_title(f"iteration {iteration}, {share_right(parameters):.1%} right")
    ax.set_axis_off()

ax = axes[1, 2]
looks = ("#009E73--", "#0072B2-.", "#D55E00-")
for (name, result), look in zip(results.items(), looks, strict=True):
    history = result.history
    ax.plot(history.nfev, history.fun, look[7:], color=look[:7], label=name)
ax.set(xscale="log", yscale="log", xlabel="evaluations", ylabel="loss")
ax.set(yticks=(0.1, 0.2, 0.4, 0.7), yticklabels=(0.1, 0.2, 0.4, 0.7))
ax.minorticks_off()
ax.yaxis.tick_right()
ax.yaxis.set_label_position("right")
ax.grid(alpha=0.3)
ax.legend(frameon=False)
