"""Exact algebra of a problem once its hyperparameters are fixed."""

from realmat.gaussian.system import Conditional, System

__all__ = ["Conditional", "System"]
