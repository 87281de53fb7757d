"""The observation layer: the laboratory, its noise and its biases.

Uses `terms`, `table` and `support`.
"""

from realmat.observation.beta import Beta
from realmat.observation.binomial import Binomial
from realmat.observation.common import Common
from realmat.observation.drift import Drift
from realmat.observation.gamma import Gamma
from realmat.observation.negative_binomial import NegativeBinomial
from realmat.observation.normal import Normal
from realmat.observation.poisson import Poisson
from realmat.observation.student_t import StudentT
from realmat.observation.weibull import Weibull

__all__ = ["Beta", "Binomial", "Common", "Drift", "Gamma", "NegativeBinomial", "Normal", "Poisson", "StudentT", "Weibull"]
