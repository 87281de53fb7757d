"""What ranks of a calibration say."""

from __future__ import annotations

import numpy as np
import pandas as pd

from realmat.testing.sbc import SBC


def test_a_quantity_that_only_some_replicates_have_counts_where_it_is() -> None:
    """Such as log p(y | psi), which has a closed form only where no simulated reading is beyond a limit."""
    u = (np.arange(200) + 0.5) / 200
    some = np.where(np.arange(200) % 4 == 0, u, np.nan)
    few = np.where(np.arange(200) < 5, u, np.nan)
    found = SBC(pd.DataFrame({"scale": u, "some": some, "few": few}), "y").table
    np.testing.assert_allclose(found.loc[["scale", "some"], ["coverage_50", "coverage_80"]], [[0.5, 0.8]] * 2, atol=0.021)
    assert found.loc[["scale", "some"], "p"].min() > 0.3
    assert np.isnan(found.loc["few", "p"])
