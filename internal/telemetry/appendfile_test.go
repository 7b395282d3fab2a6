package telemetry

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

var errFull = errors.New("no space left on device")

// fullDisk takes some bytes and no more until it has room again. Like a network file system it may be late to say so: then it
// fails at Sync, and forgets what it could not store.
type fullDisk struct {
	data   []byte
	room   int
	late   bool
	synced int
}

func (d *fullDisk) WriteAt(p []byte, offset int64) (int, error) {
	n := len(p)
	if !d.late {
		n = min(n, d.room)
		d.room -= n
	}
	d.data = append(d.data[:offset], p[:n]...)
	if n < len(p) {
		return 0, errFull // as os.File.WriteAt does
	}
	return n, nil
}

func (d *fullDisk) Sync() error {
	if d.late && len(d.data)-d.synced > d.room {
		d.data = d.data[:d.synced]
		return errFull
	}
	d.synced = len(d.data)
	return nil
}

func (d *fullDisk) Truncate(size int64) error { d.data = d.data[:size]; return nil }
func (d *fullDisk) Close() error              { return nil }

func metricsOn(disk storage) *MetricsFile {
	return &MetricsFile{lineFile{name: "metrics.jsonl", file: &appendFile{f: disk}}}
}

// Records that do not fit wait, in order, and a reader never sees half of one.
func TestFullDiskDelaysRecords(t *testing.T) {
	const first, others = "{\"step\":0,\"loss\":1.0}\n", "{\"step\":1,\"loss\":0.5}\n{\"step\":3,\"loss\":0.25}\n"
	disk := &fullDisk{room: 30}
	file := metricsOn(disk)
	handleAll(t, file, lossAt(0))
	for what, err := range map[string]error{"Handle": file.Handle(lossAt(1)), "Flush": file.Flush()} {
		if !errors.Is(err, ErrDelayed) || !errors.Is(err, errFull) {
			t.Errorf("%s of a full disk: %v", what, err)
		}
		if got := string(disk.data); got != first {
			t.Errorf("after the failed %s the file holds %q, want %q", what, got, first)
		}
	}
	disk.room = 1000
	handleAll(t, file, lossAt(3))
	if got := string(disk.data); got != first+others {
		t.Errorf("the file holds %q, want %q", got, first+others)
	}
	if err := errors.Join(file.Flush(), file.Close()); err != nil {
		t.Error(err)
	}
}

// What a disk has taken and then forgotten is written again.
func TestFullDiskThatIsFoundOutLate(t *testing.T) {
	disk := &fullDisk{room: 30, late: true}
	file := metricsOn(disk)
	handleAll(t, file, lossAt(0))
	if err := file.Flush(); err != nil {
		t.Fatal(err)
	}
	handleAll(t, file, lossAt(1), lossAt(3))
	if err := file.Flush(); !errors.Is(err, ErrDelayed) {
		t.Errorf("Flush of a full disk: %v", err)
	}
	disk.room = 1000
	if err := file.Flush(); err != nil {
		t.Error(err)
	}
	if got, want := string(disk.data), "{\"step\":0,\"loss\":1.0}\n{\"step\":1,\"loss\":0.5}\n{\"step\":3,\"loss\":0.25}\n"; got != want {
		t.Errorf("the file holds %q, want %q", got, want)
	}
}

// What is not stored in the end, or is more than memory should hold, is lost and said to be.
func TestFullDiskLosesWhatCannotWait(t *testing.T) {
	file := &appendFile{f: &fullDisk{}}
	record := []byte(strings.Repeat("x", mostWaiting/4-1) + "\n")
	for i := range 5 {
		err := file.append(record)
		if lost := i == 4; err == nil || errors.Is(err, ErrDelayed) == lost {
			t.Errorf("record %d: %v", i, err)
		}
	}
	if err := file.close(); !errors.Is(err, errFull) || errors.Is(err, ErrDelayed) {
		t.Errorf("close: %v", err)
	}
	disk := &fullDisk{room: 2 * mostWaiting}
	file = &appendFile{f: disk}
	for range 6 { // more than may wait, but it need not
		if err := file.append(record); err != nil {
			t.Error(err)
		}
	}
	if err := file.close(); err != nil || len(disk.data) != 6*len(record) {
		t.Errorf("close: %v; %d bytes", err, len(disk.data))
	}
}

// TestFileLimit is TestFullDiskDelaysRecords on real files, which a limit of the process keeps from growing: in a process of its own.
func TestFileLimit(t *testing.T) {
	const inside = "TELEMETRY_FILE_LIMIT"
	if os.Getenv(inside) == "" {
		child := exec.Command(os.Args[0], "-test.run=^TestFileLimit$")
		child.Env = append(os.Environ(), inside+"=1")
		if out, err := child.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	signal.Ignore(syscall.SIGXFSZ)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	open := func() map[string]Sink { // by path
		dir := t.TempDir()
		metrics, _, metricsErr := OpenMetrics(filepath.Join(dir, "metrics.jsonl"), -1)
		timing, _, timingErr := OpenTiming(filepath.Join(dir, "timing.jsonl"), -1)
		board, boardErr := OpenTensorBoard(dir, -1, time.Unix(1_700_000_000, 0))
		if err := errors.Join(metricsErr, timingErr, boardErr); err != nil {
			t.Fatal(err)
		}
		return map[string]Sink{filepath.Join(dir, "metrics.jsonl"): metrics, filepath.Join(dir, "timing.jsonl"): timing, board.Path(): board}
	}
	whole := map[string]string{} // what each sink writes where there is room
	for path, s := range open() {
		for i := range 9 {
			handleAll(t, s, lossAt(i))
		}
		whole[s.Name()] = mustRead(t, path)
	}
	for path, s := range open() {
		for i := range 3 {
			handleAll(t, s, lossAt(i))
		}
		before := mustRead(t, path)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: uint64(len(before) + 10), Max: limit.Max}); err != nil {
			t.Fatal(err)
		}
		for i := 3; i < 8; i++ {
			if err := s.Handle(lossAt(i)); !errors.Is(err, syscall.EFBIG) || !errors.Is(err, ErrDelayed) {
				t.Errorf("%s: step %d does not fit: %v", s.Name(), i, err)
			}
		}
		if err := s.Flush(); !errors.Is(err, ErrDelayed) {
			t.Errorf("%s: Flush: %v", s.Name(), err)
		}
		if got := mustRead(t, path); got != before {
			t.Errorf("%s: the file that cannot grow went from %d to %d bytes, want none of half a record", s.Name(), len(before), len(got))
		}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			t.Fatal(err)
		}
		handleAll(t, s, lossAt(8))
		if err := errors.Join(s.Flush(), s.Close()); err != nil {
			t.Error(err)
		}
		if got := mustRead(t, path); got != whole[s.Name()] {
			t.Errorf("%s: holds\n%q\nwant\n%q", s.Name(), got, whole[s.Name()])
		}
	}
}
