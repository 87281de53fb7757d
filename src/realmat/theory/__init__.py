"""Theory layer: the ideal material."""

from realmat.theory.calibrated import Calibrated
from realmat.theory.constant import Constant

__all__ = ["Calibrated", "Constant"]
