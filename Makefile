# Every command of the project. `make help` lists them.
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 16

build: ## the binary, optimised
	cargo build --release --locked

fmt: ## format the code
	cargo fmt --all

lint: ## formatting and clippy, as CI has them
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

test: lint unit e2e ## everything that CI runs; what is missing for it is built once, outside of the clone

# Many of them wait for a time to pass: more at once than there are processors.
unit: ## the tests that need nothing but Rust
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-8} cargo test --locked

tools: ## find or build the programs that `make e2e` and `make demo` run, and print each
	@tests/e2e/need
	cargo run --quiet --locked -p tofustate-e2e

e2e: tools ## the tests with real programs (which: E2E="locks::"); what is not there is SKIPPED in the closing table
	cargo build --locked
	@cargo run --quiet --locked -p tofustate-e2e --bin suite -- $(E2E)

# They build what else they take, and say so.
demo: build-demo ## all of it on this machine (ONCE=1 ends by itself, KEEP=1 keeps its files; STACK=full, or embedded: Rust alone)
	@cargo run --quiet --locked -p tofustate-e2e --bin demo

standalone: build-demo ## a quick look: the server without a cluster, on a folder with one example, until Ctrl-C
	@cargo run --quiet --locked -p tofustate-e2e --bin demo -- standalone

build-demo:
	@tests/e2e/need
	@echo "== The demo itself, built with cargo: a minute the first time"
	@began=$$(date +%s) && cargo build --locked -p tofustate-e2e --bin demo && echo "   ($$(($$(date +%s) - began)) s)"

bench: ## figures of the store, as tables (5 minutes; what: BENCH="cycle heads large")
	cargo bench --locked --bench store -- $(BENCH)

bench-http: ## figures of the server, as tables (15 minutes; what: BENCH="cycle large many tracing")
	cargo bench --locked --bench http -- $(BENCH)

bench-openbao: ## figures of the store over a real OpenBao, as tables (15 minutes; what: BENCH="cycle large")
	cargo bench --locked -p tofustate-e2e --bench openbao -- $(BENCH)

bench-operator: ## how soon a lock is visible in a watch, through the whole operator, as a table (10 minutes)
	cargo build --release --locked
	cargo bench --locked -p tofustate-e2e --bench operator

bench-scale: ## thousands of resources: made, restarted with, changed, idle, locked; as tables (30 minutes; how many: COUNT=10000)
	cargo build --release --locked
	cargo bench --locked -p tofustate-e2e --bench scale -- $(COUNT)

# Where there is an engine: docker buildx build -f Containerfile .
IMAGE_FOLDER ?= target/image
image-check: ## build the image's binary as the Containerfile does, and run it in an empty root as another user (needs root)
	mkdir -p $(IMAGE_FOLDER)
	.ci/check-image $$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/') $(abspath $(IMAGE_FOLDER))
	TOFUSTATE_STATIC_BIN=$(abspath $(IMAGE_FOLDER))/out/tofustate \
	  cargo test --locked -p tofustate-e2e --test chart -- image

crds: ## write deploy/crds and the chart's copy anew from src/crd
	cargo run --quiet --locked -- crd > deploy/crds/tofustates.tofustate.io.yaml.new
	mv deploy/crds/tofustates.tofustate.io.yaml.new deploy/crds/tofustates.tofustate.io.yaml
	cp deploy/crds/tofustates.tofustate.io.yaml deploy/chart/files/

manifests: crds ## the same, and deploy/operator anew from the chart
	cargo run --quiet --locked -p tofustate-e2e -- manifests

docs: ## write docs/api.md anew from src/crd
	cargo run --quiet --locked -- crd --markdown > docs/api.md.new
	mv docs/api.md.new docs/api.md

soak: ## the long runs: over 100,000 calls of the model, with faults; 500 kills of a process at work
	MODEL_CALLS=$${MODEL_CALLS:-150000} cargo test --release --locked --test model -- --nocapture
	KILL_ROUNDS=$${KILL_ROUNDS:-500} cargo test --release --locked --test kill -- --nocapture

soak-cluster: tools ## three replicas, three nodes of OpenBao, the API server: 60 kills and freezes at random, as a table (STORM_FAULTS, STORM_SEED)
	cargo build --locked
	STORM_FAULTS=$${STORM_FAULTS:-60} cargo test --locked -p tofustate-e2e --test operator -- --nocapture nothing_is_lost_in_a_storm

mutants: ## switch on each seeded bug: the model has to go red
	tests/mutants.sh

FUZZ_SECONDS ?= 60
# The pinned stable toolchain does without the sanitizers, which are for unsafe code; coverage is all that is needed.
fuzz: ## run each fuzz target for FUZZ_SECONDS (60)
	cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
	set -e; for target in $$(cargo fuzz list); do \
	  mkdir -p fuzz/corpus/$$target fuzz/seeds/$$target; \
	  dict=; if [ -f fuzz/$$target.dict ]; then dict=-dict=fuzz/$$target.dict; fi; \
	  cargo fuzz run -s none $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
	    -max_total_time=$(FUZZ_SECONDS) -timeout=10 $$dict; \
	done

.NOTPARALLEL:
.PHONY: help build fmt lint test unit tools e2e demo standalone build-demo bench bench-http bench-openbao bench-operator crds docs manifests image-check soak soak-cluster mutants fuzz
