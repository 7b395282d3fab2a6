package telemetry

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The names that readers of a run rely on, in the order of the design.
func TestNames(t *testing.T) {
	const want = `lr_policy, lr_value, lr, loss, score_mean, score_std, score_heldout, score_heldout_stderr, clipped_scores, reward_mean, kl, kl_coef, entropy, policy_loss,
		value_loss, grad_norm, policy_grad_norm, value_grad_norm, approx_kl, ratio_max_error, policy_clip_fraction, value_clip_fraction,
		explained_variance, advantage_mean, return_mean, response_length_mean, eod_rate, prompts_seen, tokens_seen, skipped_steps, dropped_policy_steps,
		sampler_logprob_max_error, eval_loss, accuracy, accuracy_stderr, margin_mean, margin_stderr`
	var got []string
	for _, d := range Definitions() {
		if d.Meaning == "" {
			t.Errorf("%s has no meaning", d.Name)
		}
		got = append(got, string(d.Name))
	}
	if g, w := strings.Join(got, " "), strings.Join(strings.Fields(strings.ReplaceAll(want, ",", "")), " "); g != w {
		t.Errorf("names are\n%s\nwant\n%s", g, w)
	}
	if Iteration != "iteration" || Step != "step" {
		t.Errorf("units are %q and %q", Iteration, Step)
	}
}

// sample is a record with every kind of value, set out of order.
func sample() Metrics {
	var m Metrics
	m.SetFloat("zeal", 2)
	m.SetInt(PromptsSeen, 1024)
	m.SetList(ValueLoss, []float64{0.25, math.NaN(), math.Inf(-1)})
	m.SetFloat(LRPolicy, 1.85e-7)
	m.SetFloat("a_first", 0.1)
	m.SetFloat(ScoreMean, 1)
	m.SetFloat(ScoreMean, -3)
	m.SetFloat(KL, math.Inf(1))
	m.SetList(LRValue, nil)
	m.SetFloat(Entropy, 1e21)
	return m
}

const sampleFields = `"lr_policy":1.85e-07,"lr_value":[],"score_mean":-3.0,"kl":null,"entropy":1e+21,` +
	`"value_loss":[0.25,null,null],"prompts_seen":1024,"a_first":0.1,"zeal":2.0,` +
	`"non_finite":{"kl":"+Inf","value_loss[1]":"NaN","value_loss[2]":"-Inf"}}`

func TestMetricsJSON(t *testing.T) {
	got, err := json.Marshal(sample())
	if err != nil || string(got) != "{"+sampleFields {
		t.Errorf("%s, error %v, want\n%s", got, err, "{"+sampleFields)
	}
	var back Metrics
	if err := json.Unmarshal(got, &back); err != nil {
		t.Fatal(err)
	}
	sameMetrics(t, back, sample())
	if empty, err := json.Marshal(Metrics{}); err != nil || string(empty) != "{}" {
		t.Errorf("no metrics are %s, error %v", empty, err)
	}
}

// Other writers say null and no more.
func TestNullIsNaN(t *testing.T) {
	r, err := DecodeRecord([]byte(`{"step":1,"loss":null,"value_loss":[null]}`))
	if err != nil {
		t.Fatal(err)
	}
	var want Metrics
	want.SetFloat(Loss, math.NaN())
	want.SetList(ValueLoss, []float64{math.NaN()})
	sameMetrics(t, r.Metrics, want)
}

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func sameMetrics(t fataler, got, want Metrics) {
	t.Helper()
	if got.Len() != want.Len() {
		t.Fatalf("%d values, want %d", got.Len(), want.Len())
	}
	for name, w := range want.All() {
		g, found := got.Lookup(name)
		same := found && g.kind == w.kind && g.integer == w.integer && sameBits(g.float, w.float) && len(g.list) == len(w.list)
		for i := range w.list {
			same = same && sameBits(g.list[i], w.list[i])
		}
		if !same {
			t.Fatalf("%s = %+v, want %+v", name, g, w)
		}
	}
}

// sameBits holds NaN for equal: JSON keeps no payloads.
func sameBits(a, b float64) bool {
	return math.Float64bits(a) == math.Float64bits(b) || math.IsNaN(a) && math.IsNaN(b)
}

// Every float comes back with its bits, every count and list as what it was.
func TestMetricsRoundTrip(t *testing.T) {
	anyFloat := rapid.OneOf(rapid.Float64(), rapid.Custom(func(t *rapid.T) float64 {
		return math.Float64frombits(rapid.Uint64().Draw(t, "bits"))
	}), rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 1e-7, 1e-6, 1e20, 1e21, 5e-324, math.MaxFloat64, math.NaN(), math.Inf(1), math.Inf(-1)}))
	rapid.Check(t, func(t *rapid.T) {
		var m Metrics
		for range rapid.IntRange(0, 8).Draw(t, "count") {
			name := Name(rapid.StringN(1, 8, 20).Draw(t, "name"))
			if reserved(name) {
				continue
			}
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 0:
				m.SetInt(name, rapid.Int64().Draw(t, "int"))
			case 1:
				m.SetFloat(name, anyFloat.Draw(t, "float"))
			case 2:
				m.SetList(name, rapid.SliceOf(anyFloat).Draw(t, "list"))
			}
		}
		line, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		var back Metrics
		if err := json.Unmarshal(line, &back); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		sameMetrics(t, back, m)
	})
}

func TestScalar(t *testing.T) {
	for _, c := range []struct {
		v    Value
		want float64
	}{{Int(3), 3}, {Float(0.5), 0.5}, {List([]float64{1, 2, 6}), 3}, {List(nil), math.NaN()}} {
		if got := c.v.Scalar(); !sameBits(got, c.want) {
			t.Errorf("%+v is %v, want %v", c.v, got, c.want)
		}
	}
}

func TestReservedNamesPanic(t *testing.T) {
	for _, name := range []Name{"iteration", "step", "non_finite", ""} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q was accepted", name)
				}
			}()
			var m Metrics
			m.SetInt(name, 1)
		}()
	}
}

func TestDecodeRecordErrors(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{``, "unexpected end"},
		{`[1]`, "cannot unmarshal"},
		{`{}`, `want either "iteration" or "step"`},
		{`{"iteration":1,"step":1}`, `want either "iteration" or "step"`},
		{`{"step":-1}`, "want a count"},
		{`{"step":1.5}`, "want a count"},
		{`{"step":1,"loss":"low"}`, "loss"},
		{`{"step":1,"loss":[1,true]}`, "loss"},
		{`{"step":1,"loss":null,"non_finite":{"loss":"big"}}`, `says "big"`},
		{`{"step":1,"loss":null,"non_finite":3}`, "non_finite"},
		{`{"step":1,"":2}`, "cannot be a metric"},
	} {
		if _, err := DecodeRecord([]byte(c.line)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v does not say %q", c.line, err, c.want)
		}
	}
}

// What decodes, encodes to a line that decodes to the same.
func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte(`{"iteration":12,` + sampleFields))
	f.Add([]byte(`{"step":0}`))
	f.Add([]byte(`{"step":1,"loss":1e400}`))
	f.Add([]byte(`{"step":1,"x":9223372036854775808,"y":-0}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := DecodeRecord(line)
		if err != nil {
			return
		}
		again := appendRecordLine(nil, &r)
		back, err := DecodeRecord(again)
		if err != nil {
			t.Fatalf("%q became %q: %v", line, again, err)
		}
		if back.Index != r.Index || back.Unit != r.Unit {
			t.Fatalf("%q became %q", line, again)
		}
		sameMetrics(t, back.Metrics, r.Metrics)
	})
}
