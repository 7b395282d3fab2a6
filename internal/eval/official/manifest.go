package official

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

const manifestName = "MANIFEST.json"

// manifest is MANIFEST.json: what prepared files came from.
type manifest struct {
	Version int             `json:"version"` // 1
	Files   []manifestEntry `json:"files"`   // sorted by path
}

type manifestEntry struct {
	Path     string         `json:"path"`
	Dataset  string         `json:"dataset_path"`
	Config   string         `json:"dataset_name,omitempty"`
	Split    string         `json:"split"`
	Rows     int            `json:"rows"`
	SHA256   string         `json:"sha256"`
	Skipped  map[Reason]int `json:"skipped,omitempty"`
	Noted    map[Reason]int `json:"noted,omitempty"`
	Examples []string       `json:"examples,omitempty"`
	Sources  []Source       `json:"sources"`
}

// readManifest is the manifest of an earlier run, or an empty one.
func readManifest(name string) (manifest, error) {
	m := manifest{Version: 1}
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("%s: %w", name, err)
	}
	if m.Version != 1 {
		return m, fmt.Errorf("%s: version %d, not 1", name, m.Version)
	}
	return m, nil
}

// add puts in an entry, or replaces that of the same path.
func (m *manifest) add(o Output) {
	entry := manifestEntry{o.Path, o.Dataset.Path, o.Dataset.Config, o.Split, o.Report.Rows, o.SHA256, o.Report.Skipped, o.Report.Noted,
		o.Report.Examples, o.Report.Sources}
	i, there := slices.BinarySearchFunc(m.Files, entry.Path, func(e manifestEntry, path string) int { return strings.Compare(e.Path, path) })
	if there {
		m.Files[i] = entry
	} else {
		m.Files = slices.Insert(m.Files, i, entry)
	}
}

func (m manifest) encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(m)
	return b.Bytes(), err
}
