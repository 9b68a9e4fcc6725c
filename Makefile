# Two commands do everything on a fresh machine: `make replicate` (the main job) and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SEEDS  ?= 5
STAMP  := $(VENV)/.installed
# Files of tests run side by side, one process a core; JOBS=0 runs them one after another.
JOBS   ?= auto

# Where a GPU is, nothing need be installed: PYTHON has torch, and the tree is found by its links.
PRESET ?= cifar10-vit-micro
UNIT   ?= weight
MINUTES ?= 8
PACKED ?= build/gpu-run/$(PRESET)-$(UNIT)
OPTIONS ?=

.PHONY: help install replicate report-reference test test-one test-slow test-cluster calibration architectures bench gpu gpu-run links lint types format wheel docs clean

help:            ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 18

install: $(STAMP) ## create .venv and install the project with its tested dependencies

$(STAMP): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=24" "setuptools>=77" wheel
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

replicate: $(STAMP) ## the main job: five seeds of a small ViT on real digits, every scorer, four sparsities, and the report to open
	$(BIN)/sics-run replicate --seeds $(SEEDS)

report-reference: $(STAMP) ## render the shipped reference runs: docs/reference, the tables of docs/findings.md, and pages in build/reference
	$(BIN)/python bench/reference.py render --html build/reference

test: $(STAMP)   ## the test-suite (minutes on two cores)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup -m "not slow"

test-one: $(STAMP) ## one file of tests: make test-one FILE=tests/cli/test_main.py
	$(BIN)/python -m pytest $(FILE)

test-slow: $(STAMP) ## the long calibration and fault tests
	$(BIN)/python -m pytest -m slow

test-cluster: $(STAMP) ## every test that needs Slurm or Ray, the faults too (skips what is not installed)
	$(BIN)/python -m pytest -rs tests/cli/slurm tests/cli/runs/test_ray.py

calibration: $(STAMP) ## simulate the error rates of every test and interval; writes docs/calibration.md
	$(BIN)/python bench/calibration.py

architectures: $(STAMP) ## prune, train, save, compile and export some fifty architectures; writes docs/architectures.md
	$(BIN)/python bench/architectures.py --jobs 2

bench: $(STAMP)  ## every timing the docs give: pruning, growth to 1 B weights (8 GB), shrunk models, replicates, analysis, reports (half an hour)
	$(BIN)/python bench/analysis.py
	$(BIN)/python bench/pruning.py
	$(BIN)/python bench/agreement.py
	$(BIN)/python bench/scale.py
	$(BIN)/python bench/shrink.py
	$(BIN)/python bench/replicates.py
	$(BIN)/python bench/report.py

gpu: links       ## all that is to be proven on a GPU, in under nine minutes, nothing installed: build/gpu/gpu.json (docs/gpu.md)
	PYTHONPATH=$(CURDIR)/build/typing $(PYTHON) bench/gpu.py --out build/gpu

gpu-run: links   ## go on with a run on a GPU from its pack, and pack it again: make gpu-run PRESET=… SEEDS=… UNIT=… MINUTES=…
	PYTHONPATH=$(CURDIR)/build/typing $(PYTHON) bench/gpu_run.py --packed $(PACKED) --minutes $(MINUTES) -- \
		--preset $(PRESET) --seeds $(SEEDS) --unit $(UNIT) --device cuda $(OPTIONS)

lint: $(STAMP)   ## ruff, and import-linter: imports run downwards
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format: $(STAMP) ## let ruff format and fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# mypy, and a machine where nothing is installed, want packages under their installed names: a link tree gives them that.
links:
	@mkdir -p build/typing
	@ln -sfn ../../sics_plugin build/typing/sics_plugin
	@ln -sfn ../../analysis build/typing/sics_analysis
	@ln -sfn ../../cli build/typing/sics_cli
	@ln -sfn ../../data build/typing/sics_data

types: $(STAMP) links ## mypy --strict
	MYPYPATH=build/typing $(BIN)/mypy --explicit-package-bases -p sics_plugin -p sics_analysis -p sics_cli -p sics_data

wheel: $(STAMP)  ## build a wheel into dist/
	$(BIN)/python -m build --wheel --no-isolation

# Where the site's tools are: `make docs SPHINX=…/bin/python` takes those of another environment.
SPHINX ?= $(BIN)/python
TOOLS  := $(if $(filter $(BIN)/python,$(SPHINX)),$(VENV)/.docs)

$(VENV)/.docs: $(STAMP) setup.cfg constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	@touch $@

docs: $(TOOLS) links ## the documentation site, warnings are errors: build/docs/index.html (EXTERNAL=1 asks outside links, too)
	PYTHONPATH=$(CURDIR)/build/typing $(SPHINX) docs/site/stage.py build/docs-source
	PYTHONPATH=$(CURDIR)/build/typing $(SPHINX) -m sphinx -q -W --keep-going -b html build/docs-source build/docs
	$(SPHINX) docs/site/check.py build/docs $(if $(EXTERNAL),--external)

clean:           ## remove build products and caches, keep .venv and runs
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
