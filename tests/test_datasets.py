"""Data sets: every figure that is said of them is counted, joins are redone with pymatgen, and files are found, checked or refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pooch
import pytest
from pymatgen.core import Composition

import realmat as rm
from realmat.datasets import absorption, band_gap, fetch, formulas, interlaboratory, subsized_tensile
from realmat.table.units import parse

NAMES = tuple(rm.datasets.list()["name"])
PACKAGED = ("ageing", "formation_enthalpy", "fracture_strength", "interlaboratory")


@pytest.fixture
def load(request: pytest.FixtureRequest) -> pd.DataFrame:
    """Load the data set that a test names, if its files are here."""
    if request.param not in PACKAGED:
        request.getfixturevalue("data_dir")
    return rm.datasets.load(request.param)


def of(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("load", [name], indirect=True)


def test_the_list_says_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooch, "retrieve", lambda *_, **__: pytest.fail("the list downloads nothing"))
    table = rm.datasets.list()
    assert list(table.columns) == ["name", "rows", "response", "unit", "about", "licence", "citation"]
    assert table["name"].is_unique
    assert table.map(lambda cell: bool(str(cell).strip())).all(axis=None)
    printed = str(table)
    assert max(map(len, printed.splitlines())) <= 100
    assert all(doi in printed for doi in ("10.1007/s10822-014-9747-x", "10.1063/1.3253115"))


@pytest.mark.parametrize("load", NAMES, indirect=True)
def test_tables_are_ready_to_model(load: pd.DataFrame) -> None:
    facts = load.attrs
    assert len(load) == facts["rows"]
    assert load.index.equals(pd.RangeIndex(len(load)))
    assert load.columns.is_unique
    response = load[facts["response"]]
    assert response.dtype == np.float64
    if facts["name"] not in {"strehlow_cook_band_gaps", "subsized_tensile", "mpea"}:  # what is as upstream says so
        assert response.notna().all()
    units = rm.datasets.units(facts["name"])
    assert facts["units"] == units
    assert set(units) <= set(load.columns)
    for unit in units.values():
        parse(unit)
    numbers = load.select_dtypes("number").columns
    assert {name.split("_")[0] for name in numbers.difference(list(units))} <= {
        "x", "xu", "group", "atoms", "rings", "polymorphs", "heat", "replicate", "paper", "lot", "year", "stopped", "runout",
    }  # fmt: skip
    assert not np.isinf(load[numbers].to_numpy(dtype=float)).any()
    texts = load.select_dtypes(exclude=["number", "bool"])
    assert texts.notna().all(axis=None)
    assert (texts == texts.apply(lambda column: column.str.strip())).all(axis=None)


def test_an_unknown_name_is_refused_with_the_likely_one() -> None:
    with pytest.raises(rm.DataError, match=r"no data set 'hydratoin'; did you mean 'hydration'\? There are: .*mpea"):
        rm.datasets.load("hydratoin")


@pytest.mark.usefixtures("data_dir")
def test_a_table_answers_to_its_upstream_name() -> None:
    pd.testing.assert_frame_equal(rm.datasets.load("freesolv"), rm.datasets.load("hydration"))


@of("formation_enthalpy")
def test_formation_enthalpies(load: pd.DataFrame) -> None:
    error = load["pbe"] - load["formation_enthalpy"]
    assert len(load) == 334
    assert error.abs().mean() == pytest.approx(0.501, abs=5e-4)
    assert load["formation_enthalpy_u"].isna().sum() == 118  # 115 not stated, 3 zero
    assert (load["formation_enthalpy_u"] > 0).sum() == 216
    fractions = load.filter(regex="^x_[A-Z][a-z]?$")
    for formula, row in zip(load["formula"], fractions.to_dict("records"), strict=True):
        expected = Composition(formula).fractional_composition.as_dict()
        assert {name.removeprefix("x_"): x for name, x in row.items() if x} == pytest.approx(expected)
    under_u = load.filter(like="xu_").rename(columns=lambda name: name.replace("xu_", "x_"))
    assert load["plus_u"].sum() == 113
    pd.testing.assert_frame_equal(under_u, fractions[under_u.columns].mul(load["plus_u"], axis=0))
    peroxides = load.set_index("formula")["x_O_peroxide"]
    assert set(peroxides[peroxides > 0].index) == {"BaO2", "K2O2", "Li2O2", "Na2O2", "SrO2"}
    assert set(load.loc[load["x_O_superoxide"] > 0, "formula"]) == {"CsO2", "KO2", "NaO2"}


def test_formation_enthalpies_load_without_importing_pymatgen() -> None:
    code = "import sys, realmat as rm; rm.datasets.load('formation_enthalpy'); print([name for name in sys.modules if 'pymatgen' in name])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@of("formation_enthalpy")
def test_the_materials_project_corrections_are_pymatgens_own(load: pd.DataFrame) -> None:
    error = (rm.datasets.mp2020_formation_enthalpy() - load["formation_enthalpy"]).abs()
    assert error.mean() == pytest.approx(0.084, abs=5e-4)
    assert error.median() == pytest.approx(0.045, abs=5e-4)
    assert np.sqrt((error**2).mean()) == pytest.approx(0.128, abs=5e-4)


@pytest.mark.parametrize("formula", ["Ca3(PO4)2", "Si(PbO2)2", "Al0.25 Co1 Fe1 Ni1", "Bi0.7Sb0.3", "K(Al(SO4)2)3", "CO", "Co"])
def test_formulas_are_read_as_pymatgen_reads_them(formula: str) -> None:
    assert formulas.atoms(formula) == pytest.approx(Composition(formula).as_dict())


@pytest.mark.parametrize("text", ["", "NaCl)", "(NaCl", "nacl", "Na-Cl", "2NaCl", "()2("])
def test_what_is_no_formula_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a chemical formula"):
        formulas.atoms(text)


@of("hydration")
def test_hydration(load: pd.DataFrame) -> None:
    error = load["hydration_free_energy"] - load["gaff"]
    assert np.sqrt((error**2).mean()) == pytest.approx(1.54, abs=5e-3)
    assert (error.abs() < 1.96 * np.hypot(load["u_table"], load["gaff_u"])).mean() == pytest.approx(0.567, abs=5e-4)
    assert load["u_table"].value_counts()[[0.60, 0.10]].tolist() == [459, 51]
    assert load["u_stated"].notna().sum() == 642 - 459 - 51
    assert load["u_stated"].dropna().equals(load.loc[load["u_stated"].notna(), "u_table"])
    groups = load.set_index("name").filter(like="group_")
    assert groups.shape[1] == 72
    assert set(np.unique(groups)) == {0, 1}
    assert (groups.sum(axis=1) == 0).sum() == 38  # alkanes, ammonia, hydrogen sulfide
    assert groups.loc["hexane"].sum() == 0
    assert groups.columns[groups.loc["methyl hexanoate"] == 1].tolist() == ["group_carboxylic_acid_ester"]
    assert groups.loc["cyclohexanamine", ["group_primary_amine", "group_primary_aliphatic_amine"]].tolist() == [1, 1]
    assert groups["group_aromatic"].sum() == 267


def test_default_uncertainties_are_marked_in_the_notes(data_dir: Path) -> None:
    lines = [line for line in (data_dir / "freesolv" / "database.txt").read_text().splitlines() if not line.startswith("#")]
    said = pd.Series(["assigned a default value" in line for line in lines])
    default = rm.datasets.load("hydration")["u_stated"].isna()
    assert (said & default).sum() == 482
    assert (said & ~default).sum() == 101
    assert all("Renamed" in line for line, unsaid in zip(lines, default & ~said, strict=True) if unsaid)


@of("strehlow_cook_band_gaps")
def test_strehlow_and_cook(load: pd.DataFrame) -> None:
    gaps = load[load["band_gap"].notna()]
    assert len(gaps) == 1447
    assert load["formula"].nunique() == 505  # 506 with "In1p1"
    assert gaps.groupby("formula").size().max() == 22
    assert load["crystallinity"].value_counts()[["single crystalline", "polycrystalline", "amorphous"]].tolist() == [896, 351, 38]
    assert load["band_gap_u"].notna().sum() == 19
    assert gaps["temperature"].isna().sum() == 115
    assert load["temperature_coefficient"].notna().sum() == 221 - 8


@of("band_gap")
def test_band_gaps_join_by_composition(load: pd.DataFrame) -> None:
    pbe, measured = band_gap.read_pbe(), band_gap.read_compilation()
    assert len(pbe) == 2928
    assert pbe["formula"].nunique() == 972
    reduced = {Composition(formula).reduced_formula for formula in pbe["formula"]}
    joins = measured["formula"].map(lambda formula: Composition(formula).reduced_formula in reduced)
    mended = measured["formula"] == "InP"
    assert (joins & ~mended).sum() == 937  # records, one of them without a gap
    joins &= measured["band_gap"].notna()
    assert measured.loc[joins & ~mended, "formula"].nunique() == 273 + 1  # "V2O4" is "VO2"
    assert load["formula"].nunique() == 271  # with InP; the gaps of three compounds were all calculated
    calculated = measured["method"].isin(["apw", "scopw"])
    assert len(load) == (joins & ~calculated).sum()
    polymorphs = pbe[pbe["formula"] == "ZnS"]["pbe"]
    zinc_sulfide = load[load["formula"] == "ZnS"].iloc[0]
    assert zinc_sulfide["polymorphs"] == len(polymorphs)
    assert zinc_sulfide["pbe"] == pytest.approx(polymorphs.mean())
    assert zinc_sulfide["pbe_u"] == pytest.approx(polymorphs.std())


@of("subsized_tensile")
def test_subsized_specimens(load: pd.DataFrame) -> None:
    assert len(load) == 1050
    assert load["paper"].nunique() == 24
    assert load["grain_size"].notna().sum() == 765
    assert load["yield_strength"].notna().sum() == 590
    alike = load.groupby(["material", "dose", "thickness", "temperature"], dropna=False).size()
    assert (alike > 1).sum() == 82
    total = load[[f"{element}_wt" for element in subsized_tensile.ELEMENTS]].sum(axis=1)
    assert total.between(99.5, 100.8).all()
    zirconium = load[load["material"] == "Zr-2.5 Nb"]
    assert zirconium["C_wt"].isna().all()
    assert (zirconium["C_wt_limit"] == 0.004).all()
    assert zirconium["O_wt"].to_numpy() == pytest.approx(0.115)  # 900 to 1400 ppm


@of("mpea")
def test_alloys(load: pd.DataFrame) -> None:
    present = load[["yield_strength", "grain_size", "O_wppm", "N_wppm", "C_wppm"]].notna().sum()
    assert present.tolist() == [1067, 237, 57, 45, 4]
    assert load["paper"].nunique() == 265


@of("yield_strength")
def test_yield_strengths(load: pd.DataFrame) -> None:
    assert load["collection"].value_counts().to_dict() == {"multi-principal-element alloys": 1067 - 2, "sub-sized specimens": 590}
    states = load.groupby("lot")[["material", "paper", "grain_size", "processing", "dose"]].nunique(dropna=False)
    assert (states == 1).all(axis=None)
    assert load["dose"].notna().all()
    for formula in load["formula"].unique():
        assert sum(Composition(formula).values()) > 0
    steel = Composition(load.loc[load["material"] == "SS304L", "formula"].iloc[0])
    assert steel.get_wt_fraction("Cr") * 100 == pytest.approx(18.3, rel=1e-3)
    assert steel.get_wt_fraction("C") * 100 == pytest.approx(0.02, rel=1e-3)
    assert load.loc[load["material"] == "SS304L", "C_wppm"].iloc[0] == pytest.approx(200)


@of("fatigue_strength")
def test_fatigue_strengths(load: pd.DataFrame) -> None:
    assert len(load) == 360
    assert load["heat"].value_counts().unique().tolist() == [3]
    assert load["murakami"].to_numpy() == pytest.approx(1.6 * load["hardness"].to_numpy())
    assert (load.groupby("heat")[["C_wt", "P_wt", "S_wt", "inclusions_dA"]].nunique() == 1).all(axis=None)


@of("absorption")
def test_absorption(load: pd.DataFrame, data_dir: Path) -> None:
    raw = pd.read_csv(data_dir / "dyes_in_solvents" / "all_lambda_max_abs_including_duplicates.csv")
    assert len(raw) == 28734
    assert raw["solvent"].nunique() == 364
    assert raw["source"].nunique() == load["collection"].nunique() == 5
    assert len(load) == 26415 - 4
    assert (load["wavelength"] > 0).all()
    assert (load["absorption"] * load["wavelength"]).to_numpy() == pytest.approx(1239.841984)
    assert load["duplicate"].sum() == 1572
    assert (load["dielectric"].notna()).mean() > 0.98
    named = load.drop_duplicates("solvent").set_index("solvent_name")
    assert named.loc["water", "solvent"] == "O"
    # textbook values: J. Reichardt, Solvents and Solvent Effects in Organic Chemistry, appendix A
    for solvent, expected in {"water": 78.4, "acetonitrile": 35.9, "hexane": 1.88, "toluene": 2.38, "dichloromethane": 8.93}.items():
        assert named.loc[solvent, "dielectric"] == pytest.approx(expected, rel=0.03)


def test_solvents_are_unique_and_possible() -> None:
    table = absorption.solvents()
    assert table["smiles"].is_unique
    assert (table["dielectric"] >= 1.8).all()
    assert table["refractive_index"].dropna().between(1.25, 1.65).all()
    alkanes = table[table["smiles"].str.fullmatch("C+")]
    n_squared = alkanes["refractive_index"] ** 2  # Maxwell: a non-polar liquid's permittivity is its refractive index squared
    assert (alkanes["dielectric"] / n_squared).to_numpy() == pytest.approx(1, abs=0.02)


@of("interlaboratory")
def test_the_interlaboratory_study_is_drawn_from_its_truth(load: pd.DataFrame) -> None:
    truth = load.attrs["truth"]
    assert load.groupby(["lab", "specimen"]).size().unique().tolist() == [3]
    noise = load["tensile_strength"] - load["specimen"].map(truth["specimens"]) - load["lab"].map(truth["lab_bias"])
    n = len(load)
    assert noise.mean() == pytest.approx(0, abs=4 * truth["s_r"] / np.sqrt(n))
    assert noise.std() == pytest.approx(truth["s_r"], abs=4 * truth["s_r"] / np.sqrt(2 * n))
    assert truth["s_R"] == pytest.approx(np.sqrt(6.0**2 + 4.0**2))
    assert interlaboratory.read().equals(interlaboratory.read())


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, dict]]:
    """Serve one small registered file from this machine, with an empty cache."""
    upstream = tmp_path / "upstream"
    upstream.mkdir()
    (upstream / "a.csv").write_text("x\n1\n", encoding="utf-8")
    handler = partial(SimpleHTTPRequestHandler, directory=str(upstream))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    facts = {"url": f"http://127.0.0.1:{server.server_port}/a.csv", "sha256": pooch.file_hash(str(upstream / "a.csv")), "bytes": 4}
    monkeypatch.setattr(fetch, "registry", lambda: {"small": {"files": {"a.csv": facts}}})
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    monkeypatch.delenv("REALMAT_DATA", raising=False)
    yield facts
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_file_is_downloaded_once(small: dict, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = fetch.fetch("small", "a.csv")
    assert path == tmp_path / "cache" / "realmat" / "small" / "a.csv"
    assert path.read_text(encoding="utf-8") == "x\n1\n"
    assert "100%" in capfd.readouterr().err
    small["url"] = "http://127.0.0.1:9/a.csv"
    assert fetch.fetch("small", "a.csv") == path


def test_the_folder_of_the_environment_comes_first(small: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine" / "small" / "a.csv"
    mine.parent.mkdir(parents=True)
    shutil.copy(tmp_path / "upstream" / "a.csv", mine)
    monkeypatch.setenv("REALMAT_DATA", str(tmp_path / "mine"))
    assert fetch.fetch("small", "a.csv") == mine
    mine.write_text("x\n2\n", encoding="utf-8")
    with pytest.raises(rm.FileError, match=r"a\.csv is not the file that was registered \(sha256 [0-9a-f]{64}, expected"):
        fetch.fetch("small", "a.csv")


def test_without_a_network_one_error_says_what_to_do(small: dict) -> None:
    small["url"] = "http://127.0.0.1:9/a.csv"
    with pytest.raises(rm.FileError, match="REALMAT_DATA") as caught:
        fetch.fetch("small", "a.csv")
    said = str(caught.value)
    assert "http://127.0.0.1:9/a.csv" in said
    assert "Connection refused" in said
    assert str(Path("small") / "a.csv") in said


def test_a_changed_upstream_file_is_refused(small: dict) -> None:
    small["sha256"] = "0" * 64
    with pytest.raises(rm.FileError, match=r"gives today is not the file that was registered \(sha256 0{64}\)"):
        fetch.fetch("small", "a.csv")


@pytest.mark.parametrize("source", list(fetch.registry()))
def test_every_registered_file_has_its_hash(source: str, data_dir: Path) -> None:
    for file, facts in fetch.registry()[source]["files"].items():
        assert fetch.fetch(source, file) == data_dir / source / file
        assert (data_dir / source / file).stat().st_size == facts["bytes"]


@of("band_gap_ladder")
def test_band_gap_ladder(load: pd.DataFrame) -> None:
    """Mean absolute errors of theories as they stand, as the benchmark's authors' table gives them (eV)."""
    assert len(load) == 464
    for theory, mae, count in (("PBE", 1.040, 464), ("HSE06", 0.515, 464), ("MBJ", 0.485, 463), ("QSGW^", 0.244, 97)):
        error = (load[theory] - load["Experimental"]).dropna()
        assert len(error) == count
        assert error.abs().mean() == pytest.approx(mae, abs=5e-4)
