#!/usr/bin/env bash
# Looks for known vulnerabilities in what this module calls. A finding fails;
# a database that cannot be reached is said aloud and does not.
#
#   govulncheck.sh PACKAGE@VERSION
set -euo pipefail
cd "$(dirname "$0")/.."

# Installed and not run by "go run", which hides the exit code.
GOBIN="$PWD/.tools" "${GO:-go}" install "$1"
status=0
out=$(.tools/govulncheck ./... 2>&1) || status=$?
case $status in
0) echo "govulncheck: no known vulnerabilities" ;;
3)
    echo "$out"
    exit 1
    ;;
*)
    if grep -q 'fetching vulnerabilities' <<<"$out"; then
        echo "govulncheck: SKIPPED, the vulnerability database cannot be reached"
        tail -n 1 <<<"$out"
    else
        echo "$out"
        exit 1
    fi
    ;;
esac
