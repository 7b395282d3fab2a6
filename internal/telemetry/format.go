package telemetry

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// headlines are the metrics that a line of a console shows when a step has them.
var headlines = []Name{Loss, EvalLoss, Accuracy, MarginMean, ScoreMean, ScoreHeldout, KL, PolicyLoss, ValueLoss}

// recordLine is one step on one line: "iteration  12/200  score_mean 0.8312   kl 0.0213 ...  812 tokens/s  3.2s". Numbers
// have one width, so that the lines of a run stand in columns.
func recordLine(rec Record, left time.Duration, haveLeft bool) string {
	var b strings.Builder
	b.WriteString(stepOf(rec.Unit, rec.Index, rec.Total))
	for _, name := range headlines {
		if v, found := rec.Metrics.Lookup(name); found {
			fmt.Fprintf(&b, "  %s %-9s", name, short(v))
		}
	}
	if rate := rec.Timing.TokensPerSecond(); rate > 0 {
		fmt.Fprintf(&b, "  %s tokens/s", count(rate))
	}
	fmt.Fprintf(&b, "  %s", duration(time.Duration(rec.Timing.Seconds*float64(time.Second))))
	if haveLeft {
		fmt.Fprintf(&b, "  %s left", duration(left))
	}
	return b.String()
}

// stepOf is "iteration  12/200", or "step 12" when the total is not known.
func stepOf(unit Unit, index, total int) string {
	if total <= 0 {
		return fmt.Sprintf("%s %d", unit, index)
	}
	digits := len(strconv.Itoa(total))
	return fmt.Sprintf("%s %*d/%d", unit, digits, index, total)
}

// short is a number in at most nine characters: four significant digits, counts in full.
func short(v Value) string {
	if v.IsInt() {
		return strconv.FormatInt(v.integer, 10)
	}
	x := v.Scalar()
	if a := math.Abs(x); a >= 1e-3 && a < 1e4 {
		decimals := 3 - int(math.Floor(math.Log10(a)))
		return strconv.FormatFloat(x, 'f', max(decimals, 0), 64)
	}
	return strconv.FormatFloat(x, 'g', 4, 64)
}

// count is a rate in three or more digits: 8.12, 81.2, 812, 8123.
func count(x float64) string {
	switch {
	case x < 10:
		return strconv.FormatFloat(x, 'f', 2, 64)
	case x < 100:
		return strconv.FormatFloat(x, 'f', 1, 64)
	}
	return strconv.FormatFloat(x, 'f', 0, 64)
}

// duration is a time in its two largest units: 3.2s, 45s, 10m20s, 2h05m, 3d04h.
func duration(d time.Duration) string {
	seconds := d.Seconds()
	switch {
	case seconds < 9.95:
		return fmt.Sprintf("%.1fs", seconds)
	case seconds < 59.5:
		return fmt.Sprintf("%.0fs", seconds)
	}
	s := int64(math.Round(seconds))
	switch {
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 24*3600:
		return fmt.Sprintf("%dh%02dm", s/3600, s%3600/60)
	}
	return fmt.Sprintf("%dd%02dh", s/(24*3600), s%(24*3600)/3600)
}
