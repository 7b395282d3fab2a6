package metric

import (
	"encoding/json"
	"math"
	"os"
	"strconv"
	"testing"
)

// exactEnough is for numbers that are computed in another order than lm-eval's, or with another exp, log or pow: each rounds by about
// 1e-16, and no sum here is longer than some hundred terms.
const exactEnough = 1e-12

// bootstrapped is for the deviation of thousands of replicates, each of which may round otherwise. Another draw anywhere in the stream
// would show at about 1e-4.
const bootstrapped = 1e-9

// number is one of Python's: "nan" and "inf" are texts in the golden, and null is an error of lm-eval's.
type number struct {
	value float64
	fails bool
	none  bool // "N/A"
}

func (n *number) UnmarshalJSON(text []byte) (err error) {
	switch s := string(text); s {
	case "null":
		n.fails = true
	case `"N/A"`:
		n.none = true
	default:
		if s[0] == '"' {
			s = s[1 : len(s)-1]
		}
		n.value, err = strconv.ParseFloat(s, 64)
	}
	return err
}

type golden struct {
	Aggregations []struct {
		Name          string
		Items         [][]number
		Iterations    int
		Value, StdErr *number
	}
	Groups []struct {
		Values, StdErrs                        []float64
		Sizes                                  []int
		Weighted, Unweighted, Pooled, Unpooled *number
	}
	Matches []struct {
		Options struct {
			Regexes     []string `json:"regexes_to_ignore"`
			Case        bool     `json:"ignore_case"`
			Punctuation bool     `json:"ignore_punctuation"`
			Numbers     bool     `json:"ignore_numbers"`
		}
		Predictions, References []string
		Score                   float64
	}
	Brier []struct {
		LogLikelihoods [][]float64 `json:"log_likelihoods"`
		Golds          []int
		Probabilities  [][]float64
		Brier          float64
	}
	Wilson []struct {
		Wins, Losses          int
		Confidence, Low, High float64
	}
}

func readGolden(t testing.TB) (g golden) {
	t.Helper()
	text, err := os.ReadFile("testdata/golden.json")
	if err == nil {
		err = json.Unmarshal(text, &g)
	}
	if err != nil {
		t.Fatalf("%v; rewrite it with scripts/golden/eval_metrics.py", err)
	}
	return g
}

func near(a, b, tolerance float64) bool {
	return a == b || math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) <= tolerance*math.Max(math.Abs(a), math.Abs(b))
}

// checkNumber compares a result with lm-eval's; nil stands for JSON's null, an error there.
func checkNumber(t *testing.T, what string, got float64, err error, want *number, tolerance float64) {
	t.Helper()
	switch {
	case want == nil && err == nil:
		t.Errorf("%s: got %v, lm-eval fails", what, got)
	case want != nil && err != nil:
		t.Errorf("%s: %v; lm-eval says %v", what, err, want.value)
	case want != nil && !near(got, want.value, tolerance):
		t.Errorf("%s: got %v, want %v", what, got, want.value)
	}
}

func TestAggregationsAreThoseOfLMEval(t *testing.T) {
	for _, c := range readGolden(t).Aggregations {
		items := make([]Item, len(c.Items))
		for i, item := range c.Items {
			items[i].X = item[0].value
			if len(item) > 1 {
				items[i].Y = item[1].value
			}
		}
		a, err := Lookup(c.Name)
		if err != nil {
			t.Fatal(err)
		}
		value, err := a.Value(items)
		checkNumber(t, c.Name, value, err, c.Value, exactEnough)
		stderr, ok, err := a.StdErr(t.Context(), items, c.Iterations)
		if c.StdErr != nil && c.StdErr.none {
			if ok || err != nil {
				t.Errorf("%s of %d: got the standard error %v, %v, want N/A", c.Name, len(items), stderr, err)
			}
			continue
		}
		checkNumber(t, c.Name+" stderr", stderr, err, c.StdErr, bootstrapped)
		if !ok && err == nil {
			t.Errorf("%s of %d: got no standard error", c.Name, len(items))
		}
	}
}

func TestGroupsAreThoseOfLMEval(t *testing.T) {
	for _, c := range readGolden(t).Groups {
		v, err := GroupMean(c.Values, c.Sizes, true)
		checkNumber(t, "weighted", v, err, c.Weighted, exactEnough)
		v, err = GroupMean(c.Values, c.Sizes, false)
		checkNumber(t, "unweighted", v, err, c.Unweighted, exactEnough)
		v, err = GroupStdErr(c.StdErrs, c.Sizes, true)
		checkNumber(t, "pooled", v, err, c.Pooled, exactEnough)
		v, err = GroupStdErr(c.StdErrs, c.Sizes, false)
		checkNumber(t, "not pooled", v, err, c.Unpooled, exactEnough)
	}
}

func TestExactMatchIsThatOfLMEval(t *testing.T) {
	for _, c := range readGolden(t).Matches {
		m, err := NewExactMatch(ExactMatchOptions{c.Options.Regexes, c.Options.Case, c.Options.Punctuation, c.Options.Numbers})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := m.Score(c.Predictions, c.References); err != nil || got != c.Score {
			t.Errorf("%+v of %q and %q: got %v, %v, want %v", c.Options, c.Predictions, c.References, got, err, c.Score)
		}
	}
}

func TestBrierScoreIsThatOfLMEval(t *testing.T) {
	for _, c := range readGolden(t).Brier {
		var questions []Question
		for i, lls := range c.LogLikelihoods {
			q, err := NewQuestion(lls, c.Golds[i])
			if err != nil {
				t.Fatal(err)
			}
			for j, p := range q.Probabilities {
				if !near(p, c.Probabilities[i][j], exactEnough) {
					t.Errorf("softmax of %v: got %v, want %v", lls, q.Probabilities, c.Probabilities[i])
				}
			}
			questions = append(questions, q)
		}
		if got, err := Calibrate(questions, 10); err != nil || !near(got.Brier, c.Brier, exactEnough) {
			t.Errorf("got %v, %v, want %v", got.Brier, err, c.Brier)
		}
	}
}

func TestWinRateIsSciPysWilsonInterval(t *testing.T) {
	for _, c := range readGolden(t).Wilson {
		got, err := WinRate(c.Wins, 0, c.Losses, c.Confidence)
		// Next to 0 the lower bound is a difference of numbers near 1.
		if err != nil || math.Abs(got.Low-c.Low) > exactEnough || math.Abs(got.High-c.High) > exactEnough {
			t.Errorf("%+v: got %+v, %v", c, got, err)
		}
	}
}
