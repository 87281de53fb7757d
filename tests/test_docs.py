"""What the README and the short pages show, runs; the longer pages and the notebooks are executed by `make docs`."""

from __future__ import annotations

import ast
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parent.parent
COPIED = {"_build", "tutorials"}  # what the build puts into docs/
PAGES = sorted(path for folder in ("docs", "notebooks") for path in (ROOT / folder).rglob("*.md") if not COPIED & set(path.parts))
BLOCK = re.compile(r"^```(?P<kind>python|\{code-cell\})[^\n]*\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(path: Path, kind: str) -> list[str]:
    found = [match for match in BLOCK.finditer(path.read_text(encoding="utf-8")) if match["kind"] == kind]
    return ["\n".join(line for line in match["code"].splitlines() if not line.startswith(":")) for match in found]


@pytest.fixture
def page() -> Iterator[types.ModuleType]:
    """Return a module that a page's code runs in, so that components defined there can be imported again."""
    module = types.ModuleType("a_page_of_the_documentation")
    sys.modules[module.__name__] = module
    yield module
    del sys.modules[module.__name__]


def your_own_table() -> pd.DataFrame:
    """Stand in for the reader's table: 20 alloys, three pieces of each, two tests a piece in two of four laboratories."""
    rng = np.random.default_rng(3)
    piece = np.repeat(np.arange(60), 2)
    lab = np.concatenate([rng.choice(4, 2, replace=False) for _ in range(60)])
    oxygen, grain = rng.uniform(300, 1500, 60), np.exp(rng.normal(3, 0.5, 60))
    once = np.arange(120) % 2 == 0
    theory = rng.uniform(200, 500, 20)[piece // 3]
    strength = theory + 0.05 * oxygen[piece] + 400 * grain[piece] ** -0.5 + rng.normal(0, 10, 120)
    return pd.DataFrame(
        {
            "formula": [f"alloy {p // 3}" for p in piece],
            "sample": piece,
            "doi": [f"paper {code}" for code in lab],
            "processing": np.where(piece % 2, "cast", "wrought"),
            "sigma_theory": theory,
            "O_wppm": np.where(once & (piece % 3 == 0), oxygen[piece], np.nan),
            "O_u": 30.0,
            "O_lod": np.nan,
            "grain_um": np.where(once & (piece % 2 == 0), grain[piece], np.nan),
            "yield_strength": strength,
            "ys_u": 5.0,
        }
    )


NUMBER = re.compile(r"\d+(?:\.\d+)?")


def test_the_readme_runs_and_prints_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: types.ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    """Words to the letter; numbers to a few per cent, since draws differ from machine to machine and from version to version."""
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    first, second = blocks(ROOT / "README.md", "python")
    exec(compile(first, "README.md", "exec"), vars(page))
    printed, shown = capsys.readouterr().out, text.partition("```text\n")[2].partition("```")[0]
    assert NUMBER.sub("#", printed).split() == NUMBER.sub("#", shown).split()
    numbers = [np.array(NUMBER.findall(said), dtype=float) for said in (printed, shown)]
    np.testing.assert_allclose(*numbers, rtol=0.08, atol=1.01)  # percentages are rounded
    np.testing.assert_allclose(*(found[found < 1] for found in numbers), rtol=0.08, atol=0.005)
    page.table = your_own_table()
    exec(compile(second, "README.md", "exec"), vars(page))
    assert {path.name for path in tmp_path.iterdir()} >= {"fit.html", "fit.nc"}
    assert {"impurity_O_wppm", "grain_size_grain_um"} <= {component.label for component in page.model.components}


@pytest.mark.parametrize("name", ["component.md", "template.md", "developer/algebra.md"])
def test_a_short_page_runs(name: str, page: types.ModuleType) -> None:
    cells = blocks(ROOT / "docs" / name, "{code-cell}")
    assert cells
    for code in cells:
        exec(compile(code, name, "exec"), vars(page))
    if name == "developer/algebra.md":  # the three routes give one number
        values = [page.at.log_marginal, page.dense.log_marginal(page.problem, page.psi), page.system.many.log_marginal(page.batch, 2)[0]]
        np.testing.assert_allclose(values, values[0], rtol=1e-10)
    if name == "component.md":  # the page shows the checks; here they must pass
        import realmat as rm

        for component in (page.Confinement("d_nm"), page.MeasuredConfinement("d_nm", u=0.05)):
            assert rm.testing.check_component(component, recovery=False).passed


def test_the_skeletons_of_components_pass_their_checks(page: types.ModuleType) -> None:
    import realmat as rm

    for code in blocks(ROOT / "docs" / "developer" / "guide.md", "python"):
        exec(compile(code, "guide.md", "exec"), vars(page))
    assert rm.testing.check_component(page.Texture("taylor_factor")).passed
    page.test_its_effect_is_the_equation()  # the other test of the page takes a minute


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_page_holds_python_and_names_that_exist(path: Path) -> None:
    import realmat as rm

    for code in blocks(path, "python") + blocks(path, "{code-cell}"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Attribute) and re.fullmatch(r"rm(\.\w+)+", dotted := ast.unparse(node)):
                found = rm
                for part in dotted.split(".")[1:]:
                    found = getattr(found, part)
