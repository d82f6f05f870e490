# What a contributor runs. Every target makes its own environment where there is none: `make test`
# works in a fresh clone. The environment is made again when pyproject.toml changes.

PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= dev,docs
# A package index to take torch and torchvision from, for example that of the CPU builds:
# make test TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
# More options for pytest: make test ARGS="tests/losses -x"
ARGS ?=

RUN := $(VENV)/bin/python
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help test lint fix types docs site package coverage lowest audit ci all clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

$(READY): pyproject.toml
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(RUN) -m pip install torch torchvision --index-url $(TORCH_INDEX))
	$(RUN) -m pip install -e '.[$(EXTRAS)]'
	touch $@

test: $(READY) ## run the tests and the docstrings' examples
	$(RUN) -m pytest -q -n auto --dist loadscope $(ARGS)

lint: $(READY) ## check style and format
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

fix: $(READY) ## put style and format right where that can be done without you
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

types: $(READY) ## check types: package, examples, benchmarks, tests
	$(RUN) -m mypy

docs: $(READY) ## build the documentation, warnings are errors
	$(RUN) -m sphinx -q -W --keep-going docs docs/_build/html

site: docs ## build the documentation and look at every page of it, in a browser where there is one
	$(RUN) .ci/site.py docs/_build/html

package: $(READY) ## build sdist and wheel into dist/ and check their descriptions
	rm -rf dist
	$(RUN) -m build
	$(RUN) -m twine check --strict dist/*

coverage: $(READY) ## run the tests and hold the package's line coverage
	$(RUN) -m pytest -q -n auto --dist loadscope --cov=fsr --cov-report=term-missing:skip-covered --cov-fail-under=98 $(ARGS)

lowest: ## run the tests at the lowest versions that pyproject.toml permits
	TORCH_INDEX="$(TORCH_INDEX)" bash .ci/lowest $(ARGS)

audit: $(READY) ## look whether installed packages have known faults
	$(RUN) .ci/audit.py

ci: ## run all checks in a fresh environment, with the README's own commands
	bash .ci/run

all: lint types docs test ## lint, types, docs and test, in one environment

clean: ## remove what these commands made
	rm -rf $(VENV) .venv-lowest dist docs/_build docs/api/generated docs/gallery .mypy_cache .ruff_cache .hypothesis
