package checkpoint

import (
	"fmt"
	"maps"
	"path"
	"slices"

	"alfred/internal/backend"
	"alfred/internal/checkpoint/safetensors"
	"alfred/internal/optim"
	"alfred/internal/param"
	"alfred/internal/tensor"
)

// Load uploads the segments that this rank holds, converted to the store's type. Parameters named in fresh may be absent in the
// files and are zero then; so a language model becomes a reward model with score.weight fresh. Host memory stays below a few
// pieces of 16 MB, whatever the model's size.
func (m *Model) Load(s *backend.Stream, store *param.Store, fresh ...string) error {
	err := m.src.load(s, store, store.Weights(), fresh)
	touch(store)
	return unusable(s, err, "load "+m.Dir)
}

// unusable tells the errors of files, which wrap ErrUnusable, from those of a device.
func unusable(s *backend.Stream, err error, what string) error {
	if s.Err() != nil {
		return s.Err()
	}
	if err != nil {
		return fmt.Errorf("checkpoint: %s: %w: %w", what, ErrUnusable, err)
	}
	return nil
}

func touch(store *param.Store) {
	for _, p := range store.Params() {
		p.Touch()
	}
}

// load fills flat, a buffer laid out as the store's weights. The error lists everything that does not fit; then nothing has been
// written.
func (src *source) load(s *backend.Stream, store *param.Store, flat tensor.Tensor, fresh []string) error {
	if s.Err() != nil {
		return nil // the stream will tell
	}
	var errs []error
	for _, p := range store.Params() {
		switch t := src.stored[p.Name]; {
		case t == nil && !slices.Contains(fresh, p.Name):
			errs = append(errs, fmt.Errorf("tensor %s %v is missing", p.Name, p.Shape))
		case t != nil && !slices.Equal(t.shape, p.Shape):
			errs = append(errs, fmt.Errorf("tensor %s has shape %v, the model needs %v", p.Name, t.shape, p.Shape))
		}
	}
	if err := joinFew(errs); err != nil {
		return err
	}
	var r reader
	for i, p := range store.Params() {
		to := store.View(flat, i)
		t := src.stored[p.Name]
		if t == nil {
			s.Zero(to)
			continue
		}
		if err := r.upload(s, t, p, to); err != nil {
			return err
		}
	}
	return nil
}

// upload fills to, of the parameter's local shape.
func (r *reader) upload(s *backend.Stream, t *stored, p *param.Param, to tensor.Tensor) error {
	// The stream converts what it knows, with the same single rounding.
	dtype, host := t.dtype, hostType(t.dtype)
	if host == tensor.Invalid {
		var err error
		if dtype, err = fileType(to.DType()); err != nil {
			return err
		}
		host = to.DType()
	}
	for _, seg := range p.Segments {
		rows, cols, shift := t.rows(), t.cols(), 0
		if seg.Dim == 0 {
			rows = safetensors.Range{Lo: seg.Global, Hi: seg.Global + seg.Count}
			shift = seg.Local - seg.Global
		} else {
			cols = safetensors.Range{Lo: seg.Global, Hi: seg.Global + seg.Count}
		}
		err := r.pieces(t, dtype, rows, cols, func(at, n int, data []byte) error {
			s.Upload(to.Slice(at+shift, at+shift+n), backend.Raw(host, data))
			return s.Err()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// OptimizerState is the saved state of one model's optimizer. Any number of goroutines may restore from it.
type OptimizerState struct {
	dir     string
	steps   int
	kinds   map[string]*source
	weights *source
}

// OpenOptimizer opens the state of the optimizer of the named model.
func (c *Checkpoint) OpenOptimizer(model string) (_ *OptimizerState, err error) {
	st := &OptimizerState{dir: c.Dir, kinds: map[string]*source{}}
	defer func() {
		if err != nil {
			st.Close()
			err = fmt.Errorf("checkpoint: optimizer of %s in %s: %w: %w", model, c.Dir, ErrUnusable, err)
		}
	}()
	contents, ok := c.Manifest.contents(model)
	if !ok || contents.Optimizer == nil {
		return nil, fmt.Errorf("there is none")
	}
	st.steps = contents.Optimizer.Steps
	for _, kind := range contents.Optimizer.Kinds {
		if st.kinds[kind], err = openSegments(c.tensorFiles(path.Join(optimizerDir, model, kind))); err != nil {
			return nil, err
		}
	}
	st.weights, err = openSegments(c.tensorFiles(model + "/model"))
	return st, err
}

const masterKind = "master" // of optimizer state: weights of full width

// Restore fills the optimizer's state and sets its number of updates. The store's weights must be loaded before. Where the saved
// run and this one store weights in different types, the wider of weights and master weights is what both get.
func (st *OptimizerState) Restore(s *backend.Stream, store *param.Store, o *optim.AdamW) error {
	return unusable(s, st.restore(s, store, o), "optimizer state in "+st.dir)
}

func (st *OptimizerState) restore(s *backend.Stream, store *param.Store, o *optim.AdamW) error {
	state := o.State()
	for _, kind := range slices.Sorted(maps.Keys(state)) {
		src := st.kinds[kind]
		if src == nil && kind == masterKind { // saved with weights of full width
			src = st.weights
		}
		if src == nil {
			return fmt.Errorf("%s is missing", kind)
		}
		if err := src.load(s, store, state[kind], nil); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	if src := st.kinds[masterKind]; src != nil && state[masterKind].Absent() {
		if err := src.load(s, store, store.Weights(), nil); err != nil {
			return fmt.Errorf("%s: %w", masterKind, err)
		}
		touch(store)
	}
	o.Restore(st.steps)
	return nil
}

// Close closes the files.
func (st *OptimizerState) Close() {
	for _, src := range st.kinds {
		if src != nil {
			src.close()
		}
	}
	if st.weights != nil {
		st.weights.close()
	}
}
