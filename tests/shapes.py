"""Shapes of images for which kernels are compared with their slow twins."""

SHAPES = [(1, 1), (1, 2), (2, 1), (2, 2), (1, 7), (7, 1), (3, 3), (4, 5), (5, 4), (2, 33), (33, 2), (19, 64), (70, 17)]
# Around the widths at which an image is cut into one strip more, and the height of a block of sums.
WIDE_SHAPES = [(3, 767), (3, 768), (4, 769), (2, 1279), (2, 1280), (130, 1300), (65, 2100)]
