# `make demo` and `make test` set up everything they need in .venv; Python 3.11 or later is all that must be there.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: help demo test test-all oracle models crash fuzz lint ruff types samples docs check-docs bench bench-quick bench-peers clean
help:
	@echo "make demo     set up, then run the main job on the sample models"
	@echo "make test     set up, then run the tests"
	@echo "make test-all the same, with all of what is sampled otherwise"
	@echo "make oracle   the frameworks that wrote the formats load what ckpt writes; set up in .venv-oracle-*"
	@echo "make models   what transformers, diffusers, timm and torchvision do beside what ckpt says of it; set up in .venv-models, 5 GB"
	@echo "make crash    make every call of a save fail, kill it there, and cut the power after it; a long while"
	@echo "make fuzz     hostile files made of good ones, for as long as SECONDS says (60); by atheris where it can be installed"
	@echo "make lint     ruff and mypy"
	@echo "make samples  rebuild sample_models/, byte for byte"
	@echo "make docs     rebuild what is generated: the reference, tables, transcripts"
	@echo "make check-docs   say which of it is stale"
	@echo "make bench    time every task against its yardstick; write docs/performance.md"
	@echo "make bench-quick   the same with small files, in about a minute; writes nothing"
	@echo "make bench-peers   the same tasks by other programs, set up in .venv-peers"
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
	$(BIN)/python -m pytest -n auto --dist worksteal

test-all: setup
	CKPT_TESTS=all $(BIN)/python -m pytest -n auto --dist worksteal

# Environments of their own: some of these frameworks exclude each other.
.venv-oracle-%/ready: tests/oracle/%/requirements.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --requirement $<
	@touch $@

oracle: setup .venv-oracle-frameworks/ready .venv-oracle-mxnet/ready .venv-oracle-adapters/ready .venv-oracle-merging/ready
	for name in frameworks mxnet adapters merging; do \
		CKPT="$(abspath $(BIN))/ckpt" .venv-oracle-$$name/bin/python -m pytest --override-ini addopts= --confcutdir=tests/oracle tests/oracle/$$name || exit; done

# The libraries of models with the torch that fits them. WITH takes other versions: make models WITH='transformers==5.25.0'.
.venv-models/ready: tests/models/requirements.txt pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --requirement $< --editable .
	@touch $@

WITH =
FAMILIES =
models: .venv-models/ready
	$(if $(WITH),.venv-models/bin/python -m pip install --quiet --upgrade $(WITH))
	CKPT_TESTS=models CKPT_MODELS="$(FAMILIES)" .venv-models/bin/python -m pytest $(if $(FAMILIES),tests/models/test_table.py,tests/models)
	$(if $(WITH),rm .venv-models/ready)

crash: setup
	CKPT_TESTS=crash $(BIN)/python -m pytest -n auto tests/crash tests/test_in_place.py

SECONDS = 60
fuzz: setup
	@$(BIN)/python -m pip install --quiet --editable '.[fuzz]' || echo "atheris cannot be installed here: plain mutations instead"
	@if $(BIN)/python -c 'import atheris' 2>/dev/null; then $(BIN)/python tests/hostile/fuzz.py $(SECONDS); \
	else $(BIN)/python tests/hostile/mutations.py --seconds $(SECONDS); fi
	$(BIN)/python tests/hostile/every_byte.py --seconds $(SECONDS)

lint: ruff types

ruff: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

samples: setup
	$(BIN)/python -W ignore sample_models/build.py
	$(BIN)/python -W ignore sample_models/build_bert.py

docs: setup
	$(BIN)/python docs/build.py
	$(BIN)/python benchmarks/page.py

check-docs: setup
	$(BIN)/python docs/build.py --check
	$(BIN)/python benchmarks/page.py --check

# What draws the picture; the rest comes with the tests.
$(VENV)/bench-ready: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	@touch $@

.PHONY: setup-bench
setup-bench: $(VENV)/bench-ready setup

bench: setup-bench
	$(BIN)/python benchmarks/run.py --growth --write $(BENCH)

bench-quick: setup-bench
	$(BIN)/python benchmarks/run.py --megabytes 200 --seconds 1 --rounds 1 $(BENCH)

# A peer that cannot be installed is shown as such. torch is lent from $(VENV), at the end of the path: it is large.
.venv-peers/ready: Makefile
	$(PYTHON) -m venv .venv-peers
	for peer in sft-cli safetensors-print 'ckptkit[cli]'; do \
		.venv-peers/bin/python -m pip install --quiet "$$peer" 2>&1 | grep '^ERROR' | tail -n 1; done; true
	.venv-peers/bin/python -m pip install --quiet --no-deps mergekit accelerate peft; true
	.venv-peers/bin/python -m pip install --quiet 'click>=8.2.1' immutables pydantic; true
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > \
		"$$(.venv-peers/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/lent.pth"
	@touch $@

bench-peers: setup-bench .venv-peers/ready
	$(BIN)/python benchmarks/run.py --peers --write $(BENCH)

clean:
	rm -rf $(VENV) .venv-peers .venv-models .venv-oracle-* build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
