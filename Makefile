# Two commands on a fresh machine with Python >= 3.11 and make:
#   make study   environment, quick study, report
#   make test    environment, lint, types, layers, tests
# make docs builds the documentation as a site.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Neither MLflow nor DVC calls home from here.
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true
export DVC_NO_ANALYTICS := true

.PHONY: study test test-long test-examples lint docs benchmarks clean

study: $(STAMP)
	$(BIN)/ablate run studies/quick.toml

# Bytecode of the package first: where PYTHONDONTWRITEBYTECODE is set, each of hundreds of processes would compile it.
test: lint
	$(BIN)/python -m compileall -q ablate
	$(BIN)/python -m pytest -q -n auto --dist loadfile --no-loadscope-reorder -m "not long and not examples"

test-long: $(STAMP)
	$(BIN)/python -m pytest -q -m long --timeout=14400

test-examples: $(STAMP)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[examples]'
	$(BIN)/python -m pytest -q tests/examples

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The site, in build/site/html: its pages open from there and load nothing from elsewhere. The search needs a server:
#   .venv/bin/python -m http.server -d build/site/html -b 127.0.0.1
docs: $(STAMP)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/python docs/site/build.py build/site

benchmarks: $(STAMP)
	$(BIN)/python benchmarks/train_step.py
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/overhead.py examples/reinforcement_learning/study.toml --trials 3 --seeds 7
	$(BIN)/python benchmarks/overhead.py tests/function/dropout.toml --trials 2 --seeds 7
	$(BIN)/python benchmarks/calibration.py
	$(BIN)/python benchmarks/calibration_clusters.py
	$(BIN)/python benchmarks/calibration_departures.py
	$(BIN)/python benchmarks/calibration_tuning.py
	$(BIN)/python benchmarks/startup.py

# torch is asked for exactly: a range would let pip take the newest build, with gigabytes of CUDA packages.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "ablate needs Python 3.11 or newer; set PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip uninstall -q -y ablate 2>/dev/null  # the distribution's name before 0.3
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev,dashboard,cluster,dvc,postgres]'
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
