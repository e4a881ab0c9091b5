# make demo        a real cluster on this machine, and the load balancer at work in it
# make demo-down   ends it and leaves nothing behind
# make test        all tests
# make help        the rest

# Everything that is built once and kept: outside the tree, so that a fresh checkout is quick too.
CACHE := $(or $(PURELB_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/purelb)
export PURELB_CACHE := $(CACHE)
export CARGO_TARGET_DIR := $(CACHE)/target
export PATH := $(CACHE)/nextest/bin:$(PATH)

# Property tests: everybody's run begins with the seed in .cargo/config.toml, unless another one is asked for.
ifdef PURELB_SEED
export PROPTEST_RNG_SEED := $(PURELB_SEED)
endif

# Its EXIT traps run after Ctrl-C too.
SHELL := /bin/bash
HOST := $(shell rustc -vV | sed -n 's/^host: //p')
PROGRAMS := allocator lbnodeagent bfd-speaker
# Built apart: what it needs must not end up in the programs.
SIDECAR := ipam-sidecar
TAG := $(shell sed -n 's,^ *newTag: ,,p' manifests/base/kustomization.yaml | head -n 1)
LAB = $(CARGO_TARGET_DIR)/debug/lab

.DELETE_ON_ERROR:
# Cargo tells crates of two checkouts apart by their place inside the checkout only, so what it built of another one
# would pass for ours. What it built of other people's crates is kept.
MEMBERS := $(or $(shell sed -n 's/^members = \[\(.*\)\]$$/\1/p' Cargo.toml | tr -d '",'),$(error no line of members in Cargo.toml))

.PHONY: help checkout prepare test-runner lab binaries images demo demo-down test test-fast bench bench-allocator bench-agent \
  bench-failover soak soak-ownership lint crds clean

help:
	@echo 'make demo        a real cluster on this machine, and the load balancer at work in it'
	@echo 'make demo-down   ends it and leaves nothing behind'
	@echo 'make test        all tests (about 10 minutes once everything is built)'
	@echo 'make test-fast   the tests that need no cluster'
	@echo 'make bench       all benchmarks: make bench-allocator (about 10 minutes), make bench-agent (about 15 minutes;'
	@echo '                 RUNS=5 for 5 single Services, COUNT=1000 for fewer at once, ROWS=latency,bulk,idle for these'
	@echo '                 only), make bench-failover (about 1 hour; RUNS=3 for 3 of each event, ROWS=cut,kill)'
	@echo 'make soak        the property tests from random seeds, until one fails or Ctrl-C; PURELB_SEED=N for one seed'
	@echo 'make soak-ownership   the ownership protocol on simulated networks, about 1 hour; SEEDS=1000 for less'
	@echo 'make images      OCI archives in target/images, from the Containerfile'
	@echo 'make lint        formatting and clippy'
	@echo 'make crds        the custom resource definitions, from the crate api-types'
	@echo 'make clean       removes target and, in $(CACHE), what cargo built'

checkout:
	@mkdir -p $(CARGO_TARGET_DIR)
	@[ "$$(cat $(CARGO_TARGET_DIR)/checkout 2>/dev/null)" = "$(CURDIR)" ] || { \
	  cargo clean --quiet --locked $(MEMBERS:%=--package %) && \
	  cargo clean --quiet --locked --release --target $(HOST) $(MEMBERS:%=--package %) && \
	  echo "$(CURDIR)" > $(CARGO_TARGET_DIR)/checkout; }

prepare: checkout
	@e2e/prepare.sh

# What runs the tests; nothing else needs it.
test-runner: checkout
	@e2e/prepare.sh --test-runner

lab: prepare
	@echo 'building the lab'
	@cargo build --quiet --locked --package e2e --bins

# Static, so that an image is one file. Linked for an explicit target, so that build scripts and
# macros, which run here, are not.
binaries: checkout
	@echo 'building $(PROGRAMS) (release; about 4 minutes the first time)'
	@RUSTFLAGS='-C target-feature=+crt-static' cargo build --quiet --locked --release --target $(HOST) $(PROGRAMS:%=--package %)
	@RUSTFLAGS='-C target-feature=+crt-static' cargo build --quiet --locked --release --target $(HOST) --package ipam --features server
	@mkdir -p target/bin
	@for program in $(PROGRAMS) $(SIDECAR); do \
	  cmp -s $(CARGO_TARGET_DIR)/$(HOST)/release/$$program target/bin/$$program || \
	  cp $(CARGO_TARGET_DIR)/$(HOST)/release/$$program target/bin/$$program; done

images: prepare binaries
	@$(MAKE) --no-print-directory $(PROGRAMS:%=target/images/%.tar) target/images/$(SIDECAR).tar

# A storage of its own: the machine's container storage stays as it is.
target/images/%.tar: target/bin/% Containerfile manifests/base/kustomization.yaml
	@echo 'making the image localhost/purelb/$*:$(TAG)'
	@mkdir -p target/images
	@storage=$$(mktemp -d) && trap 'rm -rf "$$storage"' EXIT && \
	buildah="buildah --root $$storage/root --runroot $$storage/run --storage-driver vfs" && \
	$$buildah build --quiet --file Containerfile --target $* --tag localhost/purelb/$*:$(TAG) . >/dev/null && \
	rm -f $@ && $$buildah push --quiet localhost/purelb/$*:$(TAG) oci-archive:$@:localhost/purelb/$*:$(TAG)

demo: lab images
	@$(CARGO_TARGET_DIR)/debug/demo

# Works with what is built, also when nothing else does.
demo-down:
	@[ -x $(LAB) ] || cargo build --quiet --locked --package e2e --bins
	@$(LAB) down --name demo

# The tests on a real cluster share as many clusters as the runner runs such tests at a time. Each is made by its first
# test, and removed here, whatever happens.
CLUSTER_COUNT := $(or $(shell sed -n 's/^cluster = { max-threads = \([0-9]*\) }$$/\1/p' .config/nextest.toml),$(error no \
  line with the max-threads of the group cluster in .config/nextest.toml))
TEST_CLUSTERS := $(shell seq --format 'test%g' 0 $$(($(CLUSTER_COUNT) - 1)))
DOWN_TEST_CLUSTERS = for name in $(TEST_CLUSTERS); do $(LAB) down --name $$name; done

test: test-runner lab images
	@echo 'building the tests'
	@cargo nextest run --locked --workspace --no-run --cargo-quiet
	@cargo test --quiet --locked --workspace --doc
	@$(DOWN_TEST_CLUSTERS)
	@trap '$(DOWN_TEST_CLUSTERS)' EXIT && cargo nextest run --locked --workspace --cargo-quiet --show-progress none --status-level pass

test-fast: test-runner
	@cargo nextest run --locked --workspace -E 'not (binary_id(e2e::cluster) | binary_id(e2e::allocator))'

bench: bench-allocator bench-agent bench-failover

# Each on its own cluster, where nothing else works; linked as the programs are, so that they share what cargo has built.
# RUNS, ROWS, COUNT and ROUNDS, from the command line or the environment, are read by the program.
bench-allocator: lab binaries
bench-agent: lab images
bench-allocator bench-agent: bench-%:
	@echo 'building the benchmark'
	@RUSTFLAGS='-C target-feature=+crt-static' cargo build --quiet --locked --release --target $(HOST) --package e2e --bin bench_$*
	@$(LAB) down --name bench$*
	@trap '$(LAB) down --name bench$*' EXIT && $(LAB) up --name bench$* --nodes 1 && \
	$(CARGO_TARGET_DIR)/$(HOST)/release/bench_$*

# RUNS and ROWS as well.
bench-failover: lab images
	@$(LAB) down --name benchfailover
	@trap '$(LAB) down --name benchfailover' EXIT && $(LAB) up --name benchfailover --nodes 3 && \
	$(CARGO_TARGET_DIR)/debug/bench_failover

# Each round prints its seed, with which PURELB_SEED repeats it.
soak: test-runner
	@while seed=$${PURELB_SEED:-$$(od -An -N7 -tu8 /dev/urandom | tr -d ' ')}; do \
	  echo "PURELB_SEED=$$seed" && \
	  PROPTEST_RNG_SEED=$$seed PROPTEST_CASES=$${PROPTEST_CASES:-2000} cargo nextest run --locked --workspace \
	  --exclude e2e --lib --cargo-quiet --show-progress none --status-level fail || exit; \
	  [ -z "$$PURELB_SEED" ] || exit 0; done

SEEDS := 100000

# Random schedules with few nodes, with fifty, and with a thousand; then each event of the table on simulated networks.
soak-ownership: checkout
	@OWNERSHIP_SEEDS=$(SEEDS) OWNERSHIP_LARGE=$$(($(SEEDS) / 100)) \
	cargo test --quiet --locked --package ownership --test schedules -- --include-ignored --nocapture
	@OWNERSHIP_SEEDS=$$(($(SEEDS) / 50)) cargo test --quiet --locked --package ownership --test simulation -- --nocapture

lint: prepare
	@cargo fmt --all --check
	@cargo clippy --quiet --locked --workspace --all-targets -- -D warnings

crds: checkout
	@cargo run --quiet --locked --package crds -- manifests/base/crds

clean:
	@rm -rf target $(CARGO_TARGET_DIR)
