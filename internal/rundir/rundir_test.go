package rundir

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestLockChild is not a test: run by TestLockOfKilledProcess in another process, it locks a directory and waits to be killed.
func TestLockChild(t *testing.T) {
	dir := os.Getenv("RUNDIR_LOCK_CHILD")
	if dir == "" {
		t.Skip("runs as the child of another test only")
	}
	if _, err := Dir(dir).Lock(); err != nil {
		t.Fatal(err)
	}
	fmt.Println("locked")
	time.Sleep(time.Minute)
}

func TestLockOfKilledProcess(t *testing.T) {
	dir := Dir(filepath.Join(t.TempDir(), "new", "run"))
	child := exec.Command(os.Args[0], "-test.run=^TestLockChild$", "-test.v")
	child.Env = append(os.Environ(), "RUNDIR_LOCK_CHILD="+string(dir))
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Process.Kill()
	seen := ""
	for buf := make([]byte, 256); !strings.Contains(seen, "locked"); {
		n, err := out.Read(buf)
		if seen += string(buf[:n]); err != nil {
			t.Fatalf("the child ended: %v after %q", err, seen)
		}
	}
	host, _ := os.Hostname()
	_, err = dir.Lock()
	if !errors.Is(err, ErrInUse) {
		t.Fatalf("second lock: got %v, want ErrInUse", err)
	}
	for _, want := range []string{fmt.Sprintf("process %d on %s", child.Process.Pid, host), string(dir)} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error %q does not name %q", err, want)
		}
	}
	child.Process.Kill()
	child.Wait()
	lock, err := dir.Lock()
	if err != nil {
		t.Fatalf("lock of a dead process: %v", err)
	}
	if lock.Stale == nil || lock.Stale.PID != child.Process.Pid {
		t.Errorf("taken over from %v, want process %d", lock.Stale, child.Process.Pid)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
}

func TestLockIsGivenBack(t *testing.T) {
	dir := Dir(t.TempDir())
	for range 2 {
		lock, err := dir.Lock()
		if err != nil {
			t.Fatal(err)
		}
		if lock.Stale != nil {
			t.Errorf("stale lock of %v after an Unlock", lock.Stale)
		}
		if _, err := dir.Lock(); !errors.Is(err, ErrInUse) {
			t.Errorf("locked twice by one process: %v", err)
		}
		if err := errors.Join(lock.Unlock(), lock.Unlock()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLockFileIsHalfWritten(t *testing.T) {
	dir := Dir(t.TempDir())
	if err := os.WriteFile(dir.lockFile(), []byte(`{"host":"a`), 0o666); err != nil {
		t.Fatal(err)
	}
	lock, err := dir.Lock()
	if err != nil {
		t.Fatal(err)
	}
	lock.Unlock()
}

func TestLockWithoutFlock(t *testing.T) {
	for _, unsupported := range []error{syscall.ENOSYS, syscall.ENOTSUP, syscall.ENOLCK} {
		flock := func(int, int) error { return unsupported }
		dir := Dir(t.TempDir())
		first, err := dir.lock(flock)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := dir.lock(flock); !errors.Is(err, ErrInUse) {
			t.Errorf("%v: a lock of this living process was taken over: %v", unsupported, err)
		}
		first.Unlock()
		host, _ := os.Hostname()
		dead := exec.Command(os.Args[0], "-test.run=^$")
		if err := dead.Run(); err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			holder Holder
			held   bool
		}{
			"dead process":    {Holder{Host: host, PID: dead.Process.Pid}, false},
			"another machine": {Holder{Host: host + "-other", PID: dead.Process.Pid}, true},
			"process 1":       {Holder{Host: host, PID: 1}, true},
		} {
			text, _ := json.Marshal(c.holder)
			if err := os.WriteFile(dir.lockFile(), text, 0o666); err != nil {
				t.Fatal(err)
			}
			lock, err := dir.lock(flock)
			if got := errors.Is(err, ErrInUse); got != c.held {
				t.Errorf("%v, %s: in use %v (%v), want %v", unsupported, name, got, err, c.held)
			}
			if lock != nil {
				lock.Unlock()
			}
		}
	}
}

func TestLockReportsOtherErrors(t *testing.T) {
	dir := Dir(t.TempDir())
	if _, err := dir.lock(func(int, int) error { return syscall.EIO }); !errors.Is(err, syscall.EIO) || !errors.Is(err, ErrStorage) || errors.Is(err, ErrInUse) {
		t.Errorf("flock failed with EIO, Lock with %v", err)
	}
}

func TestUsed(t *testing.T) {
	dir := Dir(t.TempDir())
	lock, err := dir.Lock()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	if err := os.WriteFile(dir.Config(), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if used, err := dir.Used(); used || err != nil {
		t.Errorf("a directory with a lock and a config only: used %v, %v", used, err)
	}
	if err := os.Mkdir(dir.Checkpoints(), 0o777); err != nil {
		t.Fatal(err)
	}
	if used, err := dir.Used(); !used || err != nil {
		t.Errorf("a directory with checkpoints: used %v, %v", used, err)
	}
}
