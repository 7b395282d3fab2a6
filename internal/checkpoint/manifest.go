package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// Format is the version of the layout of checkpoints that this package writes. It reads no newer one.
const Format = 1

const (
	manifestName = "manifest.json"
	stateName    = "state.json"
	optimizerDir = "optimizer"

	maxManifest = 256 << 20 // bytes
)

// Manifest describes a checkpoint.
type Manifest struct {
	Format     int         `json:"format"`
	Step       int         `json:"step"`  // steps or iterations done
	Stage      string      `json:"stage"` // sft, reward or ppo
	ConfigHash string      `json:"config_hash"`
	Layout     Layout      `json:"layout"` // under which it was written
	Models     []Contents  `json:"models"`
	Files      []FileEntry `json:"files"` // all but the manifest, in name order
}

// Layout is a number of ranks along each axis.
type Layout struct {
	Tensor   int `json:"tensor"`
	Pipeline int `json:"pipeline"`
	Data     int `json:"data"`
}

// Contents describes one trained model.
type Contents struct {
	Name      string        `json:"name"` // policy, value or reward; its folder
	DType     string        `json:"dtype"`
	Optimizer *StateEntry   `json:"optimizer,omitempty"`
	Tensors   []TensorEntry `json:"tensors"`
}

// StateEntry describes the state of an optimizer: for each kind, one tensor of the shape of each of the model's tensors.
type StateEntry struct {
	Steps int      `json:"steps"` // updates done
	DType string   `json:"dtype"`
	Kinds []string `json:"kinds"` // as optim.AdamW.State names them
}

// TensorEntry is a tensor with its shape, which no layout changes.
type TensorEntry struct {
	Name  string `json:"name"`
	Shape []int  `json:"shape"`
}

// FileEntry is a file as it was written.
type FileEntry struct {
	Name   string `json:"name"` // slash-separated, within the checkpoint
	Size   int64  `json:"size"` // bytes
	SHA256 string `json:"sha256"`
}

// The manifest ends with a checksum of the bytes before it, so that damage to the manifest itself shows too.
const (
	checksumHead = `,"manifest_sha256":"`
	checksumTail = "\"}\n"
	checksumLen  = len(checksumHead) + 2*sha256.Size + len(checksumTail)
)

// encode is the manifest as text: an object with one line per tensor and file, that ends with the checksum.
func (m *Manifest) encode() ([]byte, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: manifest: %w", err)
	}
	text = bytes.ReplaceAll(text, []byte(`{"name":`), []byte("\n"+`{"name":`)) // quotes within strings are escaped
	text = text[:len(text)-1]
	sum := sha256.Sum256(text)
	return fmt.Appendf(text, "%s%x%s", checksumHead, sum, checksumTail), nil
}

// parseManifest reads what encode wrote. It trusts nothing: the error says what is wrong, all of it where possible.
func parseManifest(text []byte) (*Manifest, error) {
	// The version comes first: everything else may be different in another one.
	var version struct {
		Format *int `json:"format"`
	}
	if err := json.Unmarshal(text, &version); err != nil {
		return nil, fmt.Errorf("is damaged: %w", err)
	}
	switch {
	case version.Format == nil:
		return nil, errors.New(`is none of ours: "format" is missing`)
	case *version.Format > Format:
		return nil, fmt.Errorf("has format %d; this version of alfred reads up to %d: use a newer one", *version.Format, Format)
	case *version.Format < 1:
		return nil, fmt.Errorf("has format %d, which never was", *version.Format)
	}
	if len(text) < checksumLen {
		return nil, errors.New("is damaged: the checksum is missing")
	}
	body, end := text[:len(text)-checksumLen], text[len(text)-checksumLen:]
	sum := sha256.Sum256(body)
	want := fmt.Sprintf("%s%x%s", checksumHead, sum, checksumTail)
	if string(end) != want {
		return nil, fmt.Errorf("is damaged: it ends with %q, its contents demand %q", end, want)
	}
	m := new(Manifest)
	decoder := json.NewDecoder(io.MultiReader(bytes.NewReader(body), bytes.NewReader([]byte("}"))))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(m); err != nil {
		return nil, fmt.Errorf("is damaged: %w", err)
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	return m, nil
}

// check finds what no manifest says.
func (m *Manifest) check() error {
	var errs []error
	failf := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if m.Step < 0 {
		failf("step %d is negative", m.Step)
	}
	if l := m.Layout; min(l.Tensor, l.Pipeline, l.Data) < 1 {
		failf("layout %+v: every size must be at least 1", l)
	}
	models := map[string]bool{}
	for _, c := range m.Models {
		if !isPlainName(c.Name) || c.Name == optimizerDir || models[c.Name] {
			failf("model %q: is no name, or twice there", c.Name)
		}
		models[c.Name] = true
		if len(c.Tensors) == 0 {
			failf("model %q: has no tensors", c.Name)
		}
		names := map[string]bool{}
		for _, t := range c.Tensors {
			if t.Name == "" || names[t.Name] {
				failf("model %q: tensor %q has no name, or is twice there", c.Name, t.Name)
			}
			names[t.Name] = true
			if !countable(t.Shape) {
				failf("model %q: tensor %q: shape %v", c.Name, t.Name, t.Shape)
			}
		}
		if c.Optimizer == nil {
			continue
		}
		if c.Optimizer.Steps < 0 {
			failf("model %q: %d updates", c.Name, c.Optimizer.Steps)
		}
		for i, kind := range c.Optimizer.Kinds {
			if !isPlainName(kind) || slices.Contains(c.Optimizer.Kinds[:i], kind) {
				failf("model %q: optimizer state %q: is no name, or twice there", c.Name, kind)
			}
		}
	}
	files := map[string]bool{}
	for _, f := range m.Files {
		if !filepath.IsLocal(filepath.FromSlash(f.Name)) || filepath.ToSlash(filepath.Clean(f.Name)) != f.Name || f.Name == manifestName || files[f.Name] {
			failf("file %q: is no path within the checkpoint, or twice there", f.Name)
		}
		files[f.Name] = true
		if sum, err := hex.DecodeString(f.SHA256); err != nil || len(sum) != sha256.Size || f.Size < 0 {
			failf("file %q: size %d, SHA-256 %q", f.Name, f.Size, f.SHA256)
		}
	}
	return joinFew(errs)
}

// countable reports whether shape has no negative dimension and a product that an int holds.
func countable(shape []int) bool {
	n := uint64(1)
	for _, d := range shape {
		hi, lo := bits.Mul64(n, uint64(max(d, 1)))
		if d < 0 || hi != 0 || lo > 1<<62 {
			return false
		}
		n = lo
	}
	return true
}

// isPlainName admits what is one element of a path on any system, and no hidden one.
func isPlainName(name string) bool {
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return name != ""
}

// contents is the entry of a model.
func (m *Manifest) contents(model string) (Contents, bool) {
	for _, c := range m.Models {
		if c.Name == model {
			return c, true
		}
	}
	return Contents{}, false
}

// readManifest reads the manifest of a checkpoint directory.
func readManifest(dir string) (*Manifest, error) {
	text, err := readSmall(filepath.Join(dir, manifestName), maxManifest)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s is missing: the checkpoint was never completed", manifestName)
	}
	if err == nil {
		var m *Manifest
		if m, err = parseManifest(text); err == nil {
			return m, nil
		}
	}
	return nil, fmt.Errorf("%s: %w", manifestName, err)
}

// readSmall reads a whole regular file of at most the given size.
func readSmall(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path) // before opening: a pipe would wait for its writer
	if err != nil {
		return nil, plain(err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("is not a regular file (%s)", info.Mode().Type())
	}
	if info.Size() > most {
		return nil, fmt.Errorf("has %d bytes; at most %d are read", info.Size(), most)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, plain(err)
	}
	return text, nil
}

// plain drops the path from an error of package os: callers name the file themselves.
func plain(err error) error {
	var pathErr *os.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// joinFew joins errors; a wrong file can produce one for each of thousands of tensors.
func joinFew(errs []error) error {
	const most = 20
	if len(errs) > most {
		errs = append(errs[:most:most], fmt.Errorf("and %d more problems", len(errs)-most))
	}
	return errors.Join(errs...)
}

// Name is the directory of the checkpoint of a step.
func Name(step int) string { return fmt.Sprintf("%06d", step) }

// stepOf is the inverse of Name.
func stepOf(name string) (step int, ok bool) {
	step, err := strconv.Atoi(name)
	return step, err == nil && step >= 0 && Name(step) == name
}
