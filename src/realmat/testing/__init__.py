"""Proofs for what users write: checks of components and templates, simulated tables, simulation-based calibration.

Uses everything but the command line.
"""

from realmat.testing.checks import Check, Checks
from realmat.testing.components import check_component
from realmat.testing.sbc import SBC, sbc
from realmat.testing.simulate import Simulated, simulate
from realmat.testing.template_check import check_template

__all__ = ["SBC", "Check", "Checks", "Simulated", "check_component", "check_template", "sbc", "simulate"]
