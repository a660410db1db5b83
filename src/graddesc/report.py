"""A restoration as one self-contained page: before and after, the mask, the loss, and how it was made."""

from __future__ import annotations

import base64
import html
import io
import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import graddesc
from graddesc.shades import eight_bits, percent, shown_range

if TYPE_CHECKING:
    from graddesc.result import Result

__all__ = ["page"]

_MAX_SIDE = 1024  # pixels of a picture on the page
_MAP_SIDE = 512  # of a map of few pixels, and of pictures that are enlarged with their pixels as squares
_EXACT = 2**18  # pixels up to which pictures are PNG; WebP keeps the page of large ones small
_LOSSY = "data:image/webp"
_FEW = 0.01  # of all pixels: so few are drawn larger than they are
_MOST_POINTS = 400  # of the plot
_WIDTH, _HEIGHT = 640, 220  # of the plot, in its own units


def page(
    before: NDArray[Any],
    restored: NDArray[Any],
    mask: NDArray[Any],
    *,
    info: Result,
    seconds: float,
    command: str,
    title: str,
    loss: str | None = None,
    confidence: NDArray[Any] | None = None,
) -> bytes:
    """Return a page of HTML that shows a restoration.

    Parameters
    ----------
    before : ndarray, shape (rows, cols) or (rows, cols, 3)
        The image before, of integers or floats; NaN is shown black.
    restored : ndarray, shape of the image
        What was made of it.
    mask : ndarray of bool, shape (rows, cols) or that of the image
        True where a pixel was corrupt.
    info : graddesc.result.Result
        What `graddesc.restore` tells with ``full_output``.
    seconds : float
        How long it took, with the confidence if that is given.
    command : str
        What makes the page again.
    title : str
        The name of the image.
    loss : str, optional
        The name of the loss.
    confidence : ndarray, shape (rows, cols) or that of the image, optional
        How far each pixel can be trusted, from 0 to 1.

    Returns
    -------
    bytes
        The page, which loads nothing from elsewhere.

    Examples
    --------
    >>> import numpy as np
    >>> import graddesc
    >>> from graddesc import report
    >>> image, mask = np.add.outer(np.arange(9.0), np.arange(9.0)), np.eye(9, dtype=bool)
    >>> restored, info = graddesc.restore(image, mask, full_output=True)
    >>> page = report.page(image, restored, mask, info=info, seconds=0.1, command="graddesc restore", title="a ramp")
    >>> page[:15]
    b'<!doctype html>'
    """
    flags: NDArray[np.bool_] = np.logical_or.reduce(mask, axis=-1) if mask.ndim == 3 else mask
    low, high = shown_range(before, flags)
    pictures = {"before": eight_bits(before, low, high), "after": eight_bits(restored, low, high)}
    corrupt, total = int(np.count_nonzero(flags)), flags.size
    white, larger = _visible(flags) if 0 < corrupt < _FEW * total else (flags, False)
    maps = {"What was corrupt, in white" + ", larger than it is" * larger: np.where(white, np.uint8(255), np.uint8(0))}
    if confidence is not None:
        trust = confidence.mean(axis=-1) if confidence.ndim == 3 else confidence
        maps["How far each pixel can be trusted: white is known, black a guess"] = eight_bits(trust, 0.0, 1.0)
    rows, cols = flags.shape
    sources = {name: _source(picture) for name, picture in (pictures | maps).items()}
    shown = f" It is shown reduced to {_MAX_SIDE} pixels a side." if max(rows, cols) > _MAX_SIDE else ""
    if any(source.startswith(_LOSSY) for source in sources.values()):
        shown += " Large pictures are lossy WebP on this page, and differ a little from the files."
    facts = {
        "Size": f"{cols} × {rows}{' × 3' if before.ndim == 3 else ''}, {before.dtype}",
        "Corrupt": f"{corrupt} of {total} pixels ({percent(corrupt, total)})",
        "Iterations": f"{info.nit}, {seconds:.3g} s{' with the confidence' * (confidence is not None)}",
        "Loss": (f"{loss}, " if loss else "") + f"{info.fun:.6g}",
        "Status": f"{info.status}: {info.message}",
        "Made by": f"graddesc {graddesc.__version__}",
    }
    figures = "".join(
        f'<figure><img src="{sources[name]}" alt=""><figcaption>{html.escape(name)}</figcaption></figure>'
        for name in maps
    )
    listed = "".join(f"<dt>{name}</dt><dd>{html.escape(value)}</dd>" for name, value in facts.items())
    values = {
        "TITLE": html.escape(title),
        "BEFORE": sources["before"],
        "AFTER": sources["after"],
        "ROWS": str(rows),
        "COLS": str(cols),
        "SHOWN": shown,
        "PIXELS": "pixelated" if max(rows, cols) < _MAP_SIDE else "auto",
        "FACTS": listed,
        "FIGURES": figures,
        "PLOT": _plot(np.asarray(info.history, np.float64)),
        "COMMAND": html.escape(command),
    }
    # In one pass, as what is put in may look like a place for something else.
    return re.sub("@([A-Z]+)@", lambda place: values[place[1]], _PAGE).encode("utf-8", "replace")


def _visible(flags: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], bool]:
    """Few pixels as a map in which each of them is seen, and whether they are larger there than they are."""
    times = -(-max(flags.shape) // _MAP_SIDE)
    rows, cols = (-(-side // times) for side in flags.shape)
    padded = np.pad(flags, [(0, times * rows - flags.shape[0]), (0, times * cols - flags.shape[1])])
    reduced: NDArray[np.bool_] = np.logical_or.reduce(padded.reshape(rows, times, cols, times), axis=(1, 3))
    if max(rows, cols) <= _MAP_SIDE // 4:
        return reduced, times > 1
    around = np.pad(reduced, 1)
    tall = around[:-2] | around[1:-1] | around[2:]
    return tall[:, :-2] | tall[:, 1:-1] | tall[:, 2:], True


def _source(picture: NDArray[np.uint8]) -> str:
    """A picture as the source of an element."""
    from PIL import Image

    image = Image.fromarray(picture)
    image.thumbnail((_MAX_SIDE, _MAX_SIDE))
    kind = "PNG" if image.width * image.height <= _EXACT else "WEBP"
    buffer = io.BytesIO()
    image.save(buffer, kind, **({} if kind == "PNG" else {"quality": 92}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _plot(history: NDArray[np.float64]) -> str:
    """The loss by iteration, as a drawing; nothing where there is none."""
    finite = np.flatnonzero(np.isfinite(history))
    if len(finite) < 2:
        return "<p>There was no iteration to plot.</p>"
    losses = history[finite]
    logarithmic = losses.min() > 0 and losses.max() > 20 * losses.min()
    heights = np.log(losses) if logarithmic else losses
    low, high = float(heights.min()), float(heights.max())
    span = high - low or 1.0
    some = np.unique(np.rint(np.linspace(0, len(finite) - 1, min(len(finite), _MOST_POINTS))).astype(int))
    left, right, top, bottom = 84, _WIDTH - 12, 12, _HEIGHT - 34
    across = left + (right - left) * finite[some] / max(len(history) - 1, 1)
    down = bottom - (bottom - top) * (heights[some] - low) / span
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, down, strict=True))
    labels = []
    for height in np.linspace(low, high, 4):
        value = math.exp(height) if logarithmic else height
        y = bottom - (bottom - top) * (height - low) / span
        labels.append(f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        labels.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.4g}</text>')
    labels.append(f'<text x="{left}" y="{_HEIGHT - 10}">1</text>')
    labels.append(f'<text x="{right}" y="{_HEIGHT - 10}" text-anchor="end">iteration {len(history)}</text>')
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="The loss by iteration">'
        f'{"".join(labels)}<polyline points="{points}" class="loss"/></svg>'
    )


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>@TITLE@ restored</title>
<style>
:root { color-scheme: light dark; --ground: #fbfaf7; --ink: #23221f; --soft: #6d6a63; --line: #dcd8cf;
  --accent: #b3541e; --card: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --ground: #191816; --ink: #ece9e2; --soft: #a19d94; --line: #3a3833;
  --accent: #f0955c; --card: #22211e; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 24px 16px 48px; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 36px 0 10px; }
p, figcaption { color: var(--soft); margin: 0 0 12px; }
.compare { position: relative; width: min(100%, calc(78vh * @COLS@ / @ROWS@), max(480px, @COLS@px));
  touch-action: pan-y; cursor: ew-resize; background: var(--line); border-radius: 6px; overflow: hidden;
  --at: 50%; }
.compare img { display: block; width: 100%; height: auto; image-rendering: @PIXELS@; user-select: none; }
.compare img + img { position: absolute; inset: 0; height: 100%; clip-path: inset(0 0 0 var(--at)); }
.compare::after { content: ""; position: absolute; top: 0; bottom: 0; left: var(--at); width: 2px; margin-left: -1px;
  background: var(--accent); }
.tag { position: absolute; bottom: 10px; padding: 1px 9px; border-radius: 99px; background: #000b; color: #fff;
  font-size: .8rem; pointer-events: none; }
.tag.left { left: 10px; } .tag.right { right: 10px; }
.compare { container-type: inline-size; } @container (max-width: 170px) { .tag { display: none; } }
input[type=range] { display: block;
  width: max(min(100%, 320px), min(100%, calc(78vh * @COLS@ / @ROWS@), max(480px, @COLS@px)));
  margin: 12px 0; accent-color: var(--accent); min-height: 28px; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 3px; border-radius: 4px; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 4px 18px; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.maps { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(300px, 100%), 1fr)); gap: 18px; }
figure { margin: 0; } figure img { display: block; width: 100%; height: auto; image-rendering: @PIXELS@;
  border-radius: 6px; border: 1px solid var(--line); }
figcaption { margin-top: 6px; font-size: .9rem; }
svg { width: 100%; max-width: 760px; height: auto; } svg text { fill: var(--soft); font-size: 12px; }
.grid { stroke: var(--line); } .loss { fill: none; stroke: var(--accent); stroke-width: 2.5; stroke-linejoin: round; }
.command { display: flex; gap: 10px; align-items: start; flex-wrap: wrap; }
code { flex: 1 1 260px; min-width: 0; padding: 10px 12px; background: var(--card); border: 1px solid var(--line);
  border-radius: 6px; overflow-wrap: anywhere; font: .9rem/1.5 ui-monospace, monospace; }
button { font: inherit; padding: 9px 16px; border-radius: 6px; border: 1px solid var(--line); background: var(--card);
  color: var(--ink); cursor: pointer; }
</style>
</head>
<body>
<main>
<h1>@TITLE@</h1>
<p>Left of the line the image before, right of it restored.@SHOWN@</p>
<div class="compare" id="compare">
<img src="@BEFORE@" alt="The image before"><img src="@AFTER@" alt="The restored image">
<span class="tag left">before</span><span class="tag right">restored</span>
</div>
<input type="range" id="slider" min="0" max="100" value="50" aria-label="How much of the image before is shown">
<h2>What was done</h2>
<dl>@FACTS@</dl>
<h2>Where</h2>
<div class="maps">@FIGURES@</div>
<h2>The loss by iteration</h2>
@PLOT@
<h2>Do it again</h2>
<div class="command"><code id="command">@COMMAND@</code><button type="button" id="copy">Copy</button></div>
</main>
<script>
const compare = document.getElementById("compare"), slider = document.getElementById("slider");
function show() {
  compare.style.setProperty("--at", slider.value + "%");
  slider.setAttribute("aria-valuetext", slider.value + " % before");
}
function follow(event) {
  const box = compare.getBoundingClientRect();
  slider.value = Math.round(100 * (event.clientX - box.left) / box.width);
  show();
}
slider.addEventListener("input", show);
compare.addEventListener("pointerdown", event => {
  event.preventDefault();
  slider.focus();
  compare.setPointerCapture(event.pointerId);
  follow(event);
});
compare.addEventListener("pointermove", event => { if (event.buttons) follow(event); });
const wanted = /slider=(\\d+)/.exec(location.hash);
if (wanted) slider.value = wanted[1];
show();
const copy = document.getElementById("copy");
copy.addEventListener("click", async () => {
  const code = document.getElementById("command");
  try {
    await navigator.clipboard.writeText(code.textContent);
    copy.textContent = "Copied";
  } catch (error) {
    getSelection().selectAllChildren(code);
    copy.textContent = "Selected";
  }
  setTimeout(() => { copy.textContent = "Copy"; }, 1500);
});
</script>
</body>
</html>
"""
