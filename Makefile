# Every target sets up what it needs. PYTHON chooses the interpreter (3.11.5 or newer). pip compares every package with the SHA-256
# sums of requirements.lock. Only torch comes from the index that you choose, because its builds for CPU, CUDA and ROCm differ:
# PIP_FLAGS goes to pip when it installs torch (for example an index with CPU builds, where the default ones are too large), and
# TORCH="--require-hashes --requirement torch.lock" takes PyPI's build for CUDA and compares its sums too.
PYTHON ?= python3
PIP_FLAGS ?=
TORCH ?= torch
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
INSTALL := $(BIN)/python -m pip install --quiet
LOCK := build/uv/bin/uv pip compile --quiet --native-tls --universal --python-version 3.11.5 --default-index https://pypi.org/simple \
	--constraint constraints.txt --generate-hashes --no-annotate --custom-compile-command "make lock"

.PHONY: setup lock wheel release-check demo demo-full test test-long coverage lint audit docs docs-check bench gpu stand-ins clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt requirements.lock torch.lock
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --require-hashes --no-deps --requirement requirements.lock
	$(INSTALL) $(PIP_FLAGS) --constraint constraints.txt $(TORCH)
	$(INSTALL) --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check
	touch $(STAMP)

# The sums of every package that constraints.txt pins, for all platforms, from PyPI. torch.lock has torch for CUDA and its libraries;
# they are not in requirements.lock, because other builds of torch need none of them.
lock:
	$(PYTHON) -m venv build/uv
	build/uv/bin/python -m pip install --quiet uv==0.13.9
	echo torch | $(LOCK) --output-file torch.lock -
	echo hatchling | $(LOCK) --output-file requirements.lock --extra dev pyproject.toml - \
		$$(sed -nE 's/^(torch|cuda-[a-z0-9-]+|nvidia-[a-z0-9-]+)==.*/--no-emit-package \1/p' torch.lock)

# A wheel of this checkout, which `pip install 'build/wheels/lilift-….whl[train,gguf]'` installs anywhere.
wheel: setup
	rm -rf build/wheels
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir build/wheels .
	ls build/wheels/*.whl

# What a stranger does with a release: installs the wheel, trains tiny-cpu and runs its export, without this repository. It takes as
# long as the demo, and downloads all packages. PIP_FLAGS chooses torch's build, as in `make setup`.
release-check: wheel
	$(BIN)/python -m tests.release_check build/wheels/*.whl --torch="$(PIP_FLAGS) torch" $(RELEASE_FLAGS)

# Both stages in one language, with a ninth of the steps of tiny-cpu.
demo: setup
	$(BIN)/lilift doctor
	$(BIN)/lilift recipe run examples/demo.yaml --resume

# The recipe tiny-cpu: four languages, and the table of the README.
demo-full: setup
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
	$(BIN)/python -m tests.audit_packages

# Published advisories on the locked packages: part of `make lint`. Where their database is out of reach, it says so and passes.
audit: setup
	$(BIN)/python -m tests.audit_packages

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
