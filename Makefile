# Everything runs in .venv, made on first use and again when its ingredients change.
PYTHON ?= python3
READY := .venv/.ready

.PHONY: demo test lint bench clean

demo: $(READY)
	.venv/bin/photopeak demo

test: $(READY)
	.venv/bin/python -m pytest

lint: $(READY)
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

bench: $(READY)
	set -e; for script in benchmarks/*.py; do .venv/bin/python "$$script"; done

clean:
	rm -rf .venv build dist demo src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install -q -c constraints.txt -e ".[dev]"
	touch $@
