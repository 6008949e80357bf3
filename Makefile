# `make` alone lists the targets. .venv serves and knows no torch; .venv-dev trains and tests.
.DEFAULT_GOAL := help
.PHONY: help serve studio test test-slow test-all check format docs train-fashion install-fashion-model bench lock clean serving-environment dev-environment

# Where to listen: make serve HOST=0.0.0.0 PORT=8000. Else SHOPWINDOW_HOST and SHOPWINDOW_PORT say so, or
# nobody, and it is 127.0.0.1:5000. HOST is not taken from the environment: shells and conda set it.
HOST =
PORT ?=
# The bundled model serves unless another is named.
MODEL ?=
# The project that `make studio` opens; else the folder studio.
FOLDER ?=
# Passed to pytest: make test ARGS="-k bundle -x"
ARGS ?=
# How many tests run at once; each worker holds torch and a browser, up to 3 GB.
WORKERS ?= 2
# A catalogue that is already here: make train-fashion DATA=/path/to/folder
DATA ?=
PHONES ?=
# For how many minutes train-fashion trains before it saves and stops.
MINUTES ?=

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-22s %s\n", $$1, $$2 }' Makefile

serve: serving-environment  ## the web app; HOST, PORT and MODEL (a bundle) are variables
	@exec .venv/bin/shopwindow serve $(if $(HOST),--host "$(HOST)") $(if $(PORT),--port "$(PORT)") \
		$(if $(MODEL),--model "$(MODEL)")

studio: serving-environment  ## make a model from photos, on one page; FOLDER, HOST and PORT are variables
	@exec .venv/bin/shopwindow studio $(if $(FOLDER),"$(FOLDER)") $(if $(HOST),--host "$(HOST)") \
		$(if $(PORT),--port "$(PORT)")

test: dev-environment  ## the tests that guard behaviour (8 minutes); ARGS goes to pytest
	@$(PYTEST) -m "not slow" $(ARGS)

test-slow: dev-environment  ## what only test-all has: kill loops, fuzzing, floods, services, grids
	@$(PYTEST) -m slow $(ARGS)

test-all: dev-environment  ## all tests, `make test` and `make test-slow` in one
	@$(PYTEST) $(ARGS)

# A file's tests stay together, as they share what they set up. The workers share the processors, so
# that torch gets one thread in each.
PYTEST = OMP_NUM_THREADS=1 .venv-dev/bin/python -m pytest -n $(WORKERS) --dist loadfile

check: dev-environment  ## formatting, lint, types and the direction of imports
	.venv-dev/bin/ruff check .
	.venv-dev/bin/ruff format --check .
	.venv-dev/bin/mypy
	.venv-dev/bin/lint-imports

format: dev-environment  ## rewrite the code as `make check` wants it
	.venv-dev/bin/ruff check --fix .
	.venv-dev/bin/ruff format .

docs: dev-environment  ## the pages of docs/ as a site in site/, which needs no server and no network
	@.venv-dev/bin/zensical build --clean --strict

train-fashion: dev-environment  ## train the bundled model, or go on; DATA, PHONES, MINUTES: scripts/train-fashion
	@DATA="$(DATA)" PHONES="$(PHONES)" MINUTES="$(MINUTES)" scripts/train-fashion

install-fashion-model: dev-environment  ## install the model of train-fashion as the bundled one
	.venv-dev/bin/shopwindow export runs/fashion-lite0 --int8 --out src/shopwindow/models/fashion.onnx
	@echo "Its page is written by benchmarks/model.py, the pictures of docs by: SCREENS=docs/screens make test-slow ARGS=tests/browser/test_screens.py"

.venv-peers: benchmarks/requirements.txt
	$(or $(PYTHON),python3) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet --requirement benchmarks/requirements.txt
	@touch .venv-peers

bench: dev-environment .venv-peers  ## how fast it serves, beside Flask, LitServe, BentoML and Gradio (20 minutes)
	.venv-dev/bin/python benchmarks/serving.py --write docs/benchmarks.md $(ARGS)

lock: dev-environment  ## pin the newest versions that pyproject.toml allows, for every platform
	.venv-dev/bin/uv pip compile pyproject.toml --extra train --group dev $(LOCK_OPTIONS) --output-file requirements/dev.txt
	.venv-dev/bin/uv pip compile pyproject.toml --group build --constraint requirements/dev.txt $(LOCK_OPTIONS) --output-file requirements/serve.txt

# Wheels only, since what is not a wheel would need an unpinned build; no index address is written.
LOCK_OPTIONS = --quiet --upgrade --universal --python-version 3.11 --only-binary :all: \
	--generate-hashes --no-emit-index-url --annotation-style line --custom-compile-command 'make lock'

clean:  ## remove all environments and caches of this checkout; runs/ stays
	rm -rf .venv .venv-dev build dist site .cache .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis \
		.schemathesis .venv-peers
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

serving-environment:  ## only install what `make serve` runs in (.venv)
	@PYTHON="$(PYTHON)" scripts/make-environment .venv requirements/serve.txt 310 80

dev-environment:  ## only install what trains and tests (.venv-dev)
	@PYTHON="$(PYTHON)" PIP_COMPILE=no scripts/make-environment .venv-dev requirements/dev.txt 7400 3600
