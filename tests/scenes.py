"""Images and masks for which restore() must keep what it promises; the bench of masks takes them too."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import graddesc


def photograph(side):
    """A picture with edges and grain, grey, float64 in 0 to 255."""
    return graddesc.samples.ginkgo(side).mean(axis=-1)


def fields(side):
    """Names and images of side x side pixels, float64, in about 0 to 255."""
    i, j = np.mgrid[:side, :side] / 256
    return {
        "photograph": photograph(side),
        "smooth field": 128 + 60 * np.sin(8 * j + 1) * np.cos(6 * i) + 50 * i,
        "ramp": 20 + 150 * j + 60 * i,
        "noise": np.random.default_rng(5).normal(128, 30, (side, side)),
    }


def disc(side, width, centre=None):
    """A round hole so many pixels wide, in the middle unless told otherwise."""
    row, col = centre or ((side - (width % 2 == side % 2)) / 2,) * 2
    i, j = np.mgrid[:side, :side]
    return np.hypot(i - row, j - col) < max(width / 2, 0.5)


def at_random(side, missing):
    return np.random.default_rng(11).random((side, side)) < missing


def grid(side, spacing):
    """All but every so many pixels along both axes."""
    mask = np.ones((side, side), bool)
    mask[spacing // 2 :: spacing, spacing // 2 :: spacing] = False
    return mask


def all_but(side, *known):
    mask = np.ones((side, side), bool)
    for part in known:
        mask[part] = False
    return mask


def lone_pixels(side):
    """Single pixels in corners, at the borders and beside them, two apart and touching at a corner."""
    mask, last, middle = np.zeros((side, side), bool), side - 1, side // 2
    rows = [0, last, 0, middle, 1, last - 1, 20, 20, 30, 31, 40, 42, last, middle, 1]
    cols = [0, last, middle, last, 1, 9, 20, 22, 30, 31, 40, 41, 0, 1, last - 1]
    mask[rows, cols] = True
    return mask


def text(side, size=20, leading=1.2):
    """Lines of text across the whole image."""
    picture = Image.new("L", (side, side))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=size)
    words = "pack my box with five dozen jugs " * (1 + side // 256)
    for top in range(4, side, int(leading * size)):
        draw.text((4 + top % 9, top), words, fill=255, font=font)
    return np.asarray(picture) > 127


def hard_masks(side, widths):
    """Names and masks: holes of these widths, samples, little that is known, extrapolation, single pixels."""
    middle = side // 2
    return {
        **{f"hole of {width}": disc(side, width) for width in widths},
        "grid, every 8th": grid(side, 8),
        "grid, every 16th": grid(side, 16),
        "half": all_but(side, np.s_[:, :middle]),
        "90 % at random": at_random(side, 0.9),
        "99 % at random": at_random(side, 0.99),
        "single pixels": lone_pixels(side),
        "text": text(side),
        "all but a corner": all_but(side, np.s_[: side // 5, : side // 5]),
        "all but a row": all_but(side, np.s_[side // 3]),
        "all but a row and a column": all_but(side, np.s_[side // 3], np.s_[:, side // 2]),
    }
