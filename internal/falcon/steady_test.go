package falcon_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/backend/backendtest"
	"alfred/internal/backend/cpu"
	"alfred/internal/backend/reference"
	"alfred/internal/falcon"
	"alfred/internal/nn"
	"alfred/internal/pipeline"
	"alfred/internal/tensor"
)

// TestNothingIsAllocatedPerStep: whatever the form of the model, running it forward and backward, scoring and decoding leave the Go
// heap alone.
func TestNothingIsAllocatedPerStep(t *testing.T) {
	for _, form := range append(slices.Clone(languageForms), scoreForms...) {
		for _, recompute := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/recompute %v", form, recompute), func(t *testing.T) {
				g := openGolden(t, form)
				r := newRank(t, cpu.New(2), g, falcon.Options{Recompute: recompute})
				seqs, ctx := g.sequences(), context.Background()
				micros := []pipeline.MicroBatch{{Units: []pipeline.Unit{{Sequences: seqs}}}, {}, {Units: []pipeline.Unit{{Sequences: seqs[:1]}}}}
				steps := map[string]func() error{
					"Train": func() error {
						return r.exec.Train(ctx, micros, func(_ int, _ pipeline.Output, grad pipeline.Gradient) {
							for _, xs := range [...][]float64{grad.LogProb, grad.Entropy, grad.Value} {
								for i := range xs {
									xs[i] = 1
								}
							}
						})
					},
					"Score": func() error { return r.exec.Score(ctx, micros, func(int, pipeline.Output) {}) },
				}
				if g.config.Head != falcon.SequenceClassification {
					d, err := r.exec.StartDecoding(len(seqs), 64, !recompute)
					if err != nil {
						t.Fatal(err)
					}
					defer d.Close()
					var chunks []nn.Chunk
					var kept pipeline.Unit
					for i, q := range seqs {
						chunks = append(chunks, nn.Chunk{IDs: q.IDs[:min(len(q.IDs), 64)], Pages: []int32{int32(i)}, Read: true})
						q := nn.Sequence{IDs: chunks[i].IDs, To: 1, Kept: nn.Kept{Cache: d.Cache}}
						for token := range q.IDs {
							q.Kept.Slots = append(q.Kept.Slots, nn.Slot(chunks[i].Pages, token, 64))
						}
						kept.Sequences = append(kept.Sequences, q)
					}
					if !recompute {
						keptMicros := []pipeline.MicroBatch{{Units: []pipeline.Unit{kept}}}
						steps["Train on what is kept"] = func() error {
							return r.exec.Train(ctx, keptMicros, func(int, pipeline.Output, pipeline.Gradient) {})
						}
					}
					uniforms, banned := make([]float64, len(chunks)), make([]int32, len(chunks))
					for name, draw := range map[string]nn.Draw{"Step": {Temperature: 1, TopP: 1}, "Step with top-p": {Temperature: 1, TopP: 0.5}, "Step with top-k": {Temperature: 1, TopK: 3, TopP: 1}} {
						steps[name] = func() error {
							_, err := d.Step(ctx, chunks, uniforms, banned, draw, true)
							return err
						}
					}
				}
				for name, step := range steps {
					got := 1.0
					for attempt := 0; got > 0 && attempt < 20; attempt++ { // until every worker has grown its scratch memory
						got = testing.AllocsPerRun(5, func() {
							if err := step(); err != nil {
								t.Fatal(err)
							}
						})
					}
					if got > 0 {
						t.Errorf("%s allocates %v objects", name, got)
					}
				}
			})
		}
	}
}

// TestMicroBatchesRunLate: on a device that runs nothing before it is waited for, the backward pass of a micro-batch runs when the host
// has filled the executor's memory with the next one.
func TestMicroBatchesRunLate(t *testing.T) {
	for _, form := range []string{"form-40b", "form-rw"} {
		g := openGolden(t, form)
		n := len(g.Floats("logp"))
		var all [2]map[string][]float64
		for i, d := range []backend.Device{reference.New(), backendtest.Deferring(reference.New(), backendtest.Options{})} {
			r := newRank(t, d, g, falcon.Options{})
			_, _, _, err := r.train([][]int{{0}, {1, 2}, {}, {3}}, g.sequences(), constant(n, 0.5), constant(n, 0.1), nil)
			if err != nil {
				t.Fatal(err)
			}
			if all[i], err = r.gradients(); err != nil {
				t.Fatal(err)
			}
		}
		for name, want := range all[0] {
			if !slices.Equal(all[1][name], want) {
				t.Errorf("%s: gradients of %s are not those of a device that runs everything at once", form, name)
			}
		}
	}
}

// TestPassesInFlight: a stage keeps what several forward passes need for their backward passes, in any order of the two, and does not
// mix it up when it uses the memory of one for another.
func TestPassesInFlight(t *testing.T) {
	g := openGolden(t, "form-40b")
	seqs := g.sequences()
	for _, order := range []string{"F0 B0 F1 F2 B1 F3 B2 B3", "F0 F1 B0 F2 B1 F3 B2 B3", "F2 F1 F0 B0 B1 F3 B2 B3"} {
		r := newRank(t, reference.New(), g, falcon.Options{})
		want := newRank(t, reference.New(), g, falcon.Options{})
		if _, _, _, err := want.train([][]int{{0}, {1}, {2}, {3}}, seqs, constant(len(g.Floats("logp")), 0.5), constant(len(g.Floats("logp")), 0), nil); err != nil {
			t.Fatal(err)
		}
		s := r.exec.Stream
		s.Use(r.exec.Arena)
		var batches [4]nn.Batch
		var kept [4]any
		for i := 0; i < len(order); i += 3 {
			m := order[i+1] - '0'
			if b := &batches[m]; order[i] == 'F' {
				b.Fill(s, seqs[m:m+1])
				_, kept[m] = r.stage.Forward(s, b, 1, true)
			} else {
				dlogp := s.Alloc(tensor.Float64, b.Rows.Len())
				s.Upload(dlogp, backend.Float64s(constant(b.Rows.Len(), 0.5)))
				r.stage.Backward(s, kept[m], nn.Gradients{LogProb: dlogp})
			}
		}
		got, err := r.gradients()
		if err != nil {
			t.Fatal(err)
		}
		expected, err := want.gradients()
		if err != nil {
			t.Fatal(err)
		}
		for name, w := range expected {
			if !slices.Equal(got[name], w) {
				t.Errorf("%s: gradients of %s are not those of one pass after the other", order, name)
			}
		}
	}
}
