"""Designs whose separability is known from the design alone."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest

import realmat as rm
from realmat.attribution.separability import component_correlation, contraction, inseparable_groups, separate
from realmat.engines import exact
from realmat.posterior.draws import Draws, Posterior


def design(materials: int = 30, pieces: int = 3, repeats: int = 2, labs: int = 4, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    m = np.repeat(np.arange(materials), pieces * repeats)
    s = np.repeat(np.arange(materials * pieces), repeats)
    frame = {"y": rng.normal(size=len(m)), "theory": rng.normal(size=materials)[m], "mat": m, "piece": s, "lab": np.arange(len(m)) % labs}
    return pd.DataFrame(frame)


def model(*by: str, bias: bool = False, **noise: object) -> rm.Model:
    return rm.Model(
        "y",
        levels={"material": "mat", "specimen": "piece", "lab": "lab"},
        theory=rm.theory.Calibrated("theory"),
        material=[rm.material.Unresolved(by=level) for level in by],
        observation=rm.observation.Normal(bias_by="lab" if bias else None, **noise),
    )


BOTH = ("material", "specimen")


def test_a_replicated_design_separates_everything() -> None:
    check = model(*BOTH, bias=True).check(design(labs=8))
    assert check.ok
    assert check.text == "The design can separate every component of the model."
    assert (check.table["verdict"] == "ok").all()
    assert inseparable_groups(model(*BOTH, bias=True).bind(design(labs=8))) == []


def test_one_measurement_a_specimen_cannot_be_split() -> None:
    df = design(repeats=1)
    assert inseparable_groups(model(*BOTH).bind(df)) == [("unresolved_specimen", "noise")]
    text = model(*BOTH).check(df).text
    assert "cannot separate unresolved_specimen from noise: each specimen was measured once" in text
    assert "Repeated measurements of the same specimen or a stated u would separate them" in text


@pytest.mark.parametrize("remedy", ["u", "replicates"])
def test_the_remedy_that_is_named_works(remedy: str) -> None:
    df = design(repeats=1)
    if remedy == "u":
        assert inseparable_groups(model(*BOTH, u=0.3, scale=False).bind(df)) == []
    else:
        more = pd.concat([df, df.iloc[:20]], ignore_index=True)
        assert inseparable_groups(model(*BOTH).bind(more)) == []


def test_one_specimen_a_material_and_one_measurement_join_all_three() -> None:
    df = design(pieces=1, repeats=1)
    assert inseparable_groups(model(*BOTH).bind(df)) == [("unresolved_material", "unresolved_specimen", "noise")]


def test_one_specimen_a_material_with_replicates_joins_the_two_levels() -> None:
    df = design(pieces=1, repeats=3)
    assert inseparable_groups(model(*BOTH).bind(df)) == [("unresolved_material", "unresolved_specimen")]
    text = model(*BOTH).check(df).text
    assert "each material has one specimen" in text
    assert "everal values of specimen for the same material" in text


def test_a_single_lab_says_nothing_about_the_spread_of_labs() -> None:
    check = model(*BOTH, bias=True).check(design(labs=1))
    assert "says little about bias_lab: the table has 1 value of lab" in check.text
    assert inseparable_groups(model(*BOTH, bias=True).bind(design(labs=1))) == []


def test_labs_that_each_make_their_own_material_join_with_it() -> None:
    df = design().assign(lab=lambda d: d["mat"])
    text = model("material", "specimen", bias=True).check(df).text
    assert "cannot separate unresolved_material from bias_lab" in text
    assert "measured by a second lab" in text


def test_a_state_measured_nowhere_but_on_a_few_is_confounded_with_what_nobody_characterised() -> None:
    rng = np.random.default_rng(1)
    df = pd.DataFrame(
        {"y": rng.normal(size=80), "z": np.where(np.arange(80) < 3, rng.normal(size=80), np.nan), "piece": np.arange(80) // 2}
    )
    df.loc[df.duplicated("piece"), "z"] = np.nan
    own = rm.Model(
        "y",
        levels={"specimen": "piece"},
        theory=rm.theory.Constant(),
        material=[rm.material.Effect("z", u=0.1), rm.material.Unresolved(by="specimen")],
    )
    check = own.check(df)
    assert "measured for 2 of 40 specimens" in " ".join(map(str, check.table["value"]))
    found = separate(own.bind(df))
    assert any({"effect_z", "unresolved_specimen"} <= {q.component for q in group} for group in found.groups)
    full = df.assign(z=rng.normal(size=80))
    full.loc[full.duplicated("piece"), "z"] = np.nan
    assert separate(own.bind(full)).groups == ()


def test_columns_and_ranges_are_reported() -> None:
    table = model(*BOTH).check(design()).table.set_index(["part", "item"])["value"]
    assert table["data", "rows"] == 180
    assert table["data", "specimen (piece)"] == "90, 90 of them in more than one row"
    assert "median" in table["columns", "theory"]


def test_thousands_of_rows_take_no_matrix_of_rows_by_rows() -> None:
    df = design(materials=200, pieces=5, repeats=5, labs=10)
    tracemalloc.start()
    try:
        assert inseparable_groups(model(*BOTH, bias=True).bind(df)) == []
        assert inseparable_groups(model(*BOTH, bias=True).bind(df.drop_duplicates("piece"))) == [("unresolved_specimen", "noise")]
        assert tracemalloc.get_traced_memory()[1] < 8 * len(df) ** 2 / 2
    finally:
        tracemalloc.stop()


def test_contraction_of_a_normal_is_one_minus_the_ratio_of_variances() -> None:
    problem = model("material").bind(design())
    sigma = problem.params[0].prior.arguments()["sigma"]
    rng = np.random.default_rng(0)
    draws = {"unresolved_material_scale": problem.params[0].prior.rvs(rng, (2, 4000)) / 2, "noise_scale": rng.normal(0.3, 1e-4, (2, 4000))}
    assert sigma > 0
    table = contraction(Posterior(problem, Draws(draws, {})))
    assert table.loc["unresolved_material_scale", "contraction"] == pytest.approx(0.75, abs=0.02)
    assert table.loc["noise_scale", "contraction"] > 0.999


def test_components_that_share_one_mean_compensate() -> None:
    df = design(materials=6, labs=1)
    problem = model("material", bias=True).bind(df)  # one lab: its bias and the intercept are one
    posterior = Posterior(problem, exact.sample(problem, 250, 4, 1, progress=False))
    got = component_correlation(posterior)
    b = {n: posterior.block(n, posterior.thin(300)) for n in ("calibrated_intercept", "calibrated_slope", "bias_lab")}
    theory = b["calibrated_intercept"] + b["calibrated_slope"] * df["theory"].to_numpy()
    bias = np.broadcast_to(b["bias_lab"], theory.shape)
    covariance = ((theory - theory.mean(0)) * (bias - bias.mean(0))).mean()
    want = covariance / (theory.std(0) ** 2).mean() ** 0.5 / bias.var(0).mean() ** 0.5
    assert got.loc["calibrated", "bias_lab"] == pytest.approx(want, abs=1e-6)
    assert want < -0.3
