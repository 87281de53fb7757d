"""A fitted model, and the door to everything one asks of it.

`Fit` is put together from families of short methods, one file each: `attribution` (what the draws say), `validation` (whether to believe
it), `figures`; `files` writes and reads them, `fitted` holds what all of them start from. Uses everything below; the work is done there.
"""

from realmat.fit.result import Fit, fit, load
from realmat.model import Model

__all__ = ["Fit", "Model", "fit", "load"]
