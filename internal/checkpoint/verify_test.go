package checkpoint_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"alfred/internal/backend/cpu"
	"alfred/internal/checkpoint"
	"alfred/internal/collective"
	"alfred/internal/mesh"
	"alfred/internal/tensor"
)

// TestDamageIsDetected: damage of every kind to every file of the newest checkpoint is found, named with what was expected
// and what is there, and the checkpoint before is used; without one the error wraps ErrUnusable and not ErrNone.
func TestDamageIsDetected(t *testing.T) {
	dir := t.TempDir()
	cfg, d := tiny(), cpu.New(1)
	for _, step := range []int{10, 20} {
		err := ranks(mesh.Mesh{Tensor: 2, Data: 1, Pipeline: 1}, func(world, group collective.Group, _ mesh.Coord) error {
			tr, err := newTrainee(d, cfg, tensor.BFloat16, group, nil)
			if err := errors.Join(err, tr.fill()); err != nil {
				return err
			}
			sv := &checkpoint.Saver{FS: quickOS, Dir: dir, Mesh: mesh.Mesh{Tensor: 2, Data: 1, Pipeline: 1}, World: world}
			_, err = sv.Save(tr.stream, snapshot(step, tr))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	newest := filepath.Join(dir, "000020")
	files := tree(t, newest)
	if len(files) < 12 {
		t.Fatalf("files %v", slices.Sorted(maps.Keys(files)))
	}
	rng := rand.New(rand.NewPCG(1, 2))
	trials := 0
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path, good := filepath.Join(newest, filepath.FromSlash(name)), files[name]
		damage := map[string]string{"cut to 0": "", "cut to 1": good[:1], "cut in half": good[:len(good)/2], "last byte missing": good[:len(good)-1],
			"one byte more": good + "x", "page of zeros": strings.Repeat("\x00", min(4096, len(good))) + good[min(4096, len(good)):]}
		flip := func(at, bit int) {
			bad := []byte(good)
			bad[at] ^= 1 << bit
			damage[fmt.Sprintf("bit %d of byte %d", bit, at)] = string(bad)
		}
		for range 24 {
			flip(rng.IntN(len(good)), rng.IntN(8))
		}
		flip(0, 0)
		flip(len(good)-1, 7)
		for what, bad := range damage {
			trials++
			if err := os.WriteFile(path, []byte(bad), 0o666); err != nil {
				t.Fatal(err)
			}
			c, rejected, err := checkpoint.Latest(dir)
			if err != nil || c.Manifest.Step != 10 || len(rejected) != 1 || rejected[0].Dir != newest {
				t.Fatalf("%s, %s: latest %+v, rejected %v, %v", name, what, c, rejected, err)
			}
			mustContain(t, rejected[0].Err, name)
			if name != "manifest.json" {
				mustContain(t, rejected[0].Err, "the manifest says")
			}
			if _, err := checkpoint.Verify(newest); !errors.Is(err, checkpoint.ErrUnusable) {
				t.Errorf("%s, %s: verify: %v", name, what, err)
			}
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if _, rejected, err := checkpoint.Latest(dir); err != nil || len(rejected) != 1 {
			t.Errorf("%s removed: rejected %v, %v", name, rejected, err)
		} else {
			mustContain(t, rejected[0].Err, name, "is missing")
		}
		if err := os.WriteFile(path, []byte(good), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d trials", trials)
	if err := load(dir, d, cfg, tensor.BFloat16, one()); err != nil {
		t.Errorf("after repair: %v", err)
	}
	for _, name := range []string{"000010", "000020"} {
		if err := os.WriteFile(filepath.Join(dir, name, "state.json"), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	_, rejected, err := checkpoint.Latest(dir)
	if len(rejected) != 2 || !errors.Is(err, checkpoint.ErrUnusable) || errors.Is(err, checkpoint.ErrNone) {
		t.Errorf("two damaged checkpoints: rejected %v, %v", rejected, err)
	}
	mustContain(t, err, "000010", "000020", "state.json", "has 0 bytes, the manifest says")
}

func TestLatestOfNothing(t *testing.T) {
	dir := t.TempDir()
	for _, dir := range []string{filepath.Join(dir, "absent"), dir} {
		_, rejected, err := checkpoint.Latest(dir)
		if !errors.Is(err, checkpoint.ErrNone) || !errors.Is(err, checkpoint.ErrUnusable) || len(rejected) > 0 {
			t.Errorf("%s: rejected %v, %v; want ErrNone", dir, rejected, err)
		}
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, _, err := checkpoint.Latest(file); !errors.Is(err, checkpoint.ErrUnusable) || errors.Is(err, checkpoint.ErrNone) {
		t.Errorf("a file in place of the folder: %v", err)
	}
}

// TestStepsAreOrderedAsNumbers, beyond the six digits of a name too.
func TestStepsAreOrderedAsNumbers(t *testing.T) {
	dir := t.TempDir()
	sv := saver(quickOS, dir)
	sv.Keep = 2
	saved := mustSave(t, sv, tinyTrainee(t), 999_998, 999_999, 1_000_000)
	if got, want := names(t, dir), []string{"1000000", "999999"}; !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
	if !slices.Equal(saved.Pruned, []string{"999998"}) {
		t.Errorf("pruned %v", saved.Pruned)
	}
	mustLoadLatest(t, dir, 1_000_000)
}

// TestCheckpointUnderAnotherName: a manifest of another step (a directory that was renamed, a manifest that was copied) is refused.
func TestCheckpointUnderAnotherName(t *testing.T) {
	dir := t.TempDir()
	mustSave(t, saver(quickOS, dir), tinyTrainee(t), 10, 20)
	if err := os.Rename(filepath.Join(dir, "000020"), filepath.Join(dir, "000030")); err != nil {
		t.Fatal(err)
	}
	c, rejected, err := checkpoint.Latest(dir)
	if err != nil || c.Manifest.Step != 10 || len(rejected) != 1 {
		t.Fatalf("latest %+v, rejected %v, %v", c, rejected, err)
	}
	mustContain(t, rejected[0].Err, "step 20")
	if err := os.Rename(filepath.Join(dir, "000030"), filepath.Join(dir, "000020")); err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(filepath.Join(dir, "000010", "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "000020", "manifest.json"), other, 0o666); err != nil {
		t.Fatal(err)
	}
	if c, rejected, err := checkpoint.Latest(dir); err != nil || c.Manifest.Step != 10 || len(rejected) != 1 {
		t.Fatalf("latest %+v, rejected %v, %v", c, rejected, err)
	}
}

// TestDamagedCheckpointIsReplaced: a run that went back to step 10 because 20 was damaged gets to step 20 again. The damaged one does
// not count among those kept.
func TestDamagedCheckpointIsReplaced(t *testing.T) {
	dir := t.TempDir()
	tr := tinyTrainee(t)
	sv := saver(quickOS, dir)
	sv.Keep = 2
	mustSave(t, sv, tr, 10, 20)
	if err := os.WriteFile(filepath.Join(dir, "000020", "state.json"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	mustSave(t, sv, tr, 15)
	if got, want := names(t, dir), []string{"000010", "000015", "000020"}; !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
	if saved := mustSave(t, sv, tr, 20); saved.Already || saved.Bytes == 0 {
		t.Errorf("saved %+v over a damaged checkpoint", saved)
	}
	mustLoadLatest(t, dir, 20)
	if got, want := names(t, dir), []string{"000015", "000020"}; !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
	before := tree(t, dir)
	if saved := mustSave(t, sv, tr, 20); !saved.Already {
		t.Errorf("saved %+v where a good checkpoint was", saved)
	}
	if !maps.Equal(before, tree(t, dir)) {
		t.Error("a good checkpoint was changed")
	}
}

// unsound writes something else than it is asked to, as a bad disk or bad memory does, and tells nobody.
type unsound struct{ quick }

// TestOldOnesStayWhenTheNewOneDoesNotVerify.
func TestOldOnesStayWhenTheNewOneDoesNotVerify(t *testing.T) {
	dir := t.TempDir()
	tr := tinyTrainee(t)
	mustSave(t, saver(quickOS, dir), tr, 10, 20)
	sv := saver(unsound{quickOS}, dir)
	sv.Keep = 2
	_, err := sv.Save(tr.stream, snapshot(30, tr))
	if !errors.Is(err, checkpoint.ErrStorage) {
		t.Fatalf("save to an unsound disk: %v", err)
	}
	mustContain(t, err, "read back", "state.json", "the manifest says")
	if got, want := names(t, dir), []string{"000010", "000020", "000030"}; !slices.Equal(got, want) {
		t.Errorf("left %v, want %v", got, want)
	}
	if c, _, err := checkpoint.Latest(dir); err != nil || c.Manifest.Step != 20 {
		t.Errorf("latest %+v, %v", c, err)
	}
}

// Rename spoils the loop state once all of a checkpoint is written.
func (u unsound) Rename(from, to string) error {
	if err := u.quick.Rename(from, to); err != nil || filepath.Base(to) != "000030" {
		return err
	}
	return os.WriteFile(filepath.Join(to, "state.json"), []byte("{}"), 0o666)
}
