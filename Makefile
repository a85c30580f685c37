# make run     a workspace served before your eyes, with runs you can see; Ctrl-C ends it
# make test    the tests
# make check   lint, types, documents fresh        make proofs  the slow proofs        make bench  the figures
# make compare  the same scenarios against cron and cronstable, side by side
# make install routinectl for this user, by pipx or in a folder of its own
# Everything that is needed is made in .venv; nothing of the system is touched.
# The versions are those of constraints.txt; CONSTRAINTS= takes the newest that pyproject.toml allows.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
TESTS  ?=
EXTRAS ?=
WANTED := .$(if $(EXTRAS),[$(EXTRAS)])
CONSTRAINTS ?= constraints.txt
# Both names: a newer pip does not build our own package with the first.
PINNED := $(if $(CONSTRAINTS),PIP_CONSTRAINT=$(CONSTRAINTS) PIP_BUILD_CONSTRAINT=$(CONSTRAINTS))

.DEFAULT_GOAL := help
.PHONY: help install run test test-newest constraints check format docs pictures proofs proofs-short soak bench compare clean python

help:
	@sed -n 's/^# //p' Makefile | head -7

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Error: routinectl needs Python 3.11 or newer as '$(PYTHON)'" >&2; \
	  echo "Hint: apt-get install python3 python3-venv, or make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "Error: this Python cannot make virtual environments: venv or ensurepip is missing" >&2; \
	  echo "Hint: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.made: pyproject.toml $(CONSTRAINTS) | python
	@echo "making $(VENV) ..." >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PINNED) $(BIN)/pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.made-dev: pyproject.toml $(VENV)/.made
	@echo "installing what the tests need ..." >&2
	@$(PINNED) $(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

run: $(VENV)/.made
	@$(BIN)/python examples/run.py .run

test: $(VENV)/.made-dev
	$(BIN)/python -m pytest -n auto $(TESTS)

# The same with the newest of everything, in an environment of its own: what the next `make constraints` would bring.
test-newest:
	@rm -rf .venv-newest
	$(MAKE) test VENV=.venv-newest CONSTRAINTS=

# Writes constraints.txt anew, for every Python that is supported; run `make test` before committing it.
constraints: $(VENV)/.made-dev
	$(BIN)/python .ci/constraints.py

check: $(VENV)/.made-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python docs/generate.py --check

format: $(VENV)/.made-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.made-dev
	$(BIN)/python docs/generate.py

# The web page needs Debian's chromium; `make pictures PART=terminal` does without.
pictures: $(VENV)/.made-dev
	$(BIN)/python docs/pictures.py $(PART)

proofs: $(VENV)/.made-dev
	$(BIN)/python -m pytest -m slow -v $(TESTS)

proofs-short: $(VENV)/.made-dev
	ROUTINECTL_PROOFS=short $(BIN)/python -m pytest -m slow -v -n 2 --durations=12 $(TESTS)

soak: $(VENV)/.made-dev
	ROUTINECTL_SOAK=3600 $(BIN)/python -m pytest -m slow -v -s tests/proofs/test_soak.py -k twenty

compare: $(VENV)/.made-dev
	$(BIN)/python benchmarks/compare.py

bench: $(VENV)/.made-dev
	$(BIN)/python benchmarks/run.py

install: python
	@$(if $(PINNED),export $(PINNED);) if command -v pipx >/dev/null; then pipx install --force "$(WANTED)"; else \
	  home="$${XDG_DATA_HOME:-$$HOME/.local/share}/routinectl"; \
	  $(PYTHON) -m venv "$$home" && "$$home/bin/pip" install --quiet --upgrade "$(WANTED)" && mkdir -p "$$HOME/.local/bin" && \
	  ln -sf "$$home/bin/routinectl" "$$HOME/.local/bin/routinectl" && \
	  mkdir -p "$$HOME/.local/share/man" && cp -r man/man1 man/man5 man/man7 "$$HOME/.local/share/man/" && \
	  echo "installed $$HOME/.local/bin/routinectl"; \
	  case ":$$PATH:" in *":$$HOME/.local/bin:"*) ;; *) echo "Hint: export PATH=\"\$$HOME/.local/bin:\$$PATH\"";; esac; fi

clean:
	rm -rf .venv .venv-newest .run .pytest_cache .mypy_cache .ruff_cache .hypothesis
