# The words are the commands: setup demo test faults check audit bench
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS ?= 6

.PHONY: setup demo test faults check lint types imports audit bench lock proto clean

setup: $(STAMP)

$(STAMP): pyproject.toml requirements/dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed, found $$($(PYTHON) --version); set PYTHON=…"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements/dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup
	$(BIN)/python deploy/demo.py

# Most of a test's time is waiting for real processes. One test: make test PYTEST="-n0 -k words"
test: setup
	$(BIN)/python -m pytest -n $(WORKERS) $(PYTEST)

# The long form of tests/faults: thousands of kills and cuts, some hours; prints what was made, stored and lost.
faults: setup
	@table=$$(mktemp); FALLOW_FAULTS=long FALLOW_FAULTS_TABLE=$$table $(BIN)/python -m pytest tests/faults $(PYTEST); status=$$?; \
	  $(BIN)/python -m tests.faults.table $$table; rm -f $$table; exit $$status

check: lint types imports test

lint: setup
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

imports: setup
	$(BIN)/lint-imports

# Known vulnerabilities of all that is locked. It asks a public database, so it is no part of the tests, which are offline.
audit: setup
	$(BIN)/pip-audit --strict --disable-pip --require-hashes -r requirements/dev.lock

bench: setup
	$(BIN)/python -m bench

# Locked versions with hashes, for every Python that is supported and no index in particular; needs uv.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --all-extras --group dev --output-file requirements/dev.lock pyproject.toml
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --output-file requirements/agent.lock pyproject.toml
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --extra collector --output-file requirements/collector.lock pyproject.toml

proto: setup
	$(BIN)/python -m grpc_tools.protoc -I proto --python_out=proto --grpc_python_out=proto --mypy_out=proto --mypy_grpc_out=proto \
	  fallow_proto/v1/telemetry.proto fallow_proto/v1/identity.proto fallow_proto/kubernetes/podresources.proto

clean:
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
