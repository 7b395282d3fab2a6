package checkpoint_test

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/checkpoint"
	"alfred/internal/checkpoint/storage"
	"alfred/internal/collective"
	"alfred/internal/collective/inproc"
	"alfred/internal/falcon"
	"alfred/internal/mesh"
	"alfred/internal/optim"
	"alfred/internal/param"
	"alfred/internal/tensor"
)

const goldens = "../falcon/testdata/golden"

// forms are the goldens' directories, which transformers wrote.
var forms = []string{"form-40b", "form-40b-1ln", "form-40b-reward", "form-7b", "form-rw", "form-rw-4", "form-rw-reward"}

// configOf is a golden's configuration with a vocabulary that four tensor ranks can share.
func configOf(t testing.TB, form string) falcon.Config {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(goldens, form, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	cfg, _, err := falcon.ParseConfig(text)
	if err != nil {
		t.Fatal(err)
	}
	cfg.VocabSize = 4*backend.VocabBlock + 3
	return cfg
}

// trainee is one rank's part of a model with its optimizer.
type trainee struct {
	cfg    falcon.Config
	stream *backend.Stream
	store  *param.Store
	opt    *optim.AdamW
}

// part chooses which of a stage's parameters a pipeline rank holds.
type part func(params []*param.Param) []*param.Param

// newTrainee allocates a model whose weights and state are all zero. half chooses its pipeline stage; nil is all of the model.
func newTrainee(d backend.Device, cfg falcon.Config, dtype tensor.DType, group collective.Group, half part) (*trainee, error) {
	s := d.Stream()
	arena, err := d.Arena("test", 16<<20)
	if err != nil {
		return nil, err
	}
	s.Use(arena)
	stage := falcon.NewStage(s, cfg, falcon.Options{Tensor: group, DType: dtype, Positions: 8})
	store := stage.Params
	if half != nil {
		store = param.NewStore(half(store.Params()))
		store.Bind(s, dtype)
	}
	o, err := optim.New(s, store, optim.Solo(), optim.Settings{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8})
	if err != nil {
		return nil, err
	}
	return &trainee{cfg, s, store, o}, s.Sync()
}

// flats are the buffers that a checkpoint holds, by kind.
func (tr *trainee) flats() map[string]tensor.Tensor {
	flats := tr.opt.State()
	flats["weights"] = tr.store.Weights()
	return flats
}

// seedOf makes the numbers of a whole tensor of some kind.
func seedOf(kind, name string) uint64 {
	if kind == "master" {
		kind = "weights" // what weights of full width are
	}
	h := fnv.New64a()
	fmt.Fprint(h, kind, name)
	return h.Sum64()
}

// valueAt is element i of a whole tensor: a number with all bits in use, on whatever rank it lies.
func valueAt(seed uint64, i int) float64 {
	x := seed + uint64(i)*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	return math.Ldexp(1+float64(x>>12)/(1<<52), int(x&31)-16) * float64(1-int(x>>4&2))
}

// local is what this rank holds of a whole tensor, as bytes of dtype.
func local(p *param.Param, kind string, dtype tensor.DType) []byte {
	cols := 1
	if len(p.Shape) == 2 {
		cols = p.Shape[1]
	}
	seed := seedOf(kind, p.Name)
	var xs []float64
	for _, seg := range p.Segments {
		rows, first, width := seg.Count, seg.Global*cols, cols
		if seg.Dim == 1 {
			rows, first, width = p.Shape[0], seg.Global, seg.Count
		}
		for r := range rows {
			for c := range width {
				xs = append(xs, valueAt(seed, first+r*cols+c))
			}
		}
	}
	data := make([]byte, len(xs)*dtype.Size())
	backend.Float64s(xs).Encode(data, dtype)
	return data
}

// fill gives all weights and state their values.
func (tr *trainee) fill() error {
	for kind, flat := range tr.flats() {
		for i, p := range tr.store.Params() {
			tr.stream.Upload(tr.store.View(flat, i), backend.Raw(flat.DType(), local(p, kind, flat.DType())))
		}
	}
	tr.opt.Restore(7)
	return tr.stream.Sync()
}

// check compares all bits with what fill gives. saved is the type of the weights in the checkpoint: master weights are those when
// there were no others.
func (tr *trainee) check(kinds ...string) error {
	for kind, flat := range tr.flats() {
		if len(kinds) > 0 && !slices.Contains(kinds, kind) {
			continue
		}
		for i, p := range tr.store.Params() {
			view := tr.store.View(flat, i)
			got := make([]byte, view.Bytes())
			if err := tr.stream.Download(backend.Raw(flat.DType(), got), view).Wait(); err != nil {
				return err
			}
			if !bytes.Equal(got, local(p, kind, flat.DType())) {
				return fmt.Errorf("%s of %s (%v): bits differ", kind, p.Name, p.Segments)
			}
		}
	}
	return nil
}

// ranks runs a body on every rank of a mesh.
func ranks(m mesh.Mesh, body func(world, tensorGroup collective.Group, c mesh.Coord) error) error {
	w := inproc.NewWorld(m.Ranks())
	return w.Run(func(id int) error {
		world := w.Group(id, m.Group(id, mesh.Set(mesh.Tensor, mesh.Data, mesh.Pipeline)))
		return body(world, w.Group(id, m.Group(id, mesh.Set(mesh.Tensor))), m.Coord(id))
	})
}

func one() mesh.Mesh { return mesh.Mesh{Tensor: 1, Data: 1, Pipeline: 1} }

// snapshot is a checkpoint of one model.
func snapshot(step int, tr *trainee) checkpoint.Snapshot {
	name := "policy"
	if tr.cfg.Head == falcon.SequenceClassification {
		name = "reward"
	}
	return checkpoint.Snapshot{
		Stage: "sft", Step: step, ConfigHash: "abc", State: map[string]int{"step": step},
		Models: []checkpoint.Trained{{Name: name, Config: tr.cfg, Store: tr.store, Optimizer: tr.opt}},
	}
}

// tiny is a model of a few kilobytes, for tests that write it hundreds of times.
func tiny() falcon.Config {
	return falcon.Config{
		HiddenSize: 4, NumLayers: 1, NumHeads: 2, NumKVHeads: 1, HeadDim: 2, FFNSize: 4, VocabSize: 2*backend.VocabBlock + 1, MaxPositions: 8,
		RopeTheta: 10000, LayerNormEpsilon: 1e-5, MultiQuery: true, ParallelAttention: true, NumLayerNorms: 1, TieWordEmbeddings: true, DType: "float32",
	}
}

// saver is that of a single rank.
func saver(fsys storage.FS, dir string) *checkpoint.Saver {
	return &checkpoint.Saver{FS: fsys, Dir: dir, Mesh: one(), World: collective.Solo{}}
}

// tree lists the files below a directory with their contents.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[filepath.ToSlash(name)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// names lists a directory.
func names(t testing.TB, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// mustContain fails unless the error's text has all parts.
func mustContain(t testing.TB, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one that says %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q:\n%v", part, err)
		}
	}
}

// quick is the operating system's file system without waiting for the disk, for tests of contents.
type quick struct{ storage.FS }

type quickFile struct{ storage.File }

func (q quick) Create(name string) (storage.File, error) {
	f, err := q.FS.Create(name)
	return quickFile{f}, err
}

func (quick) Sync(string) error { return nil }
func (quickFile) Sync() error   { return nil }

var quickOS = quick{storage.OS}
