"""Sphinx: how the pages that docs/site/stage.py lays out become the site. ``make docs`` runs both."""

import os
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")

project = "SICS"
copyright = "the authors of SICS"
release = version = "0.1.0"

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_design",
    "sphinx_click",
]
smartquotes = False  # options begin with two dashes
exclude_patterns = ["extra", "examples/*-run"]
html_extra_path = ["extra"]

# Markdown as GitHub reads it: anchors of headings, and no file is fetched.
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
nitpicky = False

# The notebook is executed; an error in it fails the build.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True

autodoc_typehints = "none"
autodoc_member_order = "bysource"
autosummary_generate = False
numpydoc_show_class_members = False
toc_object_entries_show_parents = "hide"
numpydoc_xref_param_type = False

pygments_style = "sphinx"
html_theme = "pydata_sphinx_theme"
html_title = "SICS"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "show_prev_next": True,
    "navigation_with_keys": False,
    "header_links_before_dropdown": 5,
    "show_toc_level": 2,
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": {"**": ["page-toc"], "index": [], "a-report": []},
}
html_sidebars = {"index": [], "a-report": []}

warnings.filterwarnings("ignore", category=FutureWarning)

# Bars of a formula in a docstring are bars, no substitution of reStructuredText.
rst_prolog = "\n".join(f".. |{inside}| replace:: \\|{inside}\\|" for inside in ("w", "w·g", "Σ w·g"))
