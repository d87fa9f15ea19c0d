# Two commands matter: `make demo` and `make test`. Both make .venv and install on their first run.
# Settings, on the command line or in the environment:
#   PYTHON    the interpreter that .venv is made with                     (make test PYTHON=python3.12)
#   TORCH     which torch and torchvision                                 (make test TORCH="torch==2.14.1 torchvision==0.29.1")
#   PIP_ARGS  more arguments of pip, such as the index of the CPU builds  (make demo PIP_ARGS="--index-url ...")
#   N         inputs of the fuzzer, faults that are planted             (make fuzz N=10000)
#   ARGS      more arguments of what a target runs, pytest's for test       (make test ARGS="-k report")
PYTHON ?= python3
TORCH ?= torch torchvision
PIP_ARGS ?=
N ?= 1000
VENV ?= .venv
EXTRAS ?= dev,pretrained,sampling
WORKERS ?= 2
ARGS ?=

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test test-all fuzz mutants evidence evidence-gpu gpu-check lint docs wheel matrix install clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(STAMP)  ## train a small detector, evaluate it, write output/demo/report.html
	$(BIN)/python -m imbdet.cli demo $(ARGS)

# Bytecode is written whatever the environment says: the tests start many processes that import the package.
test: lint  ## install, lint, run the tests
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -m "not slow" $(ARGS)

test-all: lint  ## the same with the slow tests, Ray's among them
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -e ".[$(EXTRAS),sweep]"
	OMP_NUM_THREADS=1 IMBDET_PAIRS_SEED=$${IMBDET_PAIRS_SEED:-$$(date +%Y%j)} $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal $(ARGS)

fuzz: $(STAMP)  ## N broken and hostile inputs (make fuzz N=10000); what fails is kept in output/fuzz
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz $(N) $(ARGS)

mutants: N = 60
mutants: $(STAMP)  ## do the tests notice a fault? plants N of them, one at a time (make mutants N=60)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.mutants $(N) $(ARGS)

evidence: $(STAMP)  ## the grids of docs/results, or go on with them: days on two cores (make evidence ARGS="--grid class_ratio")
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.evidence $(ARGS)

evidence-gpu: $(STAMP)  ## the same on one GPU, eight runs at once (not run on a GPU yet)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.evidence --gpu --jobs 8 $(ARGS)

gpu-check: $(STAMP)  ## on a machine with a GPU: all that it may change, in 6 minutes (ARGS="--device cpu" without one)
	$(BIN)/python -m benchmarks.gpu $(ARGS)

lint: $(STAMP)  ## ruff, and mypy on the core (half a minute the first time, then a second)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m mypy

docs: $(STAMP)  ## the documentation as a site in output/site, with reports as examples; a broken link ends it
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -e ".[docs]"
	PYTHON=$(BIN)/python OMP_NUM_THREADS=1 tools/site/examples.sh output/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict $(ARGS)

wheel:  ## build a wheel and use it in an empty environment (make wheel ARGS=/data/mine)
	PYTHON="$(PYTHON)" TORCH="$(TORCH)" PIP_ARGS="$(PIP_ARGS)" tools/check_wheel.sh $(ARGS)

matrix:  ## install and test with Python 3.10 to 3.13 (make matrix ARGS=tests: all tests that are not slow)
	TORCH="$(TORCH)" PIP_ARGS="$(PIP_ARGS)" tools/check_pythons.sh $(ARGS)

install: $(STAMP)  ## .venv with everything in it

# Installed again only when what is installed changed: setup.py, or the choice of torch (make -B install).
$(STAMP): setup.py
	@command -v $(PYTHON) >/dev/null || { echo "No '$(PYTHON)' found. imbdet needs Python 3.10 or newer: make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "'$(PYTHON)' is $$($(PYTHON) --version 2>&1), imbdet needs Python 3.10 or newer: make PYTHON=python3.12 ..." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
	  echo "'$(PYTHON) -m venv $(VENV)' failed (on Debian and Ubuntu: apt install python3-venv)" >&2; rm -rf $(VENV); exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -e ".[$(EXTRAS)]"
	@touch $(STAMP)

clean:  ## remove .venv and what builds and tests leave (never output/)
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
