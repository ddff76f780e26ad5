# Needs python3 (3.11 or newer) and make; everything else is installed into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint format bench detect constraints clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    start a local stack, load it for a minute with restarts, judge it, write a report"
	@echo "make test    style, types and all tests"
	@echo "make lint    style and types only"
	@echo "make bench   throughput of the generators on one core"
	@echo "make constraints  renew the versions of everything that is installed"
	@echo "make detect  plant every defect in the local stack and see which check finds it (some minutes)"

# One marker a set of dependencies: the demo installs what it needs and no more.
$(VENV)/.lab: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "loadgen needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[lab]'
	@touch $@

$(VENV)/.dev: $(VENV)/.lab
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(VENV)/.lab
	@$(BIN)/loadgen demo

test: lint
	@$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(VENV)/.dev
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/.lab
	@$(BIN)/python -m benchmarks.encode

detect: $(VENV)/.lab
	@$(BIN)/python -m benchmarks.detection

# The newest of everything in an environment of its own, written down for all others.
constraints:
	@$(PYTHON) -m venv build/newest
	@build/newest/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@{ echo "# Names and versions of everything that a development environment holds; written by \`make constraints\`."; \
	  build/newest/bin/python -m pip freeze --exclude-editable | grep == | sort -f; } > constraints.txt
	@rm -rf build/newest

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
