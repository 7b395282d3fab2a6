package falcon_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/checkpoint/safetensors/goldentest"
	"alfred/internal/falcon"
	"alfred/internal/nn"
	"alfred/internal/param"
	"alfred/internal/pipeline"
	"alfred/internal/tensor"
)

// golden is one folder of testdata/golden: a model, and what other software computed with it.
type golden struct {
	goldentest.File
	config  falcon.Config
	weights goldentest.File
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
	return golden{config: cfg, File: goldentest.Open(t, filepath.Join(dir, "golden.safetensors")), weights: goldentest.Open(t, filepath.Join(dir, "model.safetensors"))}
}

// sequences are the golden's inputs. A language head is read wherever there is a next token, a score head everywhere.
func (g golden) sequences() (seqs []nn.Sequence) {
	for _, q := range g.Sequences("ids", "offsets") {
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
	if g.Has("rotary_cos") {
		cos := g.Floats("rotary_cos")
		o.RotaryCos, o.RotarySin, o.Positions = cos, g.Floats("rotary_sin"), 2*len(cos)/g.config.HeadDim
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
func fill(s *backend.Stream, store *param.Store, f goldentest.File) {
	for _, p := range store.Params() {
		for _, seg := range p.Segments {
			s.Upload(p.Part(p.Weight(), seg), backend.Float64s(cutSegment(f.Floats(p.Name), p, seg)))
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
