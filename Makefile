# make study: the main job.  make test: the tests of every change.  make test-all: every test there is.
# make docs: the documentation as a site in build/site.
# make test-lowest, make test-newest: make test on the lowest versions that pyproject.toml admits, and
# on the newest, each in an environment of its own under build/.
# make cover: make test, with the lines that no test runs.  Each makes .venv if it is missing.

PYTHON ?= python3
BIN := .venv/bin
# one thread a process: the sweep has a process a core
export OMP_NUM_THREADS := 1

.PHONY: study test test-all test-lowest test-newest cover docs lint format

study: .venv/installed
	$(BIN)/python -m study.sweep +experiment=n_vs_p

test: .venv/installed lint
	$(BIN)/pytest -n auto --dist loadfile -m "not slow and not cluster"

test-all: .venv/installed lint
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install -q -e '.[dev,mlflow]'
	$(BIN)/pytest -n auto --dist loadfile --durations=80

test-lowest:
	$(PYTHON) -m venv build/lowest
	build/lowest/bin/python -m pip install -q uv
	build/lowest/bin/uv pip compile -q --python build/lowest/bin/python --resolution lowest-direct \
	  --extra dev -o build/lowest/versions.txt pyproject.toml
	PIP_CONSTRAINT=build/lowest/versions.txt build/lowest/bin/python -m pip install -q -e '.[dev]'
	PATH=build/lowest/bin:$$PATH build/lowest/bin/pytest -n auto --dist loadfile -m "not slow and not cluster"

test-newest:
	$(PYTHON) -m venv build/newest
	build/newest/bin/python -m pip install -q -e '.[dev]'
	PATH=build/newest/bin:$$PATH build/newest/bin/pytest -n auto --dist loadfile -m "not slow and not cluster"

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
