package goldentest

import (
	"math"
	"testing"
)

// recorder is a test that only notes that it failed.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Errorf(string, ...any) { r.failed = true }
func (r *recorder) Fatalf(string, ...any) { r.failed = true }

// TestComparisonsCanFail: one number off by a little more than what is allowed, a NaN, or something missing is enough.
func TestComparisonsCanFail(t *testing.T) {
	want := []float64{100, -1, 0}
	for _, c := range []struct {
		name string
		got  []float64
		good bool
	}{
		{"the same", []float64{100, -1, 0}, true},
		{"within relative and absolute", []float64{100.1, -1, 0.0009}, true},
		{"beyond relative", []float64{100.11, -1, 0}, false},
		{"beyond absolute", []float64{100, -1, 0.0011}, false},
		{"NaN", []float64{100, math.NaN(), 0}, false},
	} {
		r := &recorder{}
		if Near(r, c.name, c.got, want, 1e-3, 1e-3); r.failed == c.good {
			t.Errorf("Near: %s: failed is %v", c.name, r.failed)
		}
	}

	all := map[string][]float64{"large": {3, 4}, "small": {1e-6}} // norms 5 and 1e-6
	for _, c := range []struct {
		name string
		got  map[string][]float64
		good bool
	}{
		{"the same", map[string][]float64{"large": {3, 4}, "small": {1e-6}}, true},
		{"within relative", map[string][]float64{"large": {3, 4.0049}, "small": {1e-6}}, true},
		{"beyond relative", map[string][]float64{"large": {3, 4.0052}, "small": {1e-6}}, false},
		{"a small tensor, within what all allow", map[string][]float64{"large": {3, 4}, "small": {1.4e-6}}, true},
		{"a small tensor, beyond it", map[string][]float64{"large": {3, 4}, "small": {1.6e-6}}, false},
		{"NaN", map[string][]float64{"large": {3, math.NaN()}, "small": {1e-6}}, false},
		{"one is missing", map[string][]float64{"large": {3, 4}}, false},
		{"one is too many", map[string][]float64{"large": {3, 4}, "small": {1e-6}, "other": {0}}, false},
		{"one is shorter", map[string][]float64{"large": {3}, "small": {1e-6}}, false},
	} {
		r := &recorder{}
		if NearTensors(r, c.name, c.got, all, 1e-3, 1e-7); r.failed == c.good {
			t.Errorf("NearTensors: %s: failed is %v", c.name, r.failed)
		}
	}
}
