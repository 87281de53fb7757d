"""The linear algebra of a problem once its hyperparameters psi are fixed: log p(y | psi), and the coefficients b given psi and y.

Psi by psi (`system`, `conditional`), for batches of psi (`batch` and what it rests on), and dense, the slow oracle of the tests.
Uses `terms`; knows no component.
"""

from pathlib import Path

from realmat.support.notice import notice

_compiled = any(Path(__file__).with_name("__pycache__").glob("*.nbi"))  # then a wait is for a slow disk, or for a newer numba
with notice("realmat compiles its loops, once after installation: some 15 seconds.", after=12.0 if _compiled else 3.0):
    from realmat.algebra.conditional import Conditional
    from realmat.algebra.system import System

__all__ = ["Conditional", "System"]
