package checkpoint_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"alfred/internal/backend/cpu"
	"alfred/internal/checkpoint"
	"alfred/internal/checkpoint/storage"
	"alfred/internal/checkpoint/storage/storagetest"
	"alfred/internal/collective"
	"alfred/internal/mesh"
	"alfred/internal/tensor"
)

// tinyTrainee is a filled tiny model.
func tinyTrainee(t testing.TB) *trainee {
	t.Helper()
	tr, err := newTrainee(cpu.New(1), tiny(), tensor.BFloat16, collective.Solo{}, nil)
	if err == nil {
		err = tr.fill()
	}
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// mustSave saves without faults.
func mustSave(t testing.TB, sv *checkpoint.Saver, tr *trainee, steps ...int) (saved checkpoint.Saved) {
	t.Helper()
	for _, step := range steps {
		var err error
		if saved, err = sv.Save(tr.stream, snapshot(step, tr)); err != nil {
			t.Fatal(err)
		}
	}
	return saved
}

// mustLoadLatest demands that the newest checkpoint is of the given step and gives back every bit, and that no other was refused.
func mustLoadLatest(t testing.TB, dir string, want int) {
	t.Helper()
	c, rejected, err := checkpoint.Latest(dir)
	if err != nil || len(rejected) > 0 {
		t.Fatalf("latest: %v, rejected %v; there are %v", err, rejected, names(t, dir))
	}
	var state map[string]int
	if err := c.State(&state); err != nil || state["step"] != c.Manifest.Step {
		t.Fatalf("state %v: %v", state, err)
	}
	if c.Manifest.Step != want {
		t.Fatalf("the newest checkpoint is of step %d, want %d", c.Manifest.Step, want)
	}
	m, err := c.OpenModel("policy")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	state2, err := c.OpenOptimizer("policy")
	if err != nil {
		t.Fatal(err)
	}
	defer state2.Close()
	tr, err := newTrainee(cpu.New(1), m.Config, tensor.BFloat16, collective.Solo{}, nil)
	if err := errors.Join(err, m.Load(tr.stream, tr.store), state2.Restore(tr.stream, tr.store, tr.opt), tr.check()); err != nil {
		t.Fatal(err)
	}
}

// TestEveryFailingOperation: with two checkpoints there, of which one is to go, the k-th file operation of a save
// fails, for every k. Afterwards the newest good checkpoint is the old one or the new one, complete; never one in between. After the
// next start nothing temporary is left, and the same save succeeds.
func TestEveryFailingOperation(t *testing.T) {
	type kind struct {
		Sticky, Effect bool
	}
	for name, how := range map[string]kind{
		"once":                {},
		"for good":            {Sticky: true},
		"after taking effect": {Effect: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := tinyTrainee(t)
			before := t.TempDir()
			mustSave(t, saver(quickOS, before), tr, 10, 20)
			for k := 1; ; k++ {
				dir := t.TempDir()
				if err := os.CopyFS(dir, os.DirFS(before)); err != nil {
					t.Fatal(err)
				}
				fault := &storagetest.Faulty{FS: quickOS, FailAt: k, Sticky: how.Sticky, Effect: how.Effect}
				sv := saver(fault, dir)
				sv.Keep = 2
				_, err := sv.Save(tr.stream, snapshot(30, tr))
				if fault.Ops() < k {
					if err != nil {
						t.Fatalf("no operation failed, but the save did: %v", err)
					}
					t.Logf("%d operations", fault.Ops())
					break
				}
				failed := fault.Trace()[k-1]
				newest := 20
				if slices.Contains(names(t, dir), "000030") {
					newest = 30
				}
				if err != nil && !errors.Is(err, checkpoint.ErrStorage) {
					t.Errorf("operation %d (%s): %v does not wrap ErrStorage", k, failed, err)
				}
				if err == nil && newest != 30 {
					t.Errorf("operation %d (%s) failed, the save did not, and there is no checkpoint", k, failed)
				}
				if !slices.Contains(names(t, dir), "000020") {
					t.Errorf("operation %d (%s): the checkpoint before is gone: %v", k, failed, names(t, dir))
				}
				mustLoadLatest(t, dir, newest)
				temps := 0
				for _, n := range names(t, dir) {
					if storage.IsTemp(n) {
						temps++
					}
				}
				if temps > 1 {
					t.Errorf("operation %d (%s): %d temporary directories", k, failed, temps)
				}
				if _, err := checkpoint.Clean(nil, dir); err != nil {
					t.Fatal(err)
				}
				sv = saver(quickOS, dir)
				sv.Keep = 2
				if saved := mustSave(t, sv, tr, 30); saved.Already != (newest == 30) {
					t.Errorf("operation %d (%s): saved again: %+v", k, failed, saved)
				}
				mustLoadLatest(t, dir, 30)
				if got := names(t, dir); len(got) > 3 || storage.IsTemp(got[0]) {
					t.Errorf("operation %d (%s): after cleaning and saving: %v", k, failed, got)
				}
			}
		})
	}
}

// TestFullDisk: space runs out after so many bytes.
func TestFullDisk(t *testing.T) {
	tr := tinyTrainee(t)
	dir := t.TempDir()
	total := mustSave(t, saver(quickOS, dir), tr, 10).Bytes
	for space := int64(1); space < total; space += total/40 + 1 {
		_, err := saver(&storagetest.Faulty{FS: quickOS, Space: space}, dir).Save(tr.stream, snapshot(20, tr))
		if !errors.Is(err, checkpoint.ErrStorage) {
			t.Fatalf("%d of %d bytes fit: %v", space, total, err)
		}
		mustContain(t, err, "no space left")
		if got := names(t, dir); !slices.Equal(got, []string{"000010"}) {
			t.Fatalf("%d of %d bytes fit: left %v", space, total, got)
		}
	}
	mustLoadLatest(t, dir, 10)
}

// TestPowerFailure: the disk stops at the k-th operation of a save and keeps, of what was not synced, nothing, or names
// without contents, or some of it.
func TestPowerFailure(t *testing.T) {
	tr := tinyTrainee(t)
	for k := 1; ; k++ {
		disk := storagetest.NewDisk()
		mustSave(t, saver(disk, "run/checkpoints"), tr, 10)
		fault := &storagetest.Faulty{FS: disk, FailAt: k, Sticky: true}
		_, err := saver(fault, "run/checkpoints").Save(tr.stream, snapshot(20, tr))
		done := fault.Ops() < k
		for _, crash := range []struct {
			survival storagetest.Survival
			seed     uint64
		}{{storagetest.Nothing, 0}, {storagetest.Names, 0}, {storagetest.Some, 1}, {storagetest.Some, 2}, {storagetest.Some, 3}} {
			dir := t.TempDir()
			if err := disk.Crash(crash.survival, crash.seed).Dump(dir); err != nil {
				t.Fatal(err)
			}
			dir = filepath.Join(dir, "run", "checkpoints")
			want := 10
			if slices.Contains(names(t, dir), "000020") {
				want = 20
			}
			if err == nil && want != 20 {
				t.Errorf("operation %d, %+v: a save that succeeded is lost", k, crash)
			}
			mustLoadLatest(t, dir, want)
		}
		if done {
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d operations", fault.Ops())
			return
		}
	}
}

// TestFailureOnOneRankIsOneFailure: of four ranks that write to one file system, whichever meets the k-th operation fails. All ranks
// get an error or none does, and the old checkpoint stays.
func TestFailureOnOneRankIsOneFailure(t *testing.T) {
	m := mesh.Mesh{Tensor: 2, Data: 2, Pipeline: 1}
	cfg, d := tiny(), cpu.New(1)
	dir := t.TempDir()
	if err := save(dir, d, cfg, tensor.BFloat16, m, 0); err != nil {
		t.Fatal(err)
	}
	for k := 1; ; k++ {
		fault := &storagetest.Faulty{FS: quickOS, FailAt: k}
		errs := make([]error, m.Ranks())
		err := ranks(m, func(world, group collective.Group, _ mesh.Coord) error {
			tr, err := newTrainee(d, cfg, tensor.BFloat16, group, nil)
			if err == nil {
				err = tr.fill()
			}
			if err != nil {
				return err
			}
			sv := &checkpoint.Saver{FS: fault, Dir: dir, Mesh: m, World: world}
			_, errs[world.Rank()] = sv.Save(tr.stream, snapshot(30, tr))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		own := 0
		for rank, err := range errs {
			if (err == nil) != (errs[0] == nil) {
				t.Errorf("operation %d: rank 0 got %v, rank %d %v", k, errs[0], rank, err)
			}
			if err != nil && !errors.Is(err, checkpoint.ErrStorage) {
				t.Errorf("operation %d: rank %d: %v does not wrap ErrStorage", k, rank, err)
			}
			if err != nil && !errors.Is(err, collective.ErrAborted) {
				own++
			}
		}
		if errs[0] == nil && fault.Ops() < k {
			t.Logf("%d operations", fault.Ops())
			break
		}
		if own != 1 && errs[0] != nil {
			t.Errorf("operation %d: %d ranks say that they failed, want 1: %v", k, own, errs)
		}
		for _, n := range names(t, dir) {
			if n == "000030" {
				if c, err := checkpoint.Verify(filepath.Join(dir, n)); err != nil || c.Manifest.Layout.Tensor != 2 {
					t.Errorf("operation %d: a checkpoint appeared that is not whole: %v", k, err)
				}
				os.RemoveAll(filepath.Join(dir, n))
			}
		}
		if _, err := checkpoint.Clean(nil, dir); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(names(t, dir)); got != "[000020]" {
			t.Fatalf("operation %d: left %v", k, got)
		}
	}
	mustLoadLatest(t, dir, 30)
}
