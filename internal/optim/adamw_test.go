package optim_test

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/optim"
	"alfred/internal/param"
	"alfred/internal/tensor"
)

// The parameters of adamw.safetensors: of the three, the matrix alone decays.
var (
	names   = []string{"matrix", "vector", "scalar"}
	lengths = []int{35, 11, 1}
)

func goldenParams() []*param.Param {
	return []*param.Param{param.Rows("matrix", []int{5, 7}, 0, 5), param.Rows("vector", []int{11}, 0, 11), param.Rows("scalar", []int{1}, 0, 1)}
}

// goldenSettings are those of adamw.safetensors, from its metadata.
func goldenSettings(t *testing.T, g golden) optim.Settings {
	t.Helper()
	number := func(key string) float64 { return must(strconv.ParseFloat(g.Metadata()[key], 64))(t) }
	if betas := g.Metadata()["betas"]; betas != "[0.9, 0.95]" || g.Metadata()["weight_decay_on"] != "matrix" {
		t.Fatalf("the goldens have betas %s and decay %s", betas, g.Metadata()["weight_decay_on"])
	}
	return optim.Settings{Beta1: 0.9, Beta2: 0.95, Eps: number("eps"), WeightDecay: number("weight_decay"), MaxGradNorm: number("max_grad_norm")}
}

// TestGolden takes the 20 steps of torch.optim.AdamW with torch.nn.utils.clip_grad_norm_: weights after each, norms, and moments
// at the end. On the reference, 1e-12 covers another order of rounding in 20 steps of float64. For float32 see allowed.
func TestGolden(t *testing.T) {
	g := openGolden(t, "adamw.safetensors")
	rates, norms := g.Floats("learning_rate"), g.Floats("grad_norm")
	eachPrecision(t, func(t *testing.T, p precision) {
		start := g.step("start/", 0, names, lengths)
		tr := must(newTrainee(p.device(), p.dtype, optim.Solo(), goldenSettings(t, g), start, goldenParams()...))(t)
		begun := tr.masters(t)
		used := tr.s.Arena().Used()
		for i, rate := range rates {
			norm, applied, err := tr.update(g.step("gradients/", i, names, lengths), rate)
			if err != nil || !applied || tr.opt.Steps() != i+1 {
				t.Fatalf("step %d: applied %v, %v; %d steps", i, applied, err, tr.opt.Steps())
			}
			within(t, "norm of step "+strconv.Itoa(i), []float64{norm}, norms[i:i+1], func(int) float64 { return p.relative() * norms[i] })
			after, masters := g.step("after/", i, names, lengths), tr.masters(t)
			for _, name := range names {
				// What bfloat16 weights begin with is rounded, so it is the way from there that can be compared.
				got, want := slices.Clone(masters[name]), slices.Clone(after[name])
				for j := range got {
					got[j], want[j] = got[j]-begun[name][j], want[j]-start[name][j]
				}
				within(t, name+" after step "+strconv.Itoa(i), got, want, func(j int) float64 { return p.allowed(i+1, start[name][j], begun[name][j]) })
			}
			if p.dtype == tensor.BFloat16 {
				tr.roundedFromMasters(t)
			}
		}
		if masters := tr.masters(t); masters["vector"][7] != begun["vector"][7] {
			t.Errorf("vector[7] never had a gradient and went from %v to %v", begun["vector"][7], masters["vector"][7])
		}
		state := tr.state(t)
		for _, name := range names {
			for _, moment := range []string{"exp_avg/", "exp_avg_sq/"} {
				want := g.Floats(moment + name)
				largest := slices.MaxFunc(want, func(a, b float64) int { return int(math.Copysign(1, math.Abs(a)-math.Abs(b))) })
				within(t, moment+name, state[moment+name], want, func(int) float64 { return 4 * p.relative() * math.Abs(largest) })
			}
		}
		if now := tr.s.Arena().Used(); now != used {
			t.Errorf("20 updates took %d bytes of the arena", now-used)
		}
	})
}

// relative is the error of a norm, and of moments by the largest of them: gradients arrive rounded to 2^-24 of themselves, the
// scale that clips them as well, and each step rounds a few times more.
func (p precision) relative() float64 {
	if p.dtype == tensor.Float64 {
		return 1e-12
	}
	return 8 * 0x1p-24
}

// allowed is how far a weight may be off after so many steps. Each step, in float32, rounds a weight to 2^-24 of itself
// twice (the decay and the update) and an update by some 2^-24 of its own size, at most 10·rate = 0.1 here, ten times over. Decay takes
// 0.001 of the difference between the two starts.
func (p precision) allowed(steps int, start, begun float64) float64 {
	if p.dtype == tensor.Float64 {
		return 1e-12
	}
	return float64(steps)*0x1p-24*(2*(math.Abs(start)+0.1)+10*0.1) + float64(steps)*1e-3*math.Abs(start-begun)
}

// masters are the wide weights, which are the weights themselves unless those are narrow.
func (tr *trainee) masters(t testing.TB) map[string][]float64 {
	t.Helper()
	flat, ok := tr.opt.State()["master"]
	if !ok {
		return tr.weights(t)
	}
	all := map[string][]float64{}
	for i, p := range tr.store.Params() {
		all[p.Name] = numbers(t, tr.s, tr.store.View(flat, i))
	}
	return all
}

// roundedFromMasters demands that each weight is its master, rounded.
func (tr *trainee) roundedFromMasters(t testing.TB) {
	t.Helper()
	want := tr.masters(t)
	for _, ws := range want {
		for i := range ws {
			ws[i] = float64(tensor.FromBFloat16(tensor.ToBFloat16(float32(ws[i]))))
		}
	}
	sameBits(t, "weights beside masters", tr.weights(t), want)
}

// TestMastersAddUpWhatWeightsCannotShow: at 1, bfloat16 numbers are 2^-8 apart below and 2^-7 above, and 300 steps of 1e-5
// change a weight once, when their sum is nearer to the next number.
func TestMastersAddUpWhatWeightsCannotShow(t *testing.T) {
	p := precisions[2]
	ones := map[string][]float64{"scalar": {1}}
	tr := must(newTrainee(p.device(), p.dtype, optim.Solo(), optim.Settings{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8}, ones, goldenParams()[2]))(t)
	var seen []float64
	for range 300 {
		if _, applied, err := tr.update(map[string][]float64{"scalar": {0.5}}, 1e-5); err != nil || !applied {
			t.Fatalf("applied %v, %v", applied, err)
		}
		if w := tr.weights(t)["scalar"][0]; len(seen) == 0 || seen[len(seen)-1] != w {
			seen = append(seen, w)
		}
	}
	// A constant gradient moves a weight by the rate in every step; half way to 1-2^-8 is after 195 of them.
	if !slices.Equal(seen, []float64{1, 1 - 0x1p-8}) {
		t.Errorf("the weight was %v", seen)
	}
	within(t, "master", tr.masters(t)["scalar"], []float64{1 - 300e-5}, func(int) float64 { return 300 * 2 * 0x1p-24 })
}

// TestBFloat16FollowsFloat32: from the same start and gradients, the masters of bfloat16 weights are bit by bit what float32
// weights are.
func TestBFloat16FollowsFloat32(t *testing.T) {
	g := openGolden(t, "adamw.safetensors")
	start := g.step("start/", 0, names, lengths)
	for _, xs := range start {
		for i := range xs {
			xs[i] = float64(tensor.FromBFloat16(tensor.ToBFloat16(float32(xs[i]))))
		}
	}
	var both []*trainee
	for _, p := range precisions[1:] {
		both = append(both, must(newTrainee(p.device(), p.dtype, optim.Solo(), goldenSettings(t, g), start, goldenParams()...))(t))
	}
	for i, rate := range g.Floats("learning_rate") {
		for _, tr := range both {
			if _, _, err := tr.update(g.step("gradients/", i, names, lengths), rate); err != nil {
				t.Fatal(err)
			}
		}
		sameBits(t, "masters after step "+strconv.Itoa(i), both[1].masters(t), both[0].weights(t))
	}
}

// TestFirstStepByHand: after one step from zero moments, m̂ = g and v̂ = g² whatever the betas, so that the weight moves by
// rate·g/(|g|+eps), with g scaled by min(1, most/(norm+1e-6)).
func TestFirstStepByHand(t *testing.T) {
	for _, most := range []float64{0, 0.5, 100} {
		p := precisions[0]
		const rate, eps = 0.01, 0.3 // a large eps shows what g was scaled by
		start, gradient := map[string][]float64{"vector": make([]float64, 11)}, map[string][]float64{"vector": make([]float64, 11)}
		squares := 0.0
		for i := range 11 {
			start["vector"][i], gradient["vector"][i] = float64(i), float64(i-5)/3
			squares += gradient["vector"][i] * gradient["vector"][i]
		}
		settings := optim.Settings{Beta1: 0.7, Beta2: 0.2, Eps: eps, MaxGradNorm: most}
		tr := must(newTrainee(p.device(), p.dtype, optim.Solo(), settings, start, goldenParams()[1]))(t)
		norm, applied, err := tr.update(gradient, rate)
		if err != nil || !applied || math.Abs(norm-math.Sqrt(squares)) > 1e-14*norm {
			t.Fatalf("norm %v, want %v; applied %v, %v", norm, math.Sqrt(squares), applied, err)
		}
		scale := 1.0
		if most > 0 && most < norm+1e-6 {
			scale = most / (norm + 1e-6)
		}
		want := make([]float64, 11)
		for i, g := range gradient["vector"] {
			want[i] = start["vector"][i] - rate*g*scale/(math.Abs(g*scale)+eps)
		}
		within(t, "weight", tr.weights(t)["vector"], want, func(i int) float64 { return 1e-15 * (1 + want[i]) })
	}
}

// TestDecayIsForMatrices, unless norms and biases are asked for. Without a gradient nothing but decay moves a weight.
func TestDecayIsForMatrices(t *testing.T) {
	g := openGolden(t, "adamw.safetensors")
	eachPrecision(t, func(t *testing.T, p precision) {
		for _, all := range []bool{false, true} {
			start := g.step("start/", 0, names, lengths)
			zeros := map[string][]float64{"matrix": make([]float64, 35), "vector": make([]float64, 11), "scalar": {0}}
			settings := optim.Settings{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1, MaxGradNorm: 1, DecayNormsAndBiases: all}
			tr := must(newTrainee(p.device(), p.dtype, optim.Solo(), settings, start, goldenParams()...))(t)
			begun := tr.masters(t)
			if norm, applied, err := tr.update(zeros, 0.5); err != nil || !applied || norm != 0 {
				t.Fatalf("norm %v, applied %v, %v", norm, applied, err)
			}
			for name, ws := range tr.masters(t) {
				shrink := 1.0
				if all || name == "matrix" {
					shrink = 1 - 0.5*0.1
				}
				want := slices.Clone(begun[name])
				for i := range want {
					want[i] *= shrink
				}
				eps := 0x1p-52 // two roundings
				if p.dtype != tensor.Float64 {
					eps = 0x1p-23
				}
				if shrink == 1 {
					eps = 0
				}
				within(t, name, ws, want, func(i int) float64 { return eps * math.Abs(want[i]) })
			}
		}
	})
}

// TestNonFiniteGradientsChangeNothing: not a bit of weights, masters, moments, or versions, wherever the bad number is. Training
// goes on afterwards as if that step had not been.
func TestNonFiniteGradientsChangeNothing(t *testing.T) {
	g := openGolden(t, "adamw.safetensors")
	rates := g.Floats("learning_rate")
	eachPrecision(t, func(t *testing.T, p precision) {
		begin := func() *trainee {
			return must(newTrainee(p.device(), p.dtype, optim.Solo(), goldenSettings(t, g), g.step("start/", 0, names, lengths), goldenParams()...))(t)
		}
		tr, undisturbed := begin(), begin()
		good := func(i int) {
			t.Helper()
			for _, each := range []*trainee{tr, undisturbed} {
				if _, applied, err := each.update(g.step("gradients/", i, names, lengths), rates[i]); err != nil || !applied {
					t.Fatalf("step %d: applied %v, %v", i, applied, err)
				}
			}
		}
		good(0)
		before := tr.everything(t)
		for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			for j, name := range names {
				for _, at := range []int{0, lengths[j] - 1} {
					gradients := g.step("gradients/", 1, names, lengths)
					gradients[name] = slices.Clone(gradients[name])
					gradients[name][at] = bad
					norm, applied, err := tr.update(gradients, rates[1])
					if err != nil || applied || !math.IsNaN(norm) && !math.IsInf(norm, 1) {
						t.Errorf("%v at %s[%d]: norm %v, applied %v, %v", bad, name, at, norm, applied, err)
					}
					sameBits(t, strconv.FormatFloat(bad, 'g', -1, 64)+" at "+name, tr.everything(t), before)
				}
			}
		}
		good(1)
		good(2)
		sameBits(t, "after good steps", tr.everything(t), undisturbed.everything(t))
		if maps.EqualFunc(before, tr.everything(t), slices.Equal[[]float64]) {
			t.Error("good steps change nothing either")
		}
	})
}

// TestGradientsTooLargeForTheState: their squares would be infinite in float32, and stay in v. Clipping makes them small enough.
func TestGradientsTooLargeForTheState(t *testing.T) {
	eachPrecision(t, func(t *testing.T, p precision) {
		start := map[string][]float64{"vector": make([]float64, 11)}
		for _, c := range []struct {
			gradient, most float64
			applied        bool
		}{{0x1p63, 0, true}, {0x1.8p63, 0, false}, {-0x1p64, 0, false}, {0x1p100, 0, false}, {-0x1p100, 1, true}, {0x1p100, 0x1p63, true}, {0x1p100, 0x1p64, false}} {
			tr := must(newTrainee(p.device(), p.dtype, optim.Solo(), optim.Settings{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, MaxGradNorm: c.most}, start, goldenParams()[1]))(t)
			gradients := map[string][]float64{"vector": make([]float64, 11)}
			gradients["vector"][3] = c.gradient
			before := tr.everything(t)
			norm, applied, err := tr.update(gradients, 0.5)
			if err != nil || applied != c.applied || norm != math.Abs(c.gradient) {
				t.Errorf("gradient %g, clipped at %g: norm %g, applied %v, %v", c.gradient, c.most, norm, applied, err)
			}
			if !c.applied {
				sameBits(t, "after a step that was refused", tr.everything(t), before)
			}
			for name, xs := range tr.state(t) {
				for i, x := range xs {
					if math.IsInf(x, 0) || math.IsNaN(x) {
						t.Errorf("gradient %g, clipped at %g: %s[%d] is %v", c.gradient, c.most, name, i, x)
					}
				}
			}
		}
	})
}

// TestUpdatesTellTheBackend: packed copies of weights are keyed by version.
func TestUpdatesTellTheBackend(t *testing.T) {
	g := openGolden(t, "adamw.safetensors")
	tr := must(newTrainee(precisions[1].device(), tensor.Float32, optim.Solo(), goldenSettings(t, g), g.step("start/", 0, names, lengths), goldenParams()...))(t)
	for _, p := range tr.store.Params() {
		before := p.Weight().Stamp().Version
		if _, _, err := tr.update(g.step("gradients/", 0, names, lengths), 0.1); err != nil {
			t.Fatal(err)
		}
		if p.Weight().Stamp().Version == before {
			t.Errorf("%s was written, its version is still %d", p.Name, before)
		}
	}
}

// TestRestoredStateContinues bit by bit: what State lists, with the weights and the number of steps, is all there is.
func TestRestoredStateContinues(t *testing.T) {
	g := openGolden(t, "adamw.safetensors")
	rates := g.Floats("learning_rate")
	eachPrecision(t, func(t *testing.T, p precision) {
		run := func(tr *trainee, from, to int) {
			t.Helper()
			for i := from; i < to; i++ {
				if _, applied, err := tr.update(g.step("gradients/", i, names, lengths), rates[i]); err != nil || !applied {
					t.Fatalf("step %d: applied %v, %v", i, applied, err)
				}
			}
		}
		begin := func(weights map[string][]float64) *trainee {
			return must(newTrainee(p.device(), p.dtype, optim.Solo(), goldenSettings(t, g), weights, goldenParams()...))(t)
		}
		whole := begin(g.step("start/", 0, names, lengths))
		run(whole, 0, 10)
		weights, steps := whole.weights(t), whole.opt.Steps()
		saved := map[string][]float64{}
		for name, flat := range whole.opt.State() {
			saved[name] = numbers(t, whole.s, flat)
		}
		run(whole, 10, 20)

		resume := func(forget string) *trainee {
			tr := begin(weights)
			for name, flat := range tr.opt.State() {
				if name != forget {
					tr.s.Upload(flat, backend.Float64s(saved[name]))
				}
			}
			if forget != "steps" {
				tr.opt.Restore(steps)
			}
			run(tr, 10, 20)
			return tr
		}
		sameBits(t, "weights", resume("").weights(t), whole.weights(t))
		sameBits(t, "state", resume("").state(t), whole.state(t))
		for _, forget := range append(slices.Collect(maps.Keys(saved)), "steps") {
			if maps.EqualFunc(resume(forget).masters(t), whole.masters(t), slices.Equal[[]float64]) {
				t.Errorf("%s makes no difference", forget)
			}
		}
	})
}

// TestWithoutGradients: an update while no gradients are lent is an error.
func TestWithoutGradients(t *testing.T) {
	tr := must(newTrainee(precisions[0].device(), tensor.Float64, optim.Solo(), optim.Settings{}, map[string][]float64{"scalar": {1}}, goldenParams()[2]))(t)
	tr.store.Lend(tensor.Tensor{})
	if _, applied, err := tr.opt.Update(tr.s, 0.1); err == nil || applied {
		t.Errorf("applied %v, %v", applied, err)
	}
}
