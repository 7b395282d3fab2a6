package storage_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"alfred/internal/checkpoint/storage"
	"alfred/internal/checkpoint/storage/storagetest"
)

const checkpoints = "run/checkpoints"

// contents of a checkpoint; the files differ in size and depth.
var contents = map[string]string{
	"manifest.json":            "manifest",
	"policy/config.json":       "{}",
	"policy/model.safetensors": strings.Repeat("weights ", 100),
	"state":                    "loop",
}

// save commits the contents as checkpoints/name in the way that a checkpoint writer does. The files are deliberately
// not synced one by one: CommitDir alone must make them durable.
func save(fsys storage.FS, name string) error {
	if err := storage.MkdirAll(fsys, checkpoints); err != nil {
		return err
	}
	final := filepath.Join(checkpoints, name)
	temp := storage.TempName(final)
	if err := fsys.Mkdir(temp); err != nil {
		return err
	}
	if err := fsys.Mkdir(filepath.Join(temp, "policy")); err != nil {
		return err
	}
	for file, text := range contents {
		f, err := fsys.Create(filepath.Join(temp, file))
		if err != nil {
			return err
		}
		if _, err := io.WriteString(f, text); err != nil {
			f.Close()
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return storage.CommitDir(fsys, temp, final)
}

// check reports whether checkpoints/name is absent or whole; anything between is an error.
func check(disk *storagetest.Disk, name string) (present bool, err error) {
	entries, err := disk.ReadDir(checkpoints)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	for _, entry := range entries {
		present = present || entry.Name() == name
	}
	if !present {
		return false, nil
	}
	files := disk.Files()
	for file, want := range contents {
		path := checkpoints + "/" + name + "/" + file
		if got, ok := files[path]; !ok || got != want {
			return true, fmt.Errorf("%s: present %v, %d bytes, want %d", path, ok, len(got), len(want))
		}
	}
	return true, nil
}

// modes are the ways in which an operation fails: only once or for good, without its effect or with it.
var modes = []struct{ sticky, effect bool }{{false, false}, {true, false}, {false, true}, {true, true}}

// outcomes calls visit with the disk as it is and with what power failures may leave of it.
func outcomes(disk *storagetest.Disk, visit func(how string, disk *storagetest.Disk)) {
	visit("crash, nothing survives", disk.Crash(storagetest.Nothing, 0))
	visit("crash, names survive", disk.Crash(storagetest.Names, 0))
	for seed := range uint64(20) {
		visit(fmt.Sprintf("crash, some survives, seed %d", seed), disk.Crash(storagetest.Some, seed))
	}
	visit("no crash", disk) // last: visit may change its disk
}

func TestCommitDirFailsAtEveryOperation(t *testing.T) {
	for _, mode := range modes {
		failures := 0
		for k := 1; ; k++ {
			disk := storagetest.NewDisk()
			if err := save(disk, "000010"); err != nil {
				t.Fatal(err)
			}
			faulty := &storagetest.Faulty{FS: disk, FailAt: k, Sticky: mode.sticky, Effect: mode.effect}
			err := save(faulty, "000020")
			if faulty.Ops() < k {
				if err != nil {
					t.Fatalf("no operation failed, yet: %v", err)
				}
				break
			}
			failures++
			if !errors.Is(err, syscall.EIO) {
				t.Fatalf("operation %d failed (%+v), but save returned %v\n%s", k, mode, err, strings.Join(faulty.Trace(), "\n"))
			}
			outcomes(disk, func(how string, disk *storagetest.Disk) {
				if present, err := check(disk, "000010"); !present || err != nil {
					t.Errorf("%+v, operation %d, %s: old checkpoint: present %v, %v", mode, k, how, present, err)
				}
				if _, err := check(disk, "000020"); err != nil {
					t.Errorf("%+v, operation %d, %s: new checkpoint: %v", mode, k, how, err)
				}
				if _, err := storage.RemoveTemps(disk, checkpoints); err != nil {
					t.Errorf("%+v, operation %d, %s: %v", mode, k, how, err)
				}
				for name := range disk.Files() {
					if strings.Contains(name, ".tmp-") {
						t.Errorf("%+v, operation %d, %s: %s is left over", mode, k, how, name)
					}
				}
				// A retry after the clean-up succeeds unless the new checkpoint is already there.
				if err := save(disk, "000020"); err != nil && !errors.Is(err, fs.ErrExist) {
					t.Errorf("%+v, operation %d, %s: retry: %v", mode, k, how, err)
				}
			})
		}
		if failures < 20 {
			t.Errorf("only %d operations were seen to fail", failures)
		}
	}
}

func TestCommitDirSurvivesCrash(t *testing.T) {
	disk := storagetest.NewDisk()
	if err := save(disk, "000010"); err != nil {
		t.Fatal(err)
	}
	outcomes(disk, func(how string, disk *storagetest.Disk) {
		if present, err := check(disk, "000010"); !present || err != nil {
			t.Errorf("%s: present %v, %v", how, present, err)
		}
	})
}

// lazy drops the syncs that the filter chooses: what a wrong implementation would do.
type lazy struct {
	storage.FS
	drop func(name string) bool
}

func (l lazy) Sync(name string) error {
	if l.drop(name) {
		return nil
	}
	return l.FS.Sync(name)
}

// Each kind of sync is needed: without it some crash leaves less than was promised, and this test's checks see it.
func TestEverySyncIsNeeded(t *testing.T) {
	kinds := map[string]func(name string) bool{
		"file":   func(name string) bool { return strings.HasSuffix(name, ".safetensors") },
		"subdir": func(name string) bool { return filepath.Base(name) == "policy" },
		"temp":   storage.IsTemp,
		"parent": func(name string) bool { return name == checkpoints },
	}
	for kind, drop := range kinds {
		disk := storagetest.NewDisk()
		if err := save(lazy{disk, drop}, "000010"); err != nil {
			t.Fatal(err)
		}
		seen := false
		outcomes(disk, func(how string, disk *storagetest.Disk) {
			present, err := check(disk, "000010")
			seen = seen || !present || err != nil
		})
		if !seen {
			t.Errorf("dropping the %s sync goes unnoticed", kind)
		}
	}
}

func TestAtomicFileFailsAtEveryOperation(t *testing.T) {
	write := func(fsys storage.FS, text string) error {
		return storage.WriteFile(fsys, "file", func(w io.Writer) error {
			for _, part := range strings.SplitAfter(text, " ") {
				if _, err := io.WriteString(w, part); err != nil {
					return err
				}
			}
			return nil
		})
	}
	const before, after = "the old text", "something new and longer"
	for _, mode := range modes {
		for k := 1; ; k++ {
			disk := storagetest.NewDisk()
			if err := write(disk, before); err != nil {
				t.Fatal(err)
			}
			faulty := &storagetest.Faulty{FS: disk, FailAt: k, Sticky: mode.sticky, Effect: mode.effect}
			err := write(faulty, after)
			done := faulty.Ops() < k
			if done != (err == nil) {
				t.Fatalf("%+v, operation %d: %v", mode, k, err)
			}
			outcomes(disk, func(how string, disk *storagetest.Disk) {
				got := disk.Files()["file"]
				if got != after && (done || got != before) {
					t.Errorf("%+v, operation %d, %s: file holds %q", mode, k, how, got)
				}
			})
			if !mode.sticky && !mode.effect && len(disk.Files()) != 1 {
				t.Errorf("operation %d left %v", k, disk.Files())
			}
			if done {
				break
			}
		}
	}
}

func TestNoSpace(t *testing.T) {
	disk := storagetest.NewDisk()
	err := storage.WriteFile(&storagetest.Faulty{FS: disk, Space: 10}, "file", func(w io.Writer) error {
		_, err := io.WriteString(w, "more than ten bytes")
		return err
	})
	if !errors.Is(err, syscall.ENOSPC) || len(disk.Files()) != 0 {
		t.Errorf("err %v, files %v", err, disk.Files())
	}
}

// stingy writes one byte less than asked and reports no error, against the contract of io.Writer.
type stingy struct{ storage.FS }

func (s stingy) Create(name string) (storage.File, error) {
	f, err := s.FS.Create(name)
	return stingyFile{f}, err
}

type stingyFile struct{ storage.File }

func (f stingyFile) Write(p []byte) (int, error) { return f.File.Write(p[:len(p)-1]) }

func TestSilentShortWriteIsAnError(t *testing.T) {
	disk := storagetest.NewDisk()
	f, err := storage.CreateAtomic(stingy{disk}, "file")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("abc")); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("Write: %v", err)
	}
	if err := f.Commit(); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("Commit after a failed write: %v", err)
	}
	if len(disk.Files()) != 0 {
		t.Errorf("left %v", disk.Files())
	}
}

func TestAtomicFileAfterItsEnd(t *testing.T) {
	disk := storagetest.NewDisk()
	f, _ := storage.CreateAtomic(disk, "file")
	if err := f.Abort(); err != nil {
		t.Error(err)
	}
	if _, err := f.Write([]byte("x")); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Write after Abort: %v", err)
	}
	f, _ = storage.CreateAtomic(disk, "file")
	if err := errors.Join(f.Commit(), f.Commit(), f.Abort()); err != nil {
		t.Error(err)
	}
	if got := disk.Files(); len(got) != 1 {
		t.Errorf("files %v", got)
	}
}

func TestCommitDirRefuses(t *testing.T) {
	disk := storagetest.NewDisk()
	if err := save(disk, "000010"); err != nil {
		t.Fatal(err)
	}
	if err := save(disk, "000010"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("existing directory: %v", err)
	}
	if err := storage.CommitDir(disk, "elsewhere/temp", "run/final"); err == nil || !strings.Contains(err.Error(), "same directory") {
		t.Errorf("other parent: %v", err)
	}
}

func TestIsTemp(t *testing.T) {
	for name, want := range map[string]bool{
		storage.TempName("a/000020"):         true,
		storage.TempName("model.tmp-x"):      true,
		"000020":                             false,
		".x.tmp-0123456789abcdef":            true,
		".x.tmp-0123456789abcdeg":            false,
		".x.tmp-":                            false,
		"x.tmp-0123456789abcdef":             false,
		".tmp-0123456789abcdef":              false,
		"notes.tmp-file":                     false,
		"dir/.b.tmp-0000000000000000/../sub": false,
	} {
		if got := storage.IsTemp(name); got != want {
			t.Errorf("IsTemp(%q) = %v", name, got)
		}
	}
}

// The real file system keeps the same contract as the one in memory.
func TestOS(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := save(storage.OS, "000010"); err != nil {
		t.Fatal(err)
	}
	if err := save(storage.OS, "000010"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("existing directory: %v", err)
	}
	for file, want := range contents {
		got, err := os.ReadFile(filepath.Join(checkpoints, "000010", file))
		if err != nil || string(got) != want {
			t.Errorf("%s: %v", file, err)
		}
	}
	removed, err := storage.RemoveTemps(storage.OS, checkpoints)
	if err != nil || len(removed) != 1 {
		t.Errorf("removed %v, %v; want the one refused directory", removed, err)
	}
	if _, err := storage.OS.Create(filepath.Join(checkpoints, "000010", "state")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create over a file: %v", err)
	}
	if err := storage.MkdirAll(storage.OS, filepath.Join(checkpoints, "000010", "state", "x")); err == nil {
		t.Error("MkdirAll below a file succeeds")
	}
	if err := storage.OS.Sync("absent"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Sync of nothing: %v", err)
	}
	if _, err := storage.RemoveTemps(storage.OS, "absent"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("RemoveTemps of nothing: %v", err)
	}
}
