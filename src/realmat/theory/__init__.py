"""The theory layer: the ideal material, one component a file.

Uses `terms`, `table` and `support`.
"""

from realmat.theory.calibrated import Calibrated
from realmat.theory.consensus import Consensus
from realmat.theory.constant import Constant
from realmat.theory.corrections import Corrections
from realmat.theory.function import Function

__all__ = ["Calibrated", "Consensus", "Constant", "Corrections", "Function"]
