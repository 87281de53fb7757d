"""Columns that say too little or numbers that are too large: refused, or answered in finite numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import realmat as rm


@pytest.mark.parametrize("link", ["identity", "log"])
def test_limits_alone_are_refused(link: str) -> None:
    df = pd.DataFrame({"y": ["<5"] * 12, "lab": list("abc") * 4})
    model = rm.Model("y", link=link, levels={"lab": "lab"}, observation=rm.observation.Normal(scale_by="lab"))
    with pytest.raises(rm.DataError, match="every value is only a limit"):
        model.fit(df, progress=False)


def test_numbers_that_no_exponential_holds_are_predicted_on_an_identity_scale() -> None:
    """Responses of 1e13: the moments of a log link are not computed on the way."""
    rng = np.random.default_rng(1)
    y = 1.5e13 * (1 + 0.1 * rng.standard_normal(12))
    out = rm.Model("y", theory=rm.theory.Constant()).fit(pd.DataFrame({"y": y}), draws=100, seed=1, progress=False).predict()
    assert np.isfinite(out["mean"]).all()
    assert float(out["mean"][0]) == pytest.approx(y.mean(), rel=0.02)
