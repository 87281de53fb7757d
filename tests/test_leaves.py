"""Groups of coefficients that are alike, eliminated by class: against the dense definition and the factor of all columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import realmat as rm
from realmat.algebra import System, dense, leaves
from realmat.posterior.prior_draws import draw


def table() -> pd.DataFrame:
    """Two properties of 60 pieces of four materials, as often measured on each; theory differs by row; the grain of a third is known."""
    rng = np.random.default_rng(8)
    piece = np.repeat(np.arange(60), 2)
    known = np.where(np.arange(120) % 6 == 0, rng.normal(2, 0.4, 120), np.nan)
    return pd.DataFrame(rng.normal(size=(120, 3)), columns=["y", "w", "t"]).assign(piece=piece, mat=piece % 4, grain=known)


def piecewise(response: str) -> rm.Model:
    """A state, what is left of pieces and of materials."""
    material = [rm.material.Effect("grain", u=0.2), rm.material.Unresolved("specimen"), rm.material.Unresolved("material")]
    levels = {"material": "mat", "specimen": "piece"}
    return rm.Model(response, levels=levels, theory=rm.theory.Calibrated("t"), material=material)


@pytest.fixture(params=["one property", "two"], scope="module")
def system(request):
    """Bound and analysed; so few pieces would not pay, so that a class is said to cost nothing."""
    model = (
        piecewise("y") if request.param == "one property" else rm.Joint([piecewise("y"), piecewise("w")], correlate=["unresolved_specimen"])
    )
    out = System(model.bind(table()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leaves, "_CLASS_COST", 0)
        assert out.many.leaves is not None
    return out


def test_classes_are_of_pieces_alike(system):
    """Two, characterised or not, whatever theory says of each row; few columns are left."""
    assert sorted(len(leaf.columns) for leaf in system.many.leaves.classes) == [20, 40]
    assert len(system.many.order) == system.size - sum(leaf.columns.size for leaf in system.many.leaves.classes) < 20


def test_densities_and_means_are_those_of_the_definition(system):
    """At psi drawn from the prior, as at one psi and as the dense covariance has them; where numbers break down, density zero."""
    prior = draw(system.problem, 4, seed=5)
    each = [prior.values(i) for i in range(4)]
    batch = {name: np.stack([np.asarray(v[name], dtype=float) for v in each], axis=-1) for name in each[0]}
    solved = system.many.at(batch, 4)
    for i, values in enumerate(each):
        assert solved.log_marginal[i] == pytest.approx(dense.log_marginal(system.problem, values), rel=1e-9)
        sd = np.sqrt(np.diag(system.at(values).cov(np.eye(system.size))))
        assert np.all(np.abs(solved.mean()[i] - system.at(values).mean) < 1e-6 * sd)
    broken = {name: np.where(np.arange(4) == 1, np.nan, v) for name, v in batch.items()}
    logs = system.many.at(broken, 4).log_marginal
    assert logs[1] == -np.inf
    assert np.delete(logs, 1) == pytest.approx(np.delete(solved.log_marginal, 1), rel=1e-12)


def test_draws_have_the_covariance_of_the_whole_factor(system):
    """Standard normals become draws linearly: what the map makes of unit vectors has that covariance exactly."""
    n = system.size
    batch = {name: np.repeat(np.asarray(v, dtype=float)[..., None], n, axis=-1) for name, v in system.example.items()}
    found = []
    for each in (system.many, system.whole):
        solved = each.at(batch, n)
        root = solved.completed(np.eye(n)) - solved.mean()
        found.append(root.T @ root)
    sd = np.sqrt(np.diag(found[1]))
    assert np.all(np.abs(found[0] - found[1]) < 1e-9 * np.outer(sd, sd))


def test_pieces_that_differ_in_anything_are_left_alone():
    """Other variances, or fewer pieces alike than pay: the columns are eliminated one by one."""
    df = table()
    df["u"] = np.random.default_rng(1).uniform(0.1, 0.2, len(df))
    model = rm.Model(
        "y",
        levels={"specimen": "piece"},
        theory=rm.theory.Constant(),
        material=rm.material.Effect("grain", u="u"),
        observation=rm.observation.Normal(u="u"),
    )
    assert System(model.bind(df)).many.leaves is None
    assert System(piecewise("y").bind(df.iloc[:20])).many.leaves is None


def test_pieces_that_share_nothing_are_left_alone(monkeypatch):
    """Two properties of known theory, whose rests correlate: nothing is left beside the groups, and the density is as defined."""
    monkeypatch.setattr(leaves, "_CLASS_COST", 0)
    theory = rm.theory.Calibrated("t", intercept=0.0, slope=1.0)
    each = [rm.Model(y, levels={"specimen": "piece"}, theory=theory, material=rm.material.Unresolved("specimen")) for y in "yw"]
    system = System(rm.Joint(each, correlate=["unresolved_specimen"]).bind(table()))
    assert system.many.leaves is None
    values = draw(system.problem, 1, seed=1).values(0)
    batch = {name: np.asarray(v, dtype=float)[..., None] for name, v in values.items()}
    assert system.many.log_marginal(batch, 1)[0] == pytest.approx(dense.log_marginal(system.problem, values), rel=1e-9)
