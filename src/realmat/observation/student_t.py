"""Heavy-tailed measurement noise."""

from __future__ import annotations

from dataclasses import dataclass

from realmat.observation.normal import Normal
from realmat.terms.component import PriorLike


@dataclass(frozen=True)
class StudentT(Normal):
    """As `Normal`, with Student t noise: outliers widen the tails instead of moving the mean.

    Parameters
    ----------
    nu : Prior or float, optional
        Degrees of freedom, above 2; default Gamma(2, 0.1) above 2. The standard deviation of the noise is ``scale * sqrt(nu / (nu - 2))``.

    Notes
    -----
    Lange, Little & Taylor, J. Am. Stat. Assoc. 84, 881 (1989).
    """

    nu: PriorLike | bool = None

    def default_priors(self) -> dict[str, str]:
        """Defaults in words."""
        return {**super().default_priors(), "nu": "Gamma(2, 0.1) above 2"}

    @property
    def nu_argument(self) -> PriorLike | bool:
        """Degrees of freedom."""
        return True if self.nu is None or self.nu is False else self.nu
