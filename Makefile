# Everything a newcomer needs: `make quickstart` and `make test` set themselves up from python3 alone.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: quickstart test drill check docs snapshots benchmarks clean

quickstart: $(READY)
	$(BIN)/attackgrid launch specs/quickstart.yaml --store stores/quickstart
	$(BIN)/attackgrid table stores/quickstart

test: $(READY)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --ignore tests/test_ray.py --cov --cov-report= --cov-fail-under=0
	$(BIN)/python -m pytest --cov --cov-append tests/test_ray.py

drill: $(READY)
	$(BIN)/python -m pytest -m drill

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY)
	$(BIN)/python tests/documents.py

# Writes what is missing, and never another number for the same version.
snapshots: $(READY)
	$(BIN)/python tests/pinning.py

benchmarks: $(READY)
	$(BIN)/python tests/benchmarks/planning.py
	$(BIN)/python tests/benchmarks/overhead.py
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps adv-lib
	$(BIN)/python tests/benchmarks/attacks.py --quick

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "attackgrid needs Python 3.11 or newer; choose one with: make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,peers]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps torchattacks
	@touch $(READY)

clean:
	rm -rf $(VENV) stores
