# One verb per habit; CI calls the same ones. `make help` lists them.
# Each verb sets up what it needs: the virtual environment in .venv, the engine in release mode, and
# (for the verbs that check things) the development dependencies. Stamps in .venv keep it from being redone.

.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
ENGINE_SOURCES := $(wildcard Cargo.toml Cargo.lock rust-toolchain.toml .cargo/config.toml) \
	$(shell find rust -path '*/target' -prune -o \( -name '*.rs' -o -name '*.toml' \) -print 2>/dev/null)

# The bench's load generator stands outside the workspace, so that it never weighs on the product's build.
LOADGEN := --manifest-path bench/loadgen/Cargo.toml

# What each verb may be given: make test ARGS="-k socks", make fuzz SECONDS_EACH=60, make run ARGS="-c my.yaml"
ARGS ?=
SECONDS_EACH ?= 20

export PYO3_PYTHON := $(CURDIR)/$(PY)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help build dev demo test run peers peers-bench lint format tree picture bench fuzz clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

build: $(VENV)/.engine ## build the engine in release mode and install the byway command into .venv

dev: $(VENV)/.engine $(VENV)/.dev ## the same, and what the checks need

demo: $(VENV)/.engine ## an internet in a box, a wall in it, and the story of getting past; exit status is the verdict
	@tools/peers.sh demo || echo "demo: some programs of the demo are missing; what needs them will be skipped" >&2
	$(BIN)/byway demo $(ARGS)

run: $(VENV)/.engine ## run the daily default: a mixed proxy on 127.0.0.1:1080, everything direct
	exec $(BIN)/byway run $(ARGS)

test: dev ## all tests, Rust and Python
	cargo test --workspace --quiet
	cargo test --quiet --target-dir target $(LOADGEN)
	$(PY) -m pytest $(ARGS)

peers: ## install the real programs that the interop tests talk with (Debian; starts no service)
	tools/peers.sh

lint: dev ## formatting, lints, types, import layers, stubs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/stubtest byway._engine
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	cargo fmt $(LOADGEN) --check
	cargo clippy --all-targets --quiet --target-dir target $(LOADGEN) -- -D warnings

format: dev ## rewrite the sources into the form that lint asks for
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	cargo fmt --all
	cargo fmt $(LOADGEN)

tree: $(VENV)/.made ## write the tree of the sources into the READMEs, from their docstrings
	$(PY) tools/tree.py

picture: $(VENV)/.engine ## record byway why and byway flows in the lab, for docs/terminal.svg
	$(PY) tools/picture.py

peers-bench: ## compile what the bench measures beside us and no Debian package has, into .peers
	@if command -v cargo >/dev/null; then \
		test -x .peers/bin/ssserver || cargo install shadowsocks-rust --locked --quiet --root .peers; \
	else echo "peers-bench: cargo is missing; the bench goes without shadowsocks-rust" >&2; fi

bench: dev peers-bench ## speed and memory side by side with other programs, in one run
	$(PY) bench/run.py $(ARGS)

fuzz: dev $(VENV)/.fuzz ## every fuzz target, Python and Rust, for SECONDS_EACH seconds
	tools/fuzz.sh $(SECONDS_EACH)

clean: ## remove what the verbs made: .venv, target and caches
	rm -rf $(VENV) .peers target rust/fuzz/target .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -f src/byway/_engine*.so
	find src tests bench tools -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.made:
	@tools/venv.sh $(VENV)
	@touch $@

$(VENV)/.engine: $(VENV)/.made pyproject.toml $(ENGINE_SOURCES)
	@command -v cargo >/dev/null || { echo "make: the engine is Rust and cargo is missing: install a Rust toolchain (rustup) first" >&2; exit 1; }
	$(PY) -m pip install --quiet 'maturin>=1.9,<2'
	$(BIN)/maturin develop --release
	@touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml
	$(PY) tools/extra.py dev | $(PY) -m pip install --quiet --requirement /dev/stdin
	@touch $@

$(VENV)/.fuzz: $(VENV)/.made
	$(PY) -m pip install --quiet 'atheris>=2.3'
	@touch $@
