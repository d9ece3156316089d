# `make demo` and `make test` do all their own set-up on a machine with Python 3.11+, pip, git and make.
# As root they also install the Debian packages that the tests' real services come from.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEBIAN_PACKAGES := nginx-light postgresql radosgw ceph-mon ceph-osd ceph-common curl

.DEFAULT_GOAL := help
.PHONY: help demo check test soak bench docs clean services

help:  ## Show this list.
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet --editable '.'
	touch $@

$(VENV)/check-installed: $(VENV)/installed
	$(BIN)/pip install --quiet --group check --editable '.[postgres,s3]'
	touch $@

$(VENV)/test-installed: $(VENV)/check-installed
	$(BIN)/pip install --quiet --group test
	touch $@

services:
	@tests/services/install.sh $(DEBIAN_PACKAGES)

demo: $(VENV)/installed  ## Run the main job on real files: save, kill -9, restore, compare byte for byte.
	$(BIN)/python demo/demo.py

check: $(VENV)/check-installed  ## Lint, types, layers and the quick tests (under two minutes).
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/pytest -q -n 3 --dist worksteal -m 'not services and not e2e and not soak'

test: $(VENV)/test-installed services  ## Everything, with every real service, started on free loopback ports.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q -n 3 --dist worksteal -m 'not soak'
	$(BIN)/coverage combine -q
	$(BIN)/coverage report --fail-under=85

soak: $(VENV)/test-installed services  ## The full count of random kills and races (long).
	$(BIN)/pytest -q -m soak --timeout 3600

bench: $(VENV)/test-installed services  ## Every figure that the docs claim, beside its limit or peer.
	$(BIN)/python benchmarks/run_all.py

docs: $(VENV)/check-installed  ## Write the references that are generated from docstrings and the command line.
	$(BIN)/python docs/generate.py

clean:  ## Remove what the commands above made.
	rm -rf $(VENV) build dist .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis
