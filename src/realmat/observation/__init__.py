"""Observation layer: the laboratory."""

from realmat.observation.normal import Normal
from realmat.observation.student_t import StudentT

__all__ = ["Normal", "StudentT"]
