"""Labels: what pictures, sentences and reports call the response, columns and components; tables and files keep the names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import realmat as rm

LABELS = {"oxygen": "oxygen content", "impurity_oxygen": "oxygen", "unresolved_piece": "rest of the piece", "calibrated": "DFT"}


@pytest.fixture(scope="module")
def fit() -> rm.Fit:
    """Twenty pieces, two measurements each."""
    rng = np.random.default_rng(2)
    piece = np.repeat(np.arange(20), 2)
    oxygen, computed = rng.uniform(200, 1500, 20)[piece], rng.uniform(2, 9, 20)[piece]
    measured = 1 + computed + 0.002 * oxygen + rng.normal(0, 0.2, 20)[piece] + rng.normal(0, 0.1, 40)
    table = pd.DataFrame({"E_form": measured, "dft": computed, "oxygen": oxygen, "piece": [f"p{p}" for p in piece]})
    model = rm.Model(
        "E_form",
        unit="eV",
        levels={"specimen": "piece"},
        theory=rm.theory.Calibrated("dft"),
        material=[rm.material.Impurity("oxygen"), rm.material.Unresolved(by="specimen", name="unresolved_piece")],
        label="Formation enthalpy",
        labels=LABELS,
    )
    return model.fit(table, seed=1, draws=100, progress=False)


def words(figure) -> str:
    return " | ".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))


def test_figures_use_labels_and_every_axis_has_its_unit(fit: rm.Fit) -> None:
    budget, gap = fit.budget(new="specimen").plot(), fit.gap().plot()
    budget.canvas.draw()
    assert "rest of the piece  (aleatoric)" in words(budget)
    assert "unresolved_piece" not in words(budget) + words(gap)
    assert gap.axes[0].get_xlabel() == "Formation enthalpy (eV)"
    assert [label.get_text() for label in gap.axes[0].get_yticklabels()][1:3] == ["oxygen", "rest of the piece"]
    assert fit.plot_parity().axes[0].get_xlabel() == "Measured Formation enthalpy (eV)"
    drawn = fit.model.components[1].plot(fit)
    assert (drawn.get_xlabel(), drawn.get_ylabel()) == ("oxygen content (wppm)", "effect (eV)")
    assert {"DFT", "oxygen", "rest of the piece"} <= set(words(fit.plot_model()).split(" | "))


def test_tables_keep_names_and_sentences_use_labels(fit: rm.Fit) -> None:
    budget = fit.budget(new="specimen")
    assert {"impurity_oxygen", "unresolved_piece"} <= set(budget.table["component"])
    assert budget.title.startswith("Uncertainty budget of Formation enthalpy")
    assert "rest of the piece" in budget.text
    assert "Measured Formation enthalpy" in fit.gap().text


def test_a_report_speaks_in_labels_and_its_code_in_names(fit: rm.Fit, tmp_path: Path) -> None:
    page = fit.report(tmp_path / "fit.html").read_text(encoding="utf-8")
    before, code = page.split('<section id="reproduce"')
    assert "rest of the piece" in before
    assert "of Formation enthalpy (eV)" in before
    assert 'label="Formation enthalpy"' in code.replace("&#34;", '"')


def test_labels_survive_a_file_and_wrong_ones_are_refused(fit: rm.Fit, tmp_path: Path) -> None:
    again = rm.load(fit.save(tmp_path / "fit.nc"))
    assert again.model == fit.model
    assert again.problem.said("impurity_oxygen + noise") == "oxygen + noise"
    with pytest.raises(rm.ModelError, match=r"'oxigen' \(did you mean 'oxygen'"):
        rm.Model("y", material=rm.material.Impurity("oxygen"), labels={"oxigen": "O"})
