"""The settings of Sphinx: `python -m sphinx -W --keep-going -b html docs docs/_build/html` builds the site."""

import pathlib
import sys
import warnings

import matplotlib as mpl

import graddesc

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))
mpl.use("Agg")

project = "graddesc"
author = "the graddesc developers"
copyright = f"2026, {author}"
version = release = graddesc.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.extlinks",
    "numpydoc",
    "myst_parser",
    "matplotlib.sphinxext.plot_directive",
    "sphinx_gallery.gen_gallery",
    "sphinx_copybutton",
    "mathml",  # _ext: formulas that need no script
    "command_help",  # _ext: the help of the command graddesc
    "heal",  # _ext: the sample and the wheel of the page that heals photographs
    "public_names",  # _ext: every public name has an entry in the reference
]

# Warnings are errors, those of the code that pages run among them.
nitpicky = True
warnings.filterwarnings("error", module="graddesc")

root_doc = "index"
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
exclude_patterns = [
    "_build",
    "gallery",
    "tutorials",
    "**/sg_execution_times.rst",
    "sg_execution_times.rst",
]
# What the root of the repository does not hold cannot be included.
for page, source in {
    "security": "SECURITY.md",
    "citation": "CITATION.cff",
}.items():
    if not (HERE.parent / source).exists():
        exclude_patterns.append(f"project/{page}.md")
templates_path = ["_templates"]
# What others document is not looked up, so that no network is needed.
nitpick_ignore_regex = [
    (".*", r"(scipy|numpy|matplotlib|skimage|xarray|pandas|PIL)\..*")
]
default_role = "autolink"
smartquotes_action = "q"  # options begin with two hyphens
add_module_names = False
extlinks = {"doi": ("https://doi.org/%s", "doi:%s")}

autosummary_generate = True
autosummary_imported_members = False
autodoc_typehints = "none"  # the docstrings say what is taken
numpydoc_show_class_members = False  # the templates list them
numpydoc_xref_param_type = False
html_math_renderer = "mathml"

myst_enable_extensions = [
    "dollarmath",
    "amsmath",
    "colon_fence",
    "deflist",
    "attrs_block",
    "attrs_inline",
]
myst_heading_anchors = 3

plot_html_show_formats = False
plot_html_show_source_link = False
plot_include_source = False
plot_formats = [("png", 110)]
plot_rcparams = {
    "figure.constrained_layout.use": True,
    "image.cmap": "gray",
    "savefig.facecolor": "white",
}
plot_apply_rcparams = True
plot_basedir = str(HERE)

sphinx_gallery_conf = {
    "examples_dirs": [str(HERE / "tutorials"), str(HERE / "gallery")],
    "gallery_dirs": ["auto_tutorials", "auto_gallery"],
    "filename_pattern": r".*\.py$",
    "ignore_pattern": r"__init__\.py",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": False,  # sphinx -W tells all of them
    "only_warn_on_example_error": False,
    "download_all_examples": False,
    "remove_config_comments": True,
    "reference_url": {"graddesc": None},
    "doc_module": ("graddesc",),
    "backreferences_dir": "generated/backreferences",
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 2,
    "image_scrapers": ("figures",),  # _ext
    "capture_repr": (),  # what is printed is shown
}

html_theme = "pydata_sphinx_theme"
html_title = "graddesc"
html_static_path = ["_static"]
html_favicon = "_static/favicon.svg"
html_context = {"default_mode": "auto"}  # dark or light as the reader's system is
html_css_files = ["graddesc.css"]
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {
    page: [] for page in ("index", "benchmarks", "contributing", "heal")
}  # one page each
html_theme_options = {
    "logo": {"text": "graddesc"},
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "show_prev_next": True,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "header_links_before_dropdown": 8,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
