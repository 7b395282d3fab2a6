// Package storagetest holds file systems that misbehave on purpose: Faulty fails a chosen operation, Disk loses
// what was not synced when the power goes.
package storagetest

import (
	"io/fs"
	"sync"
	"syscall"

	"alfred/internal/checkpoint/storage"
)

// Faulty passes operations on to FS and makes the FailAt-th of them (counted from 1; each call of FS and of a
// File is one operation) return Err. Safe for concurrent use.
type Faulty struct {
	FS     storage.FS
	FailAt int   // 0: never
	Err    error // nil: EIO
	Sticky bool  // all later operations fail too, as on a disk that has died
	// Effect lets the failing operation happen before its error is reported, as a network file system can.
	// A failing Write takes effect for half of its bytes in any case: a short write.
	Effect bool
	// Space, when positive, is how many bytes can be written before ENOSPC.
	Space int64

	mu    sync.Mutex
	ops   int
	bytes int64
	trace []string
}

// Ops returns how many operations were asked for.
func (f *Faulty) Ops() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ops
}

// Trace returns the operations in order, for a failure message.
func (f *Faulty) Trace() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.trace...)
}

func (f *Faulty) next(op string) (failing bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ops++
	f.trace = append(f.trace, op)
	return f.FailAt > 0 && (f.ops == f.FailAt || f.Sticky && f.ops > f.FailAt)
}

func (f *Faulty) do(op string, run func() error) error {
	if !f.next(op) {
		return run()
	}
	if f.Effect {
		run() // the error below is what the caller sees, whatever this one did
	}
	return f.err()
}

func (f *Faulty) err() error {
	if f.Err != nil {
		return f.Err
	}
	return syscall.EIO
}

// Create implements storage.FS. A failing Create with Effect leaves an empty file behind.
func (f *Faulty) Create(name string) (storage.File, error) {
	var file storage.File
	err := f.do("create "+name, func() (err error) {
		file, err = f.FS.Create(name)
		return err
	})
	if err != nil {
		if file != nil {
			file.Close()
		}
		return nil, err
	}
	return &faultyFile{f, file, name}, nil
}

// Rename implements storage.FS.
func (f *Faulty) Rename(oldName, newName string) error {
	return f.do("rename "+oldName+" "+newName, func() error { return f.FS.Rename(oldName, newName) })
}

// Remove implements storage.FS.
func (f *Faulty) Remove(name string) error {
	return f.do("remove "+name, func() error { return f.FS.Remove(name) })
}

// RemoveAll implements storage.FS.
func (f *Faulty) RemoveAll(name string) error {
	return f.do("remove all "+name, func() error { return f.FS.RemoveAll(name) })
}

// Mkdir implements storage.FS.
func (f *Faulty) Mkdir(name string) error {
	return f.do("mkdir "+name, func() error { return f.FS.Mkdir(name) })
}

// ReadDir implements storage.FS.
func (f *Faulty) ReadDir(name string) (entries []fs.DirEntry, err error) {
	err = f.do("read dir "+name, func() (err error) {
		entries, err = f.FS.ReadDir(name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return entries, nil
}

// Sync implements storage.FS.
func (f *Faulty) Sync(name string) error {
	return f.do("sync "+name, func() error { return f.FS.Sync(name) })
}

type faultyFile struct {
	fault *Faulty
	file  storage.File
	name  string
}

func (f *faultyFile) Write(p []byte) (int, error) {
	if f.fault.next("write " + f.name) {
		n, err := f.file.Write(p[:len(p)/2])
		if err == nil {
			err = f.fault.err()
		}
		return n, err
	}
	f.fault.mu.Lock()
	room := len(p)
	if f.fault.Space > 0 {
		room = int(min(int64(len(p)), f.fault.Space-f.fault.bytes))
	}
	f.fault.bytes += int64(room)
	f.fault.mu.Unlock()
	n, err := f.file.Write(p[:room])
	if err == nil && room < len(p) {
		err = syscall.ENOSPC
	}
	return n, err
}

func (f *faultyFile) Sync() error { return f.fault.do("sync "+f.name, f.file.Sync) }

func (f *faultyFile) Close() error {
	if f.fault.next("close " + f.name) {
		f.file.Close() // close(2) releases the descriptor even when it reports an error
		return f.fault.err()
	}
	return f.file.Close()
}
