package rlhf_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"alfred/internal/backend"
	"alfred/internal/backend/cpu"
	"alfred/internal/falcon"
	"alfred/internal/nn"
	"alfred/internal/optim"
	"alfred/internal/pipeline"
	"alfred/internal/rollout"
	"alfred/internal/tensor"
)

// benchSize is a model of the 40B form, with the batch that its benchmarks run: rollouts of prompt and response tokens, and
// sequences of length tokens in a training step.
type benchSize struct {
	name                             string
	layers, hidden, heads, kv, vocab int
	rollouts, prompt, response       int
	batch, length                    int
}

var benchSizes = []benchSize{
	{"tiny", 2, 64, 4, 2, 512, 64, 16, 32, 64, 48},
	{"small", 8, 512, 8, 2, 8192, 32, 64, 64, 32, 128},
	{"100m", 12, 768, 12, 4, 32768, 16, 64, 64, 16, 128},
}

func (z benchSize) config() falcon.Config {
	c, _, err := falcon.ParseConfig([]byte(fmt.Sprintf(`{"model_type": "falcon", "architectures": ["FalconForCausalLM"], "new_decoder_architecture": true,
		"num_hidden_layers": %d, "hidden_size": %d, "num_attention_heads": %d, "num_kv_heads": %d, "vocab_size": %d, "alibi": false, "bias": false}`,
		z.layers, z.hidden, z.heads, z.kv, z.vocab)))
	if err != nil {
		panic(err)
	}
	return c
}

// bodyFlops is the FLOP of the matrix products of one token's forward pass, head and attention's own products aside.
func (z benchSize) bodyFlops() float64 {
	c := z.config()
	return 2 * float64(z.layers) * float64(c.HiddenSize) * float64(c.QKVRows()+c.HiddenSize+2*c.FFNSize)
}

func (z benchSize) headFlops() float64 { return 2 * float64(z.hidden) * float64(z.vocab) }

// benchModel is a model with random weights on the CPU, ready to train, with so many workers, 0 for one per processor.
func benchModel(b testing.TB, z benchSize, dtype tensor.DType, workers int) (*falcon.Stage, *pipeline.Executor, *optim.AdamW) {
	b.Helper()
	d, err := cpu.NewWith(cpu.Options{Workers: workers})
	if err != nil {
		b.Fatal(err)
	}
	weights, err := d.Arena("weights", 4<<30)
	if err != nil {
		b.Fatal(err)
	}
	work, err := d.Arena("work", 16<<30)
	if err != nil {
		b.Fatal(err)
	}
	s := d.Stream()
	s.Use(weights)
	stage := falcon.NewStage(s, z.config(), falcon.Options{DType: dtype})
	stage.Params.Lend(s.Zeros(tensor.Float32, stage.Params.Len()))
	rng := rand.New(rand.NewPCG(1, 2))
	for _, p := range stage.Params.Params() {
		xs := make([]float32, p.Len())
		for i := range xs {
			xs[i] = float32(0.05 * rng.NormFloat64())
		}
		s.Upload(p.Weight(), backend.Float32s(xs))
		p.Touch()
	}
	adam, err := optim.New(s, stage.Params, optim.Solo(), optim.Settings{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, MaxGradNorm: 1})
	if err != nil {
		b.Fatal(err)
	}
	adam.Adopt(s)
	return stage, &pipeline.Executor{Stage: stage, Stream: s, Arena: work, Scale: 1}, adam
}

func eachSize(b *testing.B, run func(b *testing.B, z benchSize, dtype tensor.DType)) {
	for _, z := range benchSizes {
		for _, dtype := range []tensor.DType{tensor.Float32, tensor.BFloat16} {
			b.Run(z.name+"/"+dtype.String(), func(b *testing.B) { run(b, z, dtype) })
		}
	}
}

// training is a step on sequences with the loss on every position, in micro-batches of at most budget tokens.
func training(b testing.TB, z benchSize, e *pipeline.Executor, adam *optim.AdamW, budget int) (step func()) {
	var units []pipeline.Unit
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range z.batch {
		ids := make([]int32, z.length)
		for t := range ids {
			ids[t] = int32(rng.IntN(z.vocab))
		}
		units = append(units, pipeline.Single(i, nn.Sequence{IDs: ids, To: z.length - 1}))
	}
	micros := pipeline.Partition(units, 1, budget)[0]
	return func() {
		err := e.Train(context.Background(), micros, func(_ int, out pipeline.Output, grad pipeline.Gradient) {
			for i := range grad.LogProb {
				grad.LogProb[i] = -1 / float64(len(grad.LogProb))
			}
		})
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := adam.Update(e.Stream, 1e-6); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTrainStep is forward, backward and AdamW on one micro-batch.
func BenchmarkTrainStep(b *testing.B) {
	eachSize(b, func(b *testing.B, z benchSize, dtype tensor.DType) {
		_, e, adam := benchModel(b, z, dtype, 0)
		step := training(b, z, e, adam, z.batch*z.length)
		tokens := float64(z.batch * z.length)
		measure(b, dtype, tokens, 3*(tokens*z.bodyFlops()+float64(z.batch*(z.length-1))*z.headFlops()), step)
	})
}

// BenchmarkGenerate samples the rollouts of an iteration.
func BenchmarkGenerate(b *testing.B) {
	eachSize(b, func(b *testing.B, z benchSize, dtype tensor.DType) {
		_, e, _ := benchModel(b, z, dtype, 0)
		generate(b, e, z, dtype, 1)
	})
}

// BenchmarkResponsesPerPrompt samples as many responses to fewer prompts: what they have in common is computed once.
func BenchmarkResponsesPerPrompt(b *testing.B) {
	z := benchSizes[1]
	z.rollouts, z.prompt = 16, 256
	_, e, _ := benchModel(b, z, tensor.Float32, 0)
	for _, each := range []int{1, 4} {
		b.Run(fmt.Sprintf("responses=%d", each), func(b *testing.B) { generate(b, e, z, tensor.Float32, each) })
	}
}

// generate samples each responses per prompt.
func generate(b *testing.B, e *pipeline.Executor, z benchSize, dtype tensor.DType, each int) {
	rng := rand.New(rand.NewPCG(3, 4))
	var requests []rollout.Request
	var ids []int32
	for i := range z.rollouts {
		if i%each == 0 {
			ids = make([]int32, z.prompt)
			for t := range ids {
				ids[t] = int32(rng.IntN(z.vocab))
			}
		}
		requests = append(requests, rollout.Request{Sequence: i, Prompt: ids, Max: z.response})
	}
	limits := rollout.Limits{Slots: z.rollouts, Tokens: z.rollouts * z.prompt, PageSize: 16, Longest: z.prompt + z.response, EOD: -1}
	whole := (z.prompt - 1) / limits.PageSize * limits.PageSize // tokens of a prompt that its other responses find in the cache
	tokens, fed := float64(z.rollouts*z.response), float64(z.rollouts*z.prompt-(z.rollouts-z.rollouts/each)*whole)
	d, err := rollout.Open(e, limits)
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	measure(b, dtype, tokens, (tokens+fed)*z.bodyFlops()+tokens*z.headFlops(), func() {
		_, _, err := rollout.Generate(context.Background(), d, requests, limits, rollout.Sampling{Draw: nn.Draw{Temperature: 1, TopP: 1}, LogProbs: true}, nil)
		if err != nil {
			b.Fatal(err)
		}
	})
}

// BenchmarkDecodeOne extends one sequence by a token: every weight is read for it, so memory is the roof.
func BenchmarkDecodeOne(b *testing.B) {
	eachSize(b, func(b *testing.B, z benchSize, dtype tensor.DType) {
		stage, e, _ := benchModel(b, z, dtype, 0)
		step, done := decoding(b, e, 1, z.prompt)
		defer done()
		rate := 1 / median(b, step)
		b.ReportMetric(rate, "tok/s")
		b.ReportMetric(100*rate*float64(stage.Params.Len()*dtype.Size())/roof().Read, "%roof")
	})
}

// BenchmarkGrowth is a decoding step of the small model for more and longer sequences. Their keys and values are zero.
func BenchmarkGrowth(b *testing.B) {
	_, e, _ := benchModel(b, benchSizes[1], tensor.Float32, 0)
	for _, batch := range []int{1, 4, 16, 64, 256} {
		for _, length := range []int{128, 512, 2048} {
			b.Run(fmt.Sprintf("batch=%d/length=%d", batch, length), func(b *testing.B) {
				step, done := decoding(b, e, batch, length)
				defer done()
				b.ReportMetric(float64(batch)/median(b, step), "tok/s")
			})
		}
	}
}

// decoding is a step that adds token number length to each sequence of a batch.
func decoding(b testing.TB, e *pipeline.Executor, batch, length int) (step, done func()) {
	const page = 16
	perSequence := (length + page - 1) / page
	d, err := e.StartDecoding(batch*perSequence, page, false)
	if err != nil {
		b.Fatal(err)
	}
	chunks, uniforms, banned := make([]nn.Chunk, batch), make([]float64, batch), make([]int32, batch)
	for i := range chunks {
		pages := make([]int32, perSequence)
		for j := range pages {
			pages[j] = int32(i*perSequence + j)
		}
		chunks[i] = nn.Chunk{IDs: []int32{1}, Start: length - 1, Pages: pages, Read: true}
		uniforms[i], banned[i] = 0.5, -1
	}
	return func() {
		if _, err := d.Step(context.Background(), chunks, uniforms, banned, nn.Draw{Temperature: 1, TopP: 1}, true); err != nil {
			b.Fatal(err)
		}
	}, d.Close
}

// roof is what this machine can do, measured once.
var roof = sync.OnceValue(func() cpu.Roofline {
	d, err := cpu.NewWith(cpu.Options{})
	if err != nil {
		panic(err)
	}
	r, err := d.Roofline()
	if err != nil {
		panic(err)
	}
	return r
})

// median runs step again and again and returns the seconds of the median run, after one that does not count.
func median(b *testing.B, step func()) float64 {
	step()
	b.ReportAllocs()
	var runs []float64
	for b.Loop() {
		begin := time.Now()
		step()
		runs = append(runs, time.Since(begin).Seconds())
	}
	slices.Sort(runs)
	b.ReportMetric(runs[len(runs)/2]*1e3, "ms")
	b.ReportMetric(0, "ns/op")
	return runs[len(runs)/2]
}

// measure reports tokens per second, and matrix products as a share of what the multiply-add units can do.
func measure(b *testing.B, dtype tensor.DType, tokens, flops float64, step func()) {
	b.Helper()
	peak := roof().Float32
	if dtype == tensor.BFloat16 {
		peak = roof().BFloat16
	}
	seconds := median(b, step)
	b.ReportMetric(tokens/seconds, "tok/s")
	b.ReportMetric(100*flops/seconds/peak, "%roof")
}
