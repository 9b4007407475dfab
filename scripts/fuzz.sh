#!/usr/bin/env bash
# Runs every fuzz target of the module for a while: go test takes one at a time.
# Little is minimised: where one run takes long, nothing else would be done.
#
#   fuzz.sh TIME
set -euo pipefail
cd "$(dirname "$0")/.."

grep -rn --include='*_test.go' '^func Fuzz' . | while IFS= read -r line; do
    target=$(sed -E 's/.*func (Fuzz[A-Za-z0-9_]*)\(.*/\1/' <<<"$line")
    echo "== $target in $(dirname "${line%%:*}")"
    "${GO:-go}" test -run '^$' -fuzz "^$target\$" -fuzztime "$1" -fuzzminimizetime 1x "$(dirname "${line%%:*}")"
done
