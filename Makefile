# make study: the main job.  make test: the tests of every change.  make test-all: every test there is.
# make docs: the documentation as a site in build/site.
# make cover: make test, with the lines that no test runs.  Each makes .venv if it is missing.

PYTHON ?= python3
BIN := .venv/bin
# one thread a process: the sweep has a process a core
export OMP_NUM_THREADS := 1

.PHONY: study test test-all cover docs lint format

study: .venv/installed
	$(BIN)/python -m study.sweep +experiment=n_vs_p

test: .venv/installed lint
	$(BIN)/pytest -n auto --dist loadfile -m "not slow and not cluster"

test-all: .venv/installed lint
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install -q -e '.[dev,mlflow]'
	$(BIN)/pytest -n auto --dist loadfile --durations=80

cover: .venv/installed
	$(BIN)/pytest -n auto --dist loadfile -m "not slow and not cluster" --cov --cov-report term

docs: .venv/installed
	$(BIN)/python docs/build.py

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
