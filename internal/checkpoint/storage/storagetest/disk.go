package storagetest

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"alfred/internal/checkpoint/storage"
)

// Disk is a file system in memory that remembers what is on stable storage: a file's contents as of its last
// Sync, a directory's entries as of the directory's. Crash tells what a power failure at this moment may leave.
// Paths are slash-separated and relative to its root; "." is the root.
type Disk struct {
	mu   sync.Mutex
	root *node
}

type node struct {
	dir              bool
	entries, durable map[string]*node // directories: as seen by the program, and on stable storage
	data, stable     []byte           // files
}

// NewDisk returns an empty disk.
func NewDisk() *Disk { return &Disk{root: newDir()} }

func newDir() *node {
	return &node{dir: true, entries: map[string]*node{}, durable: map[string]*node{}}
}

// Survival says which unsynced changes a crash keeps.
type Survival int

const (
	// Nothing: no unsynced change survives.
	Nothing Survival = iota
	// Names: every change of a directory survives, no unsynced contents: files that exist and are empty.
	Names
	// Some: each changed entry and each unsynced file survives or not, or in part, by chance.
	Some
)

// Crash returns the disk after a power failure. Of two names touched by one rename each may survive by itself,
// which is more than a journalling file system would do to us. seed matters for Some only.
func (d *Disk) Crash(survival Survival, seed uint64) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &Disk{root: d.root.crash(survival, rand.New(rand.NewPCG(seed, 0)))}
}

func (n *node) crash(survival Survival, rng *rand.Rand) *node {
	if !n.dir {
		data := n.stable
		if survival == Some {
			switch rng.IntN(3) {
			case 0:
				data = n.data
			case 1:
				data = n.data[:len(n.stable)+rng.IntN(len(n.data)-len(n.stable)+1)] // files only grow
			}
		}
		return &node{data: slices.Clone(data), stable: slices.Clone(data)}
	}
	out := newDir()
	names := map[string]bool{}
	for name := range n.entries {
		names[name] = true
	}
	for name := range n.durable {
		names[name] = true
	}
	for _, name := range sorted(names) { // in name order, so that a seed means one outcome
		now, before := n.entries[name], n.durable[name]
		kept := before
		if now == before || survival == Names || survival == Some && rng.IntN(2) == 0 {
			kept = now
		}
		if kept != nil {
			child := kept.crash(survival, rng)
			out.entries[name], out.durable[name] = child, child
		}
	}
	return out
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Files returns the contents of every file as the program sees it, by path.
func (d *Disk) Files() map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	files := map[string]string{}
	d.root.walk("", func(name string, n *node) {
		if !n.dir {
			files[name] = string(n.data)
		}
	})
	return files
}

func (n *node) walk(prefix string, visit func(name string, n *node)) {
	for _, name := range sorted(n.entries) {
		child := n.entries[name]
		visit(prefix+name, child)
		child.walk(prefix+name+"/", visit)
	}
}

// Dump copies the disk, as the program sees it, below a directory of the operating system.
func (d *Disk) Dump(dir string) (err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.root.walk("", func(name string, n *node) {
		switch {
		case err != nil:
		case n.dir:
			err = os.MkdirAll(filepath.Join(dir, name), 0o777)
		default:
			err = os.WriteFile(filepath.Join(dir, name), n.data, 0o666)
		}
	})
	return err
}

// find returns the directory that holds name and its last element; the last element is "" for the root.
func (d *Disk) find(name string) (parent *node, last string, err error) {
	parent = d.root
	clean := filepath.ToSlash(filepath.Clean(name))
	if clean == "." {
		return parent, "", nil
	}
	parts := strings.Split(clean, "/")
	for _, part := range parts[:len(parts)-1] {
		child := parent.entries[part]
		if child == nil || !child.dir {
			return nil, "", &fs.PathError{Op: "find", Path: name, Err: fs.ErrNotExist}
		}
		parent = child
	}
	return parent, parts[len(parts)-1], nil
}

func (d *Disk) lookup(op, name string) (*node, error) {
	parent, last, err := d.find(name)
	if err != nil {
		return nil, err
	}
	if last == "" {
		return parent, nil
	}
	if n := parent.entries[last]; n != nil {
		return n, nil
	}
	return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
}

func (d *Disk) add(op, name string, n *node) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	parent, last, err := d.find(name)
	if err != nil {
		return err
	}
	if last == "" || parent.entries[last] != nil {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrExist}
	}
	parent.entries[last] = n
	return nil
}

// Create implements storage.FS.
func (d *Disk) Create(name string) (storage.File, error) {
	n := &node{}
	if err := d.add("create", name, n); err != nil {
		return nil, err
	}
	return &diskFile{d, n}, nil
}

// Mkdir implements storage.FS.
func (d *Disk) Mkdir(name string) error { return d.add("mkdir", name, newDir()) }

// Rename implements storage.FS.
func (d *Disk) Rename(oldName, newName string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.lookup("rename", oldName)
	if err != nil {
		return err
	}
	oldParent, oldLast, _ := d.find(oldName)
	newParent, newLast, err := d.find(newName)
	if err != nil {
		return err
	}
	if old := newParent.entries[newLast]; newLast == "" || old != nil && (old.dir || n.dir) {
		return &fs.PathError{Op: "rename", Path: newName, Err: fs.ErrExist}
	}
	delete(oldParent.entries, oldLast)
	newParent.entries[newLast] = n
	return nil
}

// Remove implements storage.FS.
func (d *Disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.lookup("remove", name)
	if err != nil {
		return err
	}
	if len(n.entries) > 0 {
		return fmt.Errorf("remove %s: directory not empty", name)
	}
	parent, last, _ := d.find(name)
	delete(parent.entries, last)
	return nil
}

// RemoveAll implements storage.FS.
func (d *Disk) RemoveAll(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if parent, last, err := d.find(name); err == nil {
		delete(parent.entries, last)
	}
	return nil
}

// ReadDir implements storage.FS.
func (d *Disk) ReadDir(name string) ([]fs.DirEntry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.lookup("read dir", name)
	if err != nil {
		return nil, err
	}
	if !n.dir {
		return nil, &fs.PathError{Op: "read dir", Path: name, Err: fs.ErrInvalid}
	}
	var entries []fs.DirEntry
	for _, child := range sorted(n.entries) {
		entries = append(entries, dirEntry{child, n.entries[child]})
	}
	return entries, nil
}

// Sync implements storage.FS.
func (d *Disk) Sync(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.lookup("sync", name)
	if err != nil {
		return err
	}
	n.sync()
	return nil
}

func (n *node) sync() {
	n.stable = slices.Clone(n.data)
	if n.dir {
		n.durable = map[string]*node{}
		for name, child := range n.entries {
			n.durable[name] = child
		}
	}
}

type diskFile struct {
	disk *Disk
	node *node
}

func (f *diskFile) Write(p []byte) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.node.data = append(f.node.data, p...)
	return len(p), nil
}

func (f *diskFile) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.node.sync()
	return nil
}

func (f *diskFile) Close() error { return nil }

// dirEntry is both fs.DirEntry and fs.FileInfo.
type dirEntry struct {
	name string
	node *node
}

func (e dirEntry) Name() string               { return e.name }
func (e dirEntry) IsDir() bool                { return e.node.dir }
func (e dirEntry) Type() fs.FileMode          { return e.Mode().Type() }
func (e dirEntry) Info() (fs.FileInfo, error) { return e, nil }
func (e dirEntry) Size() int64                { return int64(len(e.node.data)) }
func (e dirEntry) ModTime() time.Time         { return time.Time{} }
func (e dirEntry) Sys() any                   { return nil }
func (e dirEntry) Mode() fs.FileMode {
	if e.node.dir {
		return fs.ModeDir | 0o777
	}
	return 0o666
}
