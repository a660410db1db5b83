"""Every loss on masks that are not random pixels: text, scratches, blocks, a corner, one pixel, thin images."""

import numpy as np
import pytest
from cases import each
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image, ImageDraw, ImageFont

import graddesc

LOSSES = ["line", "harmonic", "biharmonic", "tv", "hessian-tv", "edge", "texture"]
SHAPE = 96, 110


def scene():
    i, j = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return 0.45 + 0.2 * np.sin(i / 17) * np.cos(j / 23) + 0.2 * (2 * j - i > 60)


def drawn(draw):
    picture = Image.new("L", SHAPE[::-1])
    draw(ImageDraw.Draw(picture))
    return np.asarray(picture) > 127


def text(canvas):
    for top in range(2, SHAPE[0], 20):
        canvas.text((3, top), "five dozen jugs", fill=255, font=ImageFont.load_default(size=14))


def scratches(canvas):
    for k in range(6):
        canvas.line([(5 + 17 * k, 0), (20 + 13 * k, SHAPE[0])], fill=255, width=2)


def blocks(canvas):
    for k in range(5):
        canvas.rectangle([8 + 20 * k, 10 + 15 * k, 21 + 20 * k, 23 + 15 * k], fill=255)


@each("loss", LOSSES)
@each("draw", [text, scratches, blocks])
@pytest.mark.once
def test_what_is_written_over_an_image_is_taken_off(loss, draw):
    truth, mask = scene(), drawn(draw)
    written = np.where(mask, 1.0, truth)
    restored = graddesc.restore(written, mask, loss=loss)
    nearest = graddesc.restore(written, mask, loss=loss, init="nearest", max_iter=0)
    assert_array_equal(restored[~mask], truth[~mask])

    def error(x):
        return np.sqrt(np.mean((x - truth)[mask] ** 2))

    # First-order losses leave steps where an edge is covered; they must not be worse than the nearest known pixel.
    assert error(restored) < (0.75 if loss in ("edge", "texture") else 1.0) * error(nearest)


@pytest.mark.parametrize("loss", LOSSES)
def test_what_a_corner_tells_is_continued_within_the_range(loss):
    truth = scene()
    mask = np.ones(SHAPE, bool)
    mask[:20, :20] = False
    restored = graddesc.restore(truth, mask, loss=loss, bounds=(0.1, 0.9))
    assert_array_equal(restored[~mask], truth[~mask])
    assert restored.min() >= 0.1
    assert restored.max() <= 0.9
    # Next to what is known it goes on as it was.
    assert_allclose(restored[:20, 20], truth[:20, 19], atol=0.05)


@each("loss", LOSSES)
@each("shape", [(1, 60), (60, 1), (2, 40), (40, 3)])
def test_thin_images_are_interpolated(loss, shape):
    # A ramp along the image, of which the first of each nine across its length is known.
    ramp = np.linspace(0.2, 0.8, max(shape))
    truth = np.array(np.broadcast_to(ramp if shape[1] == ramp.size else ramp[:, np.newaxis], shape))
    mask = ~np.isin(truth, np.append(ramp[::9], ramp[-1]))
    restored = graddesc.restore(np.where(mask, 0.0, truth), mask, loss=loss, tol=1e-4)
    assert_array_equal(restored[~mask], truth[~mask])
    assert np.abs(restored - truth).max() < 0.12
    if loss in ("harmonic", "biharmonic"):
        assert_allclose(restored, truth, atol=0.01)


@each("loss", LOSSES)
@each("place", [(0, 0), (48, 55), (95, 109)])
def test_one_known_pixel_is_all_there_is(loss, place):
    mask = np.ones(SHAPE, bool)
    mask[place] = False
    restored = graddesc.restore(np.where(mask, 0.0, 0.375), mask, loss=loss)
    assert_allclose(restored, 0.375, atol=1e-6)
