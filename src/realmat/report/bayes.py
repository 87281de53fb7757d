"""Figures of Bayesian workflow by arviz-plots, in the look of the other figures."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from realmat.plots import style
from realmat.report.tables import declared
from realmat.report.words import count, listed
from realmat.support.numbers import plus_minus
from realmat.terms.term import stored_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    import xarray as xr
    from matplotlib.figure import Figure

    from realmat.posterior.draws import Posterior

MOST_PARAMETERS = 8
_DRAWS = 200  # of each chain in a rank plot, so that a page stays small
_PREDICTIVE = 40  # predictive densities
_COLUMNS = 2  # panels side by side: legible on a narrow page as on a wide one
_PRIOR_DRAWS = 500


@dataclass(frozen=True)
class Drawing:
    """A figure with its words: `alt` for those who do not see it, `caption` below it."""

    name: str
    figure: Figure
    alt: str
    caption: str


class Bayes:
    """Figures and draws of the hyperparameters.

    Parameters
    ----------
    posterior : Posterior
    seed : int
    """

    def __init__(self, posterior: Posterior, seed: int) -> None:
        self.problem = posterior.problem
        self.source = posterior
        self.seed = seed

    @cached_property
    def prior(self) -> xr.Dataset:
        """Draws from the prior, by name."""
        from realmat.posterior import prior_draws, tree

        return tree.variables(prior_draws.draw(self.problem, _PRIOR_DRAWS, self.seed))

    @cached_property
    def posterior(self) -> xr.Dataset:
        """Draws from the posterior, by name."""
        from realmat.posterior import tree

        return tree.variables(self.source)

    @property
    def names(self) -> list[str]:
        """Scalar hyperparameters, at most eight, by layer; single coefficients where there are none."""
        every = [told for told in declared(self.problem) if told[0] in self.posterior]
        hyper = {q.name for q in self.problem.params}
        chosen = [name for name, _, _, size in every if size == 1 and name in hyper] or [name for name, _, _, size in every if size == 1]
        return chosen[:MOST_PARAMETERS]

    @property
    def left_out(self) -> str:
        """How many hyperparameters the figures do not show."""
        scalars = sum(size for name, _, _, size in declared(self.problem)) - len(self.names)
        return (
            f" The figure shows {len(self.names)}; {count(scalars, 'other parameter')} are in the table of priors." if scalars > 0 else ""
        )

    def ranks(self) -> Drawing | None:
        """Ranks of each chain's draws; None for fits whose draws are no chains."""
        import arviz_plots as azp
        import xarray as xr

        if self.source.shape[0] < 2 or not self.names:
            return None
        step = max(1, self.source.shape[1] // _DRAWS)
        thin = self.posterior[self.names].isel(draw=slice(None, None, step))
        drawn = _draw(azp.plot_rank, xr.DataTree.from_dict({"/posterior": thin}), self.names, var_names=self.names)
        return Drawing(
            "ranks",
            drawn,
            f"Rank plots of {', '.join(self.names)}: deviation of each chain's ranks from uniform.",
            "Ranks of each chain's draws among all chains, as deviation from uniform. Lines that hover round zero, and p not near zero, "
            f"say that the chains explored the same distribution.{self.left_out}",
        )

    def prior_posterior(self) -> Drawing | None:
        """Prior and posterior density of the hyperparameters."""
        import arviz_plots as azp
        import xarray as xr

        if not self.names:
            return None
        groups = xr.DataTree.from_dict({"/prior": self.prior[self.names], "/posterior": self.posterior[self.names]})
        drawn = _draw(azp.plot_prior_posterior, groups, self.names, var_names=self.names)
        return Drawing(
            "priors",
            drawn,
            f"Prior and posterior densities of {', '.join(self.names)}; the table gives their intervals.",
            f"Prior (blue) and posterior (orange) densities.{self.left_out}",
        )

    def predictive(self) -> Drawing:
        """Density of the measurements beside densities of data that the fit would make."""
        import arviz_plots as azp
        import xarray as xr

        from realmat.attribution.predict import simulate

        y = stored_name(self.problem.response)
        made = simulate(self.source, None, "observation", _PREDICTIVE, np.random.default_rng([self.seed, 23]))
        groups = xr.DataTree.from_dict(
            {
                "/posterior_predictive": xr.Dataset({y: (("chain", "draw", "row"), made[None])}),
                "/observed_data": xr.Dataset({y: ("row", self.problem.table.numeric(self.problem.response))}),
            }
        )
        drawn = _draw(azp.plot_ppc_dist, groups, [y], height=2.6, num_samples=_PREDICTIVE)
        return Drawing(
            "predictive",
            drawn,
            f"Density of measured {y} and of {_PREDICTIVE} data sets drawn from the posterior predictive distribution.",
            f"Density of measured {y} (dark) and of {_PREDICTIVE} data sets that the fit would make (blue). Where they part, the model "
            "misses something.",
        )


def pit(values: np.ndarray) -> Drawing:
    """Deviation of the left-out PIT from uniform, with simultaneous bands."""
    import arviz_plots as azp
    import xarray as xr

    groups = xr.DataTree.from_dict({"/prior_sbc": xr.Dataset({"left-out PIT": ("row", values)})})
    drawn = _draw(azp.plot_ecdf_pit, groups, ["left-out PIT"], height=2.6, sample_dims=["row"])
    return Drawing(
        "pit",
        drawn,
        "Deviation of the distribution of left-out PIT values from uniform.",
        "Left-out PIT: empirical minus uniform distribution function. A line far from zero says that predictions are off or their "
        "intervals too narrow or too wide; p near zero, that chance does not explain it.",
    )


def comparison(table: pd.DataFrame) -> Drawing:
    """Expected log predictive densities relative to the best, of `az.compare`; a model too far off for a common axis is named instead."""
    import arviz_plots as azp

    difference, error = -table["elpd_diff"].abs().to_numpy(), table["dse"].to_numpy()
    kept = legible(difference, error)
    shown, names = table.iloc[:kept], list(map(str, table.index))
    size = {"figsize": (4.4, 1.1 + 0.35 * len(shown)), "layout": "constrained"}
    with _look():
        drawn = azp.plot_compare(shown, backend="matplotlib", figure_kwargs=size).viz["figure"].item()
    far = [f"{names[k]} ({plus_minus(float(difference[k]), float(error[k]))})" for k in range(kept, len(names))]
    beyond = f" Too far below to be drawn on the same axis: {listed(far)}." if far else ""
    return Drawing(
        "elpd",
        drawn,
        f"Expected log predictive densities of {', '.join(names[:kept])} relative to the best.",
        "Expected log predictive density relative to the best model, with standard errors. Differences below 4 are negligible." + beyond,
    )


def legible(difference: np.ndarray, error: np.ndarray, most: float = 20.0) -> int:
    """How many models, best first, fit on one axis: none is more than `most` times as far from the best as the one before it reaches.

    The best two always do.

    Examples
    --------
    >>> legible(np.array([0.0, -791.0, -1.49e6]), np.array([0.0, 44.0, 2.9e5]))
    2
    >>> legible(np.array([0.0, -3.0, -40.0, -300.0]), np.array([0.0, 2.0, 9.0, 30.0]))
    4
    """
    reach = np.maximum(np.abs(difference) + 2 * error, 4.0)
    return next((k for k in range(2, len(reach)) if abs(difference[k]) > most * reach[k - 1]), len(reach))


@contextmanager
def _look() -> Iterator[None]:
    import matplotlib as mpl
    from cycler import cycler

    small: dict[Any, Any] = dict.fromkeys(("font.size", "axes.titlesize", "axes.labelsize", "xtick.labelsize", "ytick.labelsize"), 8)
    with style.theme(), mpl.rc_context({"axes.prop_cycle": cycler(color=list(style.SERIES_COLOURS)), **small}):
        yield


def _draw(plot: Callable[..., Any], groups: xr.DataTree, names: list[str], height: float | None = None, **kwargs: Any) -> Figure:
    """A figure of arviz-plots, two panels in a row."""
    across = min(_COLUMNS, len(names))
    rows = -(-len(names) // across)
    size = {"figsize": (5.4, height or 0.3 + 1.5 * rows), "layout": "constrained"}
    with _look(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*look binary", category=UserWarning)  # it takes numbers near 1e-9 for zeros
        made = plot(groups, backend="matplotlib", col_wrap=across, figure_kwargs=size, **kwargs)
        figure: Figure = made.viz["figure"].item()
        for legend in figure.legends:  # the caption says it, and the panels get the room
            legend.remove()
    return figure


def themed(drawing: Drawing) -> Markup:
    """The figure as inline SVG whose colours the page's style sheet sets, with ids of its own."""
    import matplotlib.pyplot as plt

    text = style.svg(drawing.figure, drawing.alt)
    plt.close(drawing.figure)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<svg ([^>]*?)width="[^"]*" height="[^"]*"|<svg height="[^"]*" ([^>]*?)width="[^"]*"', r"<svg \1\2", text, count=1)
    text = re.sub(r'\b(id="|href="#|url\(#)', rf"\1{drawing.name}-", text)
    text = text.replace("#000000", "currentColor")
    for k, colour in enumerate(style.SERIES_COLOURS):
        text = text.replace(colour.lower(), f"var(--series-{k})")
    return Markup(text.replace("<svg ", f'<svg class="drawn {drawing.name}" ', 1))
