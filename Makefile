# make demo: train on the built-in real pictures.   make test: run the tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint gpu

demo: $(VENV)/installed
	$(BIN)/python -m cyclegan_jax.main --config=configs/satellite2map.py

test: $(VENV)/installed
	$(BIN)/python -m pytest -q -n 2 --dist loadfile $(PYTEST_FLAGS)

lint: $(VENV)/installed
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# On a machine with a GPU and JAX for it, in the Python at hand.
gpu:
	PYTHONPATH=. $(PYTHON) benchmarks/gpu.py --output=gpu

$(VENV)/installed: setup.cfg setup.py pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	  "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e '.[demo,test]'
	@touch $@
