"""How the documentation is built: `make docs`."""

import os
import shutil
from importlib.metadata import version as installed
from pathlib import Path

from docutils.nodes import SkipNode
from latex2mathml.converter import convert

project = "realmat"
author = "The realmat developers"
copyright = "the realmat developers"
version = release = installed("realmat")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "numpydoc",
]
exclude_patterns = ["_build", "jupyter_execute", "**.ipynb_checkpoints"]
nitpicky = False

# The tutorials live in notebooks/, where a reader of the repository looks for them; Sphinx reads only what lies in its own folder.
here = Path(__file__).parent
tutorials = here / "tutorials"
tutorials.mkdir(exist_ok=True)
sources = {path.name: path for path in (here.parent / "notebooks").glob("*.md") if path.name != "README.md"}
for stale in tutorials.glob("*.md"):
    if stale.name not in sources:
        stale.unlink()
for name, source in sources.items():
    copied = tutorials / name
    if not copied.exists() or copied.read_bytes() != source.read_bytes():
        shutil.copyfile(source, copied)

# Pages with code cells are executed, each in a kernel of its own; a cell that fails, fails the build.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_execution_show_tb = True
nb_merge_streams = True
nb_number_source_lines = False
os.environ.setdefault("OMP_NUM_THREADS", "1")

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3
myst_dmath_double_inline = True

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # numpydoc states the types
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
default_role = "literal"  # docstrings quote names in single backticks

html_theme = "furo"
html_math_renderer = "mathml"
html_title = "realmat"
html_static_path = ["_static"]
html_css_files = ["realmat.css"]
html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0072B2", "color-brand-content": "#0072B2"},
    "dark_css_variables": {"color-brand-primary": "#56B4E9", "color-brand-content": "#56B4E9"},
}


def visit_math(self, node):
    self.body.append(convert(node.astext()))
    raise SkipNode


def visit_math_block(self, node):
    self.body.append(convert(node.astext(), display="block"))
    raise SkipNode


def setup(app):
    """Formulas become MathML here, so that pages need no network: MathJax would be fetched by every reader."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
