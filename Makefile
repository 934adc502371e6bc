# Two commands: `make demo` and `make test`. Both run as root, say what they install, and can be run twice.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.PHONY: help deps build demo demo-clean test check bench fuzz deep clean

CARGO ?= cargo

help:
	@echo "make demo          two compute nodes, tenants, real tunnels: shows it step by step and cleans up"
	@echo "make demo KEEP=1   the same, leaves it standing; make demo-clean removes it"
	@echo "make test          every test: unit, property, graph, end to end in network namespaces"
	@echo "make check         format, lints, crate directions, licences and advisories"
	@echo "make fuzz SECS=60  each fuzz target under libFuzzer for so long (ONLY=target for one; SANITIZER=address on nightly)"
	@echo "make deep          Miri, and all interleavings of what threads share"
	@echo "make bench         measurements; rows in target/bench/summary.json"

deps:
	@tools/deps.sh $(or $(FOR),build)

build: deps
	@$(CARGO) build --release --locked --workspace --bins

demo: FOR = demo
demo: build
	@KEEP=$(KEEP) target/release/demo run

demo-clean:
	@target/release/demo clean

test: FOR = test
test: deps
	@$(CARGO) run --locked -q -p xtask -- test

check:
	@tools/deps.sh check
	@$(CARGO) run --locked -q -p xtask -- check

bench: FOR = bench
bench: deps
	@$(CARGO) run --locked -q -p xtask -- bench

SECS ?= 60
fuzz: FOR = fuzz
fuzz: deps
	@$(CARGO) run --locked -q -p xtask -- fuzz $(SECS) $(ONLY)

deep: FOR = deep
deep: deps
	@$(CARGO) run --locked -q -p xtask -- deep

clean:
	$(CARGO) clean
