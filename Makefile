# Everything starts from a bare clone with Python 3.11+, make and git. `make help` lists the targets.
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
SHELL := /bin/sh

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet --require-hashes

.PHONY: help up down demo test check unit integration bench chaos contracts lock clean

help: ## What there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: $(VENV)/.runtime ## Set up and run everything in the foreground; prints "ready <api-url>"
	@exec $(BIN)/kt up

down: $(VENV)/.runtime ## Stop what `make up` started
	@$(BIN)/kt down

demo: $(VENV)/.runtime ## The whole story from nothing, in a home of its own
	@$(BIN)/python -m demo

test: check unit integration ## All checks and tests (what CI runs)

check: $(VENV)/.dev ## Formatting, lint, types, walls between services, contracts up to date
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache --no-logo
	@$(BIN)/python -m contracts.generate --check

unit: $(VENV)/.dev
	@$(BIN)/pytest -n 2 tests/unit tests/contract

integration: $(VENV)/.dev
	@$(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder tests/e2e tests/integration -m "not chaos"

chaos: $(VENV)/.dev ## The long failure proofs
	@$(BIN)/pytest tests -m chaos

bench: $(VENV)/.dev ## Every figure beside its reference; BENCH_JSON=path writes JSON lines
	@$(BIN)/python -m bench

contracts: $(VENV)/.dev ## Write the schemas, samples, AsyncAPI and OpenAPI documents anew
	@$(BIN)/python -m contracts.generate

$(VENV)/.runtime: requirements/runtime.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3"; exit 2; }
	@echo "Setting up $(VENV) (once, about half a minute) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) -r requirements/runtime.txt
	@$(BIN)/python deploy/link.py
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.runtime
	@$(PIP) -r requirements/dev.txt
	@touch $@

lock: ## Pin the newest releases that are at least a week old (needs uv)
	uv pip compile -q pyproject.toml --universal --python-version 3.11 --exclude-newer $$(date -d '7 days ago' +%F) \
		--generate-hashes --no-header --no-annotate --no-emit-index-url -o requirements/runtime.txt
	uv pip compile -q pyproject.toml --extra dev --universal --python-version 3.11 --exclude-newer $$(date -d '7 days ago' +%F) \
		--generate-hashes --no-header --no-annotate --no-emit-index-url -c requirements/runtime.txt -o requirements/dev.txt
	uv pip compile -q pyproject.toml --extra parquet --universal --python-version 3.11 --exclude-newer $$(date -d '7 days ago' +%F) \
		--generate-hashes --no-header --no-annotate --no-emit-index-url -c requirements/runtime.txt -o requirements/parquet.txt

clean: ## Remove the virtual environment and caches (not the homes)
	rm -rf $(VENV) .mypy_cache .ruff_cache .hypothesis .pytest_cache
