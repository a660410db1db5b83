"""Pictures of runs, drawn with matplotlib, which the extra ``plot`` installs."""

__all__ = ["loss_history", "require_matplotlib"]


def require_matplotlib():
    """Raise unless matplotlib is installed.

    Raises
    ------
    ImportError
        If it is not; the message holds the command that installs it.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise ImportError("plots need matplotlib: pip install 'graddesc[plot]'") from None


def loss_history(history):
    """Plot the loss after each iteration.

    Parameters
    ----------
    history : array_like, shape (iterations,)
        The losses, as in ``info.history`` of :func:`graddesc.restore`.

    Returns
    -------
    matplotlib.figure.Figure
        The figure; its ``savefig`` writes it. No global state of pyplot is touched.

    Raises
    ------
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> from graddesc import plots
    >>> figure = plots.loss_history([9.0, 3.0, 2.5])
    >>> figure.axes[0].get_xlabel()
    'iteration'
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    axes.plot(range(1, len(history) + 1), history, marker="." if len(history) < 60 else None)
    if len(history) > 0 and min(history) > 0:
        axes.set_yscale("log")
    axes.set(xlabel="iteration", ylabel="loss")
    axes.grid(alpha=0.3)
    return figure
