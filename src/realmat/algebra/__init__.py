"""Exact algebra of a problem once its hyperparameters are fixed."""

from realmat.support.notice import notice

with notice("realmat compiles its loops, once after installation: some 15 seconds.", after=3.0):
    from realmat.algebra.conditional import Conditional
    from realmat.algebra.system import System

__all__ = ["Conditional", "System"]
