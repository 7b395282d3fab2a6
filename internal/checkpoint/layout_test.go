package checkpoint_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/backend/cpu"
	"alfred/internal/backend/reference"
	"alfred/internal/checkpoint"
	"alfred/internal/collective"
	"alfred/internal/falcon"
	"alfred/internal/mesh"
	"alfred/internal/param"
	"alfred/internal/tensor"
)

// halves cuts a model into two pipeline stages. A tied embedding lives on both; the first one owns it.
func halves(cfg falcon.Config, stage int) part {
	return func(params []*param.Param) (list []*param.Param) {
		cut := len(params) / 2
		if stage == 0 {
			return params[:cut]
		}
		list = slices.Clone(params[cut:])
		if cfg.TieWordEmbeddings && cfg.Head == falcon.CausalLM {
			twin := *params[0]
			twin.Segments = slices.Clone(twin.Segments)
			for i := range twin.Segments {
				twin.Segments[i].Owner = false
			}
			list = append(list, &twin)
		}
		return list
	}
}

func build(d backend.Device, cfg falcon.Config, dtype tensor.DType, m mesh.Mesh, group collective.Group, c mesh.Coord) (*trainee, error) {
	var half part
	if m.Pipeline == 2 {
		half = halves(cfg, c.Pipeline)
	}
	return newTrainee(d, cfg, dtype, group, half)
}

// save writes step 20 of a filled model under a layout.
func save(dir string, d backend.Device, cfg falcon.Config, dtype tensor.DType, m mesh.Mesh, shardBytes int64) error {
	return ranks(m, func(world, group collective.Group, c mesh.Coord) error {
		tr, err := build(d, cfg, dtype, m, group, c)
		if err != nil {
			return err
		}
		if err := tr.fill(); err != nil {
			return err
		}
		sv := &checkpoint.Saver{FS: quickOS, Dir: dir, Mesh: m, World: world, ShardBytes: shardBytes}
		_, err = sv.Save(tr.stream, snapshot(20, tr))
		return err
	})
}

// load restores it under another layout and compares all bits.
func load(dir string, d backend.Device, cfg falcon.Config, dtype tensor.DType, m mesh.Mesh, kinds ...string) error {
	c, rejected, err := checkpoint.Latest(dir)
	if err != nil || len(rejected) > 0 {
		return fmt.Errorf("latest: %v, %v", err, rejected)
	}
	model, err := c.OpenModel("")
	if err != nil {
		return err
	}
	defer model.Close()
	state, err := c.OpenOptimizer(model.Name)
	if err != nil {
		return err
	}
	defer state.Close()
	return ranks(m, func(_, group collective.Group, coord mesh.Coord) error {
		tr, err := build(d, model.Config, dtype, m, group, coord)
		if err != nil {
			return err
		}
		before := tr.store.Params()[0].Weight().Stamp().Version
		if err := errors.Join(model.Load(tr.stream, tr.store), state.Restore(tr.stream, tr.store, tr.opt)); err != nil {
			return err
		}
		if tr.store.Params()[0].Weight().Stamp().Version == before {
			return errors.New("the weights' stamp does not tell that they were written")
		}
		if tr.opt.Steps() != 7 {
			return fmt.Errorf("the optimizer has seen %d updates, want 7", tr.opt.Steps())
		}
		return tr.check(kinds...)
	})
}

// TestAnyLayoutToAnyOther saves every form under every layout and loads it under every other one: no bit of weights, moments or
// master weights changes. Values are functions of name and position in the whole tensor, so each rank knows what it must find.
func TestAnyLayoutToAnyOther(t *testing.T) {
	layouts := []mesh.Mesh{
		{Tensor: 1, Data: 1, Pipeline: 1}, {Tensor: 2, Data: 1, Pipeline: 1}, {Tensor: 4, Data: 1, Pipeline: 1}, {Tensor: 1, Data: 2, Pipeline: 1},
		{Tensor: 1, Data: 1, Pipeline: 2}, {Tensor: 2, Data: 2, Pipeline: 2},
	}
	for _, form := range forms {
		for _, dtype := range []tensor.DType{tensor.Float32, tensor.BFloat16} {
			t.Run(form+" "+dtype.String(), func(t *testing.T) {
				t.Parallel()
				cfg := configOf(t, form)
				d := cpu.New(1)
				for i, from := range layouts {
					dir := t.TempDir()
					if err := save(dir, d, cfg, dtype, from, 0); err != nil {
						t.Fatalf("save under %v: %v", from, err)
					}
					for j, to := range layouts {
						if form != "form-40b" && (i+j)%3 > 0 { // all pairs for one form, each layout with some others for the rest
							continue
						}
						if err := load(dir, d, cfg, dtype, to); err != nil {
							t.Errorf("%v -> %v: %v", from, to, err)
						}
					}
				}
			})
		}
	}
}

// TestReferenceBackend does the same for weights of float64.
func TestReferenceBackend(t *testing.T) {
	cfg, d := configOf(t, "form-40b"), reference.New()
	for _, from := range []mesh.Mesh{{Tensor: 1, Data: 1, Pipeline: 1}, {Tensor: 4, Data: 1, Pipeline: 1}} {
		dir := t.TempDir()
		if err := save(dir, d, cfg, tensor.Float64, from, 0); err != nil {
			t.Fatal(err)
		}
		for _, to := range []mesh.Mesh{{Tensor: 1, Data: 1, Pipeline: 1}, {Tensor: 2, Data: 1, Pipeline: 1}} {
			if err := load(dir, d, cfg, tensor.Float64, to); err != nil {
				t.Errorf("%v -> %v: %v", from, to, err)
			}
		}
	}
}

// TestOtherPrecision: bfloat16 weights with master weights give their master weights to a run in float32, and float32 weights
// become the master weights of a run in bfloat16. Neither rounds twice.
func TestOtherPrecision(t *testing.T) {
	cfg, d := configOf(t, "form-7b"), cpu.New(1)
	for _, c := range [][2]tensor.DType{{tensor.BFloat16, tensor.Float32}, {tensor.Float32, tensor.BFloat16}} {
		dir := t.TempDir()
		if err := save(dir, d, cfg, c[0], mesh.Mesh{Tensor: 2, Data: 1, Pipeline: 1}, 0); err != nil {
			t.Fatal(err)
		}
		if err := load(dir, d, cfg, c[1], one()); err != nil {
			t.Errorf("%v -> %v: %v", c[0], c[1], err)
		}
	}
}

// TestSmallShards cuts weights and state into many files.
func TestSmallShards(t *testing.T) {
	cfg, d := configOf(t, "form-rw"), cpu.New(1)
	for _, from := range []mesh.Mesh{{Tensor: 1, Data: 1, Pipeline: 1}, {Tensor: 1, Data: 1, Pipeline: 2}, {Tensor: 2, Data: 1, Pipeline: 2}} {
		dir := t.TempDir()
		if err := save(dir, d, cfg, tensor.BFloat16, from, 20_000); err != nil {
			t.Fatal(err)
		}
		files := names(t, filepath.Join(dir, "000020", "policy"))
		if len(files) < 6 {
			t.Errorf("%v: files %v, want many", from, files)
		}
		if got := slices.Contains(files, "model.safetensors.index.json"); got != (from.Tensor == 1) {
			t.Errorf("%v: index there: %v, files %v", from, got, files)
		}
		if err := load(dir, d, cfg, tensor.BFloat16, mesh.Mesh{Tensor: 2, Data: 1, Pipeline: 1}); err != nil {
			t.Errorf("%v: %v", from, err)
		}
	}
}

// TestFolderOfTensorSizeOneIsPlain: the model's folder opens as a Hugging Face directory by itself, index or not; under tensor
// size 2 it is recognised as part of a checkpoint.
func TestFolderOfTensorSizeOneIsPlain(t *testing.T) {
	cfg, d := configOf(t, "form-40b"), cpu.New(1)
	for _, c := range []struct {
		layout mesh.Mesh
		limit  int64
		plain  bool
	}{
		{one(), 0, true}, {one(), 30_000, true}, {mesh.Mesh{Tensor: 1, Data: 2, Pipeline: 2}, 0, true}, {mesh.Mesh{Tensor: 2, Data: 1, Pipeline: 1}, 0, false},
	} {
		dir := t.TempDir()
		if err := save(dir, d, cfg, tensor.Float32, c.layout, c.limit); err != nil {
			t.Fatal(err)
		}
		m, err := checkpoint.OpenModel(filepath.Join(dir, "000020", "policy"))
		if err != nil {
			t.Fatalf("%v: %v", c.layout, err)
		}
		if plain := m.Checkpoint == nil; plain != c.plain {
			t.Errorf("%v: opened as a plain directory: %v, want %v", c.layout, plain, c.plain)
		}
		if m.Config.Role != "policy" || len(m.Warnings) > 0 {
			t.Errorf("%v: role %q, warnings %q", c.layout, m.Config.Role, m.Warnings)
		}
		tr, err := newTrainee(d, cfg, tensor.Float32, collective.Solo{}, nil)
		if err := errors.Join(err, m.Load(tr.stream, tr.store), tr.check("weights")); err != nil {
			t.Errorf("%v: %v", c.layout, err)
		}
		m.Close()
	}
}
