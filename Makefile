# Everything works from an empty clone; `make help` lists the targets.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help reproduce paper figures test coverage soak mutants lab docs clean

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# PYTHON: another interpreter to build the environment with. ARGS: more arguments for the rrmlab command.
PYTHON ?=
ARGS ?=

help:  ## this list
	@echo "make TARGET [ARGS='...']      (the first one sets up $(VENV) with pip, once)"
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## (.*)/  \1|\2/' | awk -F'|' '{printf "%-12s %s\n", $$1, $$2}'

# Built again when the requirements change. An interrupted set-up leaves no stamp and is completed by the next call.
$(STAMP): pyproject.toml constraints.txt
	@if $(BIN)/python -m pip --version >/dev/null 2>&1; then exit 0; fi; \
	for python in $(PYTHON) python3.11 python3 python3.12 python3.13 python3.14; do \
	  if "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' >/dev/null 2>&1; then \
	    echo "building $(VENV) with $$python"; exec "$$python" -m venv $(VENV); \
	  fi; \
	done; \
	echo "rrmlab needs Python 3.11 to 3.14, found as python3 or python3.11 to python3.14;" \
	     "install it, or name it: make PYTHON=/path/to/python3.11" >&2; \
	exit 1
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	@touch $@

reproduce: $(STAMP)  ## run all notebooks, quick preset: minutes on 2 cores, into data/runs/quick
	$(BIN)/rrmlab reproduce --preset quick --jobs 2 $(ARGS)

paper: $(STAMP)  ## run all notebooks in full size: about 4 hours on 2 cores, renews figures/ and figures/tables/
	$(BIN)/rrmlab reproduce --preset paper $(ARGS)

figures: $(STAMP)  ## draw figures/ from the committed tables and renew notebooks/*.ipynb
	$(BIN)/rrmlab figures $(ARGS)

# One thread per test process: pytest-xdist already fills the cores.
test: $(STAMP)  ## ruff, mypy and all tests
	$(BIN)/ruff check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto $(ARGS)

coverage: $(STAMP)  ## all tests, with the lines and branches of the package that they reach: at least 95%
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --cov $(ARGS)

soak: $(STAMP)  ## all tests with their full counts: 100,000 bad inputs, fuzzed loaders
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[soak]'
	RRMLAB_SOAK=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto $(ARGS)

mutants: $(STAMP)  ## mutation testing of the modules that compute the numbers; renews tests/mutants*.csv
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[mutants]'
	OMP_NUM_THREADS=1 $(BIN)/python tests/mutants.py

lab: $(STAMP)  ## JupyterLab on the notebooks
	$(BIN)/jupyter lab --notebook-dir=notebooks $(ARGS)

docs: $(STAMP)  ## the documentation, a folder of web pages, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build $(ARGS)

clean:  ## remove what runs make (their folders in data/, build leftovers, caches); figures/ and .venv stay
	rm -rf data/datasets data/executed data/offline data/online data/scored data/runs data/schedulers
	rm -rf build dist site mutants *.egg-info .pytest_cache .ruff_cache .mypy_cache .coverage* .hypothesis notebooks/.ipynb_checkpoints
	find rrmlab tests notebooks -name __pycache__ -type d -prune -exec rm -rf {} +
