# make serve | test | lint | docs | train-demo | clean
# PIP_ARGS reaches pip: to use CPU-only wheels of torch, point it at an index that has them, for instance
#   make serve PIP_ARGS="--extra-index-url <address of PyTorch's CPU wheels>"
PYTHON ?= python3
PIP_ARGS ?=
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.serve-ready
DEV_READY := $(VENV)/.dev-ready

.PHONY: serve test lint docs train-demo clean browser
.DEFAULT_GOAL := serve

serve: $(READY)
	$(BIN)/fcn-serve

test: lint browser
	$(BIN)/python -m pytest

lint: $(DEV_READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

docs: $(DEV_READY)
	$(BIN)/mkdocs build --strict

train-demo: $(DEV_READY)
	$(BIN)/fcn-train --demo --out runs/demo --name demo

# a Chromium that is there is used; else Playwright's is fetched, and without either the browser tests skip
browser: $(DEV_READY)
	@command -v chromium chromium-browser google-chrome >/dev/null || $(BIN)/playwright install chromium \
		|| echo "no Chromium to be had: the browser tests will skip"

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)

$(READY): pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e .
	touch $@

$(DEV_READY): pyproject.toml constraints.txt client/pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[train,dev]' -e ./client
	touch $@ $(READY)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
