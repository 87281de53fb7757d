"""The record of a campaign: one line of JSON for each step, on the disk before the step counts as done.

A process that is killed leaves at worst half a last line, which is no step: nobody was told that it was done.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from realmat.campaign.packing import plain
from realmat.errors import FileError


class Record:
    """Steps, in memory and, where there is a path, on the disk.

    Parameters
    ----------
    path : Path, optional
        Read if it exists.

    Raises
    ------
    realmat.FileError
        If the file cannot be read or is not the record of a campaign.
    """

    def __init__(self, path: str | Path | None) -> None:
        self.path = None if path is None else Path(path)
        self.steps: list[dict[str, Any]] = []
        if self.path is not None and self.path.exists():
            self.steps = _read(self.path)

    def add(self, kind: str, **told: Any) -> None:
        """One more step; on the disk when this returns.

        Raises
        ------
        realmat.FileError
            If it cannot be written; the step is then not taken.
        """
        step = {"step": len(self.steps), "kind": kind, **told}
        if self.path is not None:
            line = (json.dumps(step, default=plain) + "\n").encode()
            try:
                _append(self.path, line)
            except OSError as error:
                raise FileError(f"cannot write {self.path}: {error.strerror or error}.") from error
        self.steps.append(json.loads(json.dumps(step, default=plain)))

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The steps of a kind."""
        return [step for step in self.steps if step["kind"] == kind]


def _append(path: Path, line: bytes) -> None:
    """Behind the last whole line of the file, and through to the disk."""
    new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        end = _whole(descriptor)
        os.ftruncate(descriptor, end)
        os.lseek(descriptor, end, os.SEEK_SET)
        while line:
            line = line[os.write(descriptor, line) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if new and hasattr(os, "O_DIRECTORY"):  # the file's name must be on the disk too
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _whole(descriptor: int) -> int:
    """Length of the file up to the end of its last whole line."""
    end = os.lseek(descriptor, 0, os.SEEK_END)
    while end > 0:
        start = max(0, end - 65536)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        text = path.read_bytes()
        steps = [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]
    except (OSError, ValueError) as error:
        raise FileError(f"{path} is not the record of a campaign, or is damaged ({error}).") from error
    if any(not isinstance(step, dict) or step.get("step") != k or "kind" not in step for k, step in enumerate(steps)):
        raise FileError(f"{path} is not the record of a campaign: its lines are not steps.")
    return steps
