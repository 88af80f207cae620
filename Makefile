# `make demo` and `make test` set up everything they need in .venv; Python 3.11 or later is all that must be there.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: help demo test lint samples docs check-docs bench clean
help:
	@echo "make demo     set up, then run the main job on the sample models"
	@echo "make test     set up, then run the tests"
	@echo "make lint     ruff and mypy"
	@echo "make samples  rebuild sample_models/, byte for byte"
	@echo "make docs     rebuild what is generated: the reference, tables, transcripts"
	@echo "make bench    time the commands against their yardsticks"
	@echo "make clean    remove what was set up and cached"

# An editable install is not compiled by pip; without the bytecode every start would compile the sources anew.
$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@

.PHONY: setup
setup: $(VENV)/ready
	@$(BIN)/python -m compileall -q ckpt_cli

demo: setup
	@PATH="$(abspath $(BIN)):$$PATH" sh examples/demo.sh

test: setup
	$(BIN)/python -m pytest -n auto

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

samples: setup
	$(BIN)/python -W ignore sample_models/build.py

docs: setup
	$(BIN)/python docs/build.py

check-docs: setup
	$(BIN)/python docs/build.py --check

bench: setup
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
