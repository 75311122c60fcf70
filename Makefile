# make train                             the quick start, on the embedded dataset
# make train CONFIG=configs/deep_cnn.py  an experiment; ARGS="--config.epochs=3" changes it
# make test                              all tests
# make lint                              style, imports between the rooms, types
# make help                              these lines
# Each but the last makes .venv and installs into it what is missing, with this project: .venv/bin/digits lists what
# can be done with it.

PYTHON ?= python3
VENV ?= .venv
CONFIG ?= configs/quickstart.py
ARGS ?=

.PHONY: train test lint help

train: $(VENV)/.installed
	$(VENV)/bin/python -m digits.main --config=$(CONFIG) $(ARGS)

test: $(VENV)/.tests-installed
	$(VENV)/bin/python -m pytest $(ARGS)

lint: $(VENV)/.tests-installed
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/lint-imports --no-logo
	$(VENV)/bin/mypy

help:
	@sed -n '/^$$/q; s/^# //p' $(firstword $(MAKEFILE_LIST))

# Bytecode is compiled on all cores, where pip would use one, and not for the libraries' own tests (70 MB). A file that
# cannot be compiled is left to whoever imports it.
INSTALL = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile
COMPILE = $(VENV)/bin/python -m compileall -qq -j 0 -x 'site-packages/.*/tests/' $(VENV)/lib || true

# A stamp, so that nothing is installed twice; a changed requirements file installs again. The project itself stays where
# it is: `import digits`, and configs, experiments, also work in other folders and from an editor's run button. Its
# dependencies are those of requirements.txt, which has the setuptools that installs it.
$(VENV)/.installed: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "digits needs Python 3.11 or newer; name one with make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -r requirements.txt
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@$(COMPILE)
	touch $@

$(VENV)/.tests-installed: $(VENV)/.installed tests/requirements.txt requirements-ray.txt requirements-tensorflow.txt
	$(INSTALL) -r tests/requirements.txt
	@$(COMPILE)
	touch $@
