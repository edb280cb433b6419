"""Settings of the site that `make docs` builds: offline, and with every warning an error."""

from __future__ import annotations

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "site"))

import sphinx.ext.autosummary  # noqa: E402

import point2mask_ot  # noqa: E402

project = "point2mask-ot"
author = "The point2mask-ot authors"
version = release = point2mask_ot.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
    "commands",
    "mathml",
    "relink",
]
exclude_patterns = ["site", "gallery/*.zip", "gallery/*.py", "gallery/*.ipynb", "gallery/*.md5", "gallery/*.json"]

html_theme = "furo"
html_title = f"point2mask-ot {version}"
html_static_path = ["site/static"]
html_css_files = ["wide.css"]
html_show_sphinx = html_show_copyright = html_copy_source = False
pygments_dark_style = "monokai"

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
myst_update_mathjax = False

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstring of each argument says more: shape, dtype, unit
autodoc_preserve_defaults = True
sphinx.ext.autosummary.WELL_KNOWN_ABBREVIATIONS += ("Eq.",)  # a summary does not end there
autosummary_generate = False  # the pages in `api` are written by hand, a topic each
napoleon_numpy_docstring = False
napoleon_use_rtype = False

# Nothing is fetched, so that names of other packages lead nowhere.
# Array is np.ndarray or torch.Tensor; the others are of fields that nobody outside needs.
nitpick_ignore = [
    ("py:class", name)
    for name in (
        "Array",
        "point2mask_ot.nearest.costs.Listed",
        "point2mask_ot.files.io.Origin",
        "point2mask_ot.panoptic.paint.Paint",
    )
]
nitpick_ignore_regex = [("py:.*", r"(torch|numpy|np|collections|pathlib|typing|os)\..*")]

sphinx_gallery_conf = {
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "gallery",
    "filename_pattern": "/plot_",
    "ignore_pattern": r"common\.py",
    "within_subsection_order": "order.Order",
    "backreferences_dir": "gallery/backreferences",
    "doc_module": ("point2mask_ot",),
    "min_reported_time": 1,
    "show_signature": False,
    "write_computation_times": False,
    "abort_on_example_error": True,
}
