"""Write constraints.txt: the versions that are installed, of all that realmat and its extras need: python tools/constraints.py

`make constraints` takes the newest of everything, runs the suite, and then this. Names and versions alone: where packages come from is
the business of whoever installs them.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

EXTRAS = ("test", "check", "docs")
HEAD = "# The versions that the whole suite last passed with; tools/setup.sh installs these. `make constraints` renews them.\n"
PATH = Path(__file__).resolve().parent.parent / "constraints.txt"


def closure(name: str, extras: tuple[str, ...]) -> dict[str, str]:
    """Give name and version of everything that an installation with some extras brings here."""
    found: dict[str, str] = {}
    waiting, seen = [(name, extra) for extra in ("", *extras)], set()
    while waiting:
        key = waiting.pop()
        if key in seen:
            continue
        seen.add(key)
        try:
            installed = distribution(key[0])
        except PackageNotFoundError:  # of another platform, or an extra that is not installed
            continue
        found[canonicalize_name(key[0])] = installed.version.partition("+")[0]
        for text in installed.requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": key[1]}):
                waiting += [(canonicalize_name(requirement.name), extra) for extra in ("", *requirement.extras)]
    found.pop(canonicalize_name(name))
    return found


if __name__ == "__main__":
    lines = [f"{name}=={version}\n" for name, version in sorted(closure("realmat", EXTRAS).items())]
    PATH.write_text(HEAD + "".join(lines), encoding="utf-8")
    print(f"{PATH.name}: {len(lines)} versions")
