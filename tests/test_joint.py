"""Several properties of one specimen, against the dense Gaussian that they are, and against published facts about the LKJ prior."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats

import realmat as rm
from realmat.algebra import System
from realmat.posterior import prior_draws


def member(response, by="specimen", **state):
    rest = [rm.material.Effect("x", **state)] if state else []
    levels = {"specimen": "piece", "material": "alloy"}
    return rm.Model(response, levels=levels, theory=rm.theory.Constant(), material=[*rest, rm.material.Unresolved(by=by)])


@pytest.fixture
def table():
    """Nine rows of six pieces: strength, hardness and modulus each in some rows, two or three of them in others."""
    rng = np.random.default_rng(3)
    piece = np.array([0, 0, 1, 1, 2, 3, 4, 5, 5])
    out = pd.DataFrame({"piece": [f"p{k}" for k in piece], "alloy": [f"a{k // 2}" for k in piece]})
    for name, rows in (("strength", [0, 1, 2, 4, 5]), ("hardness", [1, 2, 3, 5, 6, 7]), ("modulus", [0, 2, 4, 5, 8])):
        out[name] = np.nan
        out.loc[rows, name] = rng.normal(size=len(rows))
    out["x"] = np.where(rng.random(len(out)) < 0.6, rng.normal(size=len(out)), np.nan)
    out["x_u"] = 0.3
    return out


def values(problem, seed):
    """Some psi, by name."""
    posterior = prior_draws.draw(problem, 1, seed)
    return {name: v[0, 0] for name, v in posterior.draws.params.items()}


def correlation(p, name, responses):
    """The matrix from partial correlations, by the recursion of Lewandowski, Kurowicka & Joe (2009), eq. 1, not by our factor."""
    r = {(a, b): 2 * p[f"{name}_partial_{a}_{b}"] - 1 for i, a in enumerate(responses) for b in responses[i + 1 :]}
    a, b = responses[:2]
    out = np.eye(len(responses))
    out[0, 1] = out[1, 0] = r[a, b]
    if len(responses) == 3:
        c = responses[2]
        out[0, 2] = out[2, 0] = r[a, c]
        out[1, 2] = out[2, 1] = r[b, c] * np.sqrt((1 - r[a, b] ** 2) * (1 - r[a, c] ** 2)) + r[a, b] * r[a, c]
    return out


def dense_log_density(joint, table, p):
    """log p(everything measured | psi) from covariances written down row by row."""
    names = list(joint.responses)
    bound = {c.name: (float(np.ravel(c.mean)[0]), float(np.ravel(c.sd)[0])) for c in joint.bind(table).coefficients if c.size == 1}
    rows = [(name, i) for name in names for i in np.flatnonzero(table[name].notna())]
    rows += [("x", i) for i in np.flatnonzero(table["x"].notna())]
    e = correlation(p, "unresolved_specimen", names)
    scale = np.array([p[f"{n}_unresolved_specimen_scale"] for n in names])
    effects = e * np.outer(scale, scale)
    noise = np.diag([p[f"{n}_noise_scale"] ** 2 for n in names])
    if "noise" in joint.correlate:
        sd = np.sqrt(np.diag(noise))
        r = correlation(p, "noise", names)
        noise = (0.98 * r + 0.02 * np.eye(len(names))) * np.outer(sd, sd)
    v, mean, y = np.zeros((len(rows), len(rows))), np.zeros(len(rows)), np.zeros(len(rows))
    weight = [p.get(f"{n}_effect_x_slope", 1.0) for n, _ in rows]  # of the state in each row
    m_x, s_x = bound["effect_x_mean"]
    for k, (n, i) in enumerate(rows):
        mean[k] = weight[k] * m_x + (bound[f"{n}_constant"][0] if n != "x" else 0.0)
        y[k] = table[n][i]
        for m, (o, j) in enumerate(rows):
            same = table["piece"][i] == table["piece"][j]
            v[k, m] = weight[k] * weight[m] * (s_x**2 + same * p["effect_x_sd"] ** 2)
            if n == "x" or o == "x":
                v[k, m] += (k == m) * 0.3**2
                continue
            a, b = names.index(n), names.index(o)
            v[k, m] += (a == b) * bound[f"{n}_constant"][1] ** 2 + same * effects[a, b] + (i == j) * noise[a, b]
    return stats.multivariate_normal(mean, v).logpdf(y)


@pytest.mark.parametrize("correlate", [["unresolved_specimen"], ["unresolved_specimen", "noise"]])
def test_the_density_of_a_joint_problem_is_that_of_the_dense_gaussian(table, correlate):
    joint = rm.Joint([member(r, u="x_u") for r in ("strength", "hardness", "modulus")], correlate=correlate)
    problem = joint.bind(table)
    for seed in range(3):
        p = values(problem, seed)
        truth = dense_log_density(joint, table, p)
        for response in joint.responses:  # the same through whichever property it is seen
            assert System(problem.of(response)).log_marginal(p) == pytest.approx(truth, rel=1e-9)


def test_names_of_a_joint_model(table):
    joint = rm.Joint([member(r, u="x_u") for r in ("strength", "hardness")], correlate=["unresolved_specimen"])
    problem = joint.bind(table)
    names = {x.name for x in (*problem.params, *problem.coefficients, *problem.derived)}
    shared = {"effect_x", "effect_x_mean", "effect_x_sd", "unresolved_specimen_correlation"}
    own = {f"{r}_{x}" for r in joint.responses for x in ("effect_x_slope", "unresolved_specimen", "noise_scale", "constant")}
    assert shared | own <= names
    assert "strength_effect_x" not in names
    assert len(problem.term("effect_x").states) == 1


def test_a_joint_of_one_is_the_model_alone(table):
    rows = table[table["strength"].notna()]
    model = member("strength", u="x_u")
    alone, joint = model.bind(rows), rm.Joint([model]).bind(rows)
    for seed in range(3):
        p = values(alone, seed)
        q = {f"strength_{name}": v for name, v in p.items()}
        assert System(joint).log_marginal(q) == System(alone).log_marginal(p)
    a, b = (m.fit(rows, draws=50, chains=2, seed=2, progress=False).posterior.draws for m in (model, rm.Joint([model])))
    for name, drawn in a.coefficients.items():
        np.testing.assert_allclose(b.coefficients[f"strength_{name}"], drawn, rtol=1e-9)


def test_correlations_have_the_lkj_prior(table):
    """Each correlation of a 3 x 3 matrix is Beta(eta + 1/2, eta + 1/2) on (-1, 1) (Lewandowski, Kurowicka & Joe 2009, p. 1999)."""
    joint = rm.Joint([member(r) for r in ("strength", "hardness", "modulus")], correlate=["unresolved_specimen"])
    prior = prior_draws.draw(joint.bind(table), 4000, 1)
    matrix = prior.derived(prior.problem.derived[0])
    assert matrix.shape == (4000, 3, 3)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert stats.kstest((1 + matrix[:, a, b]) / 2, stats.beta(2.5, 2.5).cdf).pvalue > 1e-3
    np.testing.assert_allclose(np.diagonal(matrix, axis1=1, axis2=2), 1.0)
    assert (np.linalg.eigvalsh(matrix)[:, 0] > 0).all()


def test_a_shared_parameter_is_one(table):
    k = rm.Shared("k1", rm.Prior("LogNormal", mu=0.0, sigma=0.5))
    members = [
        rm.Model(r, levels={"specimen": "piece"}, theory=rm.theory.Constant(), material=rm.material.Effect("x2", slope=k))
        for r in ("strength", "hardness")
    ]
    problem = rm.Joint(members).bind(table.assign(x2=np.arange(9.0)))
    assert [q.name for q in problem.params] == ["k1", "strength_noise_scale", "hardness_noise_scale"]
    assert rm.Joint.from_dict(rm.Joint(members).to_dict()) == rm.Joint(members)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: rm.Joint([member("a"), member("a")]), "two models are of a"),
        (lambda: rm.Joint([member("a"), rm.Model("b", theory=rm.theory.Constant())]), "levels differ"),
        (lambda: rm.Joint([member("a"), member("x", u="x_u"), member("b", u="x_u")]), "'x' is a property of its own"),
        (lambda: rm.Joint([]), "list of rm.Model"),
    ],
)
def test_a_joint_model_that_contradicts_itself_is_refused(make, said):
    with pytest.raises(rm.ModelError, match=said):
        make()


def test_what_cannot_be_bound_is_said(table):
    joint = rm.Joint([member("strength", u="x_u"), member("hardness", u=0.3)])
    with pytest.raises(rm.ModelError, match=r"declared in two ways: u='x_u' for strength, u=0\.3 for hardness"):
        joint.bind(table)
    with pytest.raises(rm.ModelError, match="'bias_lab' must be an effect by level of at least two"):
        rm.Joint([member("strength"), member("hardness")], correlate=["bias_lab"]).bind(table)
    with pytest.raises(rm.DataError, match="no row holds a value of 'hardness'"):
        rm.Joint([member("strength"), member("hardness")]).bind(table.assign(hardness=np.nan))


def test_long_tables_are_wide_ones(table):
    joint = rm.Joint([member("strength"), member("hardness")], long=("property", "value"))
    wide = table[["piece", "alloy", "strength", "hardness"]]
    long = wide.melt(["piece", "alloy"], var_name="property").dropna().reset_index(drop=True)
    p = values(joint.bind(long), 1)
    assert System(joint.bind(long)).log_marginal(p) == pytest.approx(System(joint.bind(wide)).log_marginal(p), rel=1e-12)
    with pytest.raises(rm.DataError, match="no model of modulus"):
        joint.bind(long.assign(property="modulus"))


@pytest.fixture(scope="module")
def fitted():
    """A joint fit of two properties, of which few pieces have both."""
    rng = np.random.default_rng(5)
    n = 60
    x, rest = rng.normal(size=n), rng.multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], n)
    readings = {"x": np.where(rng.random(n) < 0.4, x + rng.normal(0, 0.2, n), np.nan), "x_u": 0.2}
    data = pd.DataFrame({"piece": [f"p{k}" for k in range(n)], "alloy": [f"a{k // 3}" for k in range(n)], **readings})
    data["strength"] = np.where(rng.random(n) < 0.6, 10 + 2 * x + rest[:, 0] + rng.normal(0, 0.3, n), np.nan)
    data["hardness"] = np.where(rng.random(n) < 0.8, 5 + x + rest[:, 1] + rng.normal(0, 0.3, n), np.nan)
    joint = rm.Joint([member(r, u="x_u") for r in ("strength", "hardness")], correlate=["unresolved_specimen"], name="pair")
    return data, joint.fit(data, draws=200, chains=2, seed=1, progress=False)


def test_predictions_of_new_pieces_are_the_conditional_normal(fitted):
    """Given psi, strength of a piece of which hardness and a reading of x are known, by the covariance of all measured values."""
    data, fit = fitted
    fresh = pd.DataFrame({"piece": ["n0"], "alloy": ["b0"], "hardness": [6.5], "x": [1.2], "x_u": [0.2]})
    out = fit.predict(fresh, of="strength")
    blind = fit.predict(fresh.drop(columns=["hardness"]), of="strength")
    assert float(out["sd"][0]) < 0.95 * float(blind["sd"][0])
    longer = fit.declared.bind(pd.concat([data, fresh.assign(strength=np.nan)], ignore_index=True))
    means, variances = [], []
    for i in fit.posterior.thin(60):
        p = fit.posterior.values(int(i))
        at = System(longer.of("strength")).at(p)
        place = {c.name: at.system.columns[c.name] for c in longer.coefficients}
        x = np.zeros(at.system.size)
        x[place["strength_constant"]] = 1.0
        x[place["effect_x"].stop - 1] = p["strength_effect_x_slope"]
        x[place["strength_unresolved_specimen"].stop - 1] = 1.0
        means.append(float(x @ at.mean))
        variances.append(float(at.halves(sparse.csr_matrix(x)).variances()[0]) + p["strength_noise_scale"] ** 2)
    sd = np.sqrt(np.mean(variances) + np.var(means))
    assert float(out["mean"][0]) == pytest.approx(np.mean(means), abs=5 * sd / np.sqrt(60))
    assert float(out["sd"][0]) == pytest.approx(sd, rel=0.1)


def test_rows_of_the_fit_are_not_counted_twice(fitted):
    data, fit = fitted
    rows = data[data["strength"].isna() & data["hardness"].notna()].drop(columns=["strength"])
    again = fit.predict(rows, of="strength")
    without = fit.predict(rows.drop(columns=["hardness"]), of="strength")
    np.testing.assert_allclose(again["mean"], without["mean"])


def test_a_joint_fit_is_asked_of_one_property(fitted):
    _, fit = fitted
    with pytest.raises(rm.ModelError, match="say of which property with of="):
        fit.budget()
    with pytest.raises(rm.ModelError, match="no property 'modulus'"):
        fit.budget(of="modulus")
    for name in ("strength", "hardness"):
        assert fit.budget(of=name, new="specimen").table["share"].sum() == pytest.approx(1.0)
        assert len(fit.of(name).gap().table) == fit.of(name).problem.table.level("specimen").size
        assert fit.of(name).repeatability().response == name
    advice = fit.advise(of="strength", costs={"hardness": 1, "strength": 20, "x": 5}).table
    costs = dict(zip(advice["what"], advice["cost"], strict=True))
    assert {v for k, v in costs.items() if k.startswith("hardness of")} == {1.0}
    assert {v for k, v in costs.items() if k.startswith("strength of")} == {20.0}
    assert {v for k, v in costs.items() if k.startswith("effect_x of")} == {5.0}


def test_a_joint_fit_is_saved_and_loaded(fitted, tmp_path):
    data, fit = fitted
    back = rm.load(fit.save(tmp_path / "pair.nc"))
    assert back.declared == fit.declared
    new = data.iloc[:5].assign(piece=[f"n{k}" for k in range(5)]).drop(columns=["strength"])
    np.testing.assert_array_equal(back.predict(new, of="strength")["mean"], fit.predict(new, of="strength")["mean"])
    assert back.tree["posterior"]["unresolved_specimen_correlation"].dims == ("chain", "draw", "property", "property_")
    assert set(back.tree["posterior_predictive"].data_vars) == {"strength", "hardness"}
    assert "hardness_noise_scale" in back.summary().index
    assert "hardness_noise_scale" not in back.of("strength").summary().index


def test_residuals_of_correlated_effects_are_independent_standard_normal():
    """What `check` looks at, on draws of the prior: each property's effect given the others, by the sd that they leave it."""
    from realmat.validation.misfit.pivots import _effects

    rng = np.random.default_rng(4)
    df = pd.DataFrame(
        {"piece": [f"p{k}" for k in range(40)], "alloy": "a", "strength": rng.normal(size=40), "hardness": rng.normal(size=40)}
    )
    joint = rm.Joint([member("strength"), member("hardness")], correlate=["unresolved_specimen"])
    problem = joint.bind(df)
    posterior = prior_draws.draw(problem, 400, 5)
    blocks = [c for c in problem.coefficients if c.name.endswith("unresolved_specimen")]
    assert any(block.leans for block in blocks)
    one, two = (_effects(posterior, block, np.arange(40), np.arange(400)).z.ravel() for block in blocks)
    for z in (one, two):  # 16,000 numbers: four standard errors
        assert z.var() == pytest.approx(1, abs=4 * np.sqrt(2 / z.size))
    assert np.corrcoef(one, two)[0, 1] == pytest.approx(0, abs=4 / np.sqrt(one.size))
