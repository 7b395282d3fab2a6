package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"alfred/internal/checkpoint/storage"
)

// Checkpoint is a checkpoint directory with a readable manifest.
type Checkpoint struct {
	Dir      string
	Manifest *Manifest

	verified bool // all files
}

// Rejected is a checkpoint that was passed over, and why.
type Rejected struct {
	Dir string
	Err error
}

func (r Rejected) String() string {
	return fmt.Sprintf("checkpoint %s is not used: %s", r.Dir, strings.ReplaceAll(r.Err.Error(), "\n", "; "))
}

// Latest finds the newest good checkpoint in a run's folder of checkpoints: the highest step whose manifest and files all verify.
// Those that were passed over on the way are reported. When none is good the error wraps ErrUnusable; when there is none at
// all, so that a run may start from the beginning, it is ErrNone.
func Latest(dir string) (*Checkpoint, []Rejected, error) {
	return latest(dir, func(c *Checkpoint) error { return c.verify(nil) })
}

// latest is Latest with another idea of what makes a checkpoint good.
func latest(dir string, good func(c *Checkpoint) error) (*Checkpoint, []Rejected, error) {
	steps, err := list(storage.OS, dir)
	if err != nil {
		return nil, nil, fmt.Errorf("checkpoint: latest: %w: %w", ErrUnusable, err)
	}
	if len(steps) == 0 {
		return nil, nil, fmt.Errorf("checkpoint: latest in %s: %w", dir, ErrNone)
	}
	var rejected []Rejected
	var errs []error
	for _, step := range slices.Backward(steps) {
		path := filepath.Join(dir, Name(step))
		c, err := openCheckpoint(path)
		if err == nil && c.Manifest.Step != step {
			err = fmt.Errorf("%s is that of step %d", manifestName, c.Manifest.Step)
		}
		if err == nil {
			err = good(c)
		}
		if err == nil {
			return c, rejected, nil
		}
		rejected = append(rejected, Rejected{path, err})
		errs = append(errs, errors.New(rejected[len(rejected)-1].String()))
	}
	return nil, rejected, fmt.Errorf("checkpoint: latest in %s: %w: %w", dir, ErrUnusable, joinFew(errs))
}

// list gives the steps of the checkpoints in a folder, good or bad, in ascending order. A folder that does not exist has none.
func list(fsys storage.FS, dir string) (steps []int, err error) {
	entries, err := fsys.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	for _, entry := range entries {
		if step, ok := stepOf(entry.Name()); ok {
			steps = append(steps, step)
		}
	}
	slices.Sort(steps) // name order differs beyond step 999999
	return steps, err
}

// Verify reads every file of a checkpoint and compares sizes and checksums. The error names each file that differs with what
// was expected and what is there, and wraps ErrUnusable.
func Verify(dir string) (*Checkpoint, error) {
	c, err := openCheckpoint(dir)
	if err == nil {
		err = c.verify(nil)
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoint: verify %s: %w: %w", dir, ErrUnusable, err)
	}
	return c, nil
}

// Open reads the manifest of a checkpoint and no other file; OpenModel verifies those of its model. Errors wrap ErrUnusable.
func Open(dir string) (*Checkpoint, error) {
	c, err := openCheckpoint(dir)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: open %s: %w: %w", dir, ErrUnusable, err)
	}
	return c, nil
}

func openCheckpoint(dir string) (*Checkpoint, error) {
	m, err := readManifest(dir)
	if err != nil {
		return nil, err
	}
	return &Checkpoint{Dir: filepath.Clean(dir), Manifest: m}, nil
}

// verify checks the files that which admits; all of them when it is nil.
func (c *Checkpoint) verify(which func(name string) bool) error {
	if c.verified {
		return nil
	}
	var files []FileEntry
	for _, f := range c.Manifest.Files {
		if which == nil || which(f.Name) {
			files = append(files, f)
		}
	}
	if err := verifyFiles(c.Dir, files); err != nil {
		return err
	}
	if which == nil {
		c.verified = true
	}
	return nil
}

// verifyFiles compares files with what a manifest says of them.
func verifyFiles(dir string, files []FileEntry) error {
	errs := make([]error, len(files))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, f := range files {
		group.Go(func() error {
			if err := f.verify(dir); err != nil {
				errs[i] = fmt.Errorf("%s: %w", f.Name, err)
			}
			return nil
		})
	}
	group.Wait()
	return joinFew(slices.DeleteFunc(errs, func(err error) bool { return err == nil }))
}

func (f FileEntry) verify(dir string) error {
	path := filepath.Join(dir, filepath.FromSlash(f.Name))
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return errors.New("is missing")
	case err != nil:
		return plain(err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("is not a regular file (%s)", info.Mode().Type())
	case info.Size() != f.Size:
		return fmt.Errorf("has %d bytes, the manifest says %d", info.Size(), f.Size)
	}
	sum, err := hashFile(path)
	if err != nil {
		return err
	}
	if sum != f.SHA256 {
		return fmt.Errorf("has SHA-256 %s, the manifest says %s", sum, f.SHA256)
	}
	return nil
}

// hashFile is the SHA-256 of a file in hexadecimal.
func hashFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", plain(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", plain(err)
	}
	hash := sha256.New()
	buf := make([]byte, min(max(info.Size(), 512), 1<<20))
	if _, err := io.CopyBuffer(hash, struct{ io.Reader }{file}, buf); err != nil {
		return "", plain(err)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// State decodes the loop state into v.
func (c *Checkpoint) State(v any) error {
	text, err := os.ReadFile(filepath.Join(c.Dir, stateName))
	if err == nil {
		err = json.Unmarshal(text, v)
	}
	if err != nil {
		return fmt.Errorf("checkpoint: %s of %s: %w: %w", stateName, c.Dir, ErrUnusable, plain(err))
	}
	return nil
}

// OpenModel opens one of the checkpoint's models; see the function OpenModel.
func (c *Checkpoint) OpenModel(name string, opts ...Option) (*Model, error) {
	o := options{which: name}
	for _, opt := range opts {
		opt(&o)
	}
	m, err := c.openModel(o)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: open model %s of %s: %w: %w", name, c.Dir, ErrUnusable, err)
	}
	return m, nil
}

// tensorFiles lists the files of a set of tensors, whose names begin with stem.
func (c *Checkpoint) tensorFiles(stem string) (paths []string) {
	for _, f := range c.Manifest.Files {
		rest, ok := strings.CutPrefix(f.Name, stem)
		if ok && (strings.HasPrefix(rest, ".") || strings.HasPrefix(rest, "-")) && strings.HasSuffix(rest, ".safetensors") {
			paths = append(paths, filepath.Join(c.Dir, filepath.FromSlash(f.Name)))
		}
	}
	return paths
}
