package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"path/filepath"
	"strings"

	"alfred/internal/checkpoint/storage"
)

// ledger is a file system that knows size and SHA-256 of the files written through it, without reading them again. It belongs to
// one goroutine.
type ledger struct {
	storage.FS
	written map[string]*hashedFile
	order   []string // names, as first committed
}

type hashedFile struct {
	storage.File
	hash hash.Hash
	size int64
}

func newLedger(fsys storage.FS) *ledger {
	return &ledger{FS: fsys, written: map[string]*hashedFile{}}
}

// Create implements storage.FS.
func (l *ledger) Create(name string) (storage.File, error) {
	file, err := l.FS.Create(name)
	if err != nil {
		return nil, err
	}
	f := &hashedFile{File: file, hash: sha256.New()}
	l.written[filepath.Clean(name)] = f
	return f, nil
}

// Write implements storage.File.
func (f *hashedFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.hash.Write(p[:n])
	f.size += int64(n)
	return n, err
}

// Rename implements storage.FS.
func (l *ledger) Rename(oldName, newName string) error {
	if err := l.FS.Rename(oldName, newName); err != nil {
		return err
	}
	oldName, newName = filepath.Clean(oldName), filepath.Clean(newName)
	if f := l.written[oldName]; f != nil {
		delete(l.written, oldName)
		l.written[newName] = f
		l.order = append(l.order, newName)
	}
	return nil
}

// entries describes the files written below dir, in the order in which they appeared.
func (l *ledger) entries(dir string) (list []FileEntry) {
	prefix := filepath.Clean(dir) + string(filepath.Separator)
	for _, name := range l.order {
		if f, rest := l.written[name], strings.TrimPrefix(name, prefix); f != nil && rest != name {
			list = append(list, FileEntry{Name: filepath.ToSlash(rest), Size: f.size, SHA256: hex.EncodeToString(f.hash.Sum(nil))})
		}
	}
	return list
}
