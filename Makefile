# Two commands do everything: `make run` and `make test`. The rest is for those who work on the twin.
PYTHON ?= python3
VENV ?= .venv
OUT ?=
BIN := $(VENV)/bin
# published cases whose licence keeps them out of the repository; their tests are skipped where they are not
export TWIN_REFERENCE_CASES ?= $(abspath $(wildcard ../shared/reference))
WORKERS ?= 2

.PHONY: run test check lint types imports install install-dev debian bench fuzz soak hunt lock clean

run: install
	$(BIN)/twin run scenarios/flisr_cigre_mv.yaml $(if $(OUT),--out $(OUT))

test: debian install-dev lint types imports
	$(BIN)/pytest -rs -n $(WORKERS) --dist worksteal

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "The twin needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 4; }
	@$(PYTHON) -m venv $(VENV) || { tools/debian-packages python3-venv && $(PYTHON) -m venv $(VENV); }

$(VENV)/.installed: pyproject.toml requirements.lock | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml requirements-dev.lock $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.lock
	@touch $@

debian:
	@tools/debian-packages tshark chromium mbpoll iproute2 nftables || true

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:
	$(BIN)/mypy

imports:
	$(BIN)/lint-imports

bench: install-dev
	$(BIN)/python -m benchmarks.world

# ten million mutated frames a protocol, half an hour or less on a free core; FUZZ_INPUTS=100000 for a look
FUZZ_INPUTS ?= 10000000
fuzz: install-dev
	$(BIN)/python -m benchmarks.fuzz_iec104 --inputs $(FUZZ_INPUTS)
	$(BIN)/python -m benchmarks.fuzz_dnp3 --inputs $(FUZZ_INPUTS)
	$(BIN)/python -m benchmarks.fuzz_modbus --inputs $(FUZZ_INPUTS)

# an hour of events with random cuts of lines; one line a minute and a verdict
SECONDS ?= 3600
soak: install-dev
	$(BIN)/python -m benchmarks.soak --seconds $(SECONDS)

# the property tests with cases of their own for each seed
HUNT_SEEDS ?= 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20
hunt: install-dev
	for seed in $(HUNT_SEEDS); do $(BIN)/pytest --hypothesis-profile=hunt --hypothesis-seed=$$seed \
	    tests/unit/solvers tests/unit/network tests/unit/dms tests/unit/control_room tests/reference/shortcircuit || exit; done

lock: install-dev
	$(BIN)/uv pip compile --quiet --universal --no-header --no-emit-index-url pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --no-header --no-emit-index-url --extra dev --extra c104 --extra opendnp3 \
	    -c requirements.lock pyproject.toml -o requirements-dev.lock

clean:
	rm -rf $(VENV) build results .mypy_cache .ruff_cache *.egg-info
