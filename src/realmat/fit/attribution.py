"""What the draws say: budget, gap, precision, predictions, advice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from realmat.fit.fitted import Fitted
from realmat.support.threads import one_blas_thread

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from realmat.attribution.advise import Actions, Advice, Target
    from realmat.attribution.budget import Budget
    from realmat.attribution.contrast import Derived
    from realmat.attribution.gap import Gap
    from realmat.attribution.laboratory import Laboratory
    from realmat.attribution.plans import Plans
    from realmat.attribution.relevance import Relevance
    from realmat.attribution.round_robin import RoundRobin
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
        average: Mapping[str, int] | None = None,
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
        average : mapping of str to int, optional
            The budget of a mean: ``{"observation": 3, "lab": 2}`` is that of three readings in each of two laboratories. A level that lies
            inside another in the table, such as sections in their specimens, is another in each.
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
            return budget(posterior, fresh, table, k, scale, together, own.model.unit, draws, average, new)

    @one_blas_thread()
    def plans(
        self,
        target_u: float,
        costs: Mapping[str, float],
        new: str = "observation",
        data: pd.DataFrame | None = None,
        most: int = 50,
        draws: int = 1000,
        *,
        of: str | None = None,
    ) -> Plans:
        """The cheapest mean whose standard uncertainty is as small as wanted (see `realmat.attribution.plans.plans`).

        Parameters
        ----------
        target_u : float
            Standard uncertainty, in the unit of the response (relative with a log link), as root mean square over the rows.
        costs : mapping of str to float
            What one more of each costs: ``{"observation": 1, "specimen": 30, "lab": 20}``, each reading, each specimen, each laboratory.
            What is not named is not repeated.
        new : {"observation", "specimen", "material"}
            What is measured: a known specimen, a new one, or a new material.
        data : DataFrame, optional
            New rows; those of the fit by default.
        most : int
            Largest number of each.
        draws : int
            At most so many posterior draws.
        of : str, optional
            Of a joint fit: which property.

        Returns
        -------
        Plans

        Raises
        ------
        realmat.ModelError
            If no plan reaches the target: it says what remains, and of which layer.
        """
        from realmat.attribution.average import nested
        from realmat.attribution.budget import budget
        from realmat.attribution.plans import plans

        own = self._seen(of)
        posterior, table, fresh = own._rows(data, new)

        def made(average: Mapping[str, int]) -> Budget:
            return budget(posterior, fresh, table, unit=own.model.unit, draws=draws, average=average, asked=new)

        rows = posterior.problem.table if table is None else table
        return plans(made, target_u, costs, rows, new, fresh, most, nested(posterior.problem.table, costs))

    @one_blas_thread()
    def gap(
        self, by: str | Sequence[Any] | None = None, ci_prob: float | None = None, ci_kind: str | None = None, *, of: str | None = None
    ) -> Gap:
        """From theory to measurement, specimen by specimen (see `realmat.attribution.gap.gap`).

        Parameters
        ----------
        by : str or sequence, optional
            Rows are averaged within groups: a level, a column of the model, or one label for each row; the specimens by default.
        ci_prob, ci_kind : optional
            Of the bounds in its dataset, as ArviZ is set by default: those of a normal, of which both kinds are the same.
        of : str, optional
            Of a joint fit: which property.

        Returns
        -------
        Gap
        """
        from realmat.attribution.gap import gap
        from realmat.support.intervals import using

        own = self._seen(of)
        with using(ci_prob, ci_kind):
            return gap(own.posterior, by, own.model.unit)

    @one_blas_thread()
    def repeatability(
        self, by: str | None = None, ci_prob: float | None = None, ci_kind: str | None = None, *, of: str | None = None
    ) -> Laboratory | RoundRobin:
        """Repeatability s_r and reproducibility s_R, and the bias of each lab (ISO 5725; see `realmat.attribution.laboratory`).

        Parameters
        ----------
        by : str, optional
            A level or column of materials: the tables of ASTM E691 for each, with Mandel's h and k (see
            `realmat.attribution.round_robin`).
        ci_prob, ci_kind : float and str, optional
            Of the bounds, as ArviZ is set by default.
        of : str, optional
            Of a joint fit: which property.
        """
        from realmat.attribution.laboratory import repeatability
        from realmat.attribution.round_robin import round_robin
        from realmat.support.intervals import using

        own = self._seen(of)
        if by is not None:
            return round_robin(own.posterior, by, own.model.unit)
        with using(ci_prob, ci_kind):
            return repeatability(own.posterior, own.model.unit)

    def contrast(self, variable: str, values: Sequence[Any] | None = None) -> Derived:
        """Differences between values of a variable, with u (see `realmat.attribution.contrast.contrast`).

        Parameters
        ----------
        variable : str
            Such as ``"bias_lab"``, or a slope by specimen.
        values : sequence, optional
            Labels: the first minus the second, or every pair; by default each against the mean of all.
        """
        from realmat.attribution.contrast import contrast

        return contrast(self.tree["posterior"].to_dataset(), variable, values)

    def derive(self, function: Callable[[xr.Dataset], Any], name: str = "derived") -> Derived:
        """A function of unknowns, draw by draw, with u (see `realmat.attribution.contrast.derive`).

        Parameters
        ----------
        function : callable
            Takes the posterior as a Dataset, gives an array with dims chain and draw, or several by name.
        name : str
            Of the quantity, where the function gives one.

        Examples
        --------
        The time at which a straight line reaches a threshold: ``fit.derive(lambda p: (5 - p["constant"]) / p["effect_h_slope"])``.
        """
        from realmat.attribution.contrast import derive

        return derive(self.tree["posterior"].to_dataset(), function, name)

    @one_blas_thread()
    def relevance(self, name: str) -> Relevance:
        """The share of a component's variance that each of its descriptors answers for (see `realmat.attribution.relevance`).

        Parameters
        ----------
        name : str
            Name of a component, such as a `realmat.material.Discrepancy`.
        """
        from realmat.attribution.relevance import relevance
        from realmat.terms.component import reject_unknown

        by_label = {component.label: component for component in self.model.components}
        reject_unknown([name], list(by_label), "component")
        numbers = tuple(column.name for column in by_label[name].needs() if column.kind == "number")
        return relevance(self.posterior, name, numbers)

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
        return advise(own.posterior, actions, target, costs, batch, own._read)
