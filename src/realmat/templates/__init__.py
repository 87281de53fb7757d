"""The gallery: models of real data to start from, and a user's own.

A template is a folder with ``template.py``, which uses only the public names of realmat, and ``README.md``, its model card. Templates are
found by name in the gallery (``models/`` of a checkout, else the copy inside the package), by path (a folder or a file), and by the
entry-point group ``realmat.templates`` of installed packages, whose entries name a module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from realmat.support.places import gallery
from realmat.templates.finding import find, found
from realmat.templates.template import Column, Template

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Column", "Template", "get", "list"]

# A saved model names the functions and components that its template defines by `realmat.templates.<name>.template`.
__path__.append(str(gallery()))


def list() -> pd.DataFrame:
    """Show the templates that are found by name; none of them is executed for it.

    Returns
    -------
    DataFrame
        One row a template: ``name``, ``summary`` (one line), ``source`` ("gallery", or the package that brings it).

    Examples
    --------
    >>> import realmat as rm
    >>> "formation_enthalpy" in set(rm.templates.list()["name"])
    True
    """
    import pandas as pd

    rows = [(template.name, template.summary, template.source) for template in found()]
    return pd.DataFrame(rows, columns=["name", "summary", "source"])


def get(name: str) -> Template:
    """Find a template.

    Parameters
    ----------
    name : str or path
        A name of `list`, a folder that holds ``template.py``, or a Python file.

    Returns
    -------
    Template

    Raises
    ------
    realmat.ModelError
        If there is none, with the likely intended name.

    Examples
    --------
    >>> import realmat as rm
    >>> rm.templates.get("formation_enthalpy").variants
    ('theory', 'ideal', 'real')
    """
    return find(name)
