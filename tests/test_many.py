"""Many fits on executors: the same numbers whoever runs them, one retry, what fails named, the rest kept."""

from __future__ import annotations

import importlib.util
import os
import signal
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import realmat as rm
from realmat.support.jobs import SomeFailedError, run
from realmat.support.threads import workers

IDEAL = rm.Model("y", levels={"material": "mat"}, theory=rm.theory.Calibrated("t"))
REAL = IDEAL.with_material(rm.material.Unresolved(by="material"))


def materials() -> pd.DataFrame:
    """Thirty materials, two measurements each."""
    rng = np.random.default_rng(1)
    m = np.repeat(np.arange(30), 2)
    t = rng.normal(0, 1, 30)[m]
    return pd.DataFrame({"y": 0.2 + t + 0.4 * rng.normal(size=30)[m] + 0.2 * rng.normal(size=60), "t": t, "mat": [f"m{k}" for k in m]})


def die_once(mark: str, value: int) -> int:
    """A task that takes its worker with it the first time."""
    if not Path(mark).exists():
        Path(mark).write_text("died")
        os.kill(os.getpid(), signal.SIGKILL)
    return value


class Losing(Executor):
    """Loses the first so many tasks that it is given, as a cluster does whose worker dies."""

    def __init__(self, times: int) -> None:
        self.times = times

    def submit(self, function, /, *arguments, **named):
        future: Future = Future()
        self.times -= 1
        if self.times >= 0:
            future.set_exception(ConnectionError("the worker is gone"))
        else:
            future.set_result(function(*arguments))
        return future


def same(a: rm.Fit, b: rm.Fit) -> None:
    for name, draws in a.posterior.draws.params.items():
        np.testing.assert_array_equal(draws, b.posterior.draws.params[name])
    for name, draws in a.posterior.draws.coefficients.items():
        np.testing.assert_array_equal(draws, b.posterior.draws.coefficients[name])


def test_fits_are_the_same_here_in_threads_and_in_processes() -> None:
    df = materials()
    models = {"ideal": IDEAL, "real": REAL}
    here = rm.fit_many(models, df, draws=50, chains=2, seed=3)
    same(here["real"], REAL.fit(df, draws=50, chains=2, seed=3, progress=False))
    with ThreadPoolExecutor(2) as threads:
        there = rm.fit_many(models, df, draws=50, chains=2, seed=3, executor=threads)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
        far = rm.fit_many(models, df, draws=50, chains=2, seed=3, executor=processes)
        folds = [rm.cross_validate(REAL, df, 3, seed=1, draws=50, executor=executor).rows for executor in (None, processes)]
    assert list(here) == list(there) == list(far) == ["ideal", "real"]
    for name in models:
        same(here[name], there[name])
        same(here[name], far[name])
    pd.testing.assert_frame_equal(*folds)


def test_every_model_may_have_its_own_table(tmp_path: Path) -> None:
    df = materials()
    df.iloc[:30].to_parquet(tmp_path / "c.parquet")
    tables = {"a": df, "b": df.iloc[:20], "c": tmp_path / "c.parquet"}
    fits = rm.fit_many(dict.fromkeys(tables, IDEAL), tables, draws=20, seed=1)
    assert [len(fit.problem.table) for fit in fits.values()] == [60, 20, 30]


def test_a_fit_that_fails_is_named_and_the_others_are_kept() -> None:
    models = {"good": IDEAL, "bad": rm.Model("absent", theory=rm.theory.Constant())}
    with pytest.raises(SomeFailedError, match=r"(?s)1 of 2 fits failed.*bad: DataError.*'absent'") as error:
        rm.fit_many(models, materials(), draws=20, seed=1)
    assert isinstance(error.value.done["good"], rm.Fit)


def test_refits_are_spread_and_give_the_same() -> None:
    """A material far from the others, whose leaving out moves the scales: refitted on an executor as here."""
    df = materials()
    df.loc[df["mat"] == "m7", "y"] += 6.0
    fit = REAL.fit(df, draws=100, chains=2, seed=1, progress=False)
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as threads:
        patch.setattr("realmat.validation.loo._MOST_ADAPTED", 0)
        patch.setattr("realmat.validation.loo.good_k", lambda draws: 0.3)
        here, there = (fit.left_out("material", refit=True, executor=executor) for executor in (None, threads))
    assert here.refitted == there.refitted != ()
    np.testing.assert_array_equal(here.elpd.elpd_i, there.elpd.elpd_i)


def test_a_task_whose_worker_is_lost_is_given_away_once_more() -> None:
    tasks = {str(k): (k, 2) for k in range(4)}
    assert run(divmod, tasks, Losing(4)) == {str(k): divmod(k, 2) for k in range(4)}
    with pytest.raises(SomeFailedError, match="1 of 4 tasks failed") as error:
        run(divmod, tasks, Losing(5))
    assert len(error.value.done) == 3


def test_a_pool_whose_worker_was_killed_leaves_its_tasks_to_this_process(tmp_path: Path) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert run(die_once, {"a": (str(tmp_path / "a"), 1), "b": (str(tmp_path / "a"), 2)}, pool) == {"a": 1, "b": 2}
        with pytest.raises(BrokenProcessPool):
            pool.submit(abs, -1)


def test_tasks_take_one_thread() -> None:
    with ThreadPoolExecutor(1) as pool:
        assert run(workers, {"a": ()}, pool) == {"a": 1}
    assert workers() == min(os.cpu_count() or 1, 8)


@pytest.mark.validate
def test_a_dask_worker_killed_in_the_middle_loses_nothing() -> None:
    """Eight fits on two workers, one of which is killed while it works: all come back, the numbers of one core."""
    distributed = pytest.importorskip("distributed", reason="needs the extra realmat[cluster]")
    import threading
    import time

    df = materials()
    models = {f"m{k}": REAL for k in range(8)}
    here = rm.fit_many(models, df, draws=2000, seed=5)
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        pids = client.run(os.getpid)

        def kill() -> None:
            while not any(client.processing().values()):
                time.sleep(0.01)
            time.sleep(0.3)
            os.kill(next(iter(pids.values())), signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        far = rm.fit_many(models, df, draws=2000, seed=5, executor=client.get_executor())
        killer.join()
        assert set(client.run(os.getpid).values()) != set(pids.values())
    assert list(far) == list(models)
    for name in models:
        same(here[name], far[name])


def interrupt() -> None:
    raise KeyboardInterrupt


def test_an_interrupt_cancels_what_has_not_begun(tmp_path: Path) -> None:
    """Of eight tasks on one worker the first is done when the user stops: those that wait never run."""
    with ThreadPoolExecutor(1) as pool, pytest.raises(KeyboardInterrupt):
        run(mark, {str(k): (str(tmp_path / str(k)),) for k in range(8)}, pool, interrupt)
    assert 1 <= len(list(tmp_path.iterdir())) <= 3


def mark(path: str) -> None:
    """A task that leaves a trace, slower than whoever looks."""
    time.sleep(0.1)
    Path(path).write_text("done")


def test_progress_counts_every_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step for each fit and fold, failed ones too."""
    steps: list[str] = []
    monkeypatch.setattr("realmat.support.progress.Progress.advance", lambda bar, steps_=1: steps.append(bar.what))
    df = materials()
    with ThreadPoolExecutor(2) as threads:
        with pytest.raises(SomeFailedError):
            rm.fit_many({"a": IDEAL, "b": REAL, "c": IDEAL}, df, engine="neither", seed=1, executor=threads)
        rm.cross_validate(IDEAL, df, 3, seed=1, draws=20, executor=threads)
    assert [steps.count(what) for what in ("3 fits", "3 folds")] == [3, 3]


def test_calibration_is_the_same_here_and_on_an_executor() -> None:
    df = materials()
    here = rm.testing.sbc(IDEAL, df, 20, draws=30, ranked=20, seed=3)
    with ThreadPoolExecutor(2) as threads:
        there = rm.testing.sbc(IDEAL, df, 20, draws=30, ranked=20, seed=3, executor=threads)
    pd.testing.assert_frame_equal(here.ranks, there.ranks)
    assert here.passed
    assert here.ranks.gt(0).all(axis=None)
    assert here.ranks.lt(1).all(axis=None)
    assert {"noise_scale[0]", "calibrated_slope[0]", "log p(y|psi)"} <= set(here.table.index)
    with pytest.raises(rm.ModelError, match="at least 20"):
        rm.testing.sbc(IDEAL, df, 5)


def test_calibration_finds_what_is_not_uniform() -> None:
    """Ranks of draws too narrow by half are found; coverage is the share inside, counted by hand."""
    rng = np.random.default_rng(2)
    truth = rng.normal(size=400)
    draws = rng.normal(size=(99, 400))
    right, narrow = (pd.Series(((x < truth).sum(axis=0) + rng.random(400)) / 100) for x in (draws, 0.5 * draws))
    found = rm.testing.SBC(pd.DataFrame({"right": right, "narrow": narrow}), "y")
    assert found.failed == ("narrow",)
    assert "not uniform for narrow" in found.text
    assert found.table.loc["narrow", "coverage_80"] == np.mean([0.1 <= r <= 0.9 for r in narrow])


@pytest.mark.validate
def test_cards_are_the_same_on_workers() -> None:
    """The figures of a model card, here and on an executor."""
    where = importlib.util.spec_from_file_location("cards", Path(__file__).parents[1] / "tools" / "cards.py")
    cards = importlib.util.module_from_spec(where)
    where.loader.exec_module(cards)
    template = rm.templates.get("interlaboratory")
    with ThreadPoolExecutor(2) as threads:
        assert cards.figures(template, threads) == cards.figures(template)
