"""The measured distance to the minimum by tol, for four masks."""

import matplotlib.pyplot as plt
import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from skimage import data

import graddesc

picture = data.camera()[::4, ::4] / 255
rows, cols = picture.shape
rng = np.random.default_rng(0)
y, x = np.mgrid[:rows, :cols]
masks = {
    "90 % at random": rng.random(picture.shape) < 0.9,
    "99.5 % at random": rng.random(picture.shape) < 0.995,
    "a grid of samples": (y % 8 != 3) | (x % 8 != 3),
    "a hole of 100 x 100": (abs(y - 64) < 50) & (abs(x - 64) < 50),
}


def d(n):
    """The differences of n neighbours, as a matrix."""
    ones = np.ones(n - 1)
    return scipy.sparse.diags_array(
        [-ones, ones], offsets=[0, 1], shape=(n - 1, n)
    )


D = scipy.sparse.vstack(
    [
        scipy.sparse.kron(scipy.sparse.eye_array(rows), d(cols)),
        scipy.sparse.kron(d(rows), scipy.sparse.eye_array(cols)),
    ]
)
A = (D.T @ D).tocsr()
figure, axis = plt.subplots(figsize=(6.4, 4.4))
tols = np.array([1, 0.5, 0.25, 0.1, 0.03, 0.01, 0.003])
for (name, mask), marker in zip(masks.items(), "osD^"):
    u, k = np.flatnonzero(mask), np.flatnonzero(~mask)
    exact = picture.ravel().copy()
    exact[u] = scipy.sparse.linalg.spsolve(
        A[u][:, u].tocsc(), -A[u][:, k] @ exact[k]
    )
    touched = np.abs(D) @ mask.ravel() > 0
    contrast = np.sqrt(np.mean((D @ exact)[touched] ** 2))
    found = []
    for tol in tols:
        image, info = graddesc.restore(
            picture, mask, loss="harmonic", tol=tol, full_output=True
        )
        assert info.status == 0
        found.append(np.sqrt(np.mean((image.ravel() - exact)[u] ** 2)) / contrast)
    axis.loglog(tols, found, marker, label=name)
axis.loglog(tols, tols, color="0.3", label="distance = tol x contrast")
axis.set(xlabel="tol", ylabel="distance / contrast")
axis.legend(fontsize=9)
axis.grid(alpha=0.3)
