# `make demo` and `make test` set up everything they need in .venv; nothing is installed outside this folder.
PYTHON ?= python3
VENV := .venv
EXAMPLES := $(VENV)/transformers-examples
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SUITE := $(VENV)/transformers-tests
# Test files run side by side.
JOBS ?= 2
PYTEST_ARGS ?=

.PHONY: help install demo test gpu kills fuzz lint format docs suite-report examples-suite architectures tokenizer-classes clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: $(INSTALLED)  ## create .venv and install the package with its test dependencies

# Rebuilt when what is installed changes; the package itself is installed in place.
$(INSTALLED): setup.cfg setup.py pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=23.1"
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[test]"
	touch $@

demo: $(INSTALLED)  ## adapt the shipped English model to other languages and show held-out numbers
	$(BIN)/ofa demo

lint: $(INSTALLED)  ## check style without changing anything
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(INSTALLED)  ## fix style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Transformers' own model tests come in its source distribution; they are fetched, never copied into this repository.
$(SUITE)/version.txt: $(INSTALLED) tests/transformers_suite/fetch.py
	$(BIN)/python tests/transformers_suite/fetch.py $(SUITE)

# The models are tiny: more threads for one test file only get in the way of the other.
test kills fuzz suite-report examples-suite: export OMP_NUM_THREADS ?= 1

test: lint $(SUITE)/version.txt  ## ruff and the whole test-suite, Transformers' own model tests included
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(PYTEST_ARGS)

# Parts alone: make gpu GPU_ARGS="correctness step"; CONTRIBUTING.md has the command that needs no installation.
gpu: $(INSTALLED)  ## on a GPU: the same results as on the CPU, and how fast; gpu_check/gpu.json and gpu.md
	$(BIN)/python tests/gpu/check.py $(GPU_ARGS)

kills: $(INSTALLED)  ## stop commands at 500 random moments and look at what they leave (KILLS=500 SEED=0)
	$(BIN)/python tests/faults/kills.py --kills $(or $(KILLS),500) --seed $(or $(SEED),0)

fuzz: $(INSTALLED)  ## give readers and commands damaged files, thousands of each reader (CASES=3000 COMMANDS=300 SEED=0)
	$(BIN)/python tests/faults/fuzz.py --cases $(or $(CASES),3000) --commands $(or $(COMMANDS),300) --seed $(or $(SEED),0)

docs: $(INSTALLED)  ## build the documentation into site/, which opens without a server, its search included
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

suite-report: $(SUITE)/version.txt  ## Transformers' model tests on our classes beside the stock ones, as a table
	$(BIN)/python tests/transformers_suite/compare.py

# The scripts are in Transformers' repository only, not in what pip delivers; evaluate is theirs alone.
examples-suite: $(INSTALLED)  ## Transformers' own example scripts, unchanged, on our checkpoints; fetched from GitHub
	test -d $(EXAMPLES) || $(BIN)/python tests/transformers_suite/fetch.py --examples $(EXAMPLES)
	$(BIN)/python -m pip install --quiet -c constraints.txt "evaluate>=0.4.1"
	$(BIN)/python -m pytest tests/transformers_suite/test_examples.py $(PYTEST_ARGS)

architectures: $(INSTALLED)  ## every language-model class of Transformers with its vocabulary permuted; renews docs/architectures.md
	$(BIN)/python tests/architectures/table.py $(JOBS)

tokenizer-classes: $(INSTALLED)  ## every tokenizer class of Transformers with every algorithm, saved and read; renews docs/tokenizer-classes.md
	$(BIN)/python tests/tokenization/class_table.py $(JOBS)

clean:  ## remove .venv, builds and caches
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .ruff_cache
