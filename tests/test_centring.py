"""What the choice of centred coefficients rests on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import realmat as rm
from realmat.engines import centring, pymc_route
from realmat.terms.term import Coefficients


@dataclass(frozen=True)
class Replaced:
    """The rows of a problem with other priors."""

    problem: Any
    coefficients: Any

    @property
    def rows(self) -> Any:
        return self.problem.rows


@pytest.mark.parametrize("shape", ["one entry a row", "few", "dense", "empty rows"])
def test_product_is_the_matrix_product(shape: str) -> None:
    import pytensor.tensor as pt

    rng = np.random.default_rng(0)
    dense = rng.normal(size=(50, 40)) * (
        rng.random((50, 40)) < {"one entry a row": 0, "few": 0.03, "dense": 0.9, "empty rows": 0.01}[shape]
    )
    if shape == "one entry a row":
        dense[np.arange(50), rng.integers(0, 40, 50)] = 1.0
    b = rng.normal(size=40)
    np.testing.assert_allclose(
        pymc_route.product(sparse.csr_matrix(dense), pt.as_tensor(b)).eval(mode="FAST_COMPILE"), dense @ b, atol=1e-12
    )


def test_information_of_a_balanced_design() -> None:
    """Specimens measured n times: tau^2 n / sigma^2 each; for the mean of S of them, sigma_0^2 S / (tau^2 + sigma^2 / n)."""
    n, specimens, sigma, tau = 6, 5, 0.5, 2.0
    df = pd.DataFrame({"s": np.repeat([f"s{i}" for i in range(specimens)], n), "y": np.arange(n * specimens) % 7.0})
    noise = rm.observation.Normal(u=sigma, scale=False)
    problem = rm.Model("y", material=rm.material.Unresolved("s", scale=tau), observation=noise).bind(df)
    found = centring.information(problem, {})
    np.testing.assert_allclose(found["unresolved_s"], tau**2 * n / sigma**2)
    top = Coefficients("top", 1, lambda p, xp: 3.0)
    below = Coefficients("unresolved_s", specimens, lambda p, xp: tau, parents=(("top", sparse.csr_matrix(np.ones((specimens, 1)))),))
    nested = centring.information(Replaced(problem, (top, below)), {})  # type: ignore[arg-type]
    np.testing.assert_allclose(nested["top"], 9 * specimens / (tau**2 + sigma**2 / n))
