# Two commands matter: `make demo` and `make test`. Both install what they need into .venv first; with LOCKED=1, as CI does, nothing whose
# hash is not in requirements.lock.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SPREAD := -n auto --maxprocesses 8

.PHONY: install demo bench test test-triton test-app test-serve soak package audit docs lint clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt requirements.lock
	$(PYTHON) -m venv $(VENV)
ifdef LOCKED
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
else
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
endif
	touch $@

demo: $(STAMP)  ## segment three photographs with the shipped network
	$(BIN)/dpn demo --out results/demo

bench: $(STAMP)  ## speed and memory, by layer and beside peers; BENCH='--quick --crfrnn FOLDER ...' adds options
	$(BIN)/dpn bench --out results/bench $(BENCH)

test: $(STAMP)  ## all tests, in a process a core; DPN_DATA=<folder of VOCdevkit/, CamVid/, weights/> adds those on real data
	OMP_NUM_THREADS=1 HL_NUM_THREADS=1 $(BIN)/python -m pytest -q $(SPREAD) --dist loadscope

test-triton: $(STAMP)  ## the Triton kernels under their interpreter and their compiler, on the CPU; installs triton (700 MB)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,gpu]'
	TRITON_INTERPRET=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q $(SPREAD) tests/functional/test_backends.py -k triton
	TRITON_INTERPRET=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q $(SPREAD) tests/functional/test_triton.py tests/mrf/test_by_parts.py tests/test_gpu_kit.py

test-app: $(STAMP)  ## the page in a browser; installs gradio and playwright, and needs chromium, which playwright does not bring
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,app]' playwright
	$(BIN)/python -m pytest -q tests/app

test-serve: $(STAMP)  ## the server; installs litserve
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,serve]'
	$(BIN)/python -m pytest -q tests/http tests/serve

soak: $(STAMP)  ## kills, full disks, damaged files, long runs: half an hour; SOAK='--minutes 2' is what CI does
	$(BIN)/python scripts/soak $(SOAK)

package: $(STAMP)  ## a wheel and an sdist, the same bytes when built again, each installed into an empty environment and used there
	scripts/check_package.sh $(PYTHON) python3.12 python3.13

audit:  ## known vulnerabilities of what CI installs, where the registry tells of them
	$(PYTHON) scripts/audit.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(STAMP)  ## the pages of docs/ as a site in build/docs
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,docs]'
	$(BIN)/python scripts/house.py picture docs/architecture.svg
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
