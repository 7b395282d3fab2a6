#!/usr/bin/env bash
# Runs every fuzz target of the project for the given time (default 10s).
#
# Up to Go 1.26 a target can end with "context deadline exceeded" although nothing failed: the coordinator's own deadline
# arrives before it reaches the workers (go.dev/issue/75804). A target whose whole complaint is that line has had its time and
# passes; a failure with an input, a panic or any other message does not look like that.
set -euo pipefail
time=${1:-10s}
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT

only_the_deadline() { # the lines from the first "--- FAIL" on, without times
	local complaint
	complaint=$(sed -n '/^--- FAIL/,$p' "$log" | sed -E 's/[[:space:]]*\(?[0-9.]+s\)?$//; s/\t.*//')
	[ "$complaint" = "--- FAIL: $1
    context deadline exceeded
FAIL
exit status 1
FAIL" ]
}

grep -rlE '^func Fuzz' --include='*_test.go' cmd internal | xargs -n1 dirname | sort -u | while read -r dir; do
	grep -hoE '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | awk '{print $2}' | while read -r target; do
		echo "== $dir $target"
		go test "./$dir" -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 20x 2>&1 | tee "$log" ||
			only_the_deadline "$target" || exit 1
	done
done
