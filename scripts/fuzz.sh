#!/usr/bin/env bash
# Runs every fuzz target of the module for a while: scripts/fuzz.sh [TIME], as 10s or 5m. An input that breaks one is kept
# under its package's testdata/fuzz and is from then on a test case.
set -euo pipefail
cd "$(dirname "$0")/.."

duration=${1:-10s}
for package in $(go list ./...); do
	for target in $(go test -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
		echo "== $package $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$duration" "$package"
	done
done
