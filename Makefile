# PYTHON only starts scripts/bootstrap.py, which builds on the newest of Python 3.13 to 3.10 (or on SPIKECUT_PYTHON).
# The first that runs: a version manager's python3 may be a shim that fails.
PYTHON ?= $(shell for python in python3 /usr/bin/python3 /usr/local/bin/python3 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 8))' 2>/dev/null && echo $$python && break; done)
BOOTSTRAP = $(or $(PYTHON),$(error no Python 3.8 or newer found: set PYTHON=/path/to/python3)) scripts/bootstrap.py
BIN := .venv/bin
WORKERS ?= 2
# A worker takes a file at a time, in the order of tests/support/order.py.
SHARED = -n $(WORKERS) --dist loadfile --no-loadscope-reorder
# Python keeps what it has compiled, whatever the surroundings say: the tests start hundreds of processes, which would
# compile torch and Lava anew, and Lava executes the files beside a Process again for every graph.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo check test test-oldest matrix coverage quick-coverage soak fuzz hostile faults browser lint format types docs lock sbom release-check clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

setup: ## build .venv, or leave it alone where it is up to date
	@$(BOOTSTRAP)

demo: setup ## train, export, verify, run with early exit and report on the embedded data
	$(BIN)/spikecut demo $(ARGS)

check: lint types ## the quick tier: lint, types, and the tests that need neither Lava nor patience
	$(BIN)/pytest $(SHARED) -m "not lava and not slow" $(ARGS)

test: lint types docs ## everything that the continuous integration checks
	$(BIN)/pytest $(SHARED) $(ARGS)

# Another Python's environment: the quick tier, and everything of the backends and of verify that runs on Lava.
on-python-%:
	@$(BOOTSTRAP) build $*
	.venvs/$*/bin/pytest $(SHARED) -m "not lava and not slow" $(ARGS)
	.venvs/$*/bin/pytest $(SHARED) -m lava tests/deploy/backends tests/deploy/verify $(ARGS)

test-oldest: ## the quick tier, and Lava's core tests, on the oldest Python that is found
	@found=$$($(BOOTSTRAP) versions) && $(MAKE) --no-print-directory on-python-$${found##* }

matrix: ## the same on every Python that is found
	@found=$$($(BOOTSTRAP) versions) && \
		for version in $$found; do $(MAKE) --no-print-directory on-python-$$version || exit 1; done

coverage: setup ## branch coverage of the whole suite, which must not fall below the floor in pyproject.toml
	$(BIN)/pytest $(SHARED) --cov --cov-report=term $(ARGS)

quick-coverage: setup ## branch coverage of the quick tier, which has no floor
	$(BIN)/pytest $(SHARED) -m "not lava and not slow" --cov --cov-report=term --cov-fail-under=0 $(ARGS)

soak: setup ## 10,000 halted samples through one Lava graph, two networks, both ways: about six minutes
	$(BIN)/python benchmarks/soak.py $(ARGS)

fuzz: setup ## 10^8 slots of random networks against Lava's own models, about an hour (ARGS="--slots 1e7")
	$(BIN)/python scripts/fuzz.py $(ARGS)

hostile: setup ## 20,000 mutants of files through the commands that read them, about half an hour
	$(BIN)/python scripts/hostile.py $(ARGS)

faults: setup ## 600 commands that are killed, stopped or starved at a random moment and finished again, half an hour
	$(BIN)/python scripts/faults.py $(ARGS)

browser: setup ## the report's page in Chromium, which must be installed (apt install chromium)
	$(BIN)/pytest -m browser tests/deploy/report/html $(ARGS)

lint: setup ## style, formatting, spelling, and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	PYTHONPATH=.typing $(BIN)/lint-imports --no-logo

format: setup ## rewrite the sources as lint wants them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: setup ## mypy: strict, and the tests less so
	@$(MAKE) --no-print-directory -j 2 types-code types-tests

types-code:
	$(BIN)/mypy
	$(BIN)/mypy scripts/bootstrap.py

types-tests:
	$(BIN)/mypy --config-file tests/mypy.ini tests

docs: setup ## the site of docs/, into build/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

sbom: setup ## the lock as an SBOM (CycloneDX) into build/sbom.json; ends with an error at a licence that does not fit
	$(BIN)/python scripts/licences.py --sbom build/sbom.json

lock: ## resolve pyproject.toml anew into requirements.lock (ARGS=--upgrade: newest versions)
	@$(BOOTSTRAP) lock $(ARGS)

release-check: setup ## build wheel and sdist into dist, and check both; see RELEASE.md
	$(BIN)/python scripts/release_check.py

clean: ## remove .venv, .venvs, .uv, caches and build leftovers
	rm -rf .venv .venvs .uv .bootstrap.lock build dist *.egg-info .coverage .coverage.* htmlcov
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find deploy export models hardware_configs scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +
