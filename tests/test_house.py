"""The rules of the house that a tool can keep: small files and functions, floors, a light import, no path of one machine, free licences."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(path for folder in ("src", "models", "tests", "benchmarks", "tools") for path in (ROOT / folder).rglob("*.py"))
HEAVY = ("pymc", "pytensor", "arviz", "matplotlib", "pymatgen", "pint", "rich", "nutpie", "jax", "plotly")


def lines_of_code(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count a function's lines from its `def` on, without its docstring, which is as long as the explanation needs."""
    first = function.body[0]
    has_docstring = ast.get_docstring(function, clean=False) is not None
    docstring = first.end_lineno - first.lineno + 1 if has_docstring else 0
    return function.end_lineno - function.lineno + 1 - docstring


def tracked_files() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    assert listing.returncode == 0, listing.stderr
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def modules_after(code: str) -> set[str]:
    listing = subprocess.run([sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in listing.stdout.split()}


def test_files_and_functions_are_small() -> None:
    too_long = []
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        if (count := text.count("\n")) >= 400:
            too_long.append(f"{path.relative_to(ROOT)}: {count} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (count := lines_of_code(node)) >= 50:
                too_long.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}: {count} lines")
    assert not too_long, "a file has fewer than 400 lines, a function fewer than 50:\n" + "\n".join(too_long)


@pytest.mark.parametrize("code", ["import realmat", "import realmat.cli"])
def test_import_is_light(code: str) -> None:
    assert not modules_after(code) & set(HEAVY)


def test_floors() -> None:
    linter = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert linter.returncode == 0, linter.stdout + linter.stderr


def test_templates_use_only_public_names() -> None:
    private = []
    for path in (ROOT / "models").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            inner_import = isinstance(node, ast.ImportFrom) and (node.module or "").startswith("realmat")
            inner_module = isinstance(node, ast.Import) and any(alias.name.startswith("realmat.") for alias in node.names)
            underscored = isinstance(node, ast.Attribute) and re.match(r"(rm|realmat)(\.\w+)*\._[^_]", ast.unparse(node)) is not None
            if inner_import or inner_module or underscored:
                private.append(f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}")
    assert not private, "a template imports `realmat as rm` and uses its public names:\n" + "\n".join(private)


def test_no_path_of_one_machine() -> None:
    home = re.compile(r"(?<![\w.~-])/(?:home|root|Users|work|tmp)/\w")
    found = []
    for path in tracked_files():
        if path.suffix not in {".png", ".nc", ".woff2"}:
            lines = enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
            found += [f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}" for number, line in lines if home.search(line)]
    assert not found, "\n".join(found)


def test_data_sets_are_not_committed() -> None:
    large = [f"{path.relative_to(ROOT)}: {size} bytes" for path in tracked_files() if (size := path.stat().st_size) > 1_000_000]
    assert not large, "\n".join(large)


def run_time_closure(name: str = "realmat") -> dict[str, str]:
    """Return each distribution that a plain installation brings, with what it says of its licence."""
    licences: dict[str, str] = {}
    waiting = [name]
    while waiting:
        found = distribution(waiting.pop())
        key = found.metadata["Name"].lower()
        if key in licences:
            continue
        classifiers = [text for text in found.metadata.get_all("Classifier") or [] if text.startswith("License")]
        stated = [found.metadata.get("License-Expression"), (found.metadata.get("License") or "").split("\n")[0], *classifiers]
        files = found.metadata.get_all("License-File") or []
        texts = (found.read_text(f"licenses/{file}") or found.read_text(file) for file in files)  # by the newer rule, by the older
        licences[key] = " ".join(filter(None, stated)) or "\n".join(filter(None, texts))
        for text in found.requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return licences


def test_run_time_licences_are_permissive() -> None:
    try:
        licences = run_time_closure()
    except PackageNotFoundError as missing:
        pytest.fail(f"a run-time dependency is not installed: {missing}")
    offered_otherwise = {"bibtexparser"}  # "LGPLv3 or BSD": taken under BSD
    copyleft = {name: text for name, text in licences.items() if re.search(r"GPL|GNU", text) and name not in offered_otherwise}
    assert not copyleft
    assert not [name for name, text in licences.items() if not text.strip()], "no licence stated"


def test_the_conda_recipe_asks_for_what_pyproject_asks() -> None:
    other_names = {"arviz": "arviz", "netcdf4": "netcdf4", "matplotlib-base": "matplotlib", "pymc-base": "pymc"}
    text = (ROOT / "conda" / "recipe.yaml").read_text(encoding="utf-8").partition("  run:\n")[2].partition("\ntests:")[0]
    recipe = dict(re.findall(r"- ([\w-]+) ?(\S*)", text))
    assert recipe.pop("tqdm") == ""  # what pooch[progress] adds
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    assert recipe.pop("python") == project["requires-python"]
    wanted = {Requirement(text).name.lower(): str(Requirement(text).specifier) for text in project["dependencies"]}
    assert {other_names.get(name, name): minimum for name, minimum in recipe.items()} == wanted


def test_constraints_name_versions_and_no_place_they_come_from() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert lines
    assert not [line for line in lines if not re.fullmatch(r"[a-z0-9._-]+==[\w.]+", line)]
    pinned = dict(line.split("==") for line in lines)
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["test"], *project["optional-dependencies"]["check"]]
    wrong = []
    for requirement in map(Requirement, asked):
        version = pinned.get(re.sub(r"[-_.]+", "-", requirement.name).lower())
        if requirement.name != "realmat" and (version is None or version not in requirement.specifier):
            wrong.append(f"{requirement}: {version}")
    assert not wrong, "`make constraints` renews them: " + ", ".join(wrong)
