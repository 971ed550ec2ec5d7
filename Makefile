PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup test check docs demo bench soak ci clean

help: ## what each target does
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "%-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/geoquarry: pyproject.toml setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'

setup: $(BIN)/geoquarry ## virtual environment for working on geoquarry

test: setup ## the fast suite (about 5 minutes on two quiet cores)
	$(BIN)/python -m pytest -n auto --dist loadfile

check: setup ## style, types, known weaknesses, doctests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/bandit -q -c pyproject.toml -r schemas udfs engine jobs setup.py
	$(BIN)/pip-audit --skip-editable
	$(BIN)/python -m pytest -n auto schemas udfs engine jobs

demo: setup ## simulate, ingest, run, export, draw (into ./demo)
	$(BIN)/geoquarry demo

bench: setup ## measure: ratios against plain loops, one run, this machine
	$(BIN)/python benchmarks/chain.py

soak: setup ## long runs: concurrency, kills and fuzzing, many times over
	$(BIN)/python -m pytest -m "heavy or kill" --soak 30 --kills 30 --seed 0 --at-random
	PYTHONPATH=tests $(BIN)/python -m fuzz.soak --cases 1000000

ci: ## everything the project promises, in a fresh environment
	bash .ci/run

clean: ## remove what was built
	rm -rf $(VENV) build dist *.egg-info demo warehouse
