"""Tables that are reduced to cells where they live: the same problem as in memory, bad values counted, and what needs rows refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import realmat as rm
from realmat.algebra import System
from realmat.table import lazy

pytestmark = pytest.mark.filterwarnings("ignore:The 'future.infer_string' option:DeprecationWarning")  # Dask, of pandas

MODEL = rm.Model(
    "y",
    levels={"material": "mat", "lab": "lab"},
    theory=rm.theory.Calibrated("t"),
    material=rm.material.Unresolved(by="material"),
    observation=rm.observation.Normal(bias_by="lab"),
)


def rows(offset: float = 0.0) -> pd.DataFrame:
    """Two thousand rows in forty cells."""
    rng = np.random.default_rng(4)
    m, lab = rng.integers(0, 10, 2000), rng.integers(0, 4, 2000)
    t = np.linspace(-1, 1, 10)
    return pd.DataFrame({"y": offset + 3 + t[m] + 0.1 * rng.normal(size=2000), "t": t[m], "mat": [f"m{k}" for k in m], "lab": lab})


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy, "ROWS", 100)  # so that two thousand rows are too many


def sources(df: pd.DataFrame, folder: Path) -> dict[str, object]:
    """The same rows as a file, as a folder, and as lazy frames of the libraries that are here."""
    import dask.dataframe
    import duckdb
    import ibis
    import polars

    (folder / "parts").mkdir()
    df.to_parquet(folder / "one.parquet")
    df.iloc[:700].to_parquet(folder / "parts" / "a.parquet")
    df.iloc[700:].to_parquet(folder / "parts" / "b.parquet")
    lazily = polars.scan_parquet(folder / "one.parquet")
    files = {"file": str(folder / "one.parquet"), "folder": folder / "parts", "polars": lazily}
    frames = {"duckdb": duckdb.from_df(df), "ibis": ibis.memtable(df), "dask": dask.dataframe.from_pandas(df, npartitions=3)}
    return {**files, **frames}


@pytest.mark.parametrize(("link", "offset"), [("identity", 0.0), ("identity", 1e9), ("log", 0.0)])
def test_cells_are_those_of_memory(tmp_path: Path, link: str, offset: float) -> None:
    """Count, mean and centred sum of squares against NumPy, far from zero too."""
    df = rows(offset)
    g = np.log(df["y"]) if link == "log" else df["y"]
    want = g.groupby([df["mat"], df["lab"]]).agg(["size", "mean", "var"])
    for name, source in sources(df, tmp_path).items():
        cells, count, within = lazy.reduced(source, ["y", "t", "mat", "lab"], "y", link)
        found = pd.DataFrame({"n": count, "m": np.log(cells["y"]) if link == "log" else cells["y"], "w": within})
        found.index = pd.MultiIndex.from_frame(cells[["mat", "lab"]].astype({"lab": int}))
        found = found.loc[want.index]
        np.testing.assert_array_equal(found["n"], want["size"], err_msg=name)
        np.testing.assert_allclose(found["m"], want["mean"], rtol=1e-13, err_msg=name)
        np.testing.assert_allclose(found["w"], want["var"] * (want["size"] - 1), rtol=1e-5 if offset else 1e-10, err_msg=name)


def test_a_reduced_table_gives_the_posterior_of_its_rows(tmp_path: Path) -> None:
    df = rows()
    whole = MODEL.fit(df, draws=200, chains=2, seed=1, progress=False)
    psi = whole.posterior.values(3)
    for source in sources(df, tmp_path).values():
        problem = MODEL.bind(source)
        assert len(problem.table) == 40
        assert problem.table.count.sum() == 2000
        a, b = whole.problem.scale, problem.scale
        np.testing.assert_allclose([b.response, b.level], [a.response, a.level], rtol=1e-9)
        np.testing.assert_allclose(System(problem).at(psi).log_marginal, whole.posterior.system.at(psi).log_marginal, rtol=1e-8)
    fit = MODEL.fit(source, draws=200, chains=2, seed=1, progress=False)
    for name in ("noise_scale", "bias_lab_scale", "unresolved_material_scale", "calibrated_slope"):
        one, two = (f.tree["posterior"][name] for f in (whole, fit))
        assert abs(float(one.mean() - two.mean())) < 0.3 * float(one.std())
    assert "2,000 rows were reduced to 40 cells" in MODEL.check(source).text


def test_bad_values_are_counted_and_the_first_named(tmp_path: Path) -> None:
    df = rows()
    df.loc[[5, 7, 1999], "y"] = np.nan
    df.loc[8, "y"] = np.inf
    for source in sources(df, tmp_path).values():
        with pytest.raises(rm.DataError, match=r"(?s)empty response in 3 rows, such as those of mat=m.*infinite response in 1 rows"):
            MODEL.table(source)
    df.drop(columns="t").to_parquet(tmp_path / "two.parquet")
    with pytest.raises(rm.DataError, match="lacks 't'"):
        MODEL.table(tmp_path / "two.parquet")


def test_what_needs_every_row_is_refused(tmp_path: Path) -> None:
    tails = MODEL.with_observation(rm.observation.StudentT())
    with pytest.raises(rm.DataError, match="this model needs each row"):
        tails.fit(sources(rows(), tmp_path)["file"], progress=False)


def test_a_small_lazy_table_is_read_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy, "ROWS", 10_000)
    df = rows()
    for source in sources(df, tmp_path).values():
        table = MODEL.table(source)
        np.testing.assert_array_equal(np.sort(table.numeric("y")), np.sort(df["y"]))


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(rm.FileError, match="does not exist"):
        MODEL.table(str(tmp_path / "nowhere"))
    with pytest.raises(rm.FileError, match="holds no file"):
        MODEL.table(tmp_path)
    with pytest.raises(rm.DataError, match="must be a pandas DataFrame"):
        MODEL.table([1, 2])
