package telemetry

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrDamaged is the cause when a line of a metrics or timing file is complete but not a record.
var ErrDamaged = errors.New("damaged line")

// Cut says what CutBack left and took.
type Cut struct {
	Kept    int  // lines up to the step
	Dropped int  // whole lines after it
	Torn    bool // the last line was incomplete: mended if only its line break was missing, dropped otherwise
}

// CutBack removes from a metrics or timing file all lines of steps after keep, and a last line that a crash left
// incomplete. The file is replaced atomically, and only if something is to be removed; a file that does not exist is
// empty. keep -1 removes everything. A damaged line is an error that names it and wraps ErrDamaged, and nothing is changed.
func CutBack(path string, keep int) (Cut, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Cut{}, nil
	}
	if err != nil {
		return Cut{}, fmt.Errorf("cut back: %w", err)
	}
	var cut Cut
	var kept []byte
	for line := 1; len(data) > 0; line++ {
		text := data
		if end := bytes.IndexByte(data, '\n'); end >= 0 {
			text = data[:end]
			data = data[end+1:]
		} else {
			data = nil
			cut.Torn = true
			if !json.Valid(text) {
				break
			}
		}
		_, _, index, err := decodeStep(text)
		if err != nil {
			return Cut{}, damaged(path, line, err)
		}
		if index > keep {
			cut.Dropped++
			continue
		}
		cut.Kept++
		kept = append(append(kept, text...), '\n')
	}
	if cut.Dropped == 0 && !cut.Torn {
		return cut, nil
	}
	if err := replaceFile(path, kept); err != nil {
		return Cut{}, fmt.Errorf("cut back: %w", err)
	}
	return cut, nil
}

func damaged(path string, line int, err error) error {
	return fmt.Errorf("%s:%d: %w: %w; mend or remove it", path, line, ErrDamaged, err)
}

// replaceFile gives a file new contents at once: written beside it, made durable, and renamed.
func replaceFile(path string, data []byte) (err error) {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeIfThere(f.Name()))
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(info.Mode().Perm()) // CreateTemp's is private
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// ReadMetrics reads a metrics file. An incomplete last line, which a run that is still writing or was killed may leave,
// is not read; any other bad line is an error that names it and wraps ErrDamaged.
func ReadMetrics(path string) ([]Record, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	defer f.Close()
	var records []Record
	lines := bufio.NewReader(f)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return records, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read metrics: %w", err)
		}
		r, err := DecodeRecord(line)
		if err != nil {
			return nil, damaged(path, n, err)
		}
		records = append(records, r)
	}
}
