package optim_test

import (
	"math"
	"testing"

	"go.uber.org/goleak"

	"alfred/internal/backend"
	"alfred/internal/backend/cpu"
	"alfred/internal/backend/reference"
	"alfred/internal/checkpoint/safetensors/goldentest"
	"alfred/internal/optim"
	"alfred/internal/param"
	"alfred/internal/tensor"
)

// The processor keeps its workers, so it is opened before goroutines are counted.
var processor = cpu.New(2)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.IgnoreCurrent()) }

// precision is a device, and the type in which it stores weights.
type precision struct {
	name   string
	device func() backend.Device
	dtype  tensor.DType
}

var precisions = []precision{
	{"reference", reference.New, tensor.Float64},
	{"float32", func() backend.Device { return processor }, tensor.Float32},
	{"bfloat16", func() backend.Device { return processor }, tensor.BFloat16},
}

func eachPrecision(t *testing.T, test func(t *testing.T, p precision)) {
	for _, p := range precisions {
		t.Run(p.name, func(t *testing.T) { test(t, p) })
	}
}

// trainee is a store with an optimizer on one rank.
type trainee struct {
	s     *backend.Stream
	store *param.Store
	opt   *optim.AdamW
}

// newTrainee binds the parameters, uploads weights by name, and lends gradients of zero.
func newTrainee(d backend.Device, dtype tensor.DType, groups optim.Groups, settings optim.Settings, weights map[string][]float64, params ...*param.Param) (*trainee, error) {
	s := d.Stream()
	a, err := d.Arena("training", 1<<20)
	if err != nil {
		return nil, err
	}
	s.Use(a)
	tr := &trainee{s: s, store: param.NewStore(params)}
	tr.store.Bind(s, dtype)
	tr.store.Lend(s.Zeros(s.Wide(), tr.store.Len()))
	if tr.opt, err = optim.New(s, tr.store, groups, settings); err != nil {
		return nil, err
	}
	for _, p := range params {
		s.Upload(p.Weight(), backend.Float64s(weights[p.Name]))
		p.Touch()
	}
	tr.opt.Adopt(s)
	return tr, s.Sync()
}

// update uploads gradients by name and takes a step.
func (tr *trainee) update(gradients map[string][]float64, rate float64) (norm float64, applied bool, err error) {
	for _, p := range tr.store.Params() {
		tr.s.Upload(p.Grad(), backend.Float64s(gradients[p.Name]))
	}
	return tr.opt.Update(tr.s, rate)
}

// must takes what a function returned and fails the test on its error: must(f())(t).
func must[T any](x T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
}

// numbers downloads a tensor.
func numbers(t testing.TB, s *backend.Stream, x tensor.Tensor) []float64 {
	t.Helper()
	xs := make([]float64, x.Len())
	if err := s.Download(backend.Float64s(xs), x).Wait(); err != nil {
		t.Fatal(err)
	}
	return xs
}

// weights and state are the parts of flat buffers that belong to the parameters, by name: exp_avg/matrix, say.
func (tr *trainee) weights(t testing.TB) map[string][]float64 {
	t.Helper()
	all := map[string][]float64{}
	for _, p := range tr.store.Params() {
		all[p.Name] = numbers(t, tr.s, p.Weight())
	}
	return all
}

func (tr *trainee) state(t testing.TB) map[string][]float64 {
	t.Helper()
	all := map[string][]float64{}
	for name, flat := range tr.opt.State() {
		for i, p := range tr.store.Params() {
			all[name+"/"+p.Name] = numbers(t, tr.s, tr.store.View(flat, i))
		}
	}
	return all
}

// everything is all that an update may change, for comparison bit by bit.
func (tr *trainee) everything(t testing.TB) map[string][]float64 {
	all := tr.state(t)
	for name, w := range tr.weights(t) {
		all["weight/"+name] = w
	}
	for _, p := range tr.store.Params() {
		all["version/"+p.Name] = []float64{float64(p.Weight().Stamp().Version)}
	}
	all["steps"] = []float64{float64(tr.opt.Steps())}
	return all
}

// sameBits compares two maps of numbers bit by bit.
func sameBits(t testing.TB, what string, got, want map[string][]float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d tensors, want %d", what, len(got), len(want))
	}
	for name, w := range want {
		if len(got[name]) != len(w) {
			t.Errorf("%s: %s has %d elements, want %d", what, name, len(got[name]), len(w))
			continue
		}
		for i := range w {
			if math.Float64bits(got[name][i]) != math.Float64bits(w[i]) {
				t.Errorf("%s: %s[%d] = %v, want %v", what, name, i, got[name][i], w[i])
				break
			}
		}
	}
}

// golden is a file of testdata/golden.
type golden struct{ goldentest.File }

func openGolden(t testing.TB, name string) golden {
	t.Helper()
	return golden{goldentest.Open(t, "testdata/golden/"+name)}
}

// step is row i of tensors that have one row per step, by the last part of their names.
func (g golden) step(prefix string, i int, names []string, lengths []int) map[string][]float64 {
	all := map[string][]float64{}
	for j, name := range names {
		all[name] = g.Floats(prefix + name)[i*lengths[j] : (i+1)*lengths[j]]
	}
	return all
}

// within demands |got - want| ≤ most(i), element by element.
func within(t testing.TB, what string, got, want []float64, most func(i int) float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers, want %d", what, len(got), len(want))
	}
	for i := range want {
		if d := math.Abs(got[i] - want[i]); !(d <= most(i)) {
			t.Errorf("%s[%d] = %.17g, want %.17g (off by %.2g, allowed %.2g)", what, i, got[i], want[i], d, most(i))
			return
		}
	}
}
