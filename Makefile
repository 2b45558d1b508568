# Everything runs in .venv, made on first use and again when its ingredients change.
PYTHON ?= python3
READY := .venv/.ready
BENCHMARKS := projector finder pinhole ring photons scatter simulate slices synthesize

.PHONY: demo test lint bench bench-peer clean

demo: $(READY)
	.venv/bin/photopeak demo

test: $(READY)
	.venv/bin/python -m pytest -n auto --dist loadfile

lint: $(READY)
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

bench: $(READY)
	set -e; for name in $(BENCHMARKS); do \
		.venv/bin/python benchmarks/$$name.py --out benchmarks/results/$$name.json; \
	done
	.venv/bin/python benchmarks/performance_page.py

# Beside PyTomography, which is installed from PyPI into an environment of its own.
bench-peer:
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install -q -c constraints.txt -e . pytomography==3.4.0
	.venv-bench/bin/python benchmarks/peer/beside.py --out benchmarks/results/beside.json
	.venv-bench/bin/python benchmarks/peer/cost.py --out benchmarks/results/cost.json
	.venv-bench/bin/python benchmarks/performance_page.py

clean:
	rm -rf .venv .venv-bench build dist demo src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install -q -c constraints.txt -e ".[dev]"
	touch $@
