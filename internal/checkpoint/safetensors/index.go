package safetensors

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// Names of a model directory's files.
const (
	singleName = "model.safetensors"
	indexName  = "model.safetensors.index.json"
	extension  = ".safetensors"

	maxIndex        = 32 << 20 // bytes of index file
	maxIndexTensors = 1 << 17
	maxIndexDepth   = 16 // nesting of what the index holds besides
)

// index is a parsed model.safetensors.index.json.
type index struct {
	shards    []string          // distinct file names, in the order of their first tensor
	shardOf   map[string]string // by tensor
	names     []string          // tensors in the order of the file
	totalSize int64             // bytes of all tensors as the file claims; -1 if it does not say
}

// parseIndex reads {"metadata":{"total_size":N},"weight_map":{tensor: file}}; other keys are passed over.
func parseIndex(data []byte) (*index, error) {
	ix := &index{shardOf: map[string]string{}, totalSize: -1}
	s := &scanner{data: data}
	seen := map[string]bool{}
	err := s.object(func(key string) error {
		if seen[key] {
			return s.errorf("%q appears twice", key)
		}
		seen[key] = true
		switch key {
		case "weight_map":
			return ix.parseWeightMap(s)
		case "metadata":
			return ix.parseMetadata(s)
		}
		return s.skip(maxIndexDepth)
	})
	if err != nil {
		return nil, err
	}
	if s.peek(); s.pos < len(s.data) {
		return nil, s.errorf("expected the end, found %s", s.found())
	}
	if !seen["weight_map"] {
		return nil, errors.New(`"weight_map" is missing`)
	}
	if len(ix.names) == 0 {
		return nil, errors.New(`"weight_map" is empty`)
	}
	return ix, nil
}

func (ix *index) parseMetadata(s *scanner) error {
	if s.peek() != '{' { // null, in files made by hand
		return s.skip(1)
	}
	return s.object(func(key string) error {
		if key != "total_size" {
			return s.skip(maxIndexDepth)
		}
		start := s.pos
		n, err := s.number()
		if err != nil { // some converters write 83671941120.0 or a string: of use to nobody, but no harm
			s.pos = start
			return s.skip(1)
		}
		ix.totalSize = int64(n)
		return nil
	})
}

func (ix *index) parseWeightMap(s *scanner) error {
	shards := map[string]bool{}
	return s.object(func(name string) error {
		shard, err := s.string()
		if err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		if other, double := ix.shardOf[name]; double {
			return s.errorf("tensor %q appears twice, in %q and in %q", name, other, shard)
		}
		if len(ix.names) == maxIndexTensors {
			return s.errorf("more than %d tensors", maxIndexTensors)
		}
		if err := checkShardName(shard); err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		if !shards[shard] {
			shards[shard] = true
			ix.shards = append(ix.shards, shard)
		}
		ix.shardOf[name] = shard
		ix.names = append(ix.names, name)
		return nil
	})
}

// checkShardName admits only plain names: a path could lead anywhere on the machine.
func checkShardName(name string) error {
	switch {
	case name == "" || strings.ContainsAny(name, "/\\\x00") || name[0] == '.':
		return fmt.Errorf("shard name %q is not a plain file name within the directory", name)
	case isPickleName(name):
		return fmt.Errorf("shard %q: %w", name, ErrPickle)
	case filepath.Ext(name) != extension:
		return fmt.Errorf("shard name %q does not end in %s", name, extension)
	}
	return nil
}
