# Every command of the project. `make help` lists them.
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

build: ## the binary, optimised
	cargo build --release --locked

fmt: ## format the code
	cargo fmt --all

lint: ## formatting and clippy, as CI has them
	cargo fmt --all --check
	cargo clippy --all-targets --locked -- -D warnings

test: lint ## everything CI runs
	cargo test --locked

crds: ## write deploy/crds anew from src/crd
	cargo run --quiet --locked -- crd > deploy/crds/tofustates.tofustate.io.yaml.new
	mv deploy/crds/tofustates.tofustate.io.yaml.new deploy/crds/tofustates.tofustate.io.yaml

.PHONY: help build fmt lint test crds
