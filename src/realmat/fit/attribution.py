"""What the draws say: budget, gap, precision, predictions, advice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from realmat.fit.fitted import Fitted
from realmat.support.threads import one_blas_thread

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from realmat.attribution.advise import Actions, Advice, Target
    from realmat.attribution.budget import Budget
    from realmat.attribution.gap import Gap
    from realmat.attribution.laboratory import Laboratory
    from realmat.attribution.theories import Theories


class Attribution(Fitted):
    """Questions about layers and components."""

    @one_blas_thread()
    def budget(
        self,
        new: str = "observation",
        data: pd.DataFrame | None = None,
        k: float = 2.0,
        scale: str = "link",
        joined: Sequence[Sequence[str]] | None = None,
        draws: int | None = None,
        ci_prob: float | None = None,
        ci_kind: str | None = None,
        *,
        of: str | None = None,
    ) -> Budget:
        """The uncertainty budget of a new measurement (see `realmat.attribution.budget.budget`).

        Parameters
        ----------
        new : {"observation", "specimen", "material"}
            What is drawn anew.
        data : DataFrame, optional
            New rows; those of the fit by default.
        k : float
            Coverage factor of the expanded uncertainty.
        scale : {"link", "response"}
            With a log link: the log scale on which layers add up, or response units.
        joined : sequence of sequences of component names, optional
            Components that are reported together; by default those that the design cannot separate, ``()`` joins none.
        draws : int, optional
            At most so many posterior draws.
        ci_prob, ci_kind : optional
            Of the shares' intervals; as ArviZ is set by default.
        of : str, optional
            Of a joint fit: which property.

        Returns
        -------
        Budget
        """
        from realmat.attribution.budget import budget
        from realmat.attribution.separability import inseparable_groups
        from realmat.support.intervals import using

        own = self._seen(of)
        together = inseparable_groups(own.problem) if joined is None else joined
        posterior, table, fresh = own._rows(data, new)
        with using(ci_prob, ci_kind):
            return budget(posterior, fresh, table, k, scale, together, own.model.unit, draws)

    @one_blas_thread()
    def gap(self, by: str | Sequence[Any] | None = None, *, of: str | None = None) -> Gap:
        """From theory to measurement, specimen by specimen (see `realmat.attribution.gap.gap`).

        Parameters
        ----------
        by : str or sequence, optional
            Rows are averaged within groups: a level, a column of the model, or one label for each row; the specimens by default.
        of : str, optional
            Of a joint fit: which property.

        Returns
        -------
        Gap
        """
        from realmat.attribution.gap import gap

        own = self._seen(of)
        return gap(own.posterior, by, own.model.unit)

    @one_blas_thread()
    def repeatability(self, ci_prob: float | None = None, ci_kind: str | None = None, *, of: str | None = None) -> Laboratory:
        """Repeatability s_r and reproducibility s_R, and the bias of each lab (ISO 5725; see `realmat.attribution.laboratory`).

        `ci_prob` and `ci_kind` are those of the bounds, as ArviZ is set by default; `of` names the property of a joint fit.
        """
        from realmat.attribution.laboratory import repeatability
        from realmat.support.intervals import using

        own = self._seen(of)
        with using(ci_prob, ci_kind):
            return repeatability(own.posterior, own.model.unit)

    @one_blas_thread()
    def theories(self) -> Theories:
        """What each theory of a `rm.theory.Consensus` is worth: bias, slope, errors, and what it adds to the others.

        Returns
        -------
        Theories

        Raises
        ------
        realmat.ModelError
            If the model has no consensus.
        """
        from realmat.attribution.theories import theories

        return theories(self.posterior, self.model.unit)

    @one_blas_thread()
    def predict(
        self,
        data: pd.DataFrame | Mapping[str, Any] | None = None,
        new: str = "observation",
        draws: int | None = None,
        seed: int | None = None,
        ci_prob: float | None = None,
        ci_kind: str | None = None,
        *,
        of: str | None = None,
    ) -> xr.Dataset:
        """Predictions for rows (see `realmat.attribution.predict.predict`).

        Parameters
        ----------
        data : DataFrame or dict of columns, optional
            New rows; the response may be absent, and a material, specimen or laboratory that a row does not name is a new one. Those of
            the fit by default. Of a joint fit, whatever rows of a piece that the fit has not seen hold of other properties and of states
            counts; a piece that the fit has seen keeps its posterior.
        new : {"observation", "specimen", "material"}
            What counts as new even where the fit has seen it.
        draws : int, optional
            Also give so many draws of new measurements.
        seed : int, optional
            Of those draws; that of the fit by default.
        ci_prob, ci_kind : optional
            Of the bounds; as ArviZ is set by default.
        of : str, optional
            Of a joint fit: which property.

        Returns
        -------
        xarray.Dataset
            Along `row`: `mean`, `sd`, `mean_sd`, `lower`, `upper`, in response units, and `contributions` (row, component).
        """
        from realmat.attribution.predict import predict
        from realmat.support.intervals import using

        posterior, table, fresh = self._seen(of)._rows(data, new, seed)
        with using(ci_prob, ci_kind):
            return predict(posterior, table, new=fresh, draws=draws, seed=self._seed(seed))

    @one_blas_thread()
    def advise(
        self,
        actions: Actions = None,
        target: Target = None,
        costs: Mapping[str, float] | None = None,
        batch: int = 1,
        *,
        of: str | None = None,
    ) -> Advice:
        """What to measure next (see `realmat.attribution.advise.advise`).

        Parameters
        ----------
        actions : mapping, list of str or DataFrame, optional
            Kinds of action to weigh (``"repeat"``, ``"property"``, ``"characterise"``, ``"theory"``, ``"specimen"``, ``"measure"``), or a
            table of candidates.
        target : DataFrame or sequence of row labels, optional
            What is to be predicted better; all rows of the fit by default.
        costs : mapping of str to float, optional
            Cost of a kind of action, of a property or a column to measure, or of one action; 1 by default.
        batch : int
            Number of actions to choose together.
        of : str, optional
            Of a joint fit: which property.

        Returns
        -------
        Advice
        """
        from realmat.attribution.advise import advise

        own = self._seen(of)
        return advise(own.posterior, actions, target, costs, batch, own.model.prediction_table)
