"""The uncertainty budget against closed forms of balanced designs, and against the variance of independent predictive draws."""

from __future__ import annotations

from dataclasses import dataclass

import arviz_base as azb
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from attribution import by_hand, exact_moments
from scipy import stats

import realmat as rm
from realmat.attribution.budget import Budget, budget
from realmat.attribution.predict import predict
from realmat.posterior.draws import Posterior
from realmat.table.table import Column, Table
from realmat.terms.term import Coefficients, Contribution, Term

DRAWS = 1000


def part(b: Budget, component: str, kind: str) -> float:
    """One part of the variance from the table: sign(u) u^2."""
    row = b.table.set_index(["component", "kind"]).loc[(component, kind)]
    return float(np.sign(row["u"]) * row["u"] ** 2)


def one_way(tau: float = 0.6, sigma: float = 0.3, groups: int = 6, n: int = 4) -> tuple[Posterior, dict[str, float]]:
    """Balanced one-way layout y_ij = mu + a_i + e_ij with known tau, sigma and a flat prior on mu, and its closed-form posterior.

    V(mu) = (tau^2 + sigma^2/n)/m; given mu, a_i has mean k (ybar_i - mu) and variance tau^2 (1 - k), with k = n tau^2/(n tau^2 + sigma^2):
    Searle, Casella & McCulloch, Variance Components, 1992, section 3.3.
    """
    rng = np.random.default_rng(11)
    i = np.repeat(np.arange(groups), n)
    y = 5 + rng.normal(0, tau, groups)[i] + rng.normal(0, sigma, len(i))
    df = pd.DataFrame({"y": y, "m": i})
    model = rm.Model("y", levels={"material": "m"}, theory=rm.theory.Constant(), material=rm.material.Unresolved(by="material"))
    k = n * tau**2 / (n * tau**2 + sigma**2)
    v_mu = (tau**2 + sigma**2 / n) / groups
    v_a = tau**2 * (1 - k)
    means = np.array([y[i == g].mean() for g in range(groups)])
    cov = np.block(
        [[np.full((1, 1), v_mu), np.full((1, groups), -k * v_mu)], [np.full((groups, 1), -k * v_mu), v_a * np.eye(groups) + k**2 * v_mu]]
    )
    b = exact_moments(rng, np.append(y.mean(), k * (means - y.mean())), cov, DRAWS)
    params = {"unresolved_material_scale": np.full(DRAWS, tau), "noise_scale": np.full(DRAWS, sigma)}
    posterior = by_hand(model.bind(df), params, {"constant": b[:, :1], "unresolved_material": b[:, 1:]})
    return posterior, {"k": k, "mu": v_mu, "a": v_a, "tau2": tau**2, "sigma2": sigma**2}


def test_one_way_known_material() -> None:
    posterior, v = one_way()
    b = budget(posterior, "observation")
    assert part(b, "constant", "epistemic") == pytest.approx(v["mu"] * (1 - v["k"]), rel=1e-9)
    assert part(b, "unresolved_material", "epistemic") == pytest.approx(v["a"] + v["k"] ** 2 * v["mu"] - v["k"] * v["mu"], rel=1e-9)
    assert part(b, "noise", "aleatoric") == pytest.approx(v["sigma2"], rel=1e-9)
    assert b.u**2 == pytest.approx(v["a"] + v["mu"] * (1 - v["k"]) ** 2 + v["sigma2"], rel=1e-9)
    assert b.table["share"].sum() == pytest.approx(1, abs=1e-9)


def test_one_way_new_material() -> None:
    posterior, v = one_way()
    b = budget(posterior, "material", k=3)
    assert dict(zip(b.table["component"], b.table["kind"], strict=True)) == {
        "constant": "epistemic",
        "unresolved_material": "aleatoric",
        "noise": "aleatoric",
    }
    assert part(b, "constant", "epistemic") == pytest.approx(v["mu"], rel=1e-9)
    assert part(b, "unresolved_material", "aleatoric") == pytest.approx(v["tau2"], rel=1e-9)
    assert pytest.approx(3 * np.sqrt(v["mu"] + v["tau2"] + v["sigma2"]), rel=1e-9) == b.U


def nested(draws: int = DRAWS, **change: object) -> Posterior:
    """Materials, specimens, labs, theory with a slope: scales that vary over the draws, coefficients independent."""
    rng = np.random.default_rng(5)
    material, specimen = np.repeat(np.arange(5), 8), np.repeat(np.arange(20), 2)
    df = pd.DataFrame({"y": np.exp(rng.normal(1, 0.4, 40)), "t": np.exp(rng.normal(1, 0.3, 5))[material], "m": material, "s": specimen})
    df["lab"] = np.tile(["A", "B", "C", "D"], 10)
    arguments = {"observation": rm.observation.Normal(bias_by="lab"), **change}
    model = rm.Model(
        "y",
        levels={"material": "m", "specimen": "s", "lab": "lab"},
        theory=rm.theory.Calibrated("t"),
        material=[rm.material.Unresolved(by="material"), rm.material.Unresolved(by="specimen")],
        **arguments,  # type: ignore[arg-type]
    )
    problem = model.bind(df)
    shapes = {p.name: (draws,) if p.coords is None else (draws, p.size) for p in problem.params}
    params = {name: np.exp(rng.normal(np.log(0.3), 0.2, shape)) for name, shape in shapes.items()}
    params |= {name: np.exp(rng.normal(np.log(8), 0.2, draws)) for name in params if name.endswith("_nu")}
    sizes = {c.name: c.size for c in problem.coefficients}
    return by_hand(problem, params, {name: rng.normal(0.2, 0.1, (draws, size)) for name, size in sizes.items()})


@pytest.mark.parametrize("new", ["observation", "specimen", "material"])
def test_aleatoric_parts_are_mean_variances(new: str) -> None:
    posterior = nested()
    b = budget(posterior, new)
    fresh = {"observation": [], "specimen": ["unresolved_specimen"], "material": ["unresolved_material", "unresolved_specimen"]}[new]
    for name in [*fresh, "noise"]:
        assert part(b, name, "aleatoric") == pytest.approx(np.mean(posterior.param(f"{name}_scale") ** 2), rel=1e-9)
    assert set(b.table.loc[b.table["kind"] == "aleatoric", "component"]) == {*fresh, "noise"}
    assert np.abs(b.rows["share"].sum(["component", "kind"]) - 1).max() < 1e-9
    assert b.rows.sizes["row"] == 40
    assert list(b.table.columns) == ["layer", "component", "kind", "u", "share", "share_lb", "share_ub"]


def test_intervals_follow_arviz() -> None:
    """The interval of a share is that of its aleatoric variance over the whole at each draw."""
    posterior = nested()
    s2, n2 = posterior.param("unresolved_specimen_scale") ** 2, posterior.param("noise_scale") ** 2
    for prob in (0.5, 0.95):
        with azb.rc_context({"stats.ci_prob": prob}):
            b = budget(posterior, "specimen")
        rest = b.dataset["variance"].sel(kind="epistemic").sum().item()
        expected = np.quantile(s2 / (s2 + n2 + rest), [(1 - prob) / 2, (1 + prob) / 2])
        row = b.table.set_index(["component", "kind"]).loc[("unresolved_specimen", "aleatoric")]
        assert (row["share_lb"], row["share_ub"]) == pytest.approx(expected, rel=1e-9)
        assert row["share_lb"] < row["share"] < row["share_ub"]
    with azb.rc_context({"stats.ci_kind": "hdi"}):
        narrow = budget(posterior, "specimen").table
    wide = budget(posterior, "specimen").table
    assert ((narrow["share_ub"] - narrow["share_lb"]) <= (wide["share_ub"] - wide["share_lb"]) + 1e-9).all()


@pytest.mark.parametrize(
    ("change", "scale"),
    [
        ({}, "link"),
        ({"observation": rm.observation.StudentT(bias_by="lab")}, "link"),
        ({"link": "log"}, "response"),
        ({"observation": rm.observation.Normal(scale_by="lab")}, "link"),
    ],
)
def test_parts_sum_to_the_variance_of_predictive_draws(change: dict[str, object], scale: str) -> None:
    """40,000 independent draws of every row; their variance has its own standard error, from their fourth moment."""
    posterior = nested(**change)
    log = change.get("link") == "log"
    b = budget(posterior, "specimen", scale=scale)
    y = predict(posterior, new="specimen", draws=40_000, seed=3)["draws"].values
    variance = y.var(axis=0)
    error = np.sqrt((np.mean((y - y.mean(axis=0)) ** 4, axis=0) - variance**2) / len(y))
    z = (variance - b.rows["u"].values ** 2) / error
    assert np.abs(z).max() < 5, f"{np.abs(z).max():.1f} standard errors{' in response units' if log else ''}"
    assert np.sqrt(np.mean(z**2)) < 1.8


def test_response_scale_is_the_link_scale_for_small_relative_u() -> None:
    """To first order u(y)/y = u(log y), so for small u the shares agree."""
    posterior = nested(link="log")
    small = {k: v * 0.01 for k, v in posterior.draws.params.items()}
    b = {k: 0.4 + 0.01 * v for k, v in posterior.draws.coefficients.items()}
    posterior = by_hand(posterior.problem, {k: v.ravel() for k, v in small.items()}, {k: v.reshape(DRAWS, -1) for k, v in b.items()})
    link, response = (budget(posterior, "material", scale=s) for s in ("link", "response"))
    difference = np.abs(link.rows["share"] - response.rows["share"]).max()
    assert difference < 1e-3
    assert "log scale" in link.title
    assert "log scale" not in response.title


def test_compensation_is_named_and_signed() -> None:
    """Two slopes on one column: only their sum is known, so the smaller one's part is negative."""
    rng = np.random.default_rng(2)
    df = pd.DataFrame({"y": rng.normal(size=30), "t": rng.normal(size=30), "m": np.arange(30) % 10})
    model = rm.Model("y", levels={"material": "m"}, theory=rm.theory.Constant(), material=rm.material.Unresolved(by="material"))
    cov = np.array([[0.5, -0.4], [-0.4, 0.36]])
    shared = exact_moments(rng, np.zeros(2), cov, DRAWS)
    params = {"unresolved_material_scale": np.ones(DRAWS), "noise_scale": np.ones(DRAWS)}
    posterior = by_hand(model.bind(df), params, {"constant": shared[:, :1], "unresolved_material": np.repeat(shared[:, 1:], 10, axis=1)})
    b = budget(posterior)
    assert part(b, "constant", "epistemic") == pytest.approx(0.1, rel=1e-9)
    assert part(b, "unresolved_material", "epistemic") == pytest.approx(-0.04, rel=1e-9)
    assert b.compensation[0][:2] == ("unresolved_material", "constant")
    assert b.compensation[0][2] == pytest.approx(-0.4, rel=1e-9)
    assert "compensate" in b.text
    assert "unresolved material and constant" in b.text
    assert b.table["share"].sum() == pytest.approx(1, abs=1e-9)


def test_joined_components_are_one_row() -> None:
    posterior = nested()
    apart, together = budget(posterior, "specimen"), budget(posterior, "specimen", joined=[("noise", "unresolved_specimen")])
    assert part(together, "unresolved_specimen + noise", "aleatoric") == pytest.approx(
        part(apart, "unresolved_specimen", "aleatoric") + part(apart, "noise", "aleatoric"), rel=1e-9
    )
    assert not {"noise", "unresolved_specimen"} & set(together.table["component"])
    assert "material + observation" in set(together.table["layer"])
    assert "cannot separate unresolved specimen and noise" in together.text
    s2, n2 = posterior.param("unresolved_specimen_scale") ** 2, posterior.param("noise_scale") ** 2
    rest = together.dataset["variance"].sel(kind="epistemic").sum().item()
    row = together.table.set_index(["component", "kind"]).loc[("unresolved_specimen + noise", "aleatoric")]
    assert (row["share_lb"], row["share_ub"]) == pytest.approx(np.quantile((s2 + n2) / (s2 + n2 + rest), [0.055, 0.945]), rel=1e-9)


def test_it_shows_and_writes(tmp_path: object) -> None:
    b = budget(nested(), "specimen", unit="MPa")
    b.to_csv(tmp_path / "b.csv")  # type: ignore[operator]
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "b.csv"), b.table, rtol=1e-14)  # type: ignore[operator]
    assert "MPa" in str(b)
    xr.DataTree.from_dict({"/budget": b.dataset}).to_netcdf(tmp_path / "b.nc", engine="netcdf4")  # type: ignore[operator]
    with xr.open_datatree(tmp_path / "b.nc", engine="netcdf4") as tree:  # type: ignore[operator]
        assert tree["budget"].to_dataset().identical(b.dataset)
    assert "<table" in b._repr_html_()
    with pytest.raises(rm.FileError, match="cannot write"):
        b.to_csv(tmp_path / "nowhere" / "b.csv")  # type: ignore[operator]


def test_tails_too_heavy_for_a_variance_are_named() -> None:
    """A Student t whose nu comes close to 2: its variance nu/(nu - 2) s^2 has a mean far above its median."""
    posterior = nested(observation=rm.observation.StudentT(bias_by="lab"))
    assert "heavy" not in budget(posterior).text
    flat = {k: v.reshape(DRAWS, *v.shape[2:]) for k, v in {**posterior.draws.params, **posterior.draws.coefficients}.items()}
    flat["noise_nu"] = 2 + np.random.default_rng(0).uniform(1e-3, 0.5, DRAWS)
    params = {k: flat[k] for k in posterior.draws.params}
    heavy = by_hand(posterior.problem, params, {k: flat[k] for k in posterior.draws.coefficients})
    assert "tails of noise are so heavy" in budget(heavy).text


def test_wrong_arguments_are_one_error() -> None:
    with pytest.raises(rm.ModelError, match=r"scale=.*k must be positive.*\['nothing'\]"):
        budget(nested(), scale="linear", k=0, joined=[("nothing", "noise")])
    with pytest.raises(rm.ModelError, match="new= must be one of"):
        budget(nested(), new="sample")


@dataclass(frozen=True)
class Curved(rm.Component):
    """``exp(a x)``: not linear in its coefficient; with ``raw`` only as a PyTensor expression."""

    raw: bool = False
    name: str = "curved"

    def needs(self) -> list[Column]:
        return [Column("x", "exponent")]

    def bind(self, table: Table, scale: object) -> Term:
        def contribute(other: Table, fresh_levels: tuple[str, ...] = ()) -> Contribution:
            x = other.numeric("x")
            return Contribution(nonlinear=lambda p, b, xp: xp.exp(b["curved_a"][0] * x), raw=self.raw)

        return Term("curved", "material", coefficients=(Coefficients("curved_a", 1, 1.0),), contribute=contribute)


@pytest.mark.parametrize("raw", [False, True])
def test_effects_that_are_not_linear(raw: bool) -> None:
    """The epistemic part of exp(a x) is its variance over the draws of a, also where it is a compiled PyTensor expression."""
    rng = np.random.default_rng(1)
    x, a = np.linspace(0, 1, 5), rng.normal(0.5, 0.2, (400, 1))
    model = rm.Model("y", theory=rm.theory.Constant(value=0.0), material=Curved(raw))
    problem = model.bind(pd.DataFrame({"y": np.exp(0.5 * x), "x": x}))
    b = budget(by_hand(problem, {"noise_scale": np.full(400, 0.1)}, {"curved_a": a}))
    assert part(b, "curved", "epistemic") == pytest.approx(np.exp(a * x).var(axis=0, ddof=1).mean(), rel=1e-9)


def test_coefficients_that_were_not_kept_are_redrawn() -> None:
    """With ``latents="summary"`` coefficients are drawn again given psi: the same budget within the Monte Carlo error of 2000 draws."""
    rng = np.random.default_rng(0)
    m = np.repeat(np.arange(20), 3)
    df = pd.DataFrame({"y": rng.normal(0, 0.5, 20)[m] + rng.normal(0, 0.3, 60), "m": m})
    model = rm.Model("y", levels={"material": "m"}, theory=rm.theory.Constant(), material=rm.material.Unresolved(by="material"))
    kept, summary = (
        model.fit(df, engine="exact", draws=1000, chains=2, seed=3, progress=False, latents=way) for way in ("draws", "summary")
    )
    assert not summary.posterior.draws.coefficients
    one, two = (budget(f.posterior).table["share"].to_numpy() for f in (kept, summary))
    assert one == pytest.approx(two, abs=5 * np.sqrt(2 / 2000) * 0.25)


def test_response_units_in_closed_form() -> None:
    """With known psi and b, Var(y) is the log-normal's, divided in proportion to the log variances (their Aumann-Shapley value)."""
    posterior = nested(link="log")
    params = {k: np.full(DRAWS, 0.1 * (i + 1)) for i, k in enumerate(posterior.draws.params)}
    b = {k: np.full((DRAWS, v.shape[-1]), 0.3) for k, v in posterior.draws.coefficients.items()}
    posterior = by_hand(posterior.problem, params, b)
    found = budget(posterior, "specimen", scale="response")
    v = {name: float(params[f"{name}_scale"][0] ** 2) for name in ("unresolved_specimen", "noise")}
    t = posterior.problem.table.numeric("t")
    # intercept + slope log(t) + material + lab bias, each coefficient 0.3
    centre = 0.3 * (3 + np.log(t))
    variance = stats.lognorm(s=np.sqrt(sum(v.values())), scale=np.exp(centre)).var()
    assert found.rows["u"].values ** 2 == pytest.approx(variance, rel=1e-9)
    for name, part_of in v.items():
        assert part(found, name, "aleatoric") == pytest.approx(variance.mean() * part_of / sum(v.values()), rel=1e-9)
