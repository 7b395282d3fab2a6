package metric

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

func TestLookupSaysWhatIsNear(t *testing.T) {
	for name, want := range map[string]string{
		"perplexty":         `did you mean "perplexity"?`,
		"matthews_corcoeff": `did you mean "matthews_corrcoef"?`,
		"f2":                `did you mean "f1"?`,
		"rouge":             "there are mean, median",
		"":                  "there are mean, median",
		"bleu":              "the aggregation bleu of lm-eval is not supported",
	} {
		if _, err := Lookup(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", name, err, want)
		}
	}
	for _, a := range aggregations {
		if found, err := Lookup(a.name); err != nil || found.Name() != a.name {
			t.Errorf("%s: got %s, %v", a.name, found.Name(), err)
		}
	}
}

func TestWhatCannotBeAggregated(t *testing.T) {
	for _, c := range []struct {
		name  string
		items []Item
		want  string
	}{
		{"mean", nil, "mean of nothing"},
		{"median", Values([]float64{1, math.NaN()}), "value 1 is NaN"},
		{"perplexity", Values([]float64{-1000}), "exp(1000) overflows"},
		{"weighted_perplexity", []Item{{-1, 0}}, "the weights sum to 0"},
		{"f1", []Item{{0, 1}, {2, 1}}, "more than two classes"},
		{"f1", []Item{{0, 2}}, "the positive class 1"},
		{"f1", []Item{{0, math.Inf(1)}}, "no integer"},
		{"matthews_corrcoef", []Item{{0, math.NaN()}}, "no integer"},
		{"cb_multi_fi", []Item{{0.5, 1}}, "no integer"},
	} {
		a, err := Lookup(c.name)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := a.Value(c.items); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s of %v: got %v, %v, want %s", c.name, c.items, v, err, c.want)
		}
	}
	if v, err := (Aggregation{}).Value(Values([]float64{1})); err == nil {
		t.Errorf("no aggregation: got %v", v)
	}
	f1, _ := Lookup("f1")
	for _, iterations := range []int{1, math.MaxInt} {
		if _, _, err := f1.StdErr(t.Context(), make([]Item, 3), iterations); err == nil {
			t.Errorf("%d iterations: no error", iterations)
		}
	}
	if _, ok, err := f1.StdErr(t.Context(), make([]Item, 3), 0); ok || err != nil {
		t.Errorf("no iterations: got %v, %v, want N/A", ok, err)
	}
}

func binaryItems(n int) []Item {
	rng := rand.New(rand.NewPCG(1, 2))
	items := make([]Item, n)
	for i := range items {
		items[i] = Item{float64(rng.IntN(2)), float64(rng.IntN(2))}
	}
	return items
}

// TestBootstrapDoesNotKnowHowManyProcessors: chunk i is drawn from seed i, whoever draws it.
func TestBootstrapDoesNotKnowHowManyProcessors(t *testing.T) {
	a, _ := Lookup("f1")
	items := binaryItems(50)
	many, _, err := a.StdErr(t.Context(), items, 7000)
	if err != nil {
		t.Fatal(err)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	one, _, err := a.StdErr(t.Context(), items, 7000)
	if err != nil || one != many {
		t.Errorf("got %v on one processor (%v), %v on several", one, err, many)
	}
}

func TestBootstrapEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a, _ := Lookup("f1")
	if _, _, err := a.StdErr(ctx, binaryItems(1000), maxReplicates); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestReplicatesAllocateNothing(t *testing.T) {
	for _, name := range []string{"f1", "matthews_corrcoef", "median", "perplexity", "nanmean"} {
		a, err := Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		of := func(iterations int) float64 {
			return testing.AllocsPerRun(1, func() {
				if _, _, err := a.StdErr(t.Context(), binaryItems(20), iterations); err != nil {
					t.Fatal(err)
				}
			})
		}
		if few, many := of(100), of(1000); many > few+10 { // goroutines come and go
			t.Errorf("%s: %v allocations for 100 replicates, %v for 1000", name, few, many)
		}
	}
}

func TestGroupsThatHaveNoNumber(t *testing.T) {
	for _, c := range []struct {
		values []float64
		sizes  []int
	}{{nil, nil}, {[]float64{1}, nil}, {[]float64{1}, []int{0}}, {[]float64{1}, []int{-1}}} {
		if v, err := GroupMean(c.values, c.sizes, true); err == nil {
			t.Errorf("mean of %v: got %v", c, v)
		}
		if v, err := GroupStdErr(c.values, c.sizes, true); err == nil {
			t.Errorf("standard error of %v: got %v", c, v)
		}
	}
}

func TestExactMatchRefuses(t *testing.T) {
	if _, err := NewExactMatch(ExactMatchOptions{RegexesToIgnore: []string{",", "(?<=x)y"}}); err == nil || !strings.Contains(err.Error(), `"(?<=x)y"`) {
		t.Errorf("got %v, want an error that names the pattern", err)
	}
	m, err := NewExactMatch(ExactMatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2][]string{{nil, nil}, {{"a"}, nil}, {{"a"}, {"a", "b"}}} {
		if v, err := m.Score(c[0], c[1]); err == nil {
			t.Errorf("%v: got %v", c, v)
		}
	}
}

// TestCalibrationByHand: four questions of two choices. Confidences 0.9 (right), 0.8 (wrong), 0.6 (right), 0.5 (right, first of equals).
func TestCalibrationByHand(t *testing.T) {
	questions := []Question{
		{[]float64{0.9, 0.1}, 0, 0}, {[]float64{0.2, 0.8}, 1, 0}, {[]float64{0.4, 0.6}, 1, 1}, {[]float64{0.5, 0.5}, 0, 0},
	}
	got, err := Calibrate(questions, 2)
	if err != nil {
		t.Fatal(err)
	}
	entropy := func(p float64) float64 { return -p*math.Log(p) - (1-p)*math.Log(1-p) }
	want := Calibration{
		Count: 4, Accuracy: 0.75, Confidence: 0.7,
		Error:   1./4*math.Abs(1-0.5) + 3./4*math.Abs(2./3-(0.9+0.8+0.6)/3),
		Brier:   (0.02 + 1.28 + 0.32 + 0.5) / 4,
		Entropy: (entropy(0.9) + entropy(0.8) + entropy(0.6) + entropy(0.5)) / 4,
		Bins:    []Bin{{0, 0.5, 1, 0.5, 1}, {0.5, 1, 3, (0.9 + 0.8 + 0.6) / 3, 2. / 3}},
	}
	for name, pair := range map[string][2]float64{
		"accuracy": {got.Accuracy, want.Accuracy}, "confidence": {got.Confidence, want.Confidence}, "error": {got.Error, want.Error},
		"Brier": {got.Brier, want.Brier}, "entropy": {got.Entropy, want.Entropy}, "bin 0": {got.Bins[0].Accuracy, 1},
		"bin 1": {got.Bins[1].Accuracy, 2. / 3}, "confidence of bin 1": {got.Bins[1].Confidence, want.Bins[1].Confidence},
	} {
		if !near(pair[0], pair[1], exactEnough) {
			t.Errorf("%s: got %v, want %v", name, pair[0], pair[1])
		}
	}
	if got.Bins[0].Count != 1 || got.Bins[1].Count != 3 {
		t.Errorf("got bins %+v", got.Bins)
	}
}

func TestBinsAreOpenBelow(t *testing.T) {
	for bins := 1; bins <= 40; bins++ {
		b := make([]Bin, bins)
		for i := range b {
			b[i] = Bin{Low: float64(i) / float64(bins), High: float64(i+1) / float64(bins)}
		}
		for i := range b {
			if got := binOf(b[i].High, b); got != i {
				t.Errorf("%g of %d bins: got bin %d, want %d", b[i].High, bins, got, i)
			}
			if got := binOf(math.Nextafter(b[i].Low, 2), b); got != i {
				t.Errorf("just above %g of %d bins: got bin %d, want %d", b[i].Low, bins, got, i)
			}
		}
	}
}

func TestCalibrationRefuses(t *testing.T) {
	good := Question{[]float64{0.5, 0.5}, 0, 1}
	for name, c := range map[string]struct {
		questions []Question
		bins      int
	}{
		"no questions": {nil, 10}, "no bins": {[]Question{good}, 0}, "too many bins": {[]Question{good}, math.MaxInt},
		"no choices": {[]Question{{}}, 10}, "no such gold": {[]Question{{[]float64{1}, 0, 1}}, 10}, "no such answer": {[]Question{{[]float64{1}, -1, 0}}, 10},
		"NaN": {[]Question{{[]float64{math.NaN()}, 0, 0}}, 10}, "no probability": {[]Question{{[]float64{1.5}, 0, 0}}, 10},
	} {
		if got, err := Calibrate(c.questions, c.bins); err == nil {
			t.Errorf("%s: got %+v", name, got)
		}
		if got, err := Compare(c.questions, c.questions); err == nil && c.bins == 10 {
			t.Errorf("comparison, %s: got %+v", name, got)
		}
	}
	inf := math.Inf(-1)
	for _, lls := range [][]float64{nil, {inf, inf}, {0, math.NaN()}, {0, math.Inf(1)}} {
		if q, err := NewQuestion(lls, 0); err == nil {
			t.Errorf("%v: got %+v", lls, q)
		}
	}
	if q, err := NewQuestion([]float64{inf, -3}, 1); err != nil || q.Answer != 1 || q.Probabilities[1] != 1 {
		t.Errorf("a choice that is impossible: got %+v, %v", q, err)
	}
	// Softmax makes these equal; the answer is still the larger one.
	if q, err := NewQuestion([]float64{-1e-17, 0}, 1); err != nil || q.Answer != 1 {
		t.Errorf("nearly equal: got %+v, %v", q, err)
	}
}

func TestComparisonByHand(t *testing.T) {
	before := []Question{{[]float64{0.7, 0.3}, 0, 0}, {[]float64{0.7, 0.3}, 0, 1}, {[]float64{0.5, 0.3, 0.2}, 0, 2}, {[]float64{0.6, 0.4}, 0, 0}}
	after := []Question{{[]float64{0.4, 0.6}, 1, 0}, {[]float64{0.2, 0.8}, 1, 1}, {[]float64{0.3, 0.5, 0.2}, 1, 2}, {[]float64{0.6, 0.4}, 0, 0}}
	got, err := Compare(before, after)
	kl := (0.7*math.Log(0.7/0.4) + 0.3*math.Log(0.3/0.6) + 0.7*math.Log(0.7/0.2) + 0.3*math.Log(0.3/0.8) + 0.5*math.Log(0.5/0.3) + 0.3*math.Log(0.3/0.5)) / 4
	if err != nil || !near(got.KL, kl, exactEnough) {
		t.Errorf("got KL %v, %v, want %v", got.KL, err, kl)
	}
	got.KL = 0
	if want := (Comparison{Count: 4, Kept: 1, RightToWrong: 1, WrongToRight: 1, WrongToWrong: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	certain := []Question{{[]float64{1, 0}, 0, 0}}
	if got, err := Compare(before[:1], certain); err != nil || !math.IsInf(got.KL, 1) {
		t.Errorf("an excluded choice: got %v, %v, want +Inf", got.KL, err)
	}
	if got, err := Compare(certain, before[:1]); err != nil || !near(got.KL, math.Log(1/0.7), exactEnough) {
		t.Errorf("a certain choice: got %v, %v", got.KL, err)
	}
	if _, err := Compare(before[:1], after[1:2]); err == nil {
		t.Error("other golds: no error")
	}
}

func TestBaselines(t *testing.T) {
	if got, err := RandomBaseline([]int{4, 4, 5, 2}); err != nil || !near(got, (0.25+0.25+0.2+0.5)/4, exactEnough) {
		t.Errorf("random: got %v, %v", got, err)
	}
	if got, err := MajorityBaseline([]int{1, 0, 1, 1, -7}); err != nil || got != 0.6 {
		t.Errorf("majority: got %v, %v", got, err)
	}
	for _, choices := range [][]int{nil, {0}, {4, -1}} {
		if got, err := RandomBaseline(choices); err == nil {
			t.Errorf("%v: got %v", choices, got)
		}
	}
	if got, err := MajorityBaseline(nil); err == nil {
		t.Errorf("no documents: got %v", got)
	}
}

func TestWinRate(t *testing.T) {
	got, err := WinRate(8, 0, 2, 0.95) // Wilson's interval of 8 of 10, as textbooks print it
	if err != nil || got.Value != 0.8 || math.Abs(got.Low-0.4902) > 1e-4 || math.Abs(got.High-0.9433) > 1e-4 {
		t.Errorf("got %+v, %v", got, err)
	}
	ties, _ := WinRate(6, 4, 0, 0.95)
	if !reflect.DeepEqual(ties, got) {
		t.Errorf("four ties count as two wins: got %+v, want %+v", ties, got)
	}
	for _, c := range []struct {
		wins, ties, losses int
		confidence         float64
	}{{0, 0, 0, 0.95}, {-1, 0, 2, 0.95}, {1, 0, 0, 0}, {1, 0, 0, 1}, {1, 0, 0, math.NaN()}} {
		if got, err := WinRate(c.wins, c.ties, c.losses, c.confidence); err == nil {
			t.Errorf("%+v: got %+v", c, got)
		}
	}
}

// BenchmarkBootstrapF1 is what lm-eval does by default for one task: 100,000 replicates.
func BenchmarkBootstrapF1(b *testing.B) {
	a, err := Lookup("f1")
	if err != nil {
		b.Fatal(err)
	}
	items := binaryItems(1000)
	for b.Loop() {
		if _, _, err := a.StdErr(b.Context(), items, 100_000); err != nil {
			b.Fatal(err)
		}
	}
}
