package rundir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

var (
	// ErrInUse is the cause when another process has locked the run directory.
	ErrInUse = errors.New("the run directory is in use")
	// ErrStorage is the cause when the path cannot be a run directory, or its file system refuses what a lock needs.
	ErrStorage = errors.New("the run directory cannot be used")
)

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
	made []string // directories that were not there before, the deepest first
}

// Lock makes the directory if it is not there and locks it. When a living process holds it, the error names that process and
// wraps ErrInUse; a lock that a dead process left is taken over. Other errors wrap ErrStorage.
//
// The lock is an flock on a file that also tells who holds it, so the kernel gives it back when its holder dies. On file
// systems without flock what the file tells decides: a holder on this machine that is no longer alive is taken for dead, one
// on another machine is not.
func (d Dir) Lock() (*Lock, error) { return d.lock(syscall.Flock) }

func (d Dir) lock(flock func(fd int, how int) error) (*Lock, error) {
	l := &Lock{made: missing(string(d))}
	err := l.take(d, flock)
	for tries := 0; passing(err) && tries < 10; tries++ {
		err = l.take(d, flock)
	}
	if err == nil {
		return l, nil
	}
	if !errors.Is(err, ErrInUse) {
		err = fmt.Errorf("%w: %w; choose another run.dir", ErrStorage, err)
	}
	l.clear()
	return nil, err
}

// passing reports whether an error may be another process's doing, which has just unlocked: the file or directory that was there is
// not, or the other way round.
func passing(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) }

// take makes the directory, opens its lock file and becomes its holder.
func (l *Lock) take(d Dir, flock func(fd int, how int) error) (err error) {
	if err := os.MkdirAll(string(d), 0o777); err != nil {
		return err
	}
	file, err := os.OpenFile(d.lockFile(), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			file.Close()
		}
	}()
	held, hint := false, ""
	switch err := flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		held = true
	case errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.ENOLCK), errors.Is(err, syscall.EINVAL):
		if h, err := read(file); err == nil && h != nil {
			held = h.mayLive()
			hint = fmt.Sprintf(" (if it is certain that it no longer runs, remove %s)", d.lockFile())
		}
	case err != nil:
		return fmt.Errorf("lock %s: %w", d.lockFile(), err)
	}
	before, readErr := read(file)
	if held {
		who := "a process that has not given its name"
		if before != nil {
			who = before.String()
		}
		return fmt.Errorf("%w: %s is being written by %s; choose another run.dir, or stop that process%s", ErrInUse, string(d), who, hint)
	}
	if !isAt(file, d.lockFile()) {
		return fmt.Errorf("lock %s: it was removed: %w", d.lockFile(), fs.ErrNotExist)
	}
	if readErr != nil {
		before = nil // half a line: its writer is dead, and all we lose is its name
	}
	l.Stale, l.file = before, file
	if err := write(file); err != nil {
		return errors.Join(err, l.Unlock())
	}
	return nil
}

// Unlock gives the lock back. Directories that Lock has made go with the lock file if nothing else was written to them.
func (l *Lock) Unlock() error {
	if l.file == nil {
		return nil
	}
	var err error
	if isAt(l.file, l.file.Name()) { // it is not when somebody has removed the run
		err = os.Remove(l.file.Name()) // while it is locked: whoever has opened it finds out in take
	}
	l.clear()
	err = errors.Join(err, l.file.Close())
	l.file = nil
	return err
}

// missing lists the directories that have to be made for dir to be there, the deepest first.
func missing(dir string) (paths []string) {
	for {
		if _, err := os.Lstat(dir); err == nil {
			return paths
		}
		paths = append(paths, dir)
		parent := filepath.Dir(dir)
		if parent == dir {
			return paths
		}
		dir = parent
	}
}

// clear removes the directories that were made, unless something is in them.
func (l *Lock) clear() {
	for _, dir := range l.made {
		_ = syscall.Rmdir(dir) // refused for all but empty directories
	}
}

// isAt reports whether an open file is what lies at a path.
func isAt(file *os.File, path string) bool {
	open, err := file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(open, there)
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
