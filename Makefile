# Every target sets up what it needs in .venv by itself; a second run starts at once. All paths are relative, so that
# the folder's own name may hold spaces. ARGS are handed on, as in: make test ARGS="tests/test_house.py -x"

.PHONY: help demo test test-oldest check format bench validate docs cards pictures constraints
.NOTPARALLEL:

SETUP := sh tools/setup.sh
PYTHON_HERE := .venv/bin/python

ifeq ($(REALMAT_DATA)$(wildcard ../shared/data),../shared/data)
export REALMAT_DATA := $(shell cd ../shared/data && pwd)
endif

help:
	@echo "make demo      a layered model of real data: comparison, budget, report"
	@echo "make test      the tests"
	@echo "make check     ruff, mypy, import-linter"
	@echo "make format    ruff's formatter and its safe fixes"
	@echo "make validate  the statistical suite (long)"
	@echo "make bench     the benchmarks (long)"
	@echo "make docs      the documentation, warnings as errors, into docs/_build/html"
	@echo "make cards     the figures in the model cards of models/"
	@echo "make pictures  the pictures of the README, the gallery and the floors, from real fits"
	@echo "make test-oldest  the tests with the lowest versions that pyproject.toml allows"
	@echo "make constraints  the newest versions of everything; where the tests pass, constraints.txt holds them"

demo:
	@$(SETUP)
	@.venv/bin/realmat demo $(ARGS)

test:
	@$(SETUP) test
	@$(PYTHON_HERE) -m pytest -n auto $(ARGS)

check:
	@$(SETUP) check
	$(PYTHON_HERE) -m ruff check
	$(PYTHON_HERE) -m ruff format --check
	$(PYTHON_HERE) -m mypy
	.venv/bin/lint-imports

format:
	@$(SETUP) check
	@$(PYTHON_HERE) -m ruff check --fix
	@$(PYTHON_HERE) -m ruff format

validate:
	@$(SETUP) test
	@$(PYTHON_HERE) -m pytest -m validate $(ARGS)

bench:
	@$(SETUP) bench
	@$(PYTHON_HERE) benchmarks/run.py $(ARGS)

docs:
	@$(SETUP) docs
	@$(PYTHON_HERE) -m sphinx -W --keep-going -b html docs docs/_build/html $(ARGS)

cards:
	@$(SETUP)
	@$(PYTHON_HERE) tools/cards.py $(ARGS)

pictures:
	@$(SETUP)
	@$(PYTHON_HERE) tools/floors.py
	@$(PYTHON_HERE) tools/pictures.py $(ARGS)

# uv resolves to the lowest. Old versions warn of what newer ones below them have changed, so warnings are no errors here. The interpreter is the lowest that pyproject.toml allows, found or named: make test-oldest OLDEST=/path/to/python3.12
OLDEST ?= 3.12
test-oldest:
	@$(SETUP) check
	@.venv/bin/uv venv --quiet --allow-existing --python $(OLDEST) .venv-oldest
	@VIRTUAL_ENV=.venv-oldest .venv/bin/uv pip install --quiet --resolution lowest-direct --editable ".[test]"
	@.venv-oldest/bin/python -m pytest -o filterwarnings=default $(ARGS)

constraints:
	@NEWEST=1 $(SETUP) test,check,docs
	@$(PYTHON_HERE) -m pytest -n auto $(ARGS)
	@$(PYTHON_HERE) tools/constraints.py
