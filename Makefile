# make demo: train on the built-in dataset.   make test: run the tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint docs gpu

demo: $(VENV)/installed
	$(BIN)/python -m cyclegan_jax.main --config=configs/satellite2map.py

test: $(VENV)/installed
	$(BIN)/python -m pytest -q -n 2 --dist loadfile $(PYTEST_FLAGS)

lint: $(VENV)/installed
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# The documentation site, docs/_build/index.html. A warning is an error: of
# broken links to pages and headings, of pages that no page lists.
docs: $(VENV)/installed
	$(BIN)/pip install -q -c constraints.txt -e '.[docs]'
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build

# Needs a GPU, and JAX with GPU support in the environment of $(PYTHON).
gpu:
	PYTHONPATH=. $(PYTHON) benchmarks/gpu.py --output=gpu

$(VENV)/installed: setup.cfg setup.py pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	  "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e '.[demo,test]'
	@touch $@
