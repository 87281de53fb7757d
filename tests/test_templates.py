"""The gallery's machinery: finding templates, preparing tables, writing new ones, proving them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import realmat as rm
from realmat.templates.finding import gallery
from realmat.templates.writing import write
from realmat.testing.template_check import CHECKS

ROOT = Path(__file__).resolve().parent.parent
GALLERY = (
    "absorption",
    "ageing",
    "alloys",
    "band_gap",
    "band_gap_ladder",
    "fatigue_strength",
    "formation_enthalpy",
    "fracture_strength",
    "hydration",
    "interlaboratory",
    "steels",
    "yield_strength",
)
SITE = next(path for path in sys.path if path.endswith("site-packages"))


@pytest.fixture
def porous(tmp_path: Path) -> Path:
    """A template of one's own, as `realmat new` writes it."""
    return write("porous", parent=tmp_path)


def test_the_gallery_is_listed_in_one_line_each() -> None:
    listed = rm.templates.list()
    assert tuple(listed.loc[listed["source"] == "gallery", "name"]) == GALLERY
    assert listed["summary"].str.len().between(20, 100).all()
    assert not listed["summary"].str.contains("\n").any()


def test_a_listing_executes_no_template(porous: Path) -> None:
    (porous / "template.py").write_text('"""A summary."""\nraise SystemExit("executed")\n')
    assert rm.templates.get(porous).summary == "A summary"


def test_found_by_name_folder_and_file(porous: Path) -> None:
    by_folder, by_file = rm.templates.get(porous), rm.templates.get(porous / "template.py")
    assert by_folder.name == by_file.name == "porous"
    assert by_folder.variants == by_file.variants == ("ideal", "real")
    other = shutil.copy(porous / "template.py", porous.parent / "ceramics.py")
    assert rm.templates.get(other).name == "ceramics"
    assert rm.templates.get("interlaboratory").path == gallery() / "interlaboratory" / "template.py"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hydratoin", "there is no template 'hydratoin'.*absorption, ageing, alloys, band_gap.*Did you mean 'hydration'?"),
        (ROOT / "tests", "tests holds no template.py, so it is no template"),
    ],
)
def test_what_is_no_template_is_refused(name: str, said: str) -> None:
    with pytest.raises(rm.ModelError, match=said):
        rm.templates.get(name)


def test_unknown_variants_and_options_are_refused() -> None:
    template = rm.templates.get("interlaboratory")
    with pytest.raises(rm.ModelError, match=r"no variant 'reel'; it has ideal, unbiased, real, interaction; did you mean 'real'\?"):
        template.model("reel")
    with pytest.raises(rm.ModelError, match="'interlaboratory' takes no options, not colour"):
        template.model(colour="red")


def test_a_word_among_a_laboratorys_numbers_is_named_with_its_row() -> None:
    template = rm.templates.get("interlaboratory")
    table = template.prepare(pd.DataFrame({"lab": list("aabb"), "specimen": [1, 2, 1, 2], "strength": ["1.2", "weak", "inf", "1.1"]}))
    with pytest.raises(rm.DataError) as raised:
        template.model("real", table=table).bind(table)
    assert "column 'strength': text where numbers are needed ('weak') in row 1" in str(raised.value)
    assert "column 'strength': infinite value in row 2" in str(raised.value)


def test_a_file_that_is_no_template_says_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "half.py").write_text('"""Half."""\nCOLUMNS = []\n')
    with pytest.raises(rm.ModelError, match=r"half.py is not a template: it lacks VARIANTS .*, model .*, data"):
        rm.templates.get(tmp_path / "half.py").model()
    (tmp_path / "broken.py").write_text('"""Broken."""\nimport numpy as np\n\nCOLUMNS = np.zero(3)\n')
    with pytest.raises(rm.ModelError, match=r"broken.py cannot be executed: AttributeError: .*\(line 4\)"):
        rm.templates.get(tmp_path / "broken.py").model()


def test_every_column_that_a_table_lacks_is_named_with_its_unit_and_meaning() -> None:
    table = pd.DataFrame({"formula": ["NaCl"], "energy": [-2.0]})
    with pytest.raises(rm.DataError) as caught:
        rm.templates.get("formation_enthalpy").prepare(table)
    said = str(caught.value)
    assert all(f"- {name}" in said for name in ("formation_enthalpy (eV/atom): measured", "pbe (eV/atom)", "plus_u"))
    assert "It has: formula, energy." in said


def test_formulas_alone_give_the_element_fractions_of_the_data_set() -> None:
    template = rm.templates.get("formation_enthalpy")
    data = template.data()
    prepared = template.prepare(data[["formula", "formation_enthalpy", "pbe", "plus_u", "oxide_type"]])
    assert set(prepared) == set(data)
    fractions = [name for name in data if name.startswith(("x_", "xu_"))]
    np.testing.assert_allclose(prepared[fractions], data[fractions], atol=1e-12)
    assert template.model(table=prepared).columns() != []


def test_molecules_alone_give_what_the_hydration_table_counts(data_dir: Path) -> None:
    template = rm.templates.get("hydration")
    data = template.data()
    counted = [name for name in data if name.startswith(("atoms_", "gaff_atoms_", "gaff_group_"))] + ["rings", "gaff_rings", "polar_atoms"]
    prepared = template.prepare(data.drop(columns=counted))
    pd.testing.assert_frame_equal(prepared[counted], data[counted], check_dtype=False)
    phenol, nitrophenol = (prepared.set_index("name").loc[name] for name in ("phenol", "4-nitrophenol"))
    assert (phenol["polar_atoms"], nitrophenol["polar_atoms"]) == ("1", "4 or more")
    assert nitrophenol["gaff_atoms_O"] == pytest.approx(3 * nitrophenol["gaff"])


@pytest.mark.parametrize("name", GALLERY)
def test_columns_without_a_table_are_those_of_the_data_set(name: str, data_dir: Path) -> None:
    template = rm.templates.get(name)
    data = template.data()
    for variant in template.variants:
        assert template.model(variant) == template.model(variant, table=data)


# --- templates of one's own -----------------------------------------------------------------------------------------------------


def test_a_new_template_passes_every_check_unchanged(porous: Path) -> None:
    result = rm.testing.check_template(porous, engines=False)
    assert result.passed, result.text
    assert len(result.checks) == len(CHECKS) - 1


@pytest.mark.validate
def test_both_engines_agree_on_a_new_template(porous: Path) -> None:
    result = rm.testing.check_template(porous)
    assert result.passed, result.text
    assert all(check.passed for check in result.checks)


def replace(old: str, new: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        text = (folder / "template.py").read_text()
        assert text.count(old) == 1
        (folder / "template.py").write_text(text.replace(old, new))

    return edit


def without_card(folder: Path) -> None:
    (folder / "README.md").unlink()


def half_a_card(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    (folder / "README.md").write_text(text[: text.index("For porosities above")])


def named_as_another(folder: Path) -> None:
    folder.rename(folder.with_name("hydration"))


BROKEN = {
    "private import": (
        replace("import realmat as rm", "import realmat as rm\nfrom realmat.terms.term import Term  # noqa"),
        "public names",
        "terms",
    ),
    "private attribute": (
        replace("rng = np.random.default_rng(1)", "rng = np.random.default_rng(1)\n    rm._PUBLIC"),
        "public names",
        "_PUBLIC",
    ),
    "name of another template": (named_as_another, "name", "a template of gallery is called 'hydration' too"),
    "name of another component": (
        replace('rm.material.Unresolved(by="specimen")', 'rm.material.Unresolved(by="specimen", name="noise")'),
        "builds",
        "two components are called 'noise'",
    ),
    "missing card": (without_card, "card", "has no model card"),
    "half a card": (half_a_card, "card", "no text under: When not to use it"),
    "non-finite prior predictive": (
        replace(
            'rm.theory.Calibrated("modulus_dft", slope=1.0)',
            'rm.theory.Calibrated("modulus_dft", slope=rm.Prior("Normal", mu=0, sigma=1e4))',
        ),
        "prior predictive",
        "not finite",
    ),
    "wrong unit": (replace('"porosity", "1"', '"porosity", "GPa"'), "units", "porosity"),
    "unit of the response": (replace('unit="GPa"', 'unit="MPa"'), "units", "modulus is in 'GPa' in COLUMNS and in 'MPa' in the model"),
    "unseparable design": (
        replace("return pd.DataFrame(", "return (lambda d: pd.DataFrame(d).drop_duplicates('piece'))("),
        "separable",
        "noise",
    ),
    "undeclared column": (replace('"porosity": np.where', '"pores": np.where'), "columns", "porosity"),
}


@pytest.mark.parametrize(("edit", "check", "said"), BROKEN.values(), ids=BROKEN)
def test_what_breaks_a_template_is_caught_by_name(porous: Path, edit: Callable[[Path], None], check: str, said: str) -> None:
    edit(porous)
    folder = porous if porous.exists() else porous.with_name("hydration")
    early = {name: CHECKS[name] for name in CHECKS if name not in ("budget", "save and load", "recovery", "engines agree")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("realmat.testing.template_check.CHECKS", early)
        result = rm.testing.check_template(folder)
    assert check in result.failed, result.text
    assert said in next(c.detail for c in result.checks if c.name == check)


def test_a_copied_template_is_the_one_it_was_copied_from(tmp_path: Path) -> None:
    folder = write("round_robin", "interlaboratory", parent=tmp_path)
    copy, original = rm.templates.get(folder), rm.templates.get("interlaboratory")
    assert copy.card.splitlines()[0] == "# round_robin"
    assert copy.card.splitlines()[1:] == original.card.splitlines()[1:]
    assert copy.model("ideal").name == "round_robin, ideal"
    assert (folder / "template.py").read_text() == original.path.read_text()


def test_names_that_cannot_be_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    for name, error in (("My-Template", rm.ModelError), ("hydration", rm.ModelError), ("taken", rm.FileError)):
        (tmp_path / "taken").mkdir(exist_ok=True)
        with pytest.raises(error):
            write(name, parent=tmp_path)
    with pytest.raises(rm.FileError, match="cannot write"):
        write("porous", parent=tmp_path / "nowhere")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taken"]


FUNCTION = '''"""Decay: a function of the template's own."""
import numpy as np
import pandas as pd
import realmat as rm

COLUMNS = [rm.templates.Column("t", "s", "time"), rm.templates.Column("y", "V", "signal")]
VARIANTS = {"ideal": "decay", "real": "decay"}


def decay(t, rate):
    return np.exp(-rate * t)


def data():
    t = np.linspace(0.1, 3.0, 30)
    return pd.DataFrame({"t": t, "y": np.exp(-0.7 * t) + 0.01 * np.cos(40 * t)})


def model(variant="real"):
    return rm.Model("y", theory=rm.theory.Function(decay, ["t"], {"rate": rm.Prior("HalfNormal", sigma=2.0)}))
'''


def test_a_fit_with_the_template_s_own_function_is_read_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "decay").mkdir()
    (tmp_path / "decay" / "template.py").write_text(FUNCTION)
    template = rm.templates.get(tmp_path / "decay")
    template.model().fit(template.data(), draws=50, chains=1, seed=1, progress=False).save(tmp_path / "fit.nc")
    trusted = "realmat.templates.decay.template"
    code = f"import realmat as rm; rm.templates.get('decay').model(); print(rm.load('fit.nc', {trusted!r}).model.theory[0].fn(0.0, 1.0))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1.0"
    shown = subprocess.run(
        [Path(sys.executable).with_name("realmat"), "budget", "fit.nc", "--trust", trusted],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    assert "function" in shown.stdout


# --- packages -------------------------------------------------------------------------------------------------------------------


ENTRIES = "creep = alloys.creep\nhydration = alloys.creep\nlost = alloys.nothing\n"


def installed_package(site: Path) -> Path:
    """A package with a template as an installer leaves it; gives where."""
    files = {
        "alloys/__init__.py": "",
        "alloys/creep.py": (gallery() / "interlaboratory" / "template.py").read_text().replace("Interlaboratory", "Creep", 1),
        "alloys/README.md": "# creep\n",
        "alloys-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: alloys\nVersion: 1.0\n",
        "alloys-1.0.dist-info/entry_points.txt": f"[realmat.templates]\n{ENTRIES}",
    }
    for name, text in files.items():
        path = site / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return site


def test_templates_of_an_installed_package_are_found_and_replace_none_of_the_gallery(tmp_path: Path) -> None:
    code = (
        "import realmat as rm; t = rm.templates.get('creep'); print(t.summary); print(t.source, t.card.strip(), *t.variants);"
        "print(rm.templates.get('hydration').source, 'lost' in set(rm.templates.list().name), t.model('ideal').name)"
    )
    environment = {**os.environ, "PYTHONPATH": str(installed_package(tmp_path))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [
        "Creep study: repeatability, reproducibility, bias of laboratories (ISO 5725, ASTM E691)",
        "alloys # creep ideal unbiased real interaction",
        "gallery False creep, ideal",
    ], done.stderr


def test_the_wheel_built_through_the_sdist_runs_a_template(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(tmp_path)]
    subprocess.run([*build, "-t", "sdist"], cwd=ROOT, check=True, capture_output=True)
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    assert {path.parent.name for path in (source / "models").glob("*/template.py")} == set(GALLERY)
    subprocess.run([*build, "-t", "wheel"], cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "empty")
        cards = {Path(path).parent.name for path in archive.namelist() if Path(path).match("realmat/_models/*/README.md")}
    assert cards == set(GALLERY)
    code = (  # without site the checkout is not installed here; its dependencies alone are borrowed
        f"import sys; sys.path[:0] = [{str(tmp_path / 'empty')!r}, {SITE!r}]\n"
        "import realmat as rm; t = rm.templates.get('interlaboratory');"
        "print(t.path.parts[-3], rm.__file__.split('/')[-3]); print(t.model().fit(t.data(), draws=50, chains=1, seed=1, progress=False))"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("_models empty\n<Fit of 'interlaboratory, real': 288 rows"), done.stderr
