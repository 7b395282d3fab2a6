#!/usr/bin/awk -f
# Turns the output of `go test -bench` into a table: the median run of each benchmark, its rate, and what share that is of the
# roof, which is what the multiply-add units or the memory of this machine can do (BenchmarkRoof).

/^FAIL|^panic|^--- FAIL/ { print; failed = 1 }
!/^Benchmark/ { next }
{
	name = $1
	sub(/^Benchmark/, "", name)
	sub(/-[0-9]+$/, "", name)
	gsub(/_/, " ", name)
	time = rate = share = rest = ""
	for (i = 3; i < NF; i += 2) {
		value = $i
		unit = $(i + 1)
		if (unit == "ms") time = sprintf("%.4g ms", value)
		else if (unit == "%roof") share = sprintf("%.0f %%", value)
		else if (unit ~ /^(GFLOP\/s|GB\/s|MB\/s|tok\/s)$/) rate = sprintf("%.4g %s", value, unit)
		else if (unit == "ns/op") { if (time == "" && value > 0) time = sprintf("%.4g ms", value / 1e6) }
		else rest = rest (rest == "" ? "" : ", ") sprintf("%.4g %s", value, unit)
	}
	if (!shown++) printf "%-48s %12s %16s %7s  %s\n", "benchmark", "median run", "rate", "of roof", "besides"
	printf "%-48s %12s %16s %7s  %s\n", name, time, rate, share, rest
	fflush()
}
END { exit failed || !shown }
