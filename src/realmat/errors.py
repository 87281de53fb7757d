"""The errors a user can meet. Each says what is wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Sequence


class RealmatError(Exception):
    """Base of every error that realmat raises on purpose."""


class DataError(RealmatError):
    """The table does not fit the model. `problems` lists every problem found, each with its column and rows."""

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        self.problems = tuple(problems)
        listed = "".join(f"\n  - {problem}" for problem in self.problems)
        super().__init__(message + listed)


class ModelError(RealmatError):
    """The declaration of a model, component, prior or template is not valid."""


class FitError(RealmatError):
    """The fit could not be made or is not what was asked for."""


class FileError(RealmatError):
    """A file is missing, damaged or not what it claims to be."""
