"""Exact algebra of a problem once its hyperparameters are fixed."""

from realmat.gaussian.conditional import Conditional
from realmat.gaussian.system import System

__all__ = ["Conditional", "System"]
