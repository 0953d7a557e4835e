# Every target sets up what it needs. PYTHON chooses the interpreter, PIP_FLAGS goes to pip
# (for example an index with CPU-only builds of torch, where the default ones are too large).
PYTHON ?= python3
PIP_FLAGS ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test test-long coverage lint docs docs-check bench gpu stand-ins clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) --constraint constraints.txt --editable ".[dev]"
	touch $(STAMP)

demo: setup
	$(BIN)/lilift doctor
	$(BIN)/lilift recipe run tiny-cpu --resume

test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

# What `make test` leaves out because it takes minutes: the whole of `make gpu` on a CPU. Run it after a change of benchmarks/.
test-long: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m long

# The same tests, a third slower, with the share of lines that they run.
coverage: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=term:skip-covered --cov-fail-under=90

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The documentation at http://127.0.0.1:8765, built again at each change of docs/; its reference pages are made from the code first.
docs: export NO_MKDOCS_2_WARNING = 1
docs: setup
	$(BIN)/python -m docs.reference_pages
	$(BIN)/mkdocs serve --strict --dev-addr 127.0.0.1:8765

# The same as files in build/docs, which need no server. `make test` builds them too.
docs-check: export NO_MKDOCS_2_WARNING = 1
docs-check: setup
	$(BIN)/mkdocs build --strict

bench: setup
	for script in cli_startup method_lift evaluation_throughput; do $(BIN)/python -m benchmarks $$script --check || exit 1; done

# Needs no setup: a machine with a GPU build of torch, and for what it lacks a folder of wheels (WHEELS=folder). Each part
# takes about a minute, and runs alone too (PARTS="tests loss").
gpu:
	$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m benchmarks gpu $(if $(WHEELS),--wheels $(WHEELS)) $(if $(RESULTS),--results $(RESULTS)) $(if $(PARTS),--parts $(PARTS))

stand-ins: setup
	$(BIN)/python -m lilift.stand_ins.make

clean:
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
