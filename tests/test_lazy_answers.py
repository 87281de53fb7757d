"""Every answer of a fit to a table that was reduced where it lives is that of the same fit to its rows in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import realmat as rm
from realmat.algebra import System
from realmat.posterior.draws import Posterior
from realmat.table import lazy

pytest.importorskip("polars", reason="needs the extra realmat[big]")

KEYS = ["mat", "piece", "lab", "t", "grain", "grain_u"]


def model(link: str = "identity", **changes) -> rm.Model:
    parts = {
        "unit": "MPa",
        "levels": {"material": "mat", "specimen": "piece", "lab": "lab"},
        "theory": rm.theory.Calibrated("t"),
        "material": [rm.material.Effect("grain", u="grain_u"), rm.material.Unresolved(by="specimen")],
        "observation": rm.observation.Normal(bias_by="lab"),
    }
    return rm.Model("y", link=link, **{**parts, **changes})


def rows() -> pd.DataFrame:
    """2,400 readings of twelve pieces of six materials in three laboratories, from 20 to 100 in a cell; in the order of the cells."""
    rng = np.random.default_rng(8)
    piece, lab = (part.ravel() for part in np.meshgrid(np.arange(12), np.arange(3), indexing="ij"))
    many = rng.integers(20, 101, 36)
    s, place = np.repeat(piece, many), np.repeat(lab, many)
    m, grain = s // 2, np.round(rng.normal(10, 2, 12), 3)
    t = np.round(np.linspace(2, 4, 6), 3)
    y = 10 + t[m] + 0.05 * grain[s] + rng.normal(0, 0.2, 12)[s] + rng.normal(0, 0.1, 3)[place] + rng.normal(0, 0.3, len(s))
    table = {
        "y": y,
        "mat": [f"m{k}" for k in m],
        "piece": [f"s{k:02d}" for k in s],
        "lab": place,
        "t": t[m],
        "grain": grain[s],
        "grain_u": 0.3,
    }
    return pd.DataFrame(table)


@pytest.fixture(scope="module", params=["identity", "log"])
def fits(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """The rows, a fit to them, a fit to the same as Parquet, and that saved and loaded."""
    df, folder = rows(), tmp_path_factory.mktemp("lazy")
    df.sample(frac=1, random_state=1).to_parquet(folder / "rows.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lazy, "ROWS", 100)
        own = model(request.param)
        whole = own.fit(df, draws=200, chains=2, seed=1, progress=False)
        problem = own.bind(folder / "rows.parquet")
        cells = rm.Fit(own, Posterior(problem, whole.posterior.draws))  # the draws of the rows: what is left are the answers
        yield df, whole, cells, rm.load(cells.save(folder / "fit.nc")), folder


def near(one, two, rtol: float = 1e-6, what: str = "") -> None:
    """Frames with the same labels and texts, and numbers that differ by rounding."""
    assert list(one.columns) == list(two.columns)
    for name in one.columns:
        a, b = one[name].to_numpy(), two[name].to_numpy()
        if a.dtype.kind == "f":
            np.testing.assert_allclose(b, a, rtol=rtol, atol=rtol * (np.nanmax(np.abs(a)) or 1.0), err_msg=f"{what} {name}")
        else:
            np.testing.assert_array_equal(b, a, err_msg=f"{what} {name}")


def by_cell(df: pd.DataFrame, values: np.ndarray) -> np.ndarray:
    """The one value that the rows of each cell share."""
    groups = pd.Series(values).groupby([df["piece"], df["lab"]], sort=False)
    assert float((groups.max() - groups.min()).max()) < 1e-8
    return groups.first().to_numpy()


def test_the_problem(fits) -> None:
    """Priors, measured rows and the marginal likelihood, here and as they come back from a file."""
    df, whole, cells, loaded, _ = fits
    assert len(cells.problem.table) == 36
    assert cells.problem.table.readings == len(df)
    assert repr(cells) == repr(whole)
    psi = whole.posterior.values(7)
    want = System(whole.problem).at(psi).log_marginal
    for fit in (cells, loaded):
        assert [str(q.prior) for q in fit.problem.params] == [str(q.prior) for q in whole.problem.params]
        for a, b in zip(whole.problem.rows, fit.problem.rows, strict=True):
            for name in ("y", "count", "within"):
                np.testing.assert_allclose(getattr(b, name), getattr(a, name), rtol=1e-10, err_msg=f"{a.name} {name}")
        np.testing.assert_allclose(System(fit.problem).at(psi).log_marginal, want, rtol=1e-9)
    for name, drawn in cells.posterior.draws.params.items():
        np.testing.assert_array_equal(loaded.posterior.draws.params[name], drawn)


ANSWERS = {
    "summary": lambda fit: fit.summary(kind="stats", round_to="none"),
    "budget": lambda fit: fit.budget().table,
    "budget of a new piece": lambda fit: fit.budget(new="specimen").table,
    "budget of a new material": lambda fit: fit.budget(new="material").table,
    "gap": lambda fit: fit.gap().table,
    "gap by laboratory": lambda fit: fit.gap("lab").table,
    "gap by material": lambda fit: fit.gap("material").table,
    "repeatability": lambda fit: fit.repeatability().table,
    "biases": lambda fit: fit.repeatability().biases,
    "contrast": lambda fit: fit.contrast("bias_lab").table,
    "predictions": lambda fit: fit.predict(
        {"t": [2.5, 3.0], "grain": [9.0, 11.0], "grain_u": [0.3, 0.3], "piece": ["s01", "new"]}
    ).to_dataframe(),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_answers_are_those_of_the_rows(fits, answer: str) -> None:
    _, whole, cells, loaded, _ = fits
    want = ANSWERS[answer](whole)
    near(want, ANSWERS[answer](cells), what="reduced")
    near(ANSWERS[answer](cells), ANSWERS[answer](loaded), rtol=1e-12, what="loaded")


@pytest.mark.parametrize("fits", ["identity"], indirect=True)
def test_advice(fits) -> None:
    """The target are the rows of the fit: a cell counts as often as it was measured."""
    _, whole, cells, _, _ = fits
    want, found = (fit.advise(["specimen", "characterise"]) for fit in (whole, cells))
    near(want.table, found.table)
    assert found.notes == want.notes


def test_predictions_of_the_cells(fits) -> None:
    df, whole, cells, loaded, _ = fits
    want, found, again = (fit.predict() for fit in (whole, cells, loaded))
    for name in ("mean", "sd", "mean_sd", "lower", "upper"):
        np.testing.assert_allclose(found[name], by_cell(df, want[name].to_numpy()), rtol=1e-4, err_msg=name)
        np.testing.assert_allclose(again[name], found[name], rtol=1e-12)


@pytest.mark.parametrize(("fits", "by"), [("identity", "material"), ("log", "specimen"), ("identity", "lab")], indirect=["fits"])
def test_left_out_groups(fits, by: str) -> None:
    """Densities are those of all readings, in response units."""
    df, whole, cells, loaded, _ = fits
    want, found, again = (fit.left_out(by, refit=False) for fit in (whole, cells, loaded))
    want_i, found_i = want.elpd.elpd_i.values, found.elpd.elpd_i.values
    np.testing.assert_allclose(found_i, want_i, atol=0.3)  # groups for which hyperparameters are drawn anew: their Monte Carlo error
    assert np.isclose(found_i, want_i, rtol=1e-6).mean() >= 0.3
    np.testing.assert_allclose(again.elpd.elpd_i, found.elpd.elpd_i, rtol=1e-10)
    np.testing.assert_allclose(found.table["mean"], by_cell(df, want.table["mean"].to_numpy()), atol=0.05)
    assert (found.table["sd"].to_numpy() < by_cell(df, want.table["sd"].to_numpy())).all()  # of the mean of a cell


@pytest.mark.parametrize("fits", ["identity"], indirect=True)
def test_comparisons(fits) -> None:
    df, whole, cells, _, folder = fits
    ideal = model(whole.problem.link, material=None)
    rows = ideal.fit(df, draws=200, chains=2, seed=1, progress=False)
    reduced = rm.Fit(ideal, Posterior(ideal.bind(folder / "rows.parquet"), rows.posterior.draws))
    pairs = [{"real": whole, "ideal": rows}, {"real": cells, "ideal": reduced}]
    want, found = (rm.compare(pair, by="specimen").table for pair in pairs)
    assert list(want.index) == list(found.index) == ["real", "ideal"]
    np.testing.assert_allclose(found["elpd"], want["elpd"], atol=0.5)
    with pytest.raises(rm.ModelError, match="leave out by what all of them know: mat, piece, lab, t"):
        rm.compare(pairs[1])


def test_calibration_is_that_of_means(fits) -> None:
    """The distribution function of each cell's mean, against a fit to the means with the noise that they have."""
    _, _, cells, _, _ = fits
    table = cells.problem.table
    left = cells.left_out("observation", refit=False).table
    assert left["pit"].between(0.001, 0.999).all()
    assert 0.2 < left["pit"].std() < 0.4  # of a uniform distribution 0.29
    drawn = cells.tree["posterior_predictive"]["y"].values.reshape(-1, len(table))
    g = np.log(drawn) if cells.problem.link == "log" else drawn
    noise = cells.posterior.param("noise_scale").mean()
    wide = np.sqrt(noise**2 / table.count)
    assert (g.std(axis=0) > 0.95 * wide).all()
    assert (g.std(axis=0) < 3 * wide).all()


@pytest.mark.parametrize("fits", ["identity"], indirect=True)
def test_checks(fits) -> None:
    df, whole, cells, loaded, folder = fits
    assert loaded.check().text == cells.check().text
    assert not cells.check().findings.shape[0]
    design = whole.model.check(folder / "rows.parquet")
    want, found = (check.table.astype(str) for check in (whole.model.check(df), design))
    response = want["item"] == "y (response)"
    near(want[~response], found[~response])
    assert found["value"][response].str.endswith("(means of cells)").all()
    assert f"{len(df):,} rows were reduced to 36 cells" in design.text


@pytest.mark.parametrize("fits", ["identity"], indirect=True)
def test_cross_validation(fits) -> None:
    df, whole, _, _, folder = fits
    want, found = (rm.cross_validate(whole.model, data, 3, by="material", draws=100).rows for data in (df, folder / "rows.parquet"))
    np.testing.assert_allclose(found["mean"], by_cell(df, want["mean"].to_numpy()), atol=0.5 * want["sd"].max())  # other draws
    assert (found["sd"].to_numpy() < by_cell(df, want["sd"].to_numpy())).all()
    with pytest.raises(rm.ModelError, match="keeps the columns of the model only"):
        rm.cross_validate(whole.model, folder / "rows.parquet", 3, by="day")


def test_updates(fits) -> None:
    """One more piece: the answer of the rows, whether the table was loaded or not."""
    df, whole, cells, loaded, _ = fits
    new = pd.DataFrame(
        {"y": [13.9, 14.1], "mat": "m3", "piece": "s99", "lab": 1, "t": df["t"][df["mat"] == "m3"].iloc[0], "grain": 9.5, "grain_u": 0.3}
    )
    want, found, again = (fit.update(new) for fit in (whole, cells, loaded))
    assert found.problem.table.readings == len(df) + 2
    assert found.facts["update"] == want.facts["update"] == "reweighted"
    near(*(fit.summary(kind="stats", round_to="none")[["mean", "sd"]] for fit in (want, found)), rtol=1e-5)
    near(found.summary(kind="stats", round_to="none"), again.summary(kind="stats", round_to="none"), rtol=1e-10)


@pytest.mark.parametrize("fits", ["log"], indirect=True)
def test_pymc(fits) -> None:
    """The readable model has the density of the rows, but for the Jacobian and what does not depend on unknowns."""
    df, whole, _, _, folder = fits
    models = [whole.model.to_pymc(df), whole.model.to_pymc(folder / "rows.parquet")]
    rng = np.random.default_rng(2)
    points = [{k: v + 0.1 * rng.normal(size=np.shape(v)) for k, v in models[0].initial_point().items()} for _ in range(2)]
    values = [[float(m.compile_logp(mode="FAST_COMPILE")(p)) for p in points] for m in models]
    np.testing.assert_allclose(np.diff(values[1]), np.diff(values[0]), rtol=1e-8)


@pytest.mark.parametrize("fits", ["identity"], indirect=True)
def test_reports_and_pictures(fits) -> None:
    df, _, _, loaded, folder = fits
    page = loaded.report(folder / "report.html").read_text(encoding="utf-8")
    assert f"{len(df):,}".replace(",", " ") in page or f"{len(df)}" in page
    assert "reduced to 36 cells" in page
    left = loaded.left_out("specimen", draws=100)
    parity, calibration = loaded.plot_parity(left_out=left), loaded.plot_calibration(left_out=left)
    for made in (parity, calibration, loaded.plot_budget(), loaded.plot_gap(), loaded.plot_model()):
        assert made.axes
    assert "n = 36" in parity.axes[0].get_title(loc="left")
    assert "means of cells" in parity.axes[0].get_xlabel()


@pytest.mark.parametrize("fits", ["identity"], indirect=True)
def test_a_file_of_everything(fits) -> None:
    """The whole tree is read back too."""
    _, _, cells, _, folder = fits
    cells.tree.to_netcdf(folder / "tree.nc")
    again = rm.load(folder / "tree.nc")
    np.testing.assert_array_equal(again.problem.table.within, cells.problem.table.within)
    near(cells.budget().table, again.budget().table, rtol=1e-10)


def test_a_round_robin_by_material(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy, "ROWS", 100)
    df = rows()
    df.to_parquet(tmp_path / "rows.parquet")
    own = model(material=rm.material.Unresolved(by="specimen"))
    want, found = (
        own.fit(data, draws=50, chains=1, seed=1, progress=False).repeatability("specimen") for data in (df, tmp_path / "rows.parquet")
    )
    near(want.table, found.table, rtol=1e-9)
    near(want.consistency, found.consistency, rtol=1e-9)


@pytest.mark.parametrize(
    "observation",
    [
        rm.observation.StudentT(),
        rm.observation.Normal(between=("lo", "hi")),
        rm.observation.Normal(resolution=0.1),
        rm.observation.Normal(dof=4, u="u"),
        rm.observation.Gamma(),
    ],
    ids=["tails", "between", "resolution", "dof", "gamma"],
)
def test_what_needs_rows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, observation) -> None:
    monkeypatch.setattr(lazy, "ROWS", 100)
    rows().assign(lo=1.0, hi=2.0, u=0.3).to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(rm.DataError, match="this model needs each row"):
        model(getattr(observation, "natural", None) or "identity", observation=observation).bind(tmp_path / "rows.parquet")
