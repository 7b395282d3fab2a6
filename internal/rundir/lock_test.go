package rundir

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// A run that ends before it has written anything leaves no trace; what it has written stays, and so does what was there before.
func TestUnlockClearsWhatLockHasMade(t *testing.T) {
	top := t.TempDir()
	for _, name := range []string{"new", "written"} {
		dir := Dir(filepath.Join(top, name, "deep", "run"))
		lock, err := dir.Lock()
		if err != nil {
			t.Fatal(err)
		}
		if name == "written" {
			if err := os.WriteFile(dir.Config(), nil, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if err := lock.Unlock(); err != nil {
			t.Error(err)
		}
	}
	lock, err := Dir(top).Lock()
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Unlock(); err != nil {
		t.Error(err)
	}
	var left []string
	for _, pattern := range []string{"*", "*/*", "*/*/*", "*/*/*/*"} {
		found, _ := filepath.Glob(filepath.Join(top, pattern))
		left = append(left, found...)
	}
	if len(left) != 4 || !strings.HasSuffix(left[3], "written/deep/run/config.yaml") {
		t.Errorf("left: %v", left)
	}
}

// Lock files come and go, and still there is never more than one holder.
func TestLocksThatComeAndGo(t *testing.T) {
	dir := Dir(filepath.Join(t.TempDir(), "run"))
	var holders, taken atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				lock, err := dir.Lock()
				if errors.Is(err, ErrInUse) || passing(err) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				taken.Add(1)
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d holders", n)
				}
				holders.Add(-1)
				if err := lock.Unlock(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if taken.Load() == 0 {
		t.Error("nobody had the lock")
	}
}

// A process that opens the lock file before its holder removes it, and locks it after that, has locked nothing.
func TestLockFileIsRemovedBetweenOpeningAndLocking(t *testing.T) {
	dir := Dir(filepath.Join(t.TempDir(), "run"))
	first, err := dir.Lock()
	if err != nil {
		t.Fatal(err)
	}
	second, err := dir.lock(func(fd, how int) error {
		if err := first.Unlock(); err != nil {
			t.Error(err)
		}
		return syscall.Flock(fd, how)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Unlock()
	if _, err := dir.Lock(); !errors.Is(err, ErrInUse) {
		t.Errorf("there are two holders: %v", err)
	}
}

// A run directory that was removed and made again under a running run is another run's: its lock stays.
func TestUnlockOfARemovedRun(t *testing.T) {
	dir := Dir(filepath.Join(t.TempDir(), "run"))
	old, err := dir.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(string(dir)); err != nil {
		t.Fatal(err)
	}
	other, err := dir.Lock()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Unlock()
	if err := old.Unlock(); err != nil {
		t.Error(err)
	}
	if _, err := dir.Lock(); !errors.Is(err, ErrInUse) {
		t.Errorf("the other run's lock is gone: %v", err)
	}
}

// What cannot be a run directory is told, with a way out, and leaves nothing.
func TestLockOfWhatCannotBeADirectory(t *testing.T) {
	top := t.TempDir()
	file := filepath.Join(top, "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "run"), "/dev/null", filepath.Join(top, "new", strings.Repeat("x", 300)), ""} {
		_, err := Dir(dir).Lock()
		if !errors.Is(err, ErrStorage) || errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "choose another run.dir") {
			t.Errorf("%.40q: %v", dir, err)
		}
	}
	if _, err := Dir(file).Used(); !errors.Is(err, ErrStorage) {
		t.Errorf("Used of a file: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(top, "*")); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

// Only without flock can a lock outlive its holder, so that its file is to be removed by hand.
func TestAdviceToRemoveALock(t *testing.T) {
	for advised, flock := range map[bool]func(int, int) error{false: syscall.Flock, true: func(int, int) error { return syscall.ENOSYS }} {
		dir := Dir(t.TempDir())
		lock, err := dir.lock(flock)
		if err != nil {
			t.Fatal(err)
		}
		_, err = dir.lock(flock)
		if !errors.Is(err, ErrInUse) || strings.Contains(err.Error(), "remove "+dir.lockFile()) != advised {
			t.Errorf("advised %v: %v", advised, err)
		}
		lock.Unlock()
	}
}
