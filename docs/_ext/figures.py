"""Examples show the figures that they name, pyplot's or not: the functions of graddesc.plots leave pyplot alone."""

from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst, matplotlib_scraper


def _scrape(block, block_vars, gallery_conf):
    """Write the figures of a block that pyplot does not know and that were not shown yet; return their reST."""
    known = {id(plt.figure(number)) for number in plt.get_fignums()}
    paths = []
    for value in list(block_vars["example_globals"].values()):
        if (
            isinstance(value, Figure)
            and id(value) not in known
            and not getattr(value, "_was_shown", False)
        ):
            value._was_shown = True
            path = next(block_vars["image_path_iterator"])
            value.savefig(path, dpi=110, facecolor="white")
            paths.append(path)
    shown = figure_rst(paths, gallery_conf["src_dir"]) if paths else ""
    for number in plt.get_fignums():
        plt.figure(
            number
        )._was_shown = True  # by the scraper that follows, which closes it
    return shown + matplotlib_scraper(block, block_vars, gallery_conf)


def _get_sg_image_scraper():
    return _scrape


def setup(app):
    """Nothing: sphinx-gallery finds the scraper by this module's name."""
    return {"parallel_read_safe": True, "parallel_write_safe": True}
