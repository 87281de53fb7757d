"""What every test shares: where the data sets lie, and a browser."""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parent.parent

os.environ.setdefault("MPLBACKEND", "Agg")  # figures are drawn to memory
if "REALMAT_DATA" not in os.environ and (ROOT.parent / "shared" / "data").is_dir():
    os.environ["REALMAT_DATA"] = str(ROOT.parent / "shared" / "data")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Return the folder of the real data sets, one folder each; without it the test skips and says so."""
    folder = os.environ.get("REALMAT_DATA", "")
    if not Path(folder).is_dir() or not folder:
        pytest.skip("the real data sets are not here: set REALMAT_DATA to their folder")
    return Path(folder)


@pytest.fixture(scope="module")  # no longer than its module: its event loop would get in the way of the notebooks
def browser() -> Iterator[Browser]:
    """Start the Chromium of this machine without a window; without one the test skips and says so."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no Chromium here (on Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield chromium
        chromium.close()


def pytest_configure() -> None:
    """Tests send Ctrl-C, which what a shell runs in the background ignores, and its children too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line for each reason, loudly, what was not tested."""
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in terminalreporter.stats.get("skipped", []))
    for reason, count in reasons.items():
        terminalreporter.write_line(f"NOT TESTED ({count}): {reason}", yellow=True, bold=True)
