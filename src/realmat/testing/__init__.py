"""Proofs for what users write: checks of components and templates, and simulated tables.

Uses everything but the command line.
"""

from realmat.testing.checks import Check, Checks
from realmat.testing.components import check_component
from realmat.testing.simulate import Simulated, simulate
from realmat.testing.template_check import check_template

__all__ = ["Check", "Checks", "Simulated", "check_component", "check_template", "simulate"]
