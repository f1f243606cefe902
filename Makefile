# The targets people use: run, demo, test, check, chaos, bench, bench-peer, differential. `make lock` renews the locked dependencies.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: run demo test check chaos bench bench-peer differential lock clean

run: $(VENV)/.installed
	@exec $(BIN)/danepipe up

demo: $(VENV)/.installed
	@$(BIN)/danepipe lab demo

# The whole suite in several processes at once; with ARGS="tests/laws -x" one pytest with these arguments. The hundreds of
# processes that tests start must not compile all modules anew, as they do where PYTHONDONTWRITEBYTECODE is set.
test: export PYTHONDONTWRITEBYTECODE :=
test: $(VENV)/.tests-installed
	$(BIN)/python -m $(if $(strip $(ARGS)),pytest $(ARGS),tests.side_by_side)

check: $(VENV)/.tests-installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/.tests-installed
	$(BIN)/python -m ops.bench $(ARGS)

# danepipe beside a tuned Postfix, on the same work. As root; ten minutes for the whole.
bench-peer: $(VENV)/.installed
	$(BIN)/python -m ops.bench.peer $(ARGS)

# Faults with a seed against all of danepipe, and a count of every message: half an hour. ARGS="kill --seed 7 --ledger FILE"
chaos: $(VENV)/.tests-installed
	$(BIN)/python -m ops.chaos $(ARGS)

# Our own DNSSEC validation beside a real Unbound, over other random zones in each run; DANEPIPE_SEED repeats one. Half an hour.
differential: $(VENV)/.tests-installed
	@export DANEPIPE_DIFFERENTIAL=$${DANEPIPE_DIFFERENTIAL:-50000} DANEPIPE_SEED=$${DANEPIPE_SEED:-$$(date +%s)}; \
	echo "$$DANEPIPE_DIFFERENTIAL cases from DANEPIPE_SEED=$$DANEPIPE_SEED"; \
	CI=true $(BIN)/python -m pytest -q -o timeout=0 tests/dnssec/test_differential.py $(ARGS)

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "danepipe needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed: on Debian and Ubuntu install python3-venv" >&2; exit 1; }
	@touch $@

$(VENV)/.installed: $(VENV)/.python requirements.txt pyproject.toml
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

$(VENV)/.tests-installed: $(VENV)/.installed tests/requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/requirements.txt
	@touch $@

# Needs uv (from PyPI). The files name versions and hashes for every supported Python, and no index.
lock:
	uv pip compile pyproject.toml --extra build --universal --python-version 3.11 --generate-hashes --no-annotate \
	  --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --quiet --output-file requirements.txt
	uv pip compile tests/requirements.in -c requirements.txt --universal --python-version 3.11 --generate-hashes --no-annotate \
	  --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --quiet --output-file tests/requirements.txt

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .hypothesis .coverage
