package rlhf

import (
	"context"
	"errors"
	"fmt"

	"alfred/internal/backend"
	"alfred/internal/backend/dry"
	"alfred/internal/collective/inproc"
	"alfred/internal/config"
	"alfred/internal/mesh"
	"alfred/internal/nn"
	"alfred/internal/param"
	"alfred/internal/pipeline"
	"alfred/internal/rollout"
)

// memory is what one rank needs, in bytes.
type memory struct {
	weights int // weights, optimizer state, gradients, position tables
	work    int // activations, scratch and cache of the largest phase
	copies  int // packed copies that the device makes of weight matrices
	phases  []phaseSize
}

// total is all of it.
func (m memory) total() int { return m.weights + m.work + m.copies }

// matrices are the weights of one model that a device may keep packed copies of.
type matrices struct {
	store   *param.Store
	trained bool
}

func (m matrices) bytes() (n int) {
	for _, p := range m.store.Params() {
		if len(p.Local) == 2 {
			n += p.Len() * m.store.DType().Size()
		}
	}
	return n
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
func measure(ctx context.Context, in *inputs, real backend.Device, m mesh.Mesh) ([]memory, error) {
	device := dry.New(dry.Options{Wide: real.Wide()})
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
		for _, m := range r.matrices {
			sizes[id].copies += real.Overhead(m.bytes(), m.trained)
		}
		return nil
	})
	var wrong *config.Errors // found on the way, and not about memory
	if err != nil && !errors.As(err, &wrong) {
		err = fmt.Errorf("planning memory: %w", err)
	}
	if err != nil {
		return nil, err
	}
	return sizes, nil
}

// largest is a plan that needs as much memory as any of n tokens: what an operation needs grows with tokens, sequences and
// rows read, and here each is as large as it can be.
func largest(n int, kept nn.Kept) pipeline.Plan {
	u := pipeline.Unit{}
	for range n {
		u.Sequences = append(u.Sequences, nn.Sequence{IDs: []int32{0}, To: 1, Kept: kept})
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

// rehearseTraining runs the largest step of training, rehearseScoring that of scoring.
func (m *model) rehearseTraining(ctx context.Context) error {
	return m.rehearsal(m.role+" update", func() error { return m.trainLargest(ctx, nn.Kept{}) })
}

func (m *model) rehearseScoring(ctx context.Context) error {
	return m.rehearsal(m.role+" scoring", func() error { return m.scoreLargest(ctx) })
}

// trainLargest runs the largest micro-batch forward, unless its activations are kept, and backward, and one update.
func (m *model) trainLargest(ctx context.Context, kept nn.Kept) error {
	nothing := func(pipeline.MicroBatch, pipeline.Output, pipeline.Gradient) (float64, error) { return 0, nil }
	if _, err := m.accumulate(ctx, largest(m.microTokens(), kept), nothing); err != nil {
		return err
	}
	_, _, err := m.opt.Update(m.stream, 0)
	return err
}

// scoreLargest runs the largest micro-batch forward.
func (m *model) scoreLargest(ctx context.Context) error {
	return m.exec.Score(ctx, largest(m.microTokens(), nn.Kept{}).Micros, func(int, pipeline.Output) {})
}

// rehearseDecoding runs the largest step of a rollout beside its cache.
func (m *model) rehearseDecoding(ctx context.Context, limits rollout.Limits, draw nn.Draw) error {
	return m.rehearsal("rollout", func() error { return rollout.Rehearse(ctx, m.exec, limits, draw, nil) })
}

// announce says what the run will hold, and refuses what the machine does not have. The host's part is what the process holds
// when everything is open and nothing is allocated yet: data, tokenizer, program.
func (r *run) announce(sizes []memory) error {
	r.planned = residentMemory()
	log := func(what string, bytes int) { r.log.Info("memory", "of each rank", what, "size", mebibytes(bytes)) }
	log("weights, gradients and optimizer", sizes[0].weights)
	log("packed copies of weights", sizes[0].copies)
	for _, p := range sizes[0].phases {
		log(p.name, p.bytes)
	}
	devices := 0
	for _, m := range sizes {
		devices += m.total()
	}
	r.planned += devices
	r.log.Info("memory", "ranks", len(sizes), "host", mebibytes(r.planned-devices), "in all, with the largest phase of each rank", mebibytes(r.planned))
	if have := physicalMemory(); have > 0 && r.planned > have {
		return fmt.Errorf("%w: the run needs %s, this machine has %s: lower batching.micro_batch_tokens or batching.rollout_slots, set batching.recompute, or use smaller models",
			ErrRefused, mebibytes(r.planned), mebibytes(have))
	}
	return nil
}

// reportMemory says at the end what the process really used.
func (r *run) reportMemory() {
	r.log.Info("memory", "planned", mebibytes(r.planned), "peak of the process", mebibytes(peakMemory()))
}

func mebibytes(n int) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
