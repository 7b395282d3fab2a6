package rundir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// ErrInUse is the cause when another process has locked the run directory.
var ErrInUse = errors.New("rundir: in use")

// Holder is the process that has locked a run directory.
type Holder struct {
	Host  string    `json:"host"`
	PID   int       `json:"pid"`
	Start time.Time `json:"start"` // when it took the lock
}

func (h Holder) String() string {
	return fmt.Sprintf("process %d on %s since %s", h.PID, h.Host, h.Start.Format(time.RFC3339))
}

// Lock keeps other processes out of a run directory until Unlock or the end of the process, however it ends.
type Lock struct {
	// Stale is the process that held the lock before and died without giving it back; nil if there was none.
	Stale *Holder

	file *os.File
}

// Lock makes the directory if it is not there and locks it. When a living process holds it, the error names that process and
// wraps ErrInUse; a lock that a dead process left is taken over.
//
// The lock is an flock on a file that also tells who holds it, so the kernel gives it back when its holder dies. On file
// systems without flock what the file tells decides: a holder on this machine that is no longer alive is taken for dead, one
// on another machine is not.
func (d Dir) Lock() (*Lock, error) { return d.lock(syscall.Flock) }

func (d Dir) lock(flock func(fd int, how int) error) (_ *Lock, err error) {
	if err := os.MkdirAll(string(d), 0o777); err != nil {
		return nil, fmt.Errorf("rundir: lock: %w", err)
	}
	file, err := os.OpenFile(d.lockFile(), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, fmt.Errorf("rundir: lock: %w", err)
	}
	defer func() {
		if err != nil {
			file.Close()
		}
	}()
	held := false
	switch err := flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		held = true
	case errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.ENOLCK), errors.Is(err, syscall.EINVAL):
		if h, err := read(file); err == nil && h != nil {
			held = h.mayLive()
		}
	case err != nil:
		return nil, fmt.Errorf("rundir: lock %s: %w", d.lockFile(), err)
	}
	before, readErr := read(file)
	if held {
		who := "a process that has not given its name"
		if before != nil {
			who = before.String()
		}
		return nil, fmt.Errorf("%w: %s is being written by %s; choose another run.dir, or stop that process (if it is certain that it no longer runs, remove %s)",
			ErrInUse, string(d), who, d.lockFile())
	}
	if readErr != nil {
		before = nil // half a line: its writer is dead, and all we lose is its name
	}
	if err := write(file); err != nil {
		return nil, fmt.Errorf("rundir: lock %s: %w", d.lockFile(), err)
	}
	return &Lock{Stale: before, file: file}, nil
}

// Unlock gives the lock back. The file stays: removing it could pull it from under a process that has just locked it.
func (l *Lock) Unlock() error {
	if l.file == nil {
		return nil
	}
	err := errors.Join(l.file.Truncate(0), l.file.Close())
	l.file = nil
	if err != nil {
		return fmt.Errorf("rundir: unlock: %w", err)
	}
	return nil
}

// mayLive is false only for a process that is known to be dead.
func (h *Holder) mayLive() bool {
	host, err := os.Hostname()
	if err != nil || host != h.Host || h.PID <= 0 {
		return true
	}
	return !errors.Is(syscall.Kill(h.PID, 0), syscall.ESRCH)
}

// read is who the file says holds the lock; nil when it is empty.
func read(file *os.File) (*Holder, error) {
	const most = 4096 // a host name has at most 64 bytes
	text, err := io.ReadAll(io.NewSectionReader(file, 0, most))
	if err != nil || len(text) == 0 {
		return nil, err
	}
	h := new(Holder)
	if err := json.Unmarshal(text, h); err != nil {
		return nil, err
	}
	return h, nil
}

// write makes this process the holder.
func write(file *os.File) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	text, err := json.Marshal(Holder{Host: host, PID: os.Getpid(), Start: time.Now().Round(time.Second)})
	if err != nil {
		return err
	}
	if err := file.Truncate(0); err != nil {
		return err
	}
	_, err = file.WriteAt(append(text, '\n'), 0)
	return err
}
