"""Templates to text, and text to a file, whole or not at all."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from realmat.errors import FileError
from realmat.report.bayes import themed


def render(template: str, context: Mapping[str, Any]) -> str:
    """Fill a template; markup in the data is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    autoescape = template.endswith(".html.j2")
    environment = Environment(
        loader=PackageLoader("realmat.report"), autoescape=autoescape, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["themed"] = themed
    environment.filters["breakable"] = breakable
    own = files("realmat.report") / "templates"
    shared = {
        "style": (own / "page.css").read_text(encoding="utf-8"),
        "script": (own / "page.js").read_text(encoding="utf-8"),
        "version": version("realmat"),
        "date": datetime.date.today().strftime("%-d %B %Y"),
    }
    return environment.get_template(template).render({**shared, **context})


def breakable(text: str) -> str:
    """Text whose long words, such as hashes, may break on a narrow page."""
    if len(text) <= 32:
        return text
    words = [[word[i : i + 16] for i in range(0, len(word), 16)] if len(word) > 32 else [word] for word in text.split(" ")]
    return Markup(" ").join(Markup("<wbr>").join(parts) for parts in words)


def write_text(target: Path, text: str) -> Path:
    """Write a text file whole or not at all.

    Raises
    ------
    realmat.FileError
        If it cannot be written.
    """
    part = target.with_name(f".{target.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise FileError(f"cannot write {target}: {error.strerror or error}.") from error
    return target
