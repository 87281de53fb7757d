"""A consensus of theories: its algebra against dense normal densities, its sampler against closed forms and quadrature, its answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import realmat as rm
from realmat.algebra import System
from realmat.attribution.advise import advise
from realmat.posterior.draws import Draws, Posterior
from realmat.terms.problem import Problem

NAMES = ["A", "B", "C", "D"]
FAMILIES = {"one": ["A", "B"], "two": ["C", "D"]}


def ladder(materials: int, seed: int, missing: float = 0.5, repeats: int = 1) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Simulate four theories in two families: a table and its truth."""
    rng = np.random.default_rng(seed)
    t = rng.normal(3.0, 1.5, materials)
    truth = {"bias": np.array([-0.6, -0.4, 0.1, 0.3]), "slope": np.array([0.8, 0.85, 1.05, 1.1]), "own": np.array([0.15, 0.25, 0.1, 0.2])}
    shared = rng.normal(0, 0.2, (materials, 2))[:, [0, 0, 1, 1]]
    x = 3.0 + truth["bias"] + truth["slope"] * (t[:, None] - 3.0) + shared + truth["own"] * rng.normal(size=(materials, 4))
    x[rng.random(x.shape) < missing] = np.nan
    m = np.repeat(np.arange(materials), repeats)
    df = pd.DataFrame(x[m], columns=NAMES).assign(y=t[m] + rng.normal(0, 0.1, m.size), solid=[f"s{k}" for k in m])
    return df, truth | {"t": t}


UNSURE = {"A": "A_u", "C": 0.3}  # a column with empty cells, and a number


def with_u(df: pd.DataFrame) -> pd.DataFrame:
    rng = np.random.default_rng(len(df))
    return df.assign(A_u=np.where(rng.random(len(df)) < 0.5, np.nan, rng.uniform(0.1, 0.6, len(df))))


def model(errors: str = "families", nu: float | None = None, u: object = None) -> rm.Model:
    theory = rm.theory.Consensus(NAMES, u=u, errors=errors, families=FAMILIES, nu=nu)
    return rm.Model("y", unit="eV", levels={"material": "solid"}, theory=theory)


def some_psi(problem: Problem, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    values: dict[str, np.ndarray] = {}
    for q in problem.params:
        lookup = {n: values[n] for n in q.prior.references}
        drawn = q.prior.rvs(rng, q.size, lookup)
        values[q.name] = np.asarray(drawn) if q.coords is not None else float(np.ravel(drawn)[0])
    return values


def dense_log_density(problem: Problem, p: dict[str, np.ndarray]) -> float:
    """Sum over materials of the normal density of calculations and response together, from the declared equations alone."""
    term = problem.terms[0]
    calculations, covariance = term.update.calculations, term.update.errors.covariance(p)
    hard = p.get("consensus_hardness", np.ones(len(calculations.x)))
    total = 0.0
    for m, x in enumerate(calculations.x):
        o = np.isfinite(x)
        mine = problem.cells.level("material").codes == m
        y, count, within = problem.response_rows.y[mine], problem.response_rows.count[mine], problem.response_rows.within[mine]
        assert len(y) == 1
        assert within[0] == 0
        loading = np.append(p["consensus_slope"][o], 1.0)
        cov = hard[m] * p["consensus_spread"] ** 2 * np.outer(loading, loading)
        cov[:-1, :-1] += hard[m] * covariance[np.ix_(o, o)] + np.diag(calculations.variance[m, o])
        cov[-1, -1] += p["noise_scale"] ** 2 / count[0]
        off = p["consensus_mean"] - calculations.centre
        mean = np.append(p["consensus_bias"][o] + p["consensus_slope"][o] * off, p["consensus_mean"])
        total += stats.multivariate_normal(mean, cov, allow_singular=True).logpdf(np.append(x[o], y[0]))
    return total


@pytest.mark.parametrize("u", [None, UNSURE])
@pytest.mark.parametrize(("errors", "nu"), [("full", 4.0), ("families", None), ("one", 5.0)])
def test_readings_and_factor_are_the_density_of_the_calculations(errors: str, nu: float | None, u: object) -> None:
    df = with_u(ladder(30, 1)[0])
    problem = model(errors, nu, u).bind(df[df[NAMES].notna().any(axis=1)])
    if u is not None:
        column = df.loc[problem.table.index, "A_u"].where(df["A"].notna(), 0.0).fillna(0.0)
        np.testing.assert_allclose(problem.terms[0].update.calculations.variance[:, 0], column**2)
    system, term = System(problem), problem.terms[0]
    for seed in range(4):
        p = some_psi(problem, seed)
        found = system.log_marginal(p) + term.factor(p, np)
        assert found == pytest.approx(dense_log_density(problem, p), rel=1e-8)
        one = {name: np.asarray(p[name])[None] for name in term.update.names}
        assert term.update.beyond(one)[0] == pytest.approx(term.factor(p, np), rel=1e-10)


@pytest.mark.validate
@pytest.mark.parametrize(("errors", "u"), [("full", None), ("families", None), ("full", UNSURE), ("families", UNSURE)])
def test_the_sampler_keeps_the_joint_distribution(errors: str, u: object) -> None:
    """Geweke's test: sweeps that also draw the data anew must leave every parameter in its prior (Geweke 2004).

    Successive-conditional draws of scales, in ranks of their prior: 12 chains of 250 sweeps, thinned; bound 4.5 standard errors of the
    mean rank, with effective sizes from the draws themselves.
    """
    from arviz_stats.base import array_stats

    df = with_u(ladder(24, 3, missing=0.4)[0])
    df = df[df[NAMES].notna().any(axis=1)].reset_index(drop=True)
    bounded = {n: rm.Prior("LogNormal", mu=-1.0, sigma=0.5) for n in ("bias_scale", "slope_scale", "family", "spread")}
    own = rm.Prior("LogNormal", mu=-1.0, sigma=0.5)
    theory = rm.theory.Consensus(NAMES, u=u, errors=errors, families=FAMILIES, nu=6.0, own=own, **bounded)
    problem = rm.Model("y", levels={"material": "solid"}, theory=theory).bind(df)
    update = problem.terms[0].update
    rng = np.random.default_rng(5)
    chains, calculations = 12, update.calculations
    ran = np.isfinite(calculations.x)
    starts = [some_psi(problem, 100 + c) for c in range(chains)]
    state = {n: np.stack([np.asarray(s[n]) for s in starts]) for n in update.names}
    kept = []
    for sweep in range(300):
        covariance = update.covariance(state)
        hard = state["consensus_hardness"]
        t = state["consensus_mean"][:, None] + state["consensus_spread"][:, None] * np.sqrt(hard) * rng.standard_normal(hard.shape)
        e = np.sqrt(hard)[..., None] * (rng.standard_normal((*hard.shape, 4)) @ np.linalg.cholesky(covariance).swapaxes(1, 2))
        x = state["consensus_bias"][:, None] + state["consensus_slope"][:, None] * (t - calculations.centre)[..., None] + e
        x = x + np.sqrt(calculations.variance) * rng.standard_normal(x.shape)
        out = []
        for c in range(chains):  # every chain has calculations of its own
            mine = type(calculations)(np.where(ran, x[c], np.nan), calculations.centre, calculations.u, calculations.scaled)
            one = type(update)(
                update.name,
                update.block,
                update.names,
                mine,
                update.errors,
                update.priors,
                update.nu,
                update.of_table,
                update.lengths,
                0.5 if sweep < 50 else 0.0,
            )
            out.append(one.draw({n: v[c : c + 1] for n, v in state.items()}, t[c : c + 1], rng))
        state = {n: np.concatenate([o[n] for o in out]) for n in update.names}
        if sweep >= 50:
            kept.append({n: state[n].reshape(chains, -1)[:, 0].copy() for n in update.names if n != "consensus_hardness"})
    for name, prior in update.priors.items():
        if name not in kept[0] or prior.references:
            continue
        draws = np.stack([k[name] for k in kept], axis=1)
        rank = prior._frozen().cdf(draws)
        error = np.sqrt(1 / 12 / float(array_stats.ess(rank, chain_axis=0, draw_axis=1)))
        assert abs(rank.mean() - 0.5) < 4.5 * error, name


def test_truth_comes_back() -> None:
    """Biases and slopes of four theories, half of the calculations missing, within 4 posterior sd of the truth."""
    df, truth = ladder(100, 2)
    fit = model().fit(df, draws=60, seed=1, progress=False)
    post = fit.tree["posterior"]
    for what in ("bias", "slope"):
        draws = post[f"consensus_{what}"].values.reshape(-1, 4)
        true = truth[what]
        if what == "bias":  # counted from the mean response
            true = 3.0 + truth["bias"] + truth["slope"] * (fit.problem.scale.level - 3.0) - fit.problem.scale.level
        assert np.all(np.abs(draws.mean(axis=0) - true) < 4 * draws.std(axis=0))
    own = post["consensus_own"].values.reshape(-1, 4)
    assert np.all(np.abs(own.mean(axis=0) - truth["own"]) < 4 * own.std(axis=0))


def test_a_new_material_is_predicted_by_the_normal_conditional() -> None:
    """Given psi the ideal value of a new material is normal given its calculations: by the conditional of the joint normal."""
    df, _ = ladder(60, 4)
    problem = model("families").bind(df)
    new = pd.DataFrame(
        {"A": [2.0, np.nan, np.nan], "B": [2.1, np.nan, np.nan], "C": [np.nan, 4.0, np.nan], "D": np.nan, "solid": ["n1", "n2", "n3"]}
    )
    term = problem.terms[0]
    contribution = term.contribute(model().prediction_table(new))
    p = some_psi(problem, 7)
    covariance, centre = term.update.errors.covariance(p), term.update.calculations.centre
    location = contribution.offset(p, np)
    sd = sum(np.where(f.groups >= 0, f.sd(p, np), 0.0) for f in contribution.fresh)
    for k in range(3):
        x = new[NAMES].to_numpy()[k]
        o = np.isfinite(x)
        s, v = p["consensus_slope"][o], p["consensus_spread"] ** 2
        total = covariance[np.ix_(o, o)] + v * np.outer(s, s)
        expected = centre + p["consensus_bias"][o] + s * (p["consensus_mean"] - centre)
        gain = v * np.linalg.solve(total, s) if o.any() else np.zeros(0)
        assert location[k] == pytest.approx(p["consensus_mean"] + gain @ (x[o] - expected))
        assert sd[k] == pytest.approx(np.sqrt(v - gain @ s * v))


def test_calculations_of_a_monte_carlo_run_count_by_their_u() -> None:
    """The reading of a new material has the u of its own calculation beside the error of the theory; a wrong u is refused."""
    df = with_u(ladder(40, 4)[0])
    problem = model("families", u={"A": "A_u"}).bind(df)
    new = pd.DataFrame({"A": [2.0, 2.0], "A_u": [0.0, 0.5], "B": np.nan, "C": np.nan, "D": np.nan, "solid": ["n1", "n2"]})
    contribution = problem.terms[0].contribute(model("families", u={"A": "A_u"}).prediction_table(new))
    p = some_psi(problem, 7)
    sd = sum(np.where(f.groups >= 0, f.sd(p, np), 0.0) for f in contribution.fresh)
    s, v = p["consensus_slope"][0], p["consensus_spread"] ** 2
    own = problem.terms[0].update.errors.covariance(p)[0, 0]
    for k, u in enumerate((0.0, 0.5)):
        assert sd[k] == pytest.approx(np.sqrt(1 / (s**2 / (own + u**2) + 1 / v)))
    with pytest.raises(rm.ModelError, match="did you mean 'A'"):
        model(u={"AA": 0.1})
    with pytest.raises(rm.ModelError, match="0 or more"):
        model(u=-1.0)
    back = rm.Model.from_dict(model(u=UNSURE).to_dict())
    assert back == model(u=UNSURE)


def test_answers() -> None:
    """Every question is answered; the theory that alone is complete adds most; advice names theories by cost; the file comes back."""
    df, _ = ladder(40, 6)
    fit = model("full", nu=5.0).fit(df, draws=40, seed=1, progress=False)
    table = fit.theories().table
    assert set(table["theory"]) == set(NAMES)
    assert (table[["own_u", "alone_u", "adds"]] > 0).all().all()
    axes = fit.theories().plot().axes
    assert [len(a.patches) for a in axes] == [0, len(NAMES)]
    budget = fit.budget(new="material").table
    assert budget["share"].sum() == pytest.approx(1)
    actions = fit.advise(costs={"C": 5.0}).table
    assert set(NAMES) <= set(actions["action"])
    assert (actions.loc[actions["action"] == "C", "cost"] == 5.0).all()
    complete = fit.update(df.loc[df["A"].isna(), ["solid"]].assign(A=3.0))
    assert "A" not in set(complete.advise(costs={"A": 2.0}).table["action"])  # nothing is left to cost anything
    assert rm.Campaign(complete, costs={"A": 2.0}).costs == {"A": 2.0}
    assert np.isfinite(fit.loo(by="material").elpd)


def at_one_psi(df: pd.DataFrame, errors: str, u: object, seed: int) -> Posterior:
    """A posterior whose hyperparameters are known."""
    problem = model(errors, 5.0, u).bind(df)
    return Posterior(problem, Draws({name: np.asarray(v)[None, None] for name, v in some_psi(problem, seed).items()}, {}))


def dense_variance(posterior: Posterior, material: int, more: list[int], unsure: list[float]) -> float:
    """Variance of the ideal value of a material by the joint normal of it, its calculations, `more` of them, and its response.

    `unsure` are the u^2 of these.
    """
    p, term = posterior.values(0), posterior.problem.terms[0]
    calculations, hard = term.update.calculations, p["consensus_hardness"][material]
    known = np.isfinite(calculations.x[material])
    o = np.append(np.flatnonzero(known), more).astype(int)
    loading = np.append(p["consensus_slope"][o], 1.0)
    rest = np.zeros((len(o) + 1, len(o) + 1))
    rest[:-1, :-1] = hard * term.update.errors.covariance(p)[np.ix_(o, o)]
    rest[:-1, :-1] += np.diag(np.append(calculations.variance[material, known], unsure))
    rest[-1, -1] = p["noise_scale"] ** 2
    return float(1 / (1 / (hard * p["consensus_spread"] ** 2) + loading @ np.linalg.solve(rest, loading)))


@pytest.mark.parametrize(("errors", "u"), [("full", None), ("families", {"A": 0.2})])
def test_advice_tells_what_calculations_would(errors: str, u: object) -> None:
    """At known hyperparameters a run lowers the variance of its material's ideal value as the joint normal says; a batch, too.

    Theories err together, so that two runs for one material tell less than each by itself; a calculation is asked for once.
    """
    df = ladder(30, 8)[0]
    df = df[df[NAMES].notna().any(axis=1)].reset_index(drop=True)
    posterior = at_one_psi(df, errors, u, 3)
    for m in (0, 7, 19):
        absent = [k for k, name in enumerate(NAMES) if np.isnan(df.loc[m, name])]
        own = [f"{NAMES[k]} of material {df.loc[m, 'solid']}" for k in absent]
        found = advise(posterior, "theory", target=[m], batch=len(own) + 2)
        falls = found.table.set_index("what")["fall"]
        unsure = [0.04 if u is not None and NAMES[k] == "A" else 0.0 for k in absent]
        before = dense_variance(posterior, m, [], [])
        for what, k, v in zip(own, absent, unsure, strict=True):
            assert falls[what] == pytest.approx(before - dense_variance(posterior, m, [k], [v]), rel=1e-6)
        if own:
            assert sorted(found.plan["what"][: len(own)]) == sorted(own)
            assert found.plan["what"].is_unique
            if not any(unsure):
                assert found.plan["fall"].sum() == pytest.approx(before - dense_variance(posterior, m, absent, unsure), rel=1e-6)


@pytest.mark.parametrize(("errors", "u"), [("full", None), ("families", {"A": 0.2, "C": 0.3})])
def test_budget_and_gap_say_what_missing_calculations_would_tell(errors: str, u: object) -> None:
    """At known hyperparameters: the share of the variance that goes when every theory is run is that of joint normals."""
    df = ladder(20, 9)[0]
    df = df[df[NAMES].notna().any(axis=1)].reset_index(drop=True)
    posterior = at_one_psi(df, errors, u, 4)
    same = {name: np.repeat(v, 30, axis=1) for name, v in posterior.draws.params.items()}
    fit = rm.Fit(model(errors, 5.0, u), Posterior(posterior.problem, Draws(same, {}, facts={"engine": "exact"})))
    unsure = [(u or {}).get(name, 0.0) ** 2 for name in NAMES]
    absent = [np.flatnonzero(np.isnan(row)) for row in df[NAMES].to_numpy()]
    known = [dense_variance(posterior, m, [], []) for m in range(len(df))]
    whole = [dense_variance(posterior, m, list(k), [unsure[i] for i in k]) for m, k in enumerate(absent)]
    expected = 1 - np.array(whole) / known

    budget = fit.budget().rows["share"].sel(kind="epistemic")
    missing, rest = (budget.sel(component=c).values for c in ("consensus_missing", "consensus"))
    np.testing.assert_allclose(missing / (missing + rest), expected, rtol=1e-6, atol=1e-9)
    assert fit.budget().table["share"].sum() == pytest.approx(1)
    assert fit.budget().said("consensus_missing") == "calculations not run"

    gap = fit.gap().table
    np.testing.assert_allclose(gap["u(theory, complete)"] / gap["u(theory)"], np.sqrt(1 - expected), rtol=1e-6)
    assert "Were every calculation run" in fit.gap().text

    p = posterior.values(0)
    new = fit.budget(new="material").rows["share"].sel(kind="aleatoric")
    missing, rest = (new.sel(component=c).values for c in ("consensus_missing", "consensus"))
    calculations, s = posterior.problem.terms[0].update.calculations, p["consensus_slope"]
    covariance = posterior.problem.terms[0].update.errors.covariance(p)
    for m, k in enumerate(absent):
        o = np.setdiff1d(np.arange(4), k)
        own = np.where(np.isin(np.arange(4), o), calculations.variance[m], unsure)
        now = p["consensus_spread"] ** -2 + s[o] @ np.linalg.solve((covariance + np.diag(own))[np.ix_(o, o)], s[o])
        then = p["consensus_spread"] ** -2 + s @ np.linalg.solve(covariance + np.diag(own), s)
        assert missing[m] / (missing[m] + rest[m]) == pytest.approx(1 - now / then, rel=1e-6)


def test_beside_another_property() -> None:
    """In a joint of two properties that share nothing the densities multiply, and every question of the consensus is answered."""
    df = ladder(20, 3)[0]
    df = df[df[NAMES].notna().any(axis=1)].reset_index(drop=True)
    df["h"] = 2 * df["y"] + np.random.default_rng(0).normal(0, 0.3, len(df))
    other = rm.Model("h", levels={"material": "solid"}, theory=rm.theory.Calibrated("A_full"))
    df["A_full"] = df["y"] + 0.1
    own, rest, joint = model("full", 5.0, UNSURE).bind(with_u(df)), other.bind(df), rm.Joint([model("full", 5.0, UNSURE), other])
    both = joint.bind(with_u(df))
    p, q = some_psi(own, 1), some_psi(rest, 2)
    every = {f"y_{name}": v for name, v in p.items()} | {f"h_{name}": v for name, v in q.items()}
    first, second, whole = System(own), System(rest), System(both)
    assert whole.log_marginal(every) == pytest.approx(first.log_marginal(p) + second.log_marginal(q), rel=1e-9)
    term = next(t for t in both.all_terms if t.update is not None)
    assert term.factor(every, np) == pytest.approx(own.terms[0].factor(p, np), rel=1e-12)
    state = {name: np.asarray(every[name])[None] for name in term.update.names}
    assert term.update.beyond(state)[0] == pytest.approx(term.factor(every, np), rel=1e-10)
    fit = joint.fit(with_u(df), draws=16, seed=1, progress=False)
    assert {"consensus", "consensus_missing"} <= set(fit.budget(of="y").table["component"])
    assert len(fit.of("y").theories().table) == 4
    assert set(NAMES) <= set(fit.advise(of="y").table["action"])


def test_it_says_what_is_wrong() -> None:
    with pytest.raises(rm.ModelError, match="two or more"):
        rm.theory.Consensus(["A"])
    with pytest.raises(rm.ModelError, match="did you mean 'PBE'"):
        rm.theory.Consensus(["PBE", "HSE06"], families={"f": ["PBEE"]})
    with pytest.raises(rm.ModelError, match="above 2"):
        rm.theory.Consensus(["A", "B"], nu=1.0)
    df, _ = ladder(10, 1)
    with pytest.raises(rm.DataError, match="no value anywhere of D"):
        model().bind(df.assign(D=np.nan))
    with pytest.raises(rm.ModelError, match="has not"):
        rm.Model("y", theory=rm.theory.Constant()).fit(df, draws=20, seed=1, progress=False).theories()


def test_more_theories_than_materials() -> None:
    rng = np.random.default_rng(8)
    t = rng.normal(0, 1, 11)
    names = [f"T{k}" for k in range(105)]
    x = t[:, None] + rng.normal(0, 0.3, 105) + 0.2 * rng.normal(size=(11, 105))
    df = pd.DataFrame(x, columns=names).assign(y=t + 0.05 * rng.normal(size=11), solid=[f"s{k}" for k in range(11)])
    theory = rm.theory.Consensus(names, families={"all": names[:50]})
    fit = rm.Model("y", levels={"material": "solid"}, theory=theory).fit(df, draws=20, seed=1, progress=False)
    assert fit.tree["posterior"]["consensus_bias"].shape == (4, 20, 105)
