package task

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"path"
	"strings"

	"alfred/internal/eval/python"
)

// function is a Python function, written in Go: one of its fields does the work.
type function struct {
	name      string // module.name
	field     func(doc *python.Dict) (any, error)
	documents func(docs []*python.Dict) ([]*python.Dict, error)
	aggregate string // name of the aggregation that does the same
}

// Kinds of functions, by what they are for.
const (
	fieldFunction = iota
	documentsFunction
	aggregateFunction
)

func (f *function) is(kind int) bool {
	switch kind {
	case fieldFunction:
		return f.field != nil
	case documentsFunction:
		return f.documents != nil
	}
	return f.aggregate != ""
}

// function reads a key whose value must be a function of a kind; nil if it has none.
func (r *reader) function(key string, kind int) *function {
	if !r.has(key) {
		return nil
	}
	n := r.m.nodes[key]
	name, ok := n.function()
	if !ok {
		r.fail(n.place().errorf("%s: want !function module.name", key))
		return nil
	}
	f, err := lookup(n, name)
	if err == nil && !f.is(kind) {
		err = n.place().errorf("%s: %s is no function of that kind", key, name)
	}
	r.fail(err)
	return f
}

// lookup finds the function module.name of the Python file beside a task file. That file must be there and be one that is known, as a
// function of the same name elsewhere may do something else.
func lookup(n node, qualified string) (*function, error) {
	dot := strings.LastIndexByte(qualified, '.')
	if dot < 0 {
		return nil, n.place().errorf("!function %s: want module.name", qualified)
	}
	file := path.Join(path.Dir(n.file), strings.ReplaceAll(qualified[:dot], ".", "/")+".py")
	text, err := fs.ReadFile(n.files, file)
	if err != nil {
		return nil, n.place().errorf("!function %s: %w", qualified, err)
	}
	sum := sha256.Sum256(text)
	known, ok := pythonFiles[hex.EncodeToString(sum[:])]
	if !ok {
		return nil, n.place().errorf("!function %s: Python does not run here, and %s is none of the files whose functions are built in (task files of lm-eval 0.4.13, and alfred's own)", qualified, shown(n.files, file))
	}
	f, ok := known[qualified[dot+1:]]
	if !ok {
		return nil, n.place().errorf("!function %s: %s is known, but not this function of it", qualified, shown(n.files, file))
	}
	f.name = qualified
	return &f, nil
}
