#!/usr/bin/env bash
# Switches on each seeded bug in turn: the model-based test has to go red for every one of them, and green without.
# Usage: tests/mutants.sh [NAME ...]
set -euo pipefail
cd "$(dirname "$0")/.."
export MODEL_CALLS="${MODEL_CALLS:-60000}" RUST_BACKTRACE=0
run() { TOFUSTATE_MUTANT="$1" cargo test --quiet --locked --features mutants --test model -- --nocapture; }

mapfile -t known < <(sed -n '/^pub const ALL/,/^];/s/^ *"\(.*\)",$/\1/p' src/store/mutant.rs)
[ ${#known[@]} -gt 0 ] || { echo "no mutants found in src/store/mutant.rs" >&2; exit 1; }
names=("$@")
[ $# -gt 0 ] || names=("${known[@]}")
log=$(mktemp)
trap 'rm -f "$log"' EXIT

cargo test --quiet --locked --features mutants --test model --no-run
run none >"$log" 2>&1 || { cat "$log"; echo "red without any seeded bug" >&2; exit 1; }
survivors=()
for name in "${names[@]}"; do
  if run "$name" >"$log" 2>&1; then
    survivors+=("$name")
    echo "SURVIVED $name"
  else
    # The first thing that the test saw.
    printf 'caught   %-28s %s\n' "$name" "$(grep -m1 -A1 '^seed' "$log" | tail -n 1 | cut -c1-110)"
  fi
done
echo "${#names[@]} seeded bugs, ${#survivors[@]} survived"
[ ${#survivors[@]} -eq 0 ]
