"""Formulas as MathML, which browsers show by themselves: no script, no font, no network."""

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

logger = logging.getLogger(__name__)


def _converted(node, as_block):
    try:
        return tex2mathml(node.astext(), as_block=as_block)
    except MathError as error:
        logger.warning(
            "%s in the formula %s", error, node.astext(), location=node
        )
        return ""


def _inline(translator, node):
    translator.body.append(_converted(node, as_block=False))
    raise nodes.SkipNode


def _block(translator, node):
    translator.body.append(
        f'<div class="formula">{_converted(node, as_block=True)}</div>'
    )
    raise nodes.SkipNode


def setup(app):
    """Add the renderer, which conf.py chooses."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
