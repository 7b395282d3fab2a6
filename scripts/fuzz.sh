#!/usr/bin/env bash
# Runs every fuzz target of the project for the given time (default 10s). Each package is compiled once; no target needs its C.
#
# Up to Go 1.26 a target can end with "context deadline exceeded" although nothing failed: the coordinator's own deadline
# arrives before it reaches the workers (go.dev/issue/75804). A target whose whole complaint is that line has had its time and
# passes; a failure with an input, a panic or any other message does not look like that.
set -euo pipefail
time=${1:-10s}
cd "$(dirname "$0")/.."
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
export CGO_ENABLED=0
corpora=$(go env GOCACHE)/fuzz # where go test -fuzz keeps what it has found

only_the_deadline() { # the lines from the first "--- FAIL" on, without times
	local complaint
	complaint=$(sed -n '/^--- FAIL/,$p' "$build/log" | sed -E 's/[[:space:]]*\(?[0-9.]+s\)?$//')
	[ "$complaint" = "--- FAIL: $1
    context deadline exceeded
FAIL" ]
}

dirs=$(grep -rlE '^func Fuzz' --include='*_test.go' cmd internal | xargs -n1 dirname | sort -u)
for dir in $dirs; do
	package=$(go list "./$dir")
	go test -c -o "$build/test" -fuzz . "./$dir"
	targets=$(cd "$dir" && "$build/test" -test.list '^Fuzz')
	for target in $targets; do
		echo "== $dir $target"
		(cd "$dir" && "$build/test" -test.run '^$' -test.fuzz "^$target\$" -test.fuzztime "$time" -test.fuzzminimizetime 20x \
			-test.fuzzcachedir "$corpora/$package") 2>&1 | tee "$build/log" || only_the_deadline "$target" || exit 1
	done
done
