package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
)

// AtomicFile is a file that appears under its name, whole and on stable storage, at Commit, and not before.
// It replaces a file of that name. The first error sticks: Commit then discards the file and returns it.
type AtomicFile struct {
	fsys        FS
	file        File
	name, temp  string
	err         error
	open, ended bool
}

// CreateAtomic starts a file in the directory of name, which must exist.
func CreateAtomic(fsys FS, name string) (*AtomicFile, error) {
	temp := TempName(name)
	file, err := fsys.Create(temp)
	if err != nil {
		return nil, fmt.Errorf("storage: create %s: %w", name, err)
	}
	return &AtomicFile{fsys: fsys, file: file, name: name, temp: temp, open: true}, nil
}

// Write implements io.Writer.
func (f *AtomicFile) Write(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	if f.ended {
		return 0, fmt.Errorf("storage: write %s: %w", f.name, fs.ErrClosed)
	}
	n, err := f.file.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		f.err = fmt.Errorf("storage: write %s: %w", f.name, err)
	}
	return n, f.err
}

// Commit syncs, closes and renames the file, and syncs the directory. When it fails, the name holds what it held
// before, or (if only the last sync failed) the whole new file; the temporary file is removed as far as possible.
func (f *AtomicFile) Commit() error {
	if f.ended {
		return f.err
	}
	if f.err == nil {
		f.step("sync", f.file.Sync())
	}
	f.open = false
	f.step("close", f.file.Close())
	if f.err == nil {
		f.step("rename", f.fsys.Rename(f.temp, f.name))
	}
	f.ended = true
	if f.err != nil {
		// The cause is what the caller needs; a temporary file that also resists removal is left to RemoveTemps.
		f.fsys.Remove(f.temp)
		return f.err
	}
	f.step("sync directory of", f.fsys.Sync(filepath.Dir(f.name)))
	return f.err
}

func (f *AtomicFile) step(what string, err error) {
	if err != nil && f.err == nil {
		f.err = fmt.Errorf("storage: %s %s: %w", what, f.name, err)
	}
}

// Abort discards the file. After Commit or Abort it does nothing, so it can be deferred.
func (f *AtomicFile) Abort() error {
	if f.ended {
		return nil
	}
	f.ended = true
	var closeErr error
	if f.open {
		f.open = false
		closeErr = f.file.Close()
	}
	return errors.Join(closeErr, f.fsys.Remove(f.temp))
}

// WriteFile writes one file atomically: write is called once with the file's writer.
func WriteFile(fsys FS, name string, write func(io.Writer) error) error {
	f, err := CreateAtomic(fsys, name)
	if err != nil {
		return err
	}
	defer f.Abort()
	if err := write(f); err != nil {
		return err
	}
	return f.Commit()
}

// CommitDir turns the finished directory temp into final, which must be its sibling (see TempName) and must not
// exist (fs.ErrExist). It syncs every file and directory below temp, renames, and syncs the parent. When it fails,
// final is absent, or (if only the last sync failed) whole; removing temp is left to the caller.
func CommitDir(fsys FS, temp, final string) error {
	parent := filepath.Dir(filepath.Clean(final))
	if filepath.Dir(filepath.Clean(temp)) != parent {
		return fmt.Errorf("storage: commit %s: %s is not in the same directory", final, temp)
	}
	siblings, err := fsys.ReadDir(parent)
	if err != nil {
		return fmt.Errorf("storage: commit %s: %w", final, err)
	}
	for _, sibling := range siblings {
		if sibling.Name() == filepath.Base(final) {
			return fmt.Errorf("storage: commit %s: %w", final, fs.ErrExist)
		}
	}
	if err := syncTree(fsys, temp); err != nil {
		return fmt.Errorf("storage: commit %s: %w", final, err)
	}
	if err := fsys.Rename(temp, final); err != nil {
		return fmt.Errorf("storage: commit %s: %w", final, err)
	}
	if err := fsys.Sync(parent); err != nil {
		return fmt.Errorf("storage: commit %s: sync parent: %w", final, err)
	}
	return nil
}

func syncTree(fsys FS, dir string) error {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := filepath.Join(dir, entry.Name())
		switch {
		case entry.IsDir():
			err = syncTree(fsys, name)
		case entry.Type().IsRegular():
			err = fsys.Sync(name)
		default:
			err = fmt.Errorf("%s is neither a file nor a directory", name)
		}
		if err != nil {
			return err
		}
	}
	return fsys.Sync(dir)
}
