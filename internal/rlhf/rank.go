package rlhf

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math"

	"alfred/internal/backend"
	"alfred/internal/collective"
	"alfred/internal/collective/inproc"
	"alfred/internal/config"
	"alfred/internal/falcon"
	"alfred/internal/mesh"
	"alfred/internal/optim"
	"alfred/internal/pipeline"
	"alfred/internal/telemetry"
	"alfred/internal/tensor"
)

// rank is one rank's side of a run.
type rank struct {
	cfg *config.Config
	in  *inputs

	coord  mesh.Coord
	world  collective.Group // all ranks
	groups optim.Groups     // of gradients and norms

	stream        *backend.Stream
	weights, work *backend.Arena // what stays, and what a phase needs while it runs
	grads         tensor.Tensor  // flat; the models that are trained take turns with it
	replicas      pipeline.Replicas

	phases   []phaseSize // of a rehearsal
	matrices []matrices
	observe  func(m *model) // sees a model before each of its updates; for tests

	rec *telemetry.Recorder // nil except on rank 0
	log *slog.Logger        // silent except on rank 0
}

// newRank joins the groups of the mesh. sizes are in bytes.
func newRank(in *inputs, env Env, device backend.Device, world *inproc.World, m mesh.Mesh, id int, sizes memory) (*rank, error) {
	group := func(axes ...mesh.Axis) collective.Group { return world.Group(id, m.Group(id, mesh.Set(axes...))) }
	r := &rank{
		cfg: in.cfg, in: in, coord: m.Coord(id),
		world:  group(mesh.Tensor, mesh.Data, mesh.Pipeline),
		groups: optim.Groups{Data: group(mesh.Data), Tensor: group(mesh.Tensor), Model: group(mesh.Tensor, mesh.Pipeline)},
		stream: device.Stream(),
		log:    slog.New(slog.DiscardHandler),
	}
	r.replicas = pipeline.Replicas{Group: r.groups.Data, Budget: in.budget()}
	if id == 0 {
		r.rec, r.log = env.Recorder, slog.New(env.Recorder.Handler(slog.LevelInfo))
	}
	var err error
	if r.weights, err = device.Arena("weights and optimizer state", sizes.weights); err != nil {
		return nil, err
	}
	if r.work, err = device.Arena("work", sizes.work); err != nil {
		return nil, err
	}
	r.stream.Use(r.weights)
	return r, nil
}

// model is one model of a run on this rank.
type model struct {
	*rank
	role   string // policy, value, reward or reference: its folder in checkpoints
	config falcon.Config
	stage  *falcon.Stage
	exec   *pipeline.Executor
	opt    *optim.AdamW // nil when the model is frozen
	rate   optim.Schedule
	unit   string // of the schedule: "iteration" or "step"
}

// newModel allocates a model's weights, and its optimizer's state if it has one.
func (r *rank) newModel(role string, cfg falcon.Config, opt *config.Optimizer) (*model, error) {
	dtype, err := tensor.ParseDType(r.cfg.Model.Precision)
	if err != nil {
		return nil, err
	}
	if r.stream.Wide() == tensor.Float64 { // the reference knows no other type
		dtype = tensor.Float64
	}
	m := &model{rank: r, role: role, config: cfg}
	m.stage = falcon.NewStage(r.stream, cfg, falcon.Options{
		Tensor: r.groups.Tensor, DType: dtype, Recompute: r.cfg.Batching.Recompute && opt != nil,
		RotaryCos: r.in.rotaryCos, RotarySin: r.in.rotarySin, Positions: r.in.positions,
	})
	m.exec = &pipeline.Executor{Stage: m.stage, Stream: r.stream, Arena: r.work, Scale: 1}
	r.matrices = append(r.matrices, matrices{m.stage.Params, opt != nil})
	if opt != nil {
		m.unit = opt.ScheduleUnit
		m.rate = optim.Schedule{Max: opt.LearningRate, Final: opt.FinalLearningRate, Warmup: opt.WarmupSteps, Decay: opt.Decay, DecaySteps: opt.DecaySteps}
		m.opt, err = optim.New(r.stream, m.stage.Params, r.groups, optim.Settings{
			Beta1: opt.Betas[0], Beta2: opt.Betas[1], Eps: opt.Eps, WeightDecay: opt.WeightDecay,
			MaxGradNorm: opt.MaxGradNorm, DecayNormsAndBiases: opt.DecayNormsAndBiases,
		})
	}
	if err == nil {
		err = r.stream.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", role, err)
	}
	return m, nil
}

// shareGradients allocates one gradient buffer for models that are trained in turns.
func (r *rank) shareGradients(models ...*model) {
	n := 0
	for _, m := range models {
		n = max(n, m.stage.Params.Len())
	}
	r.grads = r.stream.Alloc(r.stream.Wide(), n)
}

// microLoss is the share of the loss that a micro-batch has, and fills in its gradient with respect to the outputs.
type microLoss func(micro pipeline.MicroBatch, out pipeline.Output, grad pipeline.Gradient) (loss float64, err error)

// accumulate runs a plan forward and backward with the gradients at zero before. The loss is that of this replica.
func (m *model) accumulate(ctx context.Context, plan pipeline.Plan, of microLoss) (loss float64, err error) {
	err = m.exec.Train(ctx, plan.Micros, m.adding(&loss, plan, of))
	return loss, err
}

// accumulateAndSee is accumulate that also returns what the head said on all replicas.
func (m *model) accumulateAndSee(ctx context.Context, plan pipeline.Plan, of microLoss) (loss float64, seen [][]pipeline.Result, err error) {
	seen, err = m.replicas.Train(ctx, m.exec, plan, m.adding(&loss, plan, of))
	return loss, seen, err
}

// adding zeroes the gradients, and is the loss of micro-batch i that adds to loss.
func (m *model) adding(loss *float64, plan pipeline.Plan, of microLoss) func(i int, out pipeline.Output, grad pipeline.Gradient) {
	g := m.grads.Slice(0, m.stage.Params.Len())
	m.stream.Zero(g)
	m.stage.Params.Lend(g)
	return func(i int, out pipeline.Output, grad pipeline.Gradient) {
		part, err := of(plan.Micros[i], out, grad)
		if err != nil {
			m.stream.Fail(err)
		}
		*loss += part
	}
}

// calibrate applies the fixed gain and bias of a normalised reward model, which a value model that starts from it shares.
func (m *model) calibrate(raw []float64) []float64 {
	xs := make([]float64, len(raw))
	gain, bias := calibration(m.config)
	for i, x := range raw {
		xs[i] = gain*x + bias
	}
	return xs
}

// calibrateGradient turns gradients of calibrated values into those of the head's own.
func (m *model) calibrateGradient(d []float64) {
	gain, _ := calibration(m.config)
	for i := range d {
		d[i] *= gain
	}
}

func calibration(cfg falcon.Config) (gain, bias float64) {
	if n := cfg.Normalisation; n != nil {
		return n.Gain, n.Bias
	}
	return 1, 0
}

// learningRate is that of the next update; iteration counts from 0.
func (m *model) learningRate(iteration int) float64 {
	if m.unit == "iteration" {
		return m.rate.Rate(iteration)
	}
	return m.rate.Rate(m.opt.Steps())
}

// sum adds up numbers over the data ranks, in rank order, so that all ranks get the same.
func (r *rank) sum(xs ...*float64) error {
	if r.groups.Data.Size() == 1 {
		return nil
	}
	var mine []byte
	for _, x := range xs {
		mine = binary.LittleEndian.AppendUint64(mine, math.Float64bits(*x))
		*x = 0
	}
	all, err := r.groups.Data.Exchange(mine)
	if err != nil {
		return err
	}
	for _, theirs := range all {
		for i, x := range xs {
			*x += math.Float64frombits(binary.LittleEndian.Uint64(theirs[8*i:]))
		}
	}
	return nil
}

// max makes x the largest of all data ranks; NaN counts as the largest.
func (r *rank) max(x *float64) error {
	if r.groups.Data.Size() == 1 {
		return nil
	}
	all, err := r.groups.Data.Exchange(binary.LittleEndian.AppendUint64(nil, math.Float64bits(*x)))
	for _, theirs := range all {
		y := math.Float64frombits(binary.LittleEndian.Uint64(theirs))
		*x = math.Max(*x, y) // NaN if either is
	}
	return err
}

// agree tells every rank whether any rank says yes.
func (r *rank) agree(yes bool) (bool, error) {
	if r.world.Size() == 1 {
		return yes, nil
	}
	vote := []byte{0}
	if yes {
		vote[0] = 1
	}
	all, err := r.world.Exchange(vote)
	for _, v := range all {
		yes = yes || len(v) > 0 && v[0] == 1
	}
	return yes, err
}
