// Package optim turns gradients into new weights: it sums them over the ranks, clips them by their global norm, and runs
// AdamW on float32 master weights. It sees a model only as the segments of package param.
package optim

import (
	"fmt"
	"math"

	"alfred/internal/backend"
	"alfred/internal/param"
	"alfred/internal/tensor"
)

// Settings of AdamW and of clipping.
type Settings struct {
	Beta1, Beta2, Eps, WeightDecay float64
	MaxGradNorm                    float64 // 0: no clipping
	DecayNormsAndBiases            bool
}

// AdamW optimises the parameters of one store. Its state is wide and flat, laid out as the store's weights.
type AdamW struct {
	store    *param.Store
	sums     sums
	settings Settings
	master   tensor.Tensor // the weights themselves when they are wide
	m, v     tensor.Tensor
	norm     tensor.Tensor // [1] float64
	squares  [1]float64    // norm on the host
	steps    int
}

// New allocates the state from the stream's current arena: moments of zero, and master weights unless the weights are wide
// themselves. Call Adopt once the weights have been loaded.
func New(s *backend.Stream, store *param.Store, groups Groups, settings Settings) (*AdamW, error) {
	o := &AdamW{store: store, settings: settings}
	o.m, o.v = s.Zeros(s.Wide(), store.Len()), s.Zeros(s.Wide(), store.Len())
	o.master = store.Weights()
	if store.DType() != s.Wide() {
		o.master = s.Alloc(s.Wide(), store.Len())
	}
	o.norm = s.Alloc(tensor.Float64, 1)
	var err error
	if o.sums, err = newSums(s, store, groups); err != nil {
		return nil, fmt.Errorf("optim: %w", err)
	}
	return o, s.Err()
}

// Adopt makes the master weights those that the store holds now.
func (o *AdamW) Adopt(s *backend.Stream) {
	if o.store.DType() != s.Wide() {
		s.Copy(o.master, o.store.Weights())
	}
}

// Steps is the number of updates so far.
func (o *AdamW) Steps() int { return o.steps }

// State lists the flat buffers that a checkpoint must hold besides the weights, by name.
func (o *AdamW) State() map[string]tensor.Tensor {
	state := map[string]tensor.Tensor{"exp_avg": o.m, "exp_avg_sq": o.v}
	if o.store.DType() != o.m.DType() {
		state["master"] = o.master
	}
	return state
}

// Restore sets the number of updates that the loaded state has seen.
func (o *AdamW) Restore(steps int) { o.steps = steps }

// maxScaledNorm bounds the norm of the gradient that AdamW takes in, after clipping. The norm is at least as large as any element g,
// and the state is float32: g² of more than 2^128 is Inf, which would stay in v and take the element out of training for good, since
// m/√v is 0 from then on. At 2^63, g² and the corrected mean of such squares stay below with two bits to spare for roundings. The
// bound is the same where the state is wider, so that no device takes a step that another one refuses.
const maxScaledNorm = 0x1p63

// Update sums the store's gradients over the ranks, clips them, and takes one step. norm is the global L2 norm before
// clipping, the same on all ranks. When it is not finite, or above 2^63 after clipping, nothing is changed and applied is false.
//
// Clipping has the form of torch.nn.utils.clip_grad_norm_: gradients are scaled by min(1, MaxGradNorm/(norm+1e-6)).
func (o *AdamW) Update(s *backend.Stream, learningRate float64) (norm float64, applied bool, err error) {
	o.sums.reduce(s)
	if norm, err = o.gradNorm(s); err != nil {
		return 0, false, err
	}
	scale := 1.0
	if o.settings.MaxGradNorm > 0 {
		scale = min(1, o.settings.MaxGradNorm/(norm+1e-6))
	}
	if !(norm*scale <= maxScaledNorm) { // so is NaN; Inf·0 is NaN too
		return norm, false, nil
	}
	o.steps++
	for i, p := range o.store.Params() {
		step := backend.AdamWStep{
			LearningRate: learningRate, Beta1: o.settings.Beta1, Beta2: o.settings.Beta2, Eps: o.settings.Eps,
			Step: o.steps, GradScale: scale,
		}
		if p.Decay || o.settings.DecayNormsAndBiases {
			step.WeightDecay = o.settings.WeightDecay
		}
		s.AdamW(p.Weight(), o.store.View(o.master, i), o.store.View(o.m, i), o.store.View(o.v, i), p.Grad(), step)
		p.Touch()
	}
	return norm, true, s.Err()
}

// gradNorm is the L2 norm of the summed gradients of the whole model: every segment is counted by the one rank that owns it.
func (o *AdamW) gradNorm(s *backend.Stream) (float64, error) {
	s.Zero(o.norm)
	for _, p := range o.store.Params() {
		for _, seg := range p.Segments {
			if seg.Owner {
				s.SumSquares(o.norm, p.Part(p.Grad(), seg))
			}
		}
	}
	o.sums.groups.Model.AllReduce(s, o.norm)
	err := s.Download(backend.Float64s(o.squares[:]), o.norm).Wait()
	return math.Sqrt(o.squares[0]), err
}
