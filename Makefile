# make study: the main job.  make test: everything that is checked.  Both make .venv if it is missing.

PYTHON ?= python3
BIN := .venv/bin
# one thread a process: the sweep has a process a core
export OMP_NUM_THREADS := 1

.PHONY: study test lint format

study: .venv/installed
	$(BIN)/python -m study.sweep +experiment=n_vs_p

test: .venv/installed lint
	$(BIN)/pytest -n auto --dist loadfile --cov --cov-report term

lint: .venv/installed
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/lint-imports
	$(BIN)/pyright --pythonpath $(BIN)/python

format: .venv/installed
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install -q -e '.[dev]'
	touch $@
