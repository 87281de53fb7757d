"""How the documentation is built: `make docs`."""

import os
import re
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
exclude_patterns = ["_build", "gallery/cards.txt", "jupyter_execute", "**.ipynb_checkpoints"]
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

# The gallery: a page for each template, put together from its model card and its picture (`make pictures`), and the cards that lead there.
FIRST = ("Question", "Data and licence")  # then the picture and the code, then the figures, then the rest of the card
FIGURES = "How well it predicts"


def card_sections(text):
    """Give the sections of a model card: heading to text."""
    parts = text.split("\n## ")
    return {heading: body.strip() for heading, _, body in (part.partition("\n") for part in parts[1:])}


def picture(name):
    """Give the place of a picture."""
    return here / "_static" / "pictures" / f"{name}.png"


def gallery_page(name, summary, sections):
    """Give the page of a template."""
    said = [f"# {summary.rstrip('.')}", *(f"## {heading}\n\n{sections[heading]}" for heading in FIRST)]
    what = "One piece from theory to measured, and the budget of a new measurement"
    drawn = f"![{what}](../_static/pictures/{name}.png)\n\n" if picture(name).exists() else ""
    said.append(f"## What comes out\n\n{drawn}")
    source = (here.parent / "models" / name / "template.py").read_text(encoding="utf-8")
    several = re.search(r'^PROPERTIES = {"(\w+)"', source, re.MULTILINE)  # of one material: a joint model, seen through the first of them
    variant, of = ("joint", f'.of("{several[1]}")') if several else ("real", "")
    said.append(
        "```python\nimport realmat as rm\n\n"
        f'template = rm.templates.get("{name}")\n'
        "data = template.data()  # or template.prepare(your_table)\n"
        f'fit = template.model("{variant}", table=data).fit(data, seed=1)\n'
        f"print(fit{of}.budget())\nfit{of}.gap().plot()\n```"
    )
    rest = [heading for heading in sections if heading not in (*FIRST, FIGURES)]
    said += [f"## {heading}\n\n{sections[heading]}" for heading in (FIGURES, *rest)]
    said.append(f"The whole template: `realmat new my_{name} --from {name}` copies it.")
    return "\n\n".join(said) + "\n"


def write_if_new(path, text):
    """Leave a page that has not changed as it is, so that Sphinx need not read it again."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


pages, cards = here / "gallery", []
pages.mkdir(exist_ok=True)
for card in sorted((here.parent / "models").glob("*/README.md")):
    text, name = card.read_text(encoding="utf-8"), card.parent.name
    summary = text.split("\n")[2]
    write_if_new(pages / f"{name}.md", gallery_page(name, summary, card_sections(text)))
    cards.append(
        f'<a class="card" href="gallery/{name}.html">'
        + (f'<img src="_static/pictures/{name}_card.png" alt="" loading="lazy">' if picture(f"{name}_card").exists() else "")
        + f"<strong>{name}</strong><span>{summary}</span></a>"
    )
write_if_new(pages / "cards.txt", '<div class="cards">\n' + "\n".join(cards) + "\n</div>\n")

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
