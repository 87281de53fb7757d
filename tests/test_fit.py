"""The result: groups, names and attributes as ArviZ users expect, and files that come back to the bit."""

import warnings

import arviz as az
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import realmat as rm
from realmat.posterior import pointwise


def layered(seed: int = 1) -> pd.DataFrame:
    """Labels of several kinds, a latent state with gaps, stated and unstated u."""
    rng = np.random.default_rng(seed)
    piece = np.repeat(np.arange(24), 3)
    grain = rng.lognormal(3, 0.3, 24)
    t = rng.normal(size=8)[piece // 3]
    y = 50 + 3 * t + 20 * grain[piece] ** -0.5 + rng.normal(0, 0.5, 24)[piece] + rng.normal(0, 0.3, 72)
    first = np.arange(72) % 3 == 0
    return pd.DataFrame(
        {
            "y": y,
            "t": t,
            "mat": np.array([f"M{m}" for m in piece // 3], dtype=object),
            "piece": piece,
            "lab": [["a", 7, "c"][i % 3] for i in range(72)],
            "u": np.where(np.arange(72) % 4 == 0, np.nan, 0.3),
            "grain": np.where(first & (piece % 2 == 0), grain[piece], np.nan),
        }
    )


MODEL = rm.Model(
    "y",
    unit="MPa",
    levels={"material": "mat", "specimen": "piece", "lab": "lab"},
    theory=rm.theory.Calibrated("t"),
    material=[rm.material.GrainSize("grain", u=1.0), rm.material.Unresolved("specimen")],
    observation=rm.observation.Normal(u="u", scale=False, bias_by="lab"),
)


@pytest.fixture(scope="module")
def fit():
    """One fit for all tests of this file."""
    return MODEL.fit(layered(), draws=250, seed=4, progress=False)


def test_groups_names_and_dims(fit):
    """Posterior variables are `<component>_<parameter>` with named dims and coords; every documented group is there."""
    tree = fit.tree
    assert {
        "posterior",
        "prior",
        "prior_predictive",
        "posterior_predictive",
        "log_likelihood",
        "log_prior",
        "observed_data",
        "constant_data",
        "sample_stats",
    } <= set(tree.children)
    posterior = tree["posterior"]
    for name in (
        "calibrated_intercept",
        "calibrated_slope",
        "unresolved_specimen_scale",
        "noise_unstated_scale",
        "bias_lab_scale",
        "grain_size_grain_slope",
    ):
        assert posterior[name].dims == ("chain", "draw"), name
    assert posterior["unresolved_specimen"].dims == ("chain", "draw", "specimen")
    assert list(posterior["specimen"].values) == list(range(24))
    assert posterior["bias_lab"].dims == ("chain", "draw", "lab")
    assert list(posterior["lab"].values) == ["a", "7", "c"]
    assert posterior["grain_size_grain"].sizes["specimen"] == 24
    assert dict(tree["observed_data"].sizes) == {"row": 72}
    for key in ("model", "data_hash", "realmat_version", "numpy_version", "seed", "engine"):
        assert tree.attrs[key] not in ("", None), key


def test_summary_is_in_the_order_of_layers(fit):
    """Theory first, observation last."""
    names = list(dict.fromkeys(str(i).split("[")[0] for i in fit.summary().index))
    order = ["calibrated_intercept", "grain_size_grain_slope", "unresolved_specimen_scale", "noise_unstated_scale"]
    assert [n for n in names if n in order] == order


def test_arviz_reads_it(fit):
    """az.loo and az.summary work on the tree as on any other; PSIS on latents may warn, which is why `fit.loo` integrates them out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert np.isfinite(az.loo(fit.tree).elpd)
    assert "calibrated_slope" in az.summary(fit.tree, var_names=["calibrated_slope"]).index


def test_log_likelihood_is_the_normal_density(fit):
    """Rows, draw by draw, against scipy."""
    from scipy.stats import norm

    tree, df = fit.tree, layered()
    p = tree["posterior"]
    state = p["grain_size_grain"].values[0, 10]
    scale = np.where(np.isnan(df["u"]), p["noise_unstated_scale"].values[0, 10], 0.3)
    labs = {"a": 0, 7: 1, "c": 2}
    mean = (
        p["calibrated_intercept"].values[0, 10]
        + p["calibrated_slope"].values[0, 10] * df["t"]
        + p["grain_size_grain_slope"].values[0, 10] * (np.sign(state) * np.abs(state) ** -0.5)[df["piece"]]
        + p["unresolved_specimen"].values[0, 10][df["piece"]]
        + p["bias_lab"].values[0, 10][[labs[v] for v in df["lab"]]]
    )
    assert tree["log_likelihood"]["y"].values[0, 10] == pytest.approx(norm(mean, scale).logpdf(df["y"]), rel=1e-8)


def test_saved_and_loaded_to_the_bit(fit, tmp_path):
    """Model, draws, tree and tables are equal after a round trip."""
    path = fit.save(tmp_path / "fit.nc")
    again = rm.load(path)
    assert again.model == fit.model
    for group in fit.tree.children:
        xr.testing.assert_identical(again.tree[group].to_dataset(), fit.tree[group].to_dataset())
    for name, draws in fit.posterior.draws.coefficients.items():
        assert np.array_equal(again.posterior.draws.coefficients[name], draws), name
    pd.testing.assert_frame_equal(again.summary(), fit.summary())
    pd.testing.assert_frame_equal(again.budget(new="specimen").table, fit.budget(new="specimen").table)
    pd.testing.assert_frame_equal(again.gap().table, fit.gap().table)
    xr.testing.assert_identical(again.predict(layered().head(5)), fit.predict(layered().head(5)))
    assert not list(tmp_path.glob(".*"))


def test_a_file_keeps_little_more_than_the_draws(fit, tmp_path):
    """At most 1.5 times the draws in float64, and some kilobytes for the table and the description."""
    path = fit.save(tmp_path / "fit.nc")
    draws = sum(v.nbytes for v in [*fit.posterior.draws.params.values(), *fit.posterior.draws.coefficients.values()])
    assert path.stat().st_size <= 1.5 * draws + 200_000
    kept = xr.open_datatree(path, engine="netcdf4")
    assert "log_likelihood" not in kept.children
    state = "grain_size_grain"
    np.testing.assert_allclose(kept["posterior"][state], fit.tree["posterior"][state], rtol=1e-6)  # in the unit of its column
    kept.close()


def test_a_file_of_the_whole_tree_is_read_too(fit, tmp_path):
    """As `Fit.save` wrote it up to format 2, and as `fit.tree.to_netcdf` does."""
    fit.tree.to_netcdf(tmp_path / "whole.nc", engine="netcdf4")
    again = rm.load(tmp_path / "whole.nc")
    assert again.model == fit.model
    for name, draws in fit.posterior.draws.coefficients.items():
        assert np.array_equal(again.posterior.draws.coefficients[name], draws), name
    pd.testing.assert_frame_equal(again.budget().table, fit.budget().table)


def test_labels_keep_their_types(tmp_path):
    """Numbers, text, truth values and nothing among the labels come back as they were, in the table and in its index."""
    df = pd.DataFrame({"y": np.arange(8.0) % 3, "lab": np.array(["a", 7, True, "a", 2.5, 7, "True", "a"], dtype=object)})
    df.index = pd.Index(["r1", 2, "r3", 4, "ü/x", 6, 7, 8], dtype=object)
    found = rm.Model("y", observation=rm.observation.Normal(bias_by="lab")).fit(df, draws=20, chains=2, seed=1, progress=False)
    again = rm.load(found.save(tmp_path / "labels.nc")).problem.table
    assert [(type(v), v) for v in again.columns["lab"]] == [(type(v), v) for v in found.problem.table.columns["lab"]]
    assert list(again.index) == list(df.index)


def test_names_that_no_file_holds(tmp_path):
    """Slashes in units, leading signs, trailing spaces: the fit is summed up, saved, and knows the columns by their own names."""
    rng = np.random.default_rng(4)
    mat = np.repeat(np.arange(8), 3)
    df = pd.DataFrame(
        {
            "E (eV/atom)": rng.normal(size=24),
            "PBE/atom": rng.normal(size=8)[mat],
            "PBE_atom": 1.0,
            "%C ": rng.normal(size=24),
            "O/ppm": rng.lognormal(size=8)[mat],
            "m/n": np.array(list("abcdefgh"))[mat],
            "route/x": np.array(["a/b", "c"])[mat % 2],
        }
    )
    model = rm.Model(
        "E (eV/atom)",
        levels={"material": "m/n"},
        theory=rm.theory.Calibrated("PBE/atom"),
        material=[
            rm.material.Effect("%C "),
            rm.material.Impurities(["O/ppm"], u=0.1),
            rm.material.Process("route/x"),
            rm.material.Unresolved("material"),
        ],
        observation=rm.observation.Normal(u="PBE_atom"),
    )
    found = model.fit(df, draws=50, chains=2, seed=1, progress=False)
    again = rm.load(found.save(tmp_path / "named.nc"))
    pd.testing.assert_frame_equal(again.summary(), found.summary())
    assert again.problem.table.digest == found.problem.table.digest
    assert set(again.problem.table.columns) >= {"E (eV/atom)", "PBE/atom", "PBE_atom", "%C "}
    assert "E (eV_atom)" in again.tree["log_likelihood"]
    assert again.report(tmp_path / "named.html").stat().st_size > 0


def test_budget_rows_sum_to_one(fit):
    """Overall and for every row, to 1e-9."""
    for new in ("observation", "specimen", "material"):
        assert abs(fit.budget(new=new).table["share"].sum() - 1) < 1e-9


def test_files_that_are_not_fits(fit, tmp_path):
    """Missing, foreign, truncated and edited files are refused, each with what is wrong."""
    with pytest.raises(rm.FileError, match="does not exist"):
        rm.load(tmp_path / "none.nc")
    (tmp_path / "text.nc").write_text("hello")
    with pytest.raises(rm.FileError, match="not a NetCDF file"):
        rm.load(tmp_path / "text.nc")
    xr.Dataset({"x": 1.0}).to_netcdf(tmp_path / "foreign.nc", engine="netcdf4")
    with pytest.raises(rm.FileError, match="not a realmat fit"):
        rm.load(tmp_path / "foreign.nc")
    whole = fit.save(tmp_path / "fit.nc").read_bytes()
    (tmp_path / "half.nc").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(rm.FileError, match="damaged"):
        rm.load(tmp_path / "half.nc")
    edited = fit.tree.copy(deep=True)
    t = edited["constant_data"]["t"]
    edited["constant_data"]["t"] = t.copy(data=t.values + 1.0)
    edited.to_netcdf(tmp_path / "edited.nc", engine="netcdf4")
    with pytest.raises(rm.FileError, match="do not match their hash"):
        rm.load(tmp_path / "edited.nc")
    edited["constant_data"]["t"] = t.drop_attrs()
    edited.to_netcdf(tmp_path / "bare.nc", engine="netcdf4")
    with pytest.raises(rm.FileError, match="cannot be read back: it lacks 'realmat'"):
        rm.load(tmp_path / "bare.nc")


def test_saving_where_one_cannot(fit, tmp_path):
    """A folder that does not exist is a clear error, and nothing is left behind."""
    with pytest.raises(rm.FileError, match="cannot write"):
        fit.save(tmp_path / "no" / "where.nc")


def test_prior_predictive():
    """Without a fit: prior and predicted response with the table's rows."""
    tree = MODEL.prior_predictive(layered(), draws=100)
    assert tree["prior_predictive"]["y"].sizes == {"chain": 1, "draw": 100, "row": 72}
    assert np.isfinite(tree["prior_predictive"]["y"].values).all()


def test_more_rows_than_a_group_keeps_draws_for(monkeypatch):
    """Groups by row then hold fewer draws than the posterior, those of the prior too, and all have the draw numbers they are of."""
    monkeypatch.setattr(pointwise, "_MOST_NUMBERS", 72 * 4 * 40)
    tree = MODEL.fit(layered(), draws=100, seed=4, progress=False).tree
    assert tree["posterior"].sizes["draw"] == 100
    assert tree["posterior_predictive"].sizes["draw"] == tree["log_likelihood"].sizes["draw"] == 40
    assert tree["prior_predictive"].sizes["draw"] == 160  # of one chain
    assert tree["posterior_predictive"]["draw"].values[[0, -1]].tolist() == [0, 99]
    assert tree["prior_predictive"]["draw"].values[[0, -1]].tolist() == [0, 499]
