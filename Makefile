# The same words for people and for CI.
#   make demo     set everything up, run money the whole way on a local chain, exit 0
#   make up       keep the platform and its local nodes running
#   make test     every test, installing what they need first
#   make check    format, lint, types, layers, tidiness
#   make bench    measure (one job: make bench JOB=name)
#   make campaign the long simulation
.DEFAULT_GOAL := demo
.PHONY: demo up test check bench campaign setup python devnet postgres softhsm lock clean

BIN := .venv/bin
ROOMS := core engine chains custody indexers sweeper app
# Much of a test is waiting for a node: one process more than cores.
TEST_PROCESSES ?= 3

setup: python devnet

python:
	@infra/scripts/setup.sh

devnet:
	@infra/scripts/devnet.sh

postgres: python
	@infra/scripts/postgres.sh

softhsm:
	@infra/scripts/softhsm.sh

demo: setup
	$(BIN)/strongroom demo run

up: setup
	$(BIN)/strongroom up

test: setup postgres softhsm
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile $(ARGS)

check: python
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_tidy.py tests/test_layers.py

bench: setup postgres softhsm
	$(BIN)/python -m tests.benchmarks $(JOB)

campaign: setup softhsm
	$(BIN)/python -m tests.campaign $(ARGS)

lock: python
	infra/scripts/lock.sh

clean:
	rm -rf .venv var infra/devnet/node_modules .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find $(ROOMS) infra tests -name __pycache__ -type d -prune -exec rm -rf {} +
