"""Plots of runs."""

import numpy as np
import pytest

from graddesc import plots


def test_loss_history():
    figure = plots.loss_history(np.array([9.0, 3.0, 2.0]))
    (axes,) = figure.axes
    (line,) = axes.lines
    np.testing.assert_array_equal(line.get_xydata(), [[1, 9], [2, 3], [3, 2]])
    assert axes.get_yscale() == "log"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("iteration", "loss")


@pytest.mark.parametrize("history", [[], [0.0], [3.0, 0.0], [5.0]])
def test_short_histories_and_zeros(history, tmp_path):
    plots.loss_history(np.array(history)).savefig(tmp_path / "history.png")
    assert (tmp_path / "history.png").stat().st_size > 0


def test_the_backend_of_pyplot_is_left_alone():
    import matplotlib

    before = matplotlib.rcParams._get("backend")
    plots.loss_history([1.0])
    assert matplotlib.rcParams._get("backend") == before
