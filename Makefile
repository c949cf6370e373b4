# Verbs of the house. `make demo` and `make test` set up everything that they need.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export TRINITY_DATA_DIR ?= $(CURDIR)/.data
export OPENBLAS_NUM_THREADS := 1

.PHONY: demo run test lint bench setup setup-dev lock clean

demo: setup
	$(BIN)/trinity demo

run: setup
	$(BIN)/trinity run

test: setup-dev
	$(BIN)/pytest
	NUMBA_DISABLE_JIT=1 $(BIN)/pytest -m uncompiled

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: $(VENV)/.runtime
setup-dev: $(VENV)/.dev

$(VENV)/.runtime: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	$(BIN)/pip install --quiet --require-hashes -r requirements-dev.lock
	touch $@

# Versions with hashes and no address: run after a change of the dependencies in pyproject.toml.
LOCK := $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url \
	--no-emit-find-links --no-emit-trusted-host --no-emit-options --no-header
lock:
	$(LOCK) --extra setuptools-build --output-file requirements.lock pyproject.toml
	$(LOCK) --extra setuptools-build --extra dev --extra bench --output-file requirements-dev.lock pyproject.toml

clean:
	rm -rf $(VENV) .data .mypy_cache .ruff_cache .pytest_cache .hypothesis
