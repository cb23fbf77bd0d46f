# Everything that a person or CI does with this repository.
.DEFAULT_GOAL := help
SHELL := /bin/bash
CARGO ?= cargo

help: ## this text
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

demo: setup-build setup-demo-if-root ## build Warren, run a service, break a task, watch it being replaced
	$(CARGO) build -p warren
	tests/demo/demo.sh

run: setup-build setup-run-if-root ## start a single-node Warren to play with, in the foreground
	$(CARGO) build -p warren
	tests/demo/run.sh

test: setup-build setup-test ## all tests
	$(CARGO) build --workspace
	tests/images/build.sh all target/test-images/archives
	$(CARGO) test --workspace --no-fail-fast

bench-checks: setup-build setup-bench ## what a check costs, beside the bare socket loop and HAProxy
	$(CARGO) bench -p warren-tests --bench checks

bench-manager: setup-build ## what the manager takes for 100,000 tasks, and how fast it is: make bench-manager [TASKS=10000 SESSIONS=100]
	$(CARGO) bench -p warren-tests --bench manager -- \
		$(if $(TASKS),--tasks $(TASKS)) $(if $(SESSIONS),--sessions $(SESSIONS))

sim: setup-build ## many simulated clusters: make sim SEEDS=100000 [FIRST=1]
	WARREN_SIM_SEEDS=$(or $(SEEDS),1000) WARREN_SIM_FIRST=$(or $(FIRST),1) \
		$(CARGO) test -p warren-sim every_seed -- --nocapture

hammer-exec: setup-build setup-test ## a thousand commands that overrun, with both drivers, and what a command costs
	WARREN_HAMMER_RUNS=1000 $(CARGO) test -p warren-containerd --test containerd -- \
		--nocapture --test-threads 1 overrun what_containerd
	WARREN_HAMMER_RUNS=1000 $(CARGO) test -p warren-runtime --test driver -- --nocapture overrun

starve: setup-build ## a minute of 512 busy threads: which healthy tasks are taken for dead, and what a fixed timeout had done
	$(CARGO) build -p warren
	WARREN_STARVE_SECONDS=60 $(CARGO) test -p warren-tests --test starve -- --nocapture

deb: setup-build ## a Debian package, with unit files, in target/
	$(CARGO) build --release -p warren
	deploy/deb/build.sh target/release/warren target/warren.deb

bench-vitals: setup-build ## what a health endpoint costs beside a bare handler
	$(CARGO) bench -p warren-vitals --bench health

check: setup-build ## formatting, lints and the docs' own checks
	$(CARGO) fmt --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items

# Without root there are no containers, and nothing that only they need.
setup-%-if-root:
	@if [ "$$(id -u)" = 0 ]; then tests/setup/packages.sh $*; fi

setup-%:
	@tests/setup/packages.sh $*

.PHONY: help demo run test sim bench-checks bench-manager hammer-exec starve deb bench-vitals check
