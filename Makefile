# make demo: install, simulate two participants, run the app on them.   make test: all checks but the slow ones.
# make slow: those that take long (about 7 minutes on two cores).   make slower: those that CI has no time for (4 minutes).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo

.PHONY: demo test slow slower lint docs clean

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

demo: $(VENV)/.installed
	rm -rf $(DEMO)
	$(BIN)/neuraxis demo $(CURDIR)/$(DEMO)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

test: lint
	$(BIN)/pytest -n 2 -m "not slow"

slow: $(VENV)/.installed
	$(BIN)/pytest -n 2 -m "slow and not slower"

slower: $(VENV)/.installed
	$(BIN)/pytest -m slower

# What is derived and kept in the repository: the descriptor and the tables of the README.
docs: $(VENV)/.installed
	$(BIN)/neuraxis --bids-exec-spec > boutiques.json
	$(BIN)/python -m neuraxis.readme README.md

clean:
	rm -rf $(VENV) $(DEMO) *.egg-info
