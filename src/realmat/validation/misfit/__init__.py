"""What in the data contradicts the model: tests on pivots, with one error rate for all of them together.

At a draw from the posterior, the standardised residual of every row, and the standardised effect of every specimen, material and
laboratory, are independent standard normal numbers if the model is right, whatever the parameters are (Johnson, Bayesian Anal. 2, 719,
2007; for hierarchical models Yuan & Johnson, Biometrics 68, 156, 2012). Statistics of these pivots therefore have known null
distributions, which are simulated together, so that the largest of all statistics has a known one too (Westfall & Young, Resampling-Based
Multiple Testing, 1993): a finding is a statistic that the largest of all would exceed in fewer than 2 % of tables made by the model.
Its probability is averaged over draws.
"""

from realmat.validation.misfit.findings import Finding, find
from realmat.validation.misfit.words import table_of

__all__ = ["Finding", "find", "table_of"]
