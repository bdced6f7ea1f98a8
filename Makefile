# Two commands on a fresh machine: `make demo` runs the main job, `make test` passes the tests. Neither touches the system.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO ?= demo

.PHONY: setup demo test test-fast coverage lint types docs clean

setup: $(READY)

$(READY): requirements/pinned.txt setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --requirement requirements/pinned.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $(READY)

# Made-up cells, training of the tiny detector, evaluation, pictures; goes on where it was stopped.
CONFIG := configs/faster_rcnn_bifpn_cell_tiny.py
BEST = $$(ls -t $(DEMO)/run/best_*.pth | head -n 1)
demo: $(READY)
	$(BIN)/python tools/prepare_data.py cell-phantom $(DEMO)/data
	$(BIN)/python tools/train.py $(CONFIG) --data-root $(DEMO)/data --work-dir $(DEMO)/run --resume
	$(BIN)/python tools/test.py $(CONFIG) $(BEST) --data-root $(DEMO)/data --work-dir $(DEMO)/test
	$(BIN)/python tools/predict.py $(CONFIG) $(BEST) $(DEMO)/data/images/val_00000.jpg --out-dir $(DEMO)/predictions
	$(BIN)/python tools/compare.py $(CONFIG) $(BEST) --data-root $(DEMO)/data --columns 2 --out $(DEMO)/compare.png

# A process for each core, each with one thread. Those of the report page need Chromium with chromedriver on the PATH.
JOBS ?= $(shell $(PYTHON) -c "import runpy; print(runpy.run_path('cxrdet/core/machine.py')['usable_cpus']())")
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal
test: $(READY)
	$(PYTEST)

# Without the long ones.
test-fast: $(READY)
	$(PYTEST) -m "not long"

coverage: $(READY)
	$(PYTEST) --cov=cxrdet --cov-report=term:skip-covered

lint: $(READY) types
	$(BIN)/ruff check .

# Of the rooms that pyproject.toml names.
types: $(READY)
	$(BIN)/basedpyright --pythonpath $(BIN)/python

# What is generated from configs/metafile.yml and benchmarks/tables: docs/model_zoo.md, docs/claims.md, the plugin table of the
# README, cxrdet/core/evidence.csv.
docs: $(READY)
	$(BIN)/python benchmarks/make_docs.py

clean:
	rm -rf $(VENV) $(DEMO)
