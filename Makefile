# Every target makes what it needs and reuses it the next time.
PYTHON ?= python3
MODEL ?= digits
IMAGE ?=
PORT ?= 8080
RUNS ?= 20

VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help run serve test lint format lock clean prepare bench bench-cold bench-load bench-ladder bench-memory bench-report

help: ## what can be asked for
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(READY): requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.13 ...")'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/dev.txt
	touch $@

prepare: $(READY) ## artifacts of MODEL for this machine
	$(PY) -m models.prepare $(MODEL)

run: $(READY) ## classify a picture in the function inside the Lambda emulator (MODEL=, IMAGE=)
	$(PY) -m infra.run --model "$(MODEL)" --image "$(IMAGE)"

serve: $(READY) prepare ## the plain HTTP server (PORT=)
	MODEL_NAME="$(MODEL)" $(PY) -m function.server --port $(PORT)

test: $(READY) ## all tests
	$(PY) -m models.prepare digits
	$(PY) -m pytest -q

bench: $(READY) ## all benchmarks, one after the other, then the report (about 25 minutes)
	for part in cold load ladder memory report; do $(MAKE) bench-$$part || exit; done

bench-cold: $(READY) ## from process spawn to the first prediction, beside the rivals (RUNS=)
	$(PY) -m bench.cold_start --runs $(RUNS)

bench-load: RUNS = 3
bench-ladder: RUNS = 1
bench-memory: RUNS = 2
bench-load: $(READY) ## throughput and latency under load (RUNS= rounds)
	$(PY) -m bench.load --runs $(RUNS)

bench-ladder: $(READY) ## how cost grows with clients and cores (RUNS= rounds)
	$(PY) -m bench.ladder --runs $(RUNS)

bench-memory: $(READY) ## memory of servers and of many worker processes (RUNS= rounds)
	$(PY) -m bench.memory --runs $(RUNS)

bench-report: $(READY) ## docs/benchmarks.md and its charts from bench/results
	$(PY) -m bench.report

lint: $(READY) ## ruff and mypy --strict
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy function models infra bench tests

format: $(READY) ## let ruff rewrite what it can
	$(PY) -m ruff check --fix-only .
	$(PY) -m ruff format .

lock: ## resolve the requirement files anew (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml -o requirements/function.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml \
	  --extra lambda --extra server --extra aws --extra models --extra dev -c requirements/function.txt -o requirements/dev.txt

clean: ## remove everything that can be made again
	rm -rf $(VENV) .cache dist build models/*/prepared
