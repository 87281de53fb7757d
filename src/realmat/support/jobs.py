"""Many tasks on any `concurrent.futures.Executor`: the same results whoever runs them, one retry, what fails named, the rest kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Executor, Future, as_completed
from typing import Any

from realmat.errors import FitError, RealmatError
from realmat.support.threads import sharing


class SomeFailedError(FitError):
    """Some of many tasks failed.

    Attributes
    ----------
    done : dict of str to result
        What did not fail, by name.
    failed : dict of str to Exception
    """

    def __init__(self, what: str, done: Mapping[str, Any], failed: Mapping[str, Exception]) -> None:
        self.done, self.failed = dict(done), dict(failed)
        listed = "".join(f"\n  - {name}: {type(error).__name__}: {error}" for name, error in failed.items())
        kept = f" The other {len(done)} are done: `.done` of this error holds them." if done else ""
        super().__init__(f"{len(failed)} of {len(done) + len(failed)} {what} failed.{kept}{listed}")


def run[T](
    function: Callable[..., T],
    tasks: Mapping[str, tuple[Any, ...]],
    executor: Executor | None = None,
    tick: Callable[[], Any] | None = None,
    what: str = "tasks",
    failed: Mapping[str, Exception] | None = None,
) -> dict[str, T]:
    """Call ``function(*arguments)`` for every task.

    Without an executor tasks run here, one after the other, each on all cores. On an executor each runs on one core of whoever takes it.
    `function` is one of a module, and arguments can be pickled. A task whose worker is lost is given away once more, and where no worker is
    left it is run here. Interrupted, what has not begun is cancelled.

    Parameters
    ----------
    function : callable
    tasks : mapping of name to tuple of arguments
    executor : Executor, optional
    tick : callable, optional
        Called after each task.
    what : str
        The tasks, for messages.
    failed : mapping of name to Exception, optional
        What has failed already, to be named with the rest.

    Returns
    -------
    dict
        Results by name, in the order of the tasks.

    Raises
    ------
    SomeFailedError
        Once every task has ended, if some failed: with the results of the others.

    Examples
    --------
    >>> run(divmod, {"a": (7, 2), "b": (9, 3)})
    {'a': (3, 1), 'b': (3, 0)}
    """
    done: dict[str, T] = {}
    lost: dict[str, Exception] = dict(failed or {})
    call = tick or (lambda: None)
    if executor is None:
        for name, arguments in tasks.items():
            try:
                done[name] = function(*arguments)
            except RealmatError as error:
                lost[name] = error
            call()
    else:
        _spread(function, tasks, executor, call, done, lost)
    if lost:
        raise SomeFailedError(what, done, lost)
    return {name: done[name] for name in tasks}


def _spread[T](
    function: Callable[..., T],
    tasks: Mapping[str, tuple[Any, ...]],
    executor: Executor,
    tick: Callable[[], Any],
    done: dict[str, T],
    lost: dict[str, Exception],
) -> None:
    """Run tasks on an executor, those whose worker is lost twice."""
    pending = {_submitted(executor, function, arguments): name for name, arguments in tasks.items()}
    again: dict[str, tuple[Any, ...]] = {}
    try:
        for future in as_completed(pending):
            name = pending[future]
            try:
                done[name] = future.result()
            except RealmatError as error:
                lost[name] = error
            except (Exception, CancelledError):  # whatever an executor makes of a worker that is gone
                again[name] = tasks[name]
                continue
            tick()
        for name, arguments in again.items():
            try:
                done[name] = _submitted(executor, function, arguments).result()
            except Exception as error:  # of whatever kind: it is named beside the others
                lost[name] = error
            tick()
    except BaseException:
        for future in pending:
            future.cancel()
        raise


def _submitted[T](executor: Executor, function: Callable[..., T], arguments: tuple[Any, ...]) -> Future[T]:
    """Give a task away; an executor that takes none any more, since its workers died, leaves it to this process."""
    try:
        return executor.submit(_alone, function, arguments)
    except RuntimeError:
        future: Future[T] = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


def _alone[T](function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    """A task on one core of a machine that others work on, too."""
    with sharing():
        return function(*arguments)
