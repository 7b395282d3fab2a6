package safetensors

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"alfred/internal/checkpoint/storage"
)

// DefaultShardBytes is the size above which WriteModel starts another file: the 5 GB of transformers.
const DefaultShardBytes = 5_000_000_000

// WriteModel writes the weights of a Hugging Face directory, which must exist and hold none yet: model.safetensors if
// all tensors fit shardBytes (0: DefaultShardBytes), else model-0000i-of-0000N.safetensors and the index. Tensors
// stay in the given order; a tensor larger than shardBytes has a file to itself. fetch writes one tensor's data,
// exactly its size; it is called once per tensor, in an order that follows the files.
//
// Each file appears whole, the index last. After an error the files that had appeared are removed again.
func WriteModel(fsys storage.FS, dir string, specs []Spec, shardBytes int64, fetch func(spec Spec, to io.Writer) error) (err error) {
	shards, total, err := planShards(specs, shardBytes)
	if err != nil {
		return fmt.Errorf("safetensors: write model %s: %w", dir, err)
	}
	if err := refuseWeights(fsys, dir); err != nil {
		return fmt.Errorf("safetensors: write model %s: %w", dir, err)
	}
	var written []string
	defer func() {
		if err != nil {
			for _, path := range written {
				fsys.Remove(path) // err is what the caller must hear
			}
		}
	}()
	weightMap := map[string]string{}
	for i, shard := range shards {
		name := singleName
		if len(shards) > 1 {
			name = fmt.Sprintf("model-%05d-of-%05d%s", i+1, len(shards), extension)
		}
		path := filepath.Join(dir, name)
		written = append(written, path)
		if err := writeShard(fsys, path, shard, fetch); err != nil {
			return err
		}
		for _, spec := range shard {
			weightMap[spec.Name] = name
		}
	}
	if len(shards) == 1 {
		return nil
	}
	path := filepath.Join(dir, indexName)
	written = append(written, path)
	err = storage.WriteFile(fsys, path, func(to io.Writer) error {
		encoder := json.NewEncoder(to)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		return encoder.Encode(map[string]any{"metadata": map[string]int64{"total_size": total}, "weight_map": weightMap})
	})
	if err != nil {
		return fmt.Errorf("safetensors: write model: %w", err)
	}
	return nil
}

// planShards cuts the list into runs of at most shardBytes.
func planShards(specs []Spec, shardBytes int64) (shards [][]Spec, total int64, err error) {
	if shardBytes == 0 {
		shardBytes = DefaultShardBytes
	}
	if shardBytes < 0 {
		return nil, 0, fmt.Errorf("shards of %d bytes", shardBytes)
	}
	if len(specs) == 0 {
		return nil, 0, errors.New("no tensors")
	}
	var errs []error
	names := map[string]bool{metadataKey: true}
	var filled int64
	start := 0
	for i, spec := range specs {
		size, err := spec.Bytes()
		if err == nil && names[spec.Name] {
			err = errors.New("name is taken")
		}
		if err == nil && total+size < total {
			err = errors.New("the model would be too large")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("tensor %q: %w", spec.Name, err))
			continue
		}
		names[spec.Name] = true
		if i > start && (filled+size > shardBytes || i-start == maxTensors) {
			shards = append(shards, specs[start:i])
			start, filled = i, 0
		}
		filled += size
		total += size
	}
	shards = append(shards, specs[start:])
	for _, shard := range shards { // what Create would refuse, before hours of writing
		if _, _, err := makeHeader(shard, nil); err != nil && len(errs) == 0 {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, 0, joinFew(errs)
	}
	return shards, total, nil
}

// refuseWeights keeps old and new weights from lying in one directory.
func refuseWeights(fsys storage.FS, dir string) error {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return plain(err)
	}
	for _, entry := range entries {
		if name := entry.Name(); name == indexName || strings.HasSuffix(name, extension) {
			return fmt.Errorf("%s is there already: choose an empty directory", name)
		}
	}
	return nil
}

func writeShard(fsys storage.FS, path string, specs []Spec, fetch func(spec Spec, to io.Writer) error) error {
	w, err := Create(fsys, path, specs, nil)
	if err != nil {
		return err
	}
	defer w.Abort()
	for _, spec := range w.Specs() {
		if err := w.WriteTensor(spec.Name, func(to io.Writer) error { return fetch(spec, to) }); err != nil {
			return err
		}
	}
	return w.Close()
}
