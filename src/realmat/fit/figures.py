"""The figures of a fit; each is a matplotlib Figure that shows itself in a notebook and takes `savefig`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from realmat.fit.attribution import Attribution
from realmat.fit.updating import Updating
from realmat.fit.validation import Validation
from realmat.support.threads import one_blas_thread

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from realmat.validation.loo import LeftOut


class Figures(Attribution, Validation, Updating):
    """Answers as pictures. `dark` suits a dark page."""

    def plot_budget(
        self,
        new: str = "observation",
        data: pd.DataFrame | None = None,
        k: float = 2.0,
        scale: str = "link",
        joined: Sequence[Sequence[str]] | None = None,
        draws: int | None = None,
        dark: bool = False,
        *,
        of: str | None = None,
    ) -> Figure:
        """Stacked bar of the budget; arguments are those of `budget`."""
        return self.budget(new, data, k, scale, joined, draws, of=of).plot(dark)

    def plot_gap(self, specimen: Any = None, dark: bool = False, *, of: str | None = None) -> Figure:
        """Waterfall from theory to the measured value of one specimen, by default that with the largest gap."""
        return self.gap(of=of).plot(specimen, dark)

    @one_blas_thread()
    def plot_parity(
        self, by: str | None = None, left_out: LeftOut | None = None, k: float = 2.0, dark: bool = False, *, of: str | None = None
    ) -> Figure:
        """Measured against predicted without its group, error bars by layer (see `realmat.plots.parity.plot_parity`)."""
        from realmat.plots.parity import plot_parity

        own = self._seen(of)
        return plot_parity(own.posterior, by, left_out, own.model.unit, k, dark)

    @one_blas_thread()
    def plot_calibration(
        self, by: str | None = None, left_out: LeftOut | None = None, dark: bool = False, *, of: str | None = None
    ) -> Figure:
        """Nominal against empirical coverage of left-out predictions (see `realmat.plots.calibration.plot_calibration`)."""
        from realmat.plots.calibration import plot_calibration

        return plot_calibration(self._seen(of).posterior, by, left_out, dark)

    @one_blas_thread()
    def plot_curve(self, by: str | None = None, dark: bool = False, *, of: str | None = None) -> Figure:
        """Data, law and residuals over a theory's one number column (see `realmat.plots.curve.plot_curve`)."""
        from realmat.plots.curve import plot_curve

        own = self._seen(of)
        return plot_curve(own.model, own.posterior, by, dark)

    def plot_model(self, dark: bool = False, *, of: str | None = None) -> Figure:
        """The model as a picture of its layers; of a joint fit without `of`, which state informs which property."""
        from realmat.plots.joint import plot_joint
        from realmat.plots.model import plot_model

        if of is None and not self.chosen:
            return plot_joint(self.problem, dark)
        own = self._seen(of)
        return plot_model(own.model, own.problem, dark)
