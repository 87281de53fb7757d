"""Named checks and what came of them."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from realmat.errors import RealmatError
from realmat.support.shown import Shown


class Skipped(Exception):
    """Raised by a check that does not apply, with the reason."""


@dataclass(frozen=True)
class Check:
    """One check: its name, whether it passed (None: it does not apply), and what was found."""

    name: str
    passed: bool | None
    detail: str = ""


@dataclass(frozen=True)
class Checks(Shown):
    """Every check of one subject.

    Attributes
    ----------
    subject : str
    checks : tuple of Check
    """

    subject: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not self.failed

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the checks that failed."""
        return tuple(check.name for check in self.checks if check.passed is False)

    @property
    def table(self) -> pd.DataFrame:  # type: ignore[override]
        """Columns: check, result, detail."""
        words = {True: "passed", False: "FAILED", None: "does not apply"}
        return pd.DataFrame([{"check": c.name, "result": words[c.passed], "detail": c.detail} for c in self.checks])

    @property
    def title(self) -> str:
        """What was checked."""
        return f"Checks of {self.subject}"

    @property
    def text(self) -> str:
        """What failed and why."""
        if self.passed:
            return f"{self.subject} passes all {sum(c.passed is True for c in self.checks)} checks that apply to it."
        return "\n".join(f"{c.name}: {c.detail}" for c in self.checks if c.passed is False)


def run(subject: str, checks: Mapping[str, Callable[[Any], str | None]], case: Any) -> Checks:
    """Run checks on a case. A check fails by any exception; its message is the detail."""
    done = []
    for name, check in checks.items():
        try:
            done.append(Check(name, True, check(case) or ""))
        except Skipped as reason:
            done.append(Check(name, None, str(reason)))
        except (AssertionError, RealmatError) as error:
            done.append(Check(name, False, str(error)))
        except Exception as error:  # a component may fail in any way; the check must say where
            where = traceback.extract_tb(error.__traceback__)[-1]
            done.append(Check(name, False, f"{type(error).__name__}: {error} ({where.name}, line {where.lineno})"))
    return Checks(subject, tuple(done))
