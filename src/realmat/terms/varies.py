"""Parameters that differ from piece to piece: one value for each value of a level, drawn from a distribution with priors of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from realmat.errors import ModelError
from realmat.terms.priors import Prior, as_prior


class Varies:
    """A parameter of a closed-form theory that is another one for each piece.

    Parameters
    ----------
    dist : str
        The distribution over pieces, by PyMC's name: Normal, LogNormal, Gamma, Beta ...
    by : str
        Level or column whose values have a value of the parameter each.
    **priors : Prior or float
        Priors of the distribution's own parameters; a number fixes one.

    Raises
    ------
    realmat.ModelError
        For an unknown distribution or parameter, or something that is no prior.

    Notes
    -----
    A nonlinear mixed-effects model (Lindstrom & Bates, Biometrics 46, 673, 1990; Davidian & Giltinan, Nonlinear Models for Repeated
    Measurement Data, 1995). Variables: `<theory>_<parameter>` along the level, `<theory>_<parameter>_mu` and so on. A piece that the fit
    has not seen draws a new value.

    Examples
    --------
    >>> Varies("LogNormal", by="specimen", mu=Prior("Normal", mu=1, sigma=1), sigma=Prior("HalfNormal", sigma=0.5)).dist
    'LogNormal'
    """

    def __init__(self, dist: str, by: str, **priors: Prior | float) -> None:
        if not isinstance(by, str) or by == "row":
            raise ModelError(f"Varies: by={by!r} must be the name of a level or a column.")
        self.dist, self.by = dist, by
        found = {key: as_prior(value, f"Varies: {key}") for key, value in priors.items()}
        shape = Prior(dist, **{key: key if isinstance(value, Prior) else float(value or 0.0) for key, value in found.items()})
        if shape.truncation != (None, None):
            raise ModelError("Varies: a distribution over pieces is not cut; choose one with the right support, such as LogNormal.")
        self.priors: dict[str, Prior | float] = {key: value for key, value in found.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready description that `from_dict` reads back to an equal one."""
        return {"dist": self.dist, "by": self.by, "priors": {k: v.to_dict() if isinstance(v, Prior) else v for k, v in self.priors.items()}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Varies:
        """Inverse of `to_dict`."""
        priors = {k: Prior.from_dict(v) if isinstance(v, Mapping) else v for k, v in data["priors"].items()}
        return cls(data["dist"], data["by"], **priors)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Varies) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.dist, self.by, tuple(self.priors)))

    def __repr__(self) -> str:
        return f'Varies("{self.dist}", by={self.by!r}' + "".join(f", {k}={v!r}" for k, v in self.priors.items()) + ")"

    def median(self) -> float:
        """The median at the medians of its priors."""
        at = {key: prior.median() if isinstance(prior, Prior) else prior for key, prior in self.priors.items()}
        return Prior(self.dist, **at).median()
