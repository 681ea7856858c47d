# Needs git, make and a Python >= 3.11 (PYTHON=/path/to/python3.12 chooses one). Everything else is installed into
# .venv from requirements/dev.txt, every file checked against its hash. Run `make` to see what there is.

.DEFAULT_GOAL := help
.PHONY: help setup extras run check lint types floors test coverage
.PHONY: bench bench-environments bench-cache bench-runs lock clean
.NOTPARALLEL:

# What a user's shell may hold and the gate should not depend on.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

PYTHON ?=
BIN := .venv/bin
LOCKED := .venv/.locked-installed
READY := .venv/.project-installed
EXTRAS_READY := .venv/.extras-installed
BENCH_READY := .venv-bench/.project-installed

help: ## this list
	@echo "make TARGET, where TARGET is one of"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

setup: $(READY) ## .venv with the locked tools and the project, editable; instant when nothing changed

extras: $(EXTRAS_READY) ## the optional parts too, and the servers that their tests start; without them, those skip

run: $(READY) ## the example: orders in flight across a deploy, each finishing on the code it started with
	$(BIN)/python scripts/run_orders.py

check: lint types floors test ## the gate: ruff, mypy strict, the floors of imports, the tests with warnings as errors

lint: $(READY) ## ruff: rules and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(READY) ## mypy, strict
	$(BIN)/mypy

floors: $(READY) ## import-linter: imports point down only
	$(BIN)/lint-imports

test: $(READY) ## the tests; choose with ARGS, as in: make test ARGS="-k lease -x"
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

coverage: $(READY) ## the tests with branch coverage, the children's included
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n auto --dist worksteal $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

bench: $(BENCH_READY) ## a step against the peers, in one run (ten minutes); ARGS=--quick to see that it works
	.venv-bench/bin/python scripts/bench/steps.py $(ARGS)

bench-environments: $(BENCH_READY) ## a version's environment against the peers, in one run (half an hour); ARGS=--quick
	.venv-bench/bin/python scripts/bench/environments.py $(ARGS)

bench-cache: $(READY) ## a lease, list and gc among ten thousand versions, and a capture of ten thousand files; ARGS=--quick
	$(BIN)/python scripts/bench/cache.py $(ARGS)

bench-runs: $(READY) ## a thousand recorded runs, replayed elsewhere, and checked against changed code; ARGS="--runs 50"
	$(BIN)/python scripts/bench/replays.py $(ARGS)
	$(BIN)/python scripts/bench/checks.py $(ARGS)

lock: ## requirements/dev.txt and the example's locks anew; to move versions: make lock ARGS=--upgrade
	scripts/lock.sh $(ARGS)

clean: ## remove .venv, caches and what was built
	rm -rf .venv .venv-bench build dist htmlcov .coverage .coverage.* .hypothesis
	rm -rf .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find runner envs scripts tests -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# The environment starts from nothing whenever the lock moves, so it never holds what the lock does not name.
$(LOCKED): requirements/dev.txt
	@python=$$(PYTHON="$(PYTHON)" scripts/find_python.sh) && \
	echo "setup: .venv with $$($$python --version), $$(grep -c == $<) locked packages (a minute at first)" && \
	$$python -m venv --clear .venv && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	@touch $@

$(READY): $(LOCKED) pyproject.toml
	@echo "setup: the project itself, editable"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(EXTRAS_READY): $(READY) requirements/extras.txt
	@echo "setup: the optional parts and the servers of their tests"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/extras.txt
	@touch $@

# An environment of its own: the peers are no business of the tests.
$(BENCH_READY): requirements/bench.txt pyproject.toml
	@python=$$(PYTHON="$(PYTHON)" scripts/find_python.sh) && \
	echo "setup: .venv-bench, $$(grep -c == $<) locked packages" && \
	$$python -m venv --clear .venv-bench && \
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $< && \
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
