"""The material layer: what makes the real material differ from the ideal one, one component a file.

Uses `terms`, `table` and `support`.
"""

from realmat.material.discrepancy import Discrepancy
from realmat.material.effect import Effect
from realmat.material.grain_size import GrainSize
from realmat.material.impurities import Impurities
from realmat.material.impurity import Impurity
from realmat.material.phase_fraction import PhaseFraction
from realmat.material.porosity import Porosity
from realmat.material.process import Process
from realmat.material.solvation import Solvation
from realmat.material.solvent import Solvent
from realmat.material.unresolved import Unresolved

__all__ = [
    "Discrepancy",
    "Effect",
    "GrainSize",
    "Impurities",
    "Impurity",
    "PhaseFraction",
    "Porosity",
    "Process",
    "Solvation",
    "Solvent",
    "Unresolved",
]
