# For someone new: `make demo`, `make test`, `make docs`. Each sets up what it needs.
PYTHON ?= python3
BIN := .venv/bin
DATA ?= ../shared/data
# It declares numpy < 2, which it does not need, and tools for plots that are not used.
PQ_ORACLE := panopticapi-lite==0.2.0

# pytest keeps the tests that it has rewritten, and a process what it imports, for the next run.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint types unit oldest newest wheel sdist docs sitting bench clean

demo: .venv/installed
	$(BIN)/point2mask demo --out demo

# Side by side, since none but the tests keeps two cores busy; what each prints comes when it has ended.
test: .venv/installed
	$(MAKE) -j 4 --output-sync=recurse lint types wheel unit

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/biome check

types: .venv/installed
	$(BIN)/mypy

# That many processes share the tests; more than there are cores, since some wait for browsers, Ray and clocks.
PROCESSES ?= 3
unit: .venv/installed
	$(BIN)/python -m pytest -n $(PROCESSES) --dist worksteal

# The tests on the lowest versions that pyproject.toml admits, and on the newest there are. torch stays what it is, since
# its last release may bring gigabytes of CUDA: `make newest TORCH=torch` takes it.
TORCH ?= --requirement requirements-dev.txt
oldest: versions = $$($(PYTHON) .ci/oldest.py)
newest: versions = $(TORCH)
oldest newest:
	$(PYTHON) -m venv --clear .venv-$@
	.venv-$@/bin/python -m pip install --quiet --editable '.[dev]' $(versions)
	.venv-$@/bin/python -m pip install --quiet --no-deps $(PQ_ORACLE)
	.venv-$@/bin/python -m pip freeze --exclude-editable
	.venv-$@/bin/python -m pytest -n $(PROCESSES) --dist worksteal

# Build the sdist, and the wheel from it; install that into an empty environment and use it from outside the checkout, as
# a newcomer does.
wheel: .venv/installed
	rm -rf dist .venv-wheel
	$(BIN)/python -m build --outdir dist
	$(BIN)/python -m twine check --strict dist/*
	$(PYTHON) -m venv --without-pip .venv-wheel
	$(BIN)/python -m pip --python .venv-wheel/bin/python install --quiet --no-compile --constraint requirements-dev.txt \
		"$$(echo dist/*.whl)[annotate]" selenium
	cd / && $(CURDIR)/.venv-wheel/bin/python $(CURDIR)/.ci/check_install.py $(CURDIR)
	cd / && $(CURDIR)/.venv-wheel/bin/python $(CURDIR)/.ci/first_hour.py
	rm -rf .venv-wheel

# Unpack that sdist far from here and do with it what whoever has nothing else can do: before a release.
sdist: wheel
	.ci/from_sdist dist/*.tar.gz

# The site, into build/docs: offline, every warning an error, every script of the gallery run, every link followed.
docs: .venv/installed
	rm -rf build/docs docs/gallery
	$(BIN)/python -m sphinx --quiet --nitpicky --fail-on-warning --keep-going docs build/docs
	$(BIN)/python .ci/check_links.py build/docs

# A scripted person annotates 200 pictures in a browser while the server is killed three times: about two minutes.
sitting: .venv/installed
	$(BIN)/python .ci/two_hundred.py

# Every figure of README and site, on an otherwise idle machine: over two hours, the first of them with real pictures.
bench: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint requirements-dev.txt ott-jax pyamg  # peers
	$(BIN)/python benchmarks/run_all.py --data $(DATA)
	$(BIN)/python benchmarks/readme.py

clean:
	rm -rf .venv .venv-oldest .venv-newest .venv-wheel build dist demo docs/gallery .mypy_cache .pytest_cache .ruff_cache .hypothesis

# torch first: the pinned build satisfies what the library asks for, and nothing larger is fetched.
.venv/installed: pyproject.toml requirements-dev.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.txt
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps $(PQ_ORACLE)
	touch $@
