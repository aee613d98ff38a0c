# Each target does all its own set-up: a virtual environment in .venv, the packages, and for the
# tests the display libraries, where the machine lets them be installed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint format typecheck docs-images screens wheel clean

demo: $(STAMP)
	test -z "$$DISPLAY" || ./.ci/display-libraries
	$(BIN)/prelabel demo --out demo-output

test: $(STAMP)
	./.ci/display-libraries
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs-images: $(STAMP)
	./.ci/display-libraries
	./.ci/with-display $(BIN)/python docs/screenshots.py

screens: $(STAMP)
	./.ci/display-libraries
	./.ci/with-display $(BIN)/python docs/screens.py screens

wheel: $(STAMP)
	$(BIN)/python -m pip wheel --no-deps --wheel-dir dist .

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else None'
	$(BIN)/python -m pip --version >/dev/null 2>&1 || ./.ci/virtual-environment $(PYTHON) $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[gui,test,lint]"
	touch $(STAMP)

clean:
	rm -rf $(VENV) dist demo-output .pytest_cache .mypy_cache .ruff_cache
