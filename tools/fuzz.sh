#!/usr/bin/env bash
# Run every fuzz target for $1 seconds: the Python parsers under atheris, the Rust ones under cargo-fuzz.
# Whatever an input names, no packet leaves: each target runs in a network that has only `lo`.
# A crash ends the run with the input that caused it beside the corpus.
set -euo pipefail

seconds=${1:?how many seconds for each target}
corpus=build/fuzz

for target in tests/fuzz/fuzz_*.py; do
    [ -e "$target" ] || continue
    name=$(basename "$target" .py)
    mkdir -p "$corpus/$name"
    printf 'fuzz: %s for %s s\n' "$name" "$seconds"
    PYTHONPATH=. python tests/nowhere.py python "$target" "$corpus/$name" -max_total_time="$seconds" -timeout=10 \
        -artifact_prefix="$corpus/$name-" -print_final_stats=0 -verbosity=0
done

[ -d rust/fuzz ] || exit 0
if ! command -v cargo-fuzz >/dev/null; then
    cargo install --quiet --locked cargo-fuzz
fi
# The sanitizer flags are unstable; RUSTC_BOOTSTRAP lets the stable compiler take them, for fuzzing only.
export RUSTC_BOOTSTRAP=1
for target in $(cargo fuzz list --fuzz-dir rust/fuzz); do
    printf 'fuzz: %s for %s s\n' "$target" "$seconds"
    cargo fuzz build --fuzz-dir rust/fuzz --sanitizer none "$target"  # outside: it may fetch crates
    python tests/nowhere.py cargo fuzz run --fuzz-dir rust/fuzz --sanitizer none "$target" -- -max_total_time="$seconds" -timeout=10
done
