package rlhf

import (
	"context"
	"errors"
	"fmt"

	"alfred/internal/backend/dry"
	"alfred/internal/collective/inproc"
	"alfred/internal/mesh"
	"alfred/internal/nn"
	"alfred/internal/pipeline"
	"alfred/internal/rollout"
	"alfred/internal/tensor"
)

// memory is what one rank needs, in bytes.
type memory struct {
	weights int // weights, optimizer state, gradients, position tables
	work    int // activations, scratch and cache of the largest phase
	phases  []phaseSize
}

// phaseSize is the working memory of one phase.
type phaseSize struct {
	name  string
	bytes int
}

// unlimited is the size of arenas while nobody knows the real one; a dry device holds no memory.
const unlimited = 1 << 50

// measure finds out what each rank needs by running the stage's own code, at the largest batch that can occur, on a device
// that holds nothing. There are no formulas to keep in step with the code.
func measure(ctx context.Context, in *inputs, wide tensor.DType, m mesh.Mesh) ([]memory, error) {
	device := dry.New(dry.Options{Wide: wide})
	sizes := make([]memory, m.Ranks())
	world := inproc.NewWorld(m.Ranks())
	err := world.Run(func(id int) error {
		r, err := newRank(in, Env{}, device, world, m, id, memory{weights: unlimited, work: unlimited})
		if err != nil {
			return err
		}
		t, err := newStage(r)
		if err != nil {
			return err
		}
		if err := errors.Join(t.rehearse(ctx), r.stream.Sync()); err != nil {
			return err
		}
		sizes[id] = memory{weights: r.weights.Peak(), work: r.largestPhase(), phases: r.phases}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("rlhf: planning memory: %w", err)
	}
	return sizes, nil
}

// largest is a plan that needs as much memory as any of n tokens: what an operation needs grows with tokens, sequences and
// rows read, and here each is as large as it can be.
func largest(n int) pipeline.Plan {
	u := pipeline.Unit{}
	for range n {
		u.Sequences = append(u.Sequences, nn.Sequence{IDs: []int32{0}, To: 1})
	}
	return pipeline.Plan{Micros: []pipeline.MicroBatch{{Units: []pipeline.Unit{u}}}}
}

// rehearsal measures the working memory of a phase.
func (r *rank) rehearsal(name string, phase func() error) error {
	r.work.ResetPeak()
	if err := phase(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	r.phases = append(r.phases, phaseSize{name, r.work.Peak()})
	return nil
}

func (r *rank) largestPhase() (bytes int) {
	for _, p := range r.phases {
		bytes = max(bytes, p.bytes)
	}
	return bytes
}

// microTokens is the size of the largest micro-batch: units are never cut.
func (r *rank) microTokens() int { return max(r.replicas.Budget, r.in.largestUnit) }

// rehearseTraining runs the largest micro-batch forward and backward, and one update.
func (m *model) rehearseTraining(ctx context.Context) error {
	return m.rehearsal(m.role+" update", func() error {
		if err := m.accumulate(ctx, largest(m.microTokens()), func(int, pipeline.Output, pipeline.Gradient) {}); err != nil {
			return err
		}
		_, _, err := m.opt.Update(m.stream, 0)
		return err
	})
}

// rehearseScoring runs the largest micro-batch forward.
func (m *model) rehearseScoring(ctx context.Context) error {
	return m.rehearsal(m.role+" scoring", func() error {
		return m.exec.Score(ctx, largest(m.microTokens()).Micros, func(int, pipeline.Output) {})
	})
}

// rehearseDecoding runs the largest step of a rollout beside its cache.
func (m *model) rehearseDecoding(ctx context.Context, limits rollout.Limits, draw nn.Draw) error {
	return m.rehearsal("rollout", func() error { return m.decodeLargest(ctx, limits, draw) })
}

func (m *model) decodeLargest(ctx context.Context, limits rollout.Limits, draw nn.Draw) error {
	d, err := m.exec.StartDecoding(limits.CachePages(), limits.PageSize)
	if err != nil {
		return err
	}
	defer d.Close()
	pages := make([]int32, limits.PagesPerSlot())
	chunks := make([]nn.Chunk, limits.Slots)
	for i := range chunks {
		chunks[i] = nn.Chunk{IDs: []int32{0}, Pages: pages, Read: true}
	}
	// The rest of the step's tokens are those of prompts.
	for i, left := 0, limits.Tokens-limits.Slots; i < len(chunks) && left > 0; i++ {
		n := min(left, limits.Longest-1)
		chunks[i].IDs = make([]int32, n+1)
		left -= n
	}
	_, err = d.Step(ctx, chunks, make([]float64, limits.Slots), make([]int32, limits.Slots), draw, true)
	return err
}

// announce says what the run will hold, and refuses what the machine does not have.
func (r *run) announce(sizes []memory) error {
	total := 0
	for id, m := range sizes {
		total += m.weights + m.work
		if id > 0 {
			continue
		}
		args := []any{"weights, gradients and optimizer", mebibytes(m.weights), "largest phase", mebibytes(m.work)}
		for _, p := range m.phases {
			args = append(args, p.name, mebibytes(p.bytes))
		}
		r.log.Info("memory of each rank", args...)
	}
	have := physicalMemory()
	if have > 0 && total > have {
		return fmt.Errorf("%w: %d ranks need %s, this machine has %s: lower batching.micro_batch_tokens or batching.rollout_slots, set batching.recompute, or use smaller models",
			ErrRefused, len(sizes), mebibytes(total), mebibytes(have))
	}
	return nil
}

// reportMemory says at the end what the process really used.
func (r *run) reportMemory(sizes []memory) {
	planned := 0
	for _, m := range sizes {
		planned += m.weights + m.work
	}
	r.log.Info("memory used", "peak of the process", mebibytes(peakMemory()), "planned for models and phases", mebibytes(planned))
}

func mebibytes(n int) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
