#!/usr/bin/env bash
# Runs the TUF project's client conformance suite against bin/conformance-client
# in every mode, and once with the breaker forced open. There are no expected
# failures. The suite's directory is only read.
#
#   conformance.sh SUITE
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ ! -f $1/pyproject.toml ]]; then
    echo "conformance: no suite in $1; clone https://github.com/theupdateframework/tuf-conformance and set CONFORMANCE_SUITE" >&2
    exit 1
fi
suite=$(cd "$1" && pwd)
if ! command -v faketime >/dev/null; then
    echo "conformance: the suite needs faketime: apt-get install faketime" >&2
    exit 1
fi

# The suite's own environment, with the versions that it pins.
venv=$PWD/.venv-conformance
if ! cmp -s "$suite/pyproject.toml" "$venv/made-from"; then
    "${PYTHON:-python3}" -m venv --clear "$venv"
    "$venv/bin/python" - "$suite/pyproject.toml" >"$venv/requirements.txt" <<'PY'
import sys

try:
    import tomllib
except ImportError:  # Python 3.10
    from pip._vendor import tomli as tomllib

with open(sys.argv[1], "rb") as f:
    print(*tomllib.load(f)["project"]["dependencies"], sep="\n")
PY
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$venv/requirements.txt"
    cp "$suite/pyproject.toml" "$venv/made-from"
fi

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# one NAME MODE BREAKER runs the suite once and prints one line, or all of its
# output if anything fails or is skipped.
one() {
    local status=0
    mkdir "$tmp/$1"
    TMPDIR=$tmp/$1 RAGNOS_TUF_CLIENT=$2 CONFORMANCE_BREAKER=$3 RAGNOS_PYTHON_BIN=$PWD/.venv/bin/python \
        PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$suite \
        "$venv/bin/python" -m pytest -q -p no:cacheprovider --rootdir "$suite" "$suite/tuf_conformance" \
        --entrypoint "$PWD/bin/conformance-client" >"$tmp/$1.log" 2>&1 || status=$?
    local last
    last=$(grep -E '^=* ?[0-9]+ (passed|failed|error)' "$tmp/$1.log" | tail -n 1 | tr -d '=' | xargs || true)
    if [[ $status != 0 || ! $last =~ ^[0-9]+\ passed\ in ]]; then
        cat "$tmp/$1.log"
        echo "conformance $1: FAILED ${last:-"exit code $status"}"
        return 1
    fi
    echo "conformance $1: $last"
}

# Two at a time, the longest first.
failed=0
running=0
while read -r name mode breaker; do
    if ((running == 2)); then
        wait -n || failed=1
        running=$((running - 1))
    fi
    one "$name" "$mode" "$breaker" &
    running=$((running + 1))
done <<'RUNS'
python python closed
dual dual closed
breaker-open auto open
auto auto closed
go go closed
RUNS
while ((running > 0)); do
    wait -n || failed=1
    running=$((running - 1))
done
exit $failed
