"""The observation layer: the laboratory, its noise and its biases.

Uses `terms`, `table` and `support`.
"""

from realmat.observation.normal import Normal
from realmat.observation.student_t import StudentT

__all__ = ["Normal", "StudentT"]
