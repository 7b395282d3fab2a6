// Package storage is the small part of a file system that checkpoints and model files are written through,
// with the three procedures built on it: an atomic file, an atomic directory, and the removal of what a killed
// process left behind.
//
// The order that makes a write survive a power failure is always the same: contents first (write, sync each
// file, sync each directory that holds them), then the one rename that makes them visible, then a sync of the
// directory in which the rename happened. A reader therefore sees the old state or the new state, never a part.
//
// FS is an interface so that tests can fail any single operation or cut the power after it; package
// storagetest does both.
package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// FS is what a writer of checkpoints asks of a file system. Names are paths in the form of package filepath.
// Errors wrap those of package io/fs where they apply (fs.ErrExist, fs.ErrNotExist).
type FS interface {
	// Create makes a new, empty file for writing; it fails with fs.ErrExist if the name is taken.
	Create(name string) (File, error)
	// Rename moves a file or directory, replacing a file of the new name in one step.
	Rename(oldName, newName string) error
	// Remove deletes a file or an empty directory.
	Remove(name string) error
	// RemoveAll deletes name and what it contains; a name that does not exist is no error.
	RemoveAll(name string) error
	// Mkdir makes one directory; it fails with fs.ErrExist if the name is taken.
	Mkdir(name string) error
	// ReadDir lists a directory in name order.
	ReadDir(name string) ([]fs.DirEntry, error)
	// Sync returns when the contents of the file, or the entries of the directory, are on stable storage.
	Sync(name string) error
}

// File is a file open for writing.
type File interface {
	io.Writer
	// Sync returns when all that was written is on stable storage.
	Sync() error
	Close() error
}

// OS is the file system of the operating system.
var OS FS = osFS{}

type osFS struct{}

func (osFS) Create(name string) (File, error) {
	return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
}
func (osFS) Rename(oldName, newName string) error       { return os.Rename(oldName, newName) }
func (osFS) Remove(name string) error                   { return os.Remove(name) }
func (osFS) RemoveAll(name string) error                { return os.RemoveAll(name) }
func (osFS) Mkdir(name string) error                    { return os.Mkdir(name, 0o777) }
func (osFS) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }

func (osFS) Sync(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	err = f.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		// Some network and FUSE file systems cannot sync a directory; they order its changes themselves.
		if info, statErr := f.Stat(); statErr == nil && info.IsDir() {
			return nil
		}
	}
	return err
}

const tempMark = ".tmp-"

// TempName returns an unused-looking name beside final, of the form that RemoveTemps recognises.
func TempName(final string) string {
	return filepath.Join(filepath.Dir(final), fmt.Sprintf(".%s%s%016x", filepath.Base(final), tempMark, rand.Uint64()))
}

// IsTemp reports whether a path's last element has the form of TempName: what readers must not take for data.
func IsTemp(name string) bool {
	base := filepath.Base(name)
	at := strings.LastIndex(base, tempMark)
	if at < 1 || base[0] != '.' || len(base) != at+len(tempMark)+16 {
		return false
	}
	return strings.Trim(base[at+len(tempMark):], "0123456789abcdef") == ""
}

// RemoveTemps deletes the unfinished files and directories that a killed process left in dir, and returns their
// names. The caller must hold whatever lock keeps other writers out of dir.
func RemoveTemps(fsys FS, dir string) (removed []string, err error) {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("storage: remove unfinished writes: %w", err)
	}
	var errs []error
	for _, entry := range entries {
		if !IsTemp(entry.Name()) {
			continue
		}
		if err := fsys.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
			errs = append(errs, fmt.Errorf("storage: remove unfinished writes: %w", err))
			continue
		}
		removed = append(removed, entry.Name())
	}
	return removed, errors.Join(errs...)
}

// MkdirAll makes dir and the parents it lacks, each synced into its own parent. A directory that exists is no error.
func MkdirAll(fsys FS, dir string) error {
	dir = filepath.Clean(dir)
	parent := filepath.Dir(dir)
	err := fsys.Mkdir(dir)
	if errors.Is(err, fs.ErrNotExist) && parent != dir {
		if err := MkdirAll(fsys, parent); err != nil {
			return err
		}
		err = fsys.Mkdir(dir)
	}
	if errors.Is(err, fs.ErrExist) {
		// A file of this name must be an error here, not a puzzle in the first write below it.
		if _, err := fsys.ReadDir(dir); err != nil {
			return fmt.Errorf("storage: make directory: %w", err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("storage: make directory: %w", err)
	}
	if err := fsys.Sync(parent); err != nil {
		return fmt.Errorf("storage: make directory %s: sync parent: %w", dir, err)
	}
	return nil
}
