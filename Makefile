# Every target makes what it needs and reuses it the next time.
PYTHON ?= python3
MODEL ?= digits
IMAGE ?=
BASE_IMAGE ?=
PORT ?= 8080
RUNS ?= 20

VENV := .venv
PY := $(VENV)/bin/python
# The JSON reader in C, for this machine; where there is no compiler, Python reads JSON.
KERNEL := function/native/json-$(shell uname -m).so
READY := $(VENV)/.ready $(KERNEL)
ZEROSERVE := $(PY) -m zeroserve
CONFORMANCE := .cache/venvs/conformance
ZIG := .cache/venvs/zig

.DEFAULT_GOAL := help
.PHONY: help run serve kernels check coverage test test-conformance test-feast test-hostile test-image package image release validate lint format lock clean prepare bench bench-cold bench-load bench-ladder bench-memory bench-features bench-report

help: ## what can be asked for
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.ready: requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.13 ...")'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/dev.txt
	@# venv brings setuptools before Python 3.12; its .pth file adds a millisecond to the start of every interpreter
	$(PY) -m pip uninstall --quiet --yes setuptools
	@# not pip install -e: that needs setuptools, and leaves a .pth file
	printf '#!/bin/sh\nexec "%s" "%s" "$$@"\n' "$(CURDIR)/$(PY)" "$(CURDIR)/zeroserve/__main__.py" >$(VENV)/bin/zeroserve
	chmod +x $(VENV)/bin/zeroserve
	touch $@

$(KERNEL): $(wildcard native/*.[ch]) native/build.py | $(VENV)/.ready
	$(PY) -m native.build

$(ZIG)/.ready: requirements/zig.txt
	$(PYTHON) -m venv $(ZIG)
	$(ZIG)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $<
	touch $@

kernels: $(READY) $(ZIG)/.ready ## the JSON reader in C for each architecture of Lambda, by ziglang
	$(PY) -m native.build --all

prepare: $(READY) ## artifacts of MODEL for this machine
	$(ZEROSERVE) prepare "$(MODEL)"

run: $(READY) ## ask a model in the function inside the Lambda emulator (MODEL=, IMAGE=)
	$(ZEROSERVE) run "$(MODEL)" --image "$(IMAGE)"

serve: $(READY) ## the plain HTTP server (MODEL=: a name or a folder, PORT=)
	@$(ZEROSERVE) serve "$(MODEL)" --port "$(PORT)"

check: lint ## lint and the unit tests, under a minute
	$(PY) -m models.prepare digits
	$(PY) -m pytest -q -p tests.core_only tests/unit

# Those that reach function/ most for their time; each server that they start is measured as well.
COVERED := tests/unit tests/contract tests/integration/aws tests/e2e/test_connections.py tests/e2e/test_drain.py \
  tests/e2e/test_large_bodies.py tests/e2e/test_slow_senders.py tests/e2e/test_server_telemetry.py

coverage: $(READY) ## branch coverage of function/ by unit, contract and server tests
	$(PY) -m models.prepare digits
	mkdir -p .cache/coverage
	$(PY) -m coverage erase
	$(PY) -m coverage run -m pytest -q $(COVERED)
	$(PY) -m coverage combine --quiet
	$(PY) -m coverage report

test: $(READY) ## all tests
	$(PY) -m models.prepare digits
	$(PY) -m pytest -q -p tests.core_only tests/unit
	$(PY) -m pytest -q --ignore tests/unit
	$(MAKE) test-conformance

$(CONFORMANCE)/.ready: requirements/conformance.txt
	$(PYTHON) -m venv $(CONFORMANCE)
	$(CONFORMANCE)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $<
	touch $@

test-conformance: $(READY) $(CONFORMANCE)/.ready ## the kserve client and schemathesis, in an environment of their own
	$(CONFORMANCE)/bin/python -m pytest -q --confcutdir=tests/conformance tests/conformance

test-feast: $(READY) ## entity features beside Feast's own reader, in an environment of its own (650 MB) that the test makes
	TEST_FEAST=1 $(PY) -m pytest -q tests/integration/features/test_feast.py

test-hostile: CASES = 250000
test-hostile: SEED = 1 2
test-hostile: $(READY) ## the attack at length, an hour or so (CASES= of the fuzzer for each SEED=, tests/hostile/README.md)
	$(PY) -m models.prepare digits
	HOSTILE_LONG=1 $(PY) -m pytest -q tests/hostile || failed=1; \
	for seed in $(SEED); do for cache in "" --cache; do \
	  $(PY) -m tests.hostile.fuzz --seed $$seed --cases $(CASES) $$cache || failed=1; done; done; \
	$(PY) -m tests.hostile.slow || failed=1; \
	$(PY) -m tests.hostile.soak --cache || failed=1; exit $${failed:-0}

package: $(READY) kernels ## dist/function.zip and the layers' zips, for sam deploy or infra.deploy (MODEL=)
	$(ZEROSERVE) package "$(MODEL)"

image: $(READY) prepare kernels ## the container image, by docker, podman or buildah (MODEL=, BASE_IMAGE=)
	$(PY) -m infra.image --model "$(MODEL)" --base-image "$(BASE_IMAGE)"

release: $(READY) prepare kernels ## all that belongs to the version, into dist/ with checksums; publishes nothing (MODEL=, BASE_IMAGE=, WITHOUT=image)
	$(PY) -m infra.release "$(MODEL)" --base-image "$(BASE_IMAGE)" --without $(WITHOUT)

test-image: $(READY) ## build the image over Debian packages and run it (root, Debian; installs buildah, mmdebstrap, qemu-user)
	command -v buildah && command -v mmdebstrap && command -v qemu-aarch64 || \
	  { apt-get update -q && apt-get install -y -q --no-install-recommends buildah mmdebstrap qemu-user; }
	TEST_IMAGE=1 $(PY) -m pytest -q tests/image

validate: $(READY) $(CONFORMANCE)/.ready ## templates and manifests, checked offline
	$(PY) -m infra.validate --kserve-python $(CONFORMANCE)/bin/python

bench: $(READY) ## all benchmarks, one after the other, then the report (about 35 minutes)
	for part in cold load ladder memory features report; do $(MAKE) bench-$$part || failed=1; done; exit $${failed:-0}

bench-cold: $(READY) ## from process spawn to the first prediction, beside the rivals (RUNS=)
	$(PY) -m bench.cold --runs $(RUNS)

bench-load: RUNS = 3
bench-ladder: RUNS = 1
bench-memory: RUNS = 2
bench-features: RUNS = 3
bench-load: $(READY) ## throughput and latency under load (RUNS= rounds)
	$(PY) -m bench.load --runs $(RUNS)

bench-ladder: $(READY) ## how cost grows with clients and cores (RUNS= rounds)
	$(PY) -m bench.load.ladder --runs $(RUNS)

bench-memory: $(READY) ## memory of servers and of many worker processes (RUNS= rounds)
	$(PY) -m bench.memory --runs $(RUNS)

bench-features: $(READY) ## entity features beside Feast's server, by tier, hit ratio, cold start (RUNS= rounds; redis, postgresql)
	$(PY) -m bench.features --runs $(RUNS)

bench-report: $(READY) ## docs/benchmarks.md and its charts from bench/results
	$(PY) -m bench.report

lint: $(READY) ## ruff, mypy --strict, the import law and spelling
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy function layer models infra bench native tests
	$(VENV)/bin/lint-imports --no-cache
	$(PY) -m codespell_lib

format: $(READY) ## let ruff rewrite what it can
	$(PY) -m ruff check --fix-only .
	$(PY) -m ruff format .

lock: ## resolve the requirement files anew (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate requirements/function.in -o requirements/function.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml \
	  --extra aws --extra text --extra features --extra dev -c requirements/function.txt -o requirements/dev.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate requirements/image.in \
	  -c requirements/dev.txt -o requirements/image.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate requirements/text.in \
	  --no-deps -c requirements/dev.txt -o requirements/text.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate requirements/postgres.in \
	  -c requirements/dev.txt -o requirements/postgres.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate requirements/ops.in -o requirements/ops.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate requirements/conformance.in -o requirements/conformance.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate requirements/zig.in -o requirements/zig.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate requirements/feast.in -o requirements/feast.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate requirements/boosting.in -c requirements/dev.txt -o requirements/boosting.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate requirements/torch.in -o requirements/torch.txt

clean: ## remove everything that can be made again
	rm -rf $(VENV) .cache dist build models/*/prepared function/native/*.so
