"""A campaign in processes of its own that are killed at random moments: ``python campaign_killed.py RECORD KILLS``.

One process holds the fit and forks the others, so that a kill costs no start of Python. Each child goes on with the record, asks and tells,
and says of each `tell` that it returned; a child that was killed may have written one more step than it said.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

import realmat as rm
from realmat.campaign.record import Record

MODEL = rm.Model("y", levels={"specimen": "piece"}, theory=rm.theory.Constant(), material=rm.material.Unresolved(by="specimen"))


def reading(k: int) -> float:
    """What the k-th measurement says."""
    return float(np.round(np.sin(k), 6))


def told(path: Path) -> list[float]:
    """All that the record holds, in order."""
    return [value for step in Record(path).of("tell") for value in step["rows"]["y"]] if path.exists() else []


def child(fit: rm.Fit, path: Path, out: int) -> None:
    """Go on with the campaign until killed."""
    campaign = rm.Campaign(fit, path=path)
    while True:
        k = len(told(path))
        campaign.tell((campaign.ask() if k % 5 == 0 else pd.DataFrame({"piece": [f"p{k % 6}"]})).assign(y=reading(k)))
        os.write(out, f"{k}\n".encode())


def killed(fit: rm.Fit, path: Path, rng: np.random.Generator) -> int:
    """One child from its birth to its end; the last step that it said was done, -1 for none."""
    into, out = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(into)
        try:
            child(fit, path, out)
        finally:
            os._exit(1)
    os.close(out)
    select.select([into], [], [], 60)  # it is at work; then at any moment of the next steps
    time.sleep(rng.uniform(0, 0.1))
    os.kill(process, signal.SIGKILL)
    said = b""
    while part := os.read(into, 4096):
        said += part
    os.close(into)
    os.waitpid(process, 0)
    return max((int(line) for line in said.split(b"\n")[:-1]), default=-1)


def main(path: Path, kills: int) -> None:
    """Kill, look, and go on."""
    warnings.filterwarnings("ignore", "This process", DeprecationWarning)  # has threads: the children use none of them
    rng, piece = np.random.default_rng(1), np.repeat(np.arange(6), 2)
    df = pd.DataFrame({"y": rng.normal(0, 1, 6)[piece] + rng.normal(0, 0.3, 12), "piece": [f"p{k}" for k in piece]})
    fit = MODEL.fit(df, draws=20, chains=2, seed=1, progress=False)
    confirmed, unsaid = -1, 0
    for _ in range(kills):
        confirmed = max(confirmed, killed(fit, path, rng))
        there = told(path)
        if len(there) <= confirmed or there != [reading(k) for k in range(len(there))]:
            raise SystemExit(f"step {confirmed} was confirmed, but the record holds {there}")
        unsaid += len(there) - 1 > confirmed
    last = rm.Campaign(fit, path=path)
    if last.spent != len(told(path)) or len(last.fit.problem.table) != 12 + len(told(path)):
        raise SystemExit(f"{last.spent} spent, {len(last.fit.problem.table)} rows, {len(told(path))} steps told")
    print(f"{kills} kills, {len(told(path))} steps, {unsaid} of them on the disk and not yet confirmed when the process died: none lost")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
