"""The report: its numbers, its words, and how it is written. `tests/browser` opens its pages."""

from __future__ import annotations

import itertools
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import layered
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import realmat as rm
from realmat.attribution.budget import Budget
from realmat.fit import Fit
from realmat.plots.model import cards
from realmat.report import bayes, charts, markdown, page, render, words
from realmat.report.code import declaration
from realmat.report.findings import Findings, findings
from realmat.support.numbers import plus_minus

NOTHING = SimpleNamespace(caption="", heads=[], rows=[], note="", alt="")
COMPARED = {
    "heading": "",
    "summary": "",
    "warning": "",
    "elpd": NOTHING,
    "comparison": [NOTHING, NOTHING],
    "calibration": [],
    "models": [],
}
VOID = {"meta", "link", "br", "wbr"}


class Elements(HTMLParser):
    """Every element's name, attributes and text, in the order in which they end."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.found: list[tuple[str, dict[str, str | None], str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append((tag, dict(attrs), []))
        if tag in VOID:
            self.handle_endtag(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append((tag, dict(attrs), []))
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open:
            name, attributes, text = self.open.pop()
            self.found.append((name, attributes, " ".join("".join(text).split())))
            if name == tag:
                break

    def handle_data(self, data: str) -> None:
        for _, _, text in self.open:
            text.append(data)

    def all(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [(attributes, text) for name, attributes, text in self.found if name == tag]


NASTY = {"S000": "</script><script>alert(1)</script>", "S001": '<img src=x onerror="alert(2)">'}


@pytest.fixture(scope="module")
def fit() -> Fit:
    data = layered.table()
    return layered.fit(layered.model(), data.assign(sample=data["sample"].replace(NASTY)))


@pytest.fixture(scope="module")
def found(fit: Fit) -> Findings:
    return findings(fit)


@pytest.fixture(scope="module")
def html(found: Findings) -> str:
    return render.render("report.html.j2", page.context(found))


# --- numbers and words ----------------------------------------------------------------------------------------------------------


def budget_of(rows: list[tuple[str, str, str, float]], u: float = 10.0) -> Budget:
    """A budget with the shares given, of a new specimen."""
    table = pd.DataFrame(rows, columns=["layer", "component", "kind", "share"])
    table["u"] = u * np.sqrt(table["share"])
    attrs = {"response": "y", "unit": "MPa", "new": "specimen", "k": 2.0, "scale": "response", "characterised": "", "heavy": ""}
    dataset = xr.Dataset({"combined_u": u, "row_u": ("row", [u])}, attrs={**attrs, "posterior_draws": 1, "of_draws": 1})
    return Budget(table, dataset, (), ())


def test_conclusions_follow_from_the_shares() -> None:
    """A layer of share s known perfectly leaves u sqrt(1 - s): 10 sqrt(1 - 0.64) = 6, 10 sqrt(1 - 0.19) = 9, 10 sqrt(1 - 0.17) = 9.11."""
    made = budget_of(
        [("theory", "calibrated", "epistemic", 0.19), ("material", "grain", "aleatoric", 0.64), ("observation", "noise", "aleatoric", 0.17)]
    )
    said = dict(words.conclusions(made, " MPa"))
    assert "within ± 20 MPa of its prediction (U, k = 2); 64 % of that variance comes from the real material" in said["What to expect."]
    assert "A perfect theory would bring u from 10 MPa to 9 MPa, a fully known material to 6 MPa and a perfect" in said["What limits it."]
    assert "measurement to 9.11 MPa" in said["What limits it."]
    assert "The largest single part is grain (aleatoric, 64 %)" in said["What limits it."]
    assert "would lower u from 10 MPa to 9 MPa: 19 % of the variance is epistemic" in said["What more data can do."]


def test_layers_that_cannot_be_told_apart_are_not_credited_singly() -> None:
    made = budget_of([("material + observation", "unresolved + noise", "aleatoric", 0.96), ("theory", "calibrated", "epistemic", 0.04)])
    assert words.conclusions(made, "")[1][1].startswith("A perfect theory would bring u from 10 to 9.8. The largest single part is")


@pytest.mark.parametrize(
    ("value", "u", "signed", "said"),
    [
        (337.96, 16.21, False, "338 ± 16"),
        (0.012345, 0.00067, False, "0.01235 ± 0.00067"),
        (-0.5, 7.16, True, "−0.5 ± 7.2"),
        (51.0, 0.0, True, "+51"),
        (1234.5, 250.0, False, "1230 ± 250"),
        (1.49e6, 288276.0, False, "(1.49 ± 0.29) × 10⁶"),
        (1234567.89, 0.12, False, "1234567.89 ± 0.12"),
        (3.1e-5, 4e-6, True, "(+3.10 ± 0.40) × 10⁻⁵"),
        (0.5, 2e6, False, "(0.0 ± 2.0) × 10⁶"),
        (9.999e5, 1.2e6, False, "(1.0 ± 1.2) × 10⁶"),
    ],
)
def test_a_value_has_the_digits_of_its_uncertainty(value: float, u: float, signed: bool, said: str) -> None:
    """Two digits of u, and as many of the value: JCGM 100:2008, 7.2.6."""
    assert plus_minus(value, u, signed) == said


def test_a_waterfall_ends_where_it_was_measured(fit: Fit) -> None:
    gap = fit.gap()
    steps = ["theory", *gap.components, "residual", "measured"]
    for label in gap.table.index[:5]:
        rows = charts.waterfall(gap.table.loc[label].to_dict(), steps, log=False)["rows"]
        assert [r["step"] for r in rows] == steps
        for before, after in itertools.pairwise(rows):  # the last step: theory + contributions + residual = measured
            assert after["from"] == pytest.approx(before["end"])
        assert all(0 <= r[edge] <= 100 for r in rows for edge in ("low", "high", "end"))


@pytest.mark.parametrize(("low", "high"), [(-3.2, 11.0), (0.0013, 0.0021), (1e5, 9e5), (199.0, 201.0)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    ticks = charts.nice(low, high, 5)
    assert 2 <= len(ticks) <= 6
    assert all(low <= t <= high for t in ticks)
    step = np.diff(ticks)
    assert np.allclose(step, step[0])
    assert float(f"{step[0]:e}"[0]) in (1, 2, 5)


def test_the_code_of_a_model_declares_an_equal_model() -> None:
    models = [
        layered.model(),
        rm.Model(
            'the "response"',
            link="log",
            theory=[
                rm.theory.Calibrated("pbe", u=0.1, slope=1.0),
                rm.theory.Corrections(["x_O", "x_F"], scale=rm.Prior("HalfNormal", sigma=1)),
            ],
            material=[
                rm.material.Process("route", name="route"),
                rm.material.GrainSize("grain", exponent=rm.Prior("Normal", mu=-0.5, sigma=0.1)),
            ],
            observation=rm.observation.StudentT(u="u", scale=False),
            units={"grain": "mm"},
        ),
        rm.Model("y", theory=rm.theory.Constant(), material=rm.material.Solvation([f"group_{k}" for k in range(60)])),
    ]
    for model in models:
        code = declaration(model)
        assert eval(code, {"rm": rm}) == model
        assert max(map(len, code.splitlines())) <= 140


# --- the page -------------------------------------------------------------------------------------------------------------------


def test_the_page_holds_every_section(html: str) -> None:
    found = Elements(html)
    ids = {attributes.get("id") for attributes, _ in found.all("section")}
    assert {"question", "model", "measured", "budget", "gap", "predictions", "laboratory", "advice", "trust", "priors", "reproduce"} <= ids
    assert found.all("h1")[0][1] == "yield_strength: from theory to the laboratory"
    lead = next(text for attributes, text in found.all("p") if attributes.get("class") == "lead")
    assert lead.startswith("120 measurements of yield_strength (MPa) on 40 specimens of 12 materials by 4 laboratories.")


def test_the_page_needs_nothing_else(html: str) -> None:
    assert not re.findall(r'\b(?:src|href)="(?!#|data:,")[^"]*"', html)
    assert not re.findall(r"@import|url\((?!#)", html)
    assert "default-src 'none'" in html  # and a browser would refuse to load anything
    assert re.search(r"https?://(?!www\.w3\.org)", html) is None  # namespaces of SVG alone


def test_ids_are_unique_and_links_lead_somewhere(html: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', html)) <= set(ids)


def test_budget_tables_hold_the_budget(fit: Fit, html: str) -> None:
    cells = [text for _, text in Elements(html).all("td")]
    for new in ("observation", "specimen", "material"):
        for share in fit.budget(new=new).table["share"]:
            assert f"{100 * share:.1f} %".replace("-", words.MINUS) in cells


def test_what_was_missing_is_said(html: str) -> None:
    data = layered.table()
    empty = words.percent(float(data["O_wppm"].isna().mean()))
    assert f"Columns with empty cells: O_wppm ({empty} empty). No row was dropped" in html
    known = data.groupby("sample")["O_wppm"].count().gt(0).sum()
    assert f"measured for {known} of 40 specimens" in html


def test_the_model_in_words_names_every_component(fit: Fit, html: str) -> None:
    for card in cards(fit.model, fit.problem):
        assert f"<strong>{card.component}</strong>" in html


def test_names_from_the_data_are_escaped(html: str) -> None:
    assert "<script>alert" not in html
    assert "<img" not in html
    data = next(text for attributes, text in Elements(html).all("script") if attributes.get("id") == "gap-data")
    assert any(NASTY["S000"] in title for title in json.loads(data)["titles"])


def test_a_fit_that_did_not_converge_says_so_everywhere(tmp_path: Path) -> None:
    made = findings(layered.fit(layered.model(impurity=False), layered.table(6, 16, 48), draws=60, apart=3.0))
    elements = Elements(render.render("report.html.j2", page.context(made)))
    assert any("The fit did not converge." in text for attributes, text in elements.all("p") if attributes.get("class") == "banner")
    captions = [text for _, text in elements.all("figcaption")]
    assert len(captions) >= 8
    about_data = ("Columns that the model uses", "Levels", "What the numbers depend on", "Diagnostics")
    captions += [t for a, t in elements.all("p") if a.get("class") == "caption" and not t.startswith(about_data)]
    assert [text for text in captions if "Not converged" not in text] == []
    text = markdown.write(made, tmp_path / "fit.md").read_text(encoding="utf-8")
    assert "> **The fit did not converge.**" in text
    pictures = re.findall(r"!\[[^\]]*\]\([^)]*\)\n\n(.*)", text)
    assert [said for said in pictures if "Not converged" not in said and "Layers and components" not in said] == []


def test_a_large_table_says_what_is_left_out(found: Findings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MOST_PIECES", 25)
    monkeypatch.setattr(page.tables, "MOST_ROWS", 15)
    monkeypatch.setattr(page.predictions, "MOST_POINTS", 50)
    elements = Elements(render.render("report.html.j2", page.context(found)))
    text = " ".join(text for _, text in elements.all("section"))
    assert "The 25 largest of 40 gaps can be chosen here." in text
    assert "The 15 largest of 40 gaps" in text
    assert "40 of 120 measurements, evenly chosen, are shown." in text
    assert found.gap is not None
    largest = found.gap.table["gap"].abs().nlargest(25).index
    assert {text for _, text in elements.all("option")} == set(map(str, largest))


def test_the_least_of_models(tmp_path: Path) -> None:
    """The least a model can be still gives a page, and sections that do not apply say why or are not there."""
    rng = np.random.default_rng(0)
    fit = rm.Model("y", theory=rm.theory.Constant()).fit(
        pd.DataFrame({"y": rng.normal(size=30)}), draws=50, chains=2, seed=1, progress=False
    )
    found = Elements(fit.report(tmp_path / "fit.html").read_text(encoding="utf-8"))
    text = " ".join(text for _, text in found.all("main"))
    assert "30 measurements of y." in text
    assert "nan" not in text.split()


def test_a_fit_that_keeps_no_draws_of_coefficients(tmp_path: Path) -> None:
    data, declared = layered.table(6, 16, 48), layered.model(impurity=False)
    fit = declared.fit(data, engine="exact", draws=60, chains=2, seed=1, progress=False, latents="summary")
    assert not fit.posterior.draws.coefficients
    text = fit.report(tmp_path / "fit.html").read_text(encoding="utf-8")
    assert "unresolved_specimen_scale" in text


# --- files ----------------------------------------------------------------------------------------------------------------------


def test_markdown_finds_all_its_figures(found: Findings, tmp_path: Path) -> None:
    target = tmp_path / "my fit.md"
    (tmp_path / "my fit_figures").mkdir()  # an older report, which the new one replaces
    (tmp_path / "my fit_figures" / "older.png").touch()
    assert markdown.write(found, target) == target
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", target.read_text(encoding="utf-8"))
    assert {p.split("/")[0] for p in pictures} == {"my%20fit_figures"}
    files = {path.name for path in (tmp_path / "my fit_figures").iterdir()}
    assert {p.split("/")[1] for p in pictures} == files
    assert {"model.png", "budget_specimen.png", "parity.png", "calibration.png", "ranks.png", "priors.png", "predictive.png"} <= files
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my fit.md", "my fit_figures"]


def test_figures_are_left_as_they_were_where_one_fails(tmp_path: Path) -> None:
    folder = tmp_path / "fit_figures"
    folder.mkdir()
    (folder / "older.png").touch()

    def fails() -> Any:
        raise OSError(28, "No space left on device")

    with pytest.raises(rm.FileError, match="No space left on device"):
        markdown.publish("comparison.md.j2", COMPARED, {"elpd": fails}, tmp_path / "fit.md")
    assert [path.name for path in tmp_path.iterdir()] == ["fit_figures"]
    assert [path.name for path in folder.iterdir()] == ["older.png"]


@pytest.mark.parametrize("name", ["fit.pdf", "nowhere/fit.html"])
def test_a_path_that_cannot_be_is_refused_before_any_work(name: str, tmp_path: Path) -> None:
    with pytest.raises(rm.FileError, match="ends in" if name == "fit.pdf" else "no folder"):
        Fit.report(SimpleNamespace(), tmp_path / name)  # type: ignore[arg-type]


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "fit.html"
    target.write_text("older", encoding="utf-8")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(rm.FileError, match="No space left on device"):
        render.write_text(target, "newer")
    assert [path.name for path in tmp_path.iterdir()] == ["fit.html"]
    assert target.read_text(encoding="utf-8") == "older"


def test_a_comparison_has_its_page_and_its_markdown(fit: Fit, tmp_path: Path) -> None:
    other = layered.fit(layered.model(impurity=False), layered.table(), draws=60)
    comparison = rm.compare({"with oxygen": fit, "without": other}, by="specimen")
    found = Elements(comparison.report(tmp_path / "models.html").read_text(encoding="utf-8"))
    rows = [text for _, text in found.all("th")]
    assert {"with oxygen", "without"} <= set(rows)
    cells = [text for _, text in found.all("td")]
    for name in comparison.table.index:
        assert words.number(float(comparison.table.loc[name, "elpd"])) in cells
    text = comparison.report(tmp_path / "models.md").read_text(encoding="utf-8")
    for picture in re.findall(r"\]\(([^)]+\.png)\)", text):
        assert (tmp_path / picture).is_file()


@pytest.mark.validate
def test_642_molecules_stay_small(data_dir: Path, tmp_path: Path) -> None:
    template = rm.templates.get("hydration")
    data = template.data()
    fit = template.model().fit(data, draws=500, seed=1, progress=False)
    assert len(data) == 642
    assert fit.report(tmp_path / "fit.html").stat().st_size <= 6e6


@pytest.mark.validate
def test_20000_specimens_stay_small(tmp_path: Path) -> None:
    fit = layered.fit(layered.model(impurity=False), layered.table(400, 20_000, 30_000, 12), chains=2)
    target = fit.report(tmp_path / "fit.html")
    assert target.stat().st_size <= 10e6
    text = target.read_text(encoding="utf-8")
    assert "largest of 20000 gaps can be chosen here" in text
    assert "evenly chosen, are shown" in text


def test_a_comparison_draws_what_can_be_read_and_says_the_rest() -> None:
    table = pd.DataFrame(
        {"elpd": [-10.0, -801.0, -1.49e6], "elpd_diff": [0.0, -791.0, -1.49e6], "dse": [0.0, 44.0, 2.9e5], "se": [9.0, 40.0, 2.9e5]}
    )
    table = table.assign(rank=[0, 1, 2], p=0.0, weight=[1.0, 0.0, 0.0], warning=False, scale="log").set_index(
        pd.Index(["real", "ideal", "theory"])
    )
    drawn = bayes.comparison(table)
    assert "real, ideal relative" in drawn.alt
    assert "theory (" in drawn.caption
    labels = " ".join(text.get_text() for text in drawn.figure.axes[0].get_yticklabels())
    assert "ideal" in labels
    assert "theory" not in labels
