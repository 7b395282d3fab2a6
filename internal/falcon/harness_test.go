package falcon_test

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/checkpoint/safetensors"
	"alfred/internal/falcon"
	"alfred/internal/nn"
	"alfred/internal/param"
	"alfred/internal/pipeline"
	"alfred/internal/tensor"
)

// golden is one folder of testdata/golden: a model, and what other software computed with it.
type golden struct {
	*safetensors.File
	config  falcon.Config
	weights *safetensors.File
}

func openGolden(t testing.TB, form string) golden {
	t.Helper()
	dir := filepath.Join("testdata/golden", form)
	text, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	cfg, _, err := falcon.ParseConfig(text)
	if err != nil {
		t.Fatal(err)
	}
	return golden{config: cfg, File: open(t, filepath.Join(dir, "golden.safetensors")), weights: open(t, filepath.Join(dir, "model.safetensors"))}
}

func open(t testing.TB, path string) *safetensors.File {
	t.Helper()
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// floats is a tensor of the golden as float64; nil if it has none of that name.
func (g golden) floats(name string) []float64 { return read(g.File, name) }

func read(f *safetensors.File, name string) []float64 {
	e, ok := f.Tensor(name)
	if !ok {
		return nil
	}
	xs := make([]float64, e.NumElements())
	if err := e.Float64(xs, e.Rows(), e.Cols()); err != nil {
		panic(err)
	}
	return xs
}

// ints is an int32 tensor of the golden.
func (g golden) ints(name string) []int32 {
	e, ok := g.Tensor(name)
	if !ok {
		return nil
	}
	xs, data := make([]int32, e.NumElements()), e.Data()
	for i := range xs {
		xs[i] = int32(uint32(data[4*i]) | uint32(data[4*i+1])<<8 | uint32(data[4*i+2])<<16 | uint32(data[4*i+3])<<24)
	}
	return xs
}

// sequences are the golden's inputs. A language head is read wherever there is a next token, a score head everywhere.
func (g golden) sequences() (seqs []nn.Sequence) {
	ids, offsets := g.ints("ids"), g.ints("offsets")
	for s := 0; s+1 < len(offsets); s++ {
		q := ids[offsets[s]:offsets[s+1]]
		to := len(q) - 1
		if g.config.Head == falcon.SequenceClassification {
			to = len(q)
		}
		seqs = append(seqs, nn.Sequence{IDs: q, To: to})
	}
	return seqs
}

// rank is a model on a device, ready to run.
type rank struct {
	stage   *falcon.Stage
	exec    *pipeline.Executor
	grads   tensor.Tensor
	weights *backend.Arena
}

// newRank builds the golden's model with room to train it.
func newRank(t testing.TB, d backend.Device, g golden, o falcon.Options) rank {
	t.Helper()
	r, err := buildRank(d, g, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func buildRank(d backend.Device, g golden, o falcon.Options) (r rank, err error) {
	o.Positions = 512
	if o.DType == tensor.Invalid {
		o.DType = d.Wide()
	}
	if cos := g.floats("rotary_cos"); cos != nil {
		o.RotaryCos, o.RotarySin, o.Positions = cos, g.floats("rotary_sin"), 2*len(cos)/g.config.HeadDim
	}
	weights, err := d.Arena("weights", 64<<20)
	if err != nil {
		return r, err
	}
	work, err := d.Arena("work", 256<<20)
	if err != nil {
		return r, err
	}
	s := d.Stream()
	s.Use(weights)
	r.weights = weights
	r.stage = falcon.NewStage(s, g.config, o)
	r.grads = s.Zeros(d.Wide(), r.stage.Params.Len())
	r.stage.Params.Lend(r.grads)
	r.exec = &pipeline.Executor{Stage: r.stage, Stream: s, Arena: work, Scale: 1, Entropy: true, EntropyGradient: true}
	fill(s, r.stage.Params, g.weights)
	return r, s.Sync()
}

// fill uploads the segments of a store from the whole tensors of a file.
func fill(s *backend.Stream, store *param.Store, f *safetensors.File) {
	for _, p := range store.Params() {
		for _, seg := range p.Segments {
			s.Upload(p.Part(p.Weight(), seg), backend.Float64s(cutSegment(read(f, p.Name), p, seg)))
		}
		p.Touch()
	}
}

// cutSegment is the part of a whole tensor that a segment names.
func cutSegment(whole []float64, p *param.Param, seg param.Segment) (part []float64) {
	if len(p.Shape) == 1 {
		return whole[seg.Global : seg.Global+seg.Count]
	}
	rows, cols := p.Shape[0], p.Shape[1]
	if seg.Dim == 0 {
		return whole[seg.Global*cols : (seg.Global+seg.Count)*cols]
	}
	for r := range rows {
		part = append(part, whole[r*cols+seg.Global:r*cols+seg.Global+seg.Count]...)
	}
	return part
}

// train runs the sequences in the given micro-batches with fixed gradients of the outputs (in the order of the sequences) and
// returns the outputs in that order.
func (r rank) train(micros [][]int, seqs []nn.Sequence, dlogp, dentropy, dvalue []float64) (logp, entropy, value []float64, err error) {
	starts, total := []int{}, 0
	for _, q := range seqs {
		starts = append(starts, total)
		total += q.To - q.From
	}
	logp, entropy, value = make([]float64, total), make([]float64, total), make([]float64, total)
	var batches []pipeline.MicroBatch
	for _, m := range micros {
		var b pipeline.MicroBatch
		for _, i := range m {
			b.Units = append(b.Units, pipeline.Single(i, seqs[i]))
		}
		batches = append(batches, b)
	}
	err = r.exec.Train(context.Background(), batches, func(m int, out pipeline.Output, grad pipeline.Gradient) {
		out.Each(func(i, lo, hi int) {
			at := starts[micros[m][i]]
			for j := lo; j < hi; j++ {
				to := at + j - lo
				if out.Value != nil {
					value[to], grad.Value[j] = out.Value[j], dvalue[to]
					continue
				}
				logp[to], entropy[to] = out.LogProb[j], out.Entropy[j]
				grad.LogProb[j], grad.Entropy[j] = dlogp[to], dentropy[to]
			}
		})
	})
	return logp, entropy, value, err
}

// gradients downloads the gradients of all parameters by name.
func (r rank) gradients() (map[string][]float64, error) {
	all := map[string][]float64{}
	for _, p := range r.stage.Params.Params() {
		xs := make([]float64, p.Len())
		if err := r.exec.Stream.Download(backend.Float64s(xs), p.Grad()).Wait(); err != nil {
			return nil, err
		}
		all[p.Name] = xs
	}
	return all, nil
}

// together puts all sequences into one micro-batch.
func together(seqs []nn.Sequence) [][]int {
	var all []int
	for i := range seqs {
		all = append(all, i)
	}
	return [][]int{all}
}

func norm(xs []float64) float64 {
	sum := 0.0
	for _, x := range xs {
		sum += x * x
	}
	return math.Sqrt(sum)
}

func distance(a, b []float64) float64 {
	sum := 0.0
	for i := range a {
		sum += (a[i] - b[i]) * (a[i] - b[i])
	}
	return math.Sqrt(sum)
}

// sameGradients demands that every tensor of got is within relative·|tensor| + absolute·|all gradients| of want (L2).
func sameGradients(t testing.TB, got, want map[string][]float64, relative, absolute float64) {
	t.Helper()
	squares := 0.0
	for _, w := range want {
		squares += norm(w) * norm(w)
	}
	all := math.Sqrt(squares)
	if len(got) != len(want) {
		t.Errorf("%d gradients, want %d", len(got), len(want))
	}
	for name, w := range want {
		g, ok := got[name]
		if !ok || len(g) != len(w) {
			t.Errorf("%s: %d elements, want %d", name, len(g), len(w))
			continue
		}
		if d, most := distance(g, w), relative*norm(w)+absolute*all; !(d <= most) {
			t.Errorf("%s: off by %.3g, allowed %.3g (norm %.3g)", name, d, most, norm(w))
		}
	}
}

// near demands |got - want| ≤ relative·|want| + absolute, element by element.
func near(t testing.TB, what string, got, want []float64, relative, absolute float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers, want %d", what, len(got), len(want))
	}
	for i := range got {
		if d := math.Abs(got[i] - want[i]); !(d <= relative*math.Abs(want[i])+absolute) {
			t.Errorf("%s[%d] = %.12g, want %.12g (off by %.3g)", what, i, got[i], want[i], d)
			return
		}
	}
}
