"""Proofs for what users write: components and templates."""

from realmat.testing.checks import Check, Checks
from realmat.testing.components import check_component
from realmat.testing.simulate import Simulated, simulate

__all__ = ["Check", "Checks", "Simulated", "check_component", "simulate"]
