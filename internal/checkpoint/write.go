package checkpoint

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"alfred/internal/backend"
	"alfred/internal/checkpoint/safetensors"
	"alfred/internal/checkpoint/storage"
	"alfred/internal/param"
	"alfred/internal/tensor"
)

// set is one kind of tensors of one model: the weights, or one kind of optimizer state.
type set struct {
	stem   string // of its files: policy/model or optimizer/policy/exp_avg
	store  *param.Store
	flat   tensor.Tensor // laid out as the store's weights
	dtype  safetensors.DType
	shards [][]piece // what this rank writes, file by file
}

// cut divides what this rank owns into files. Replicas of a model hold the same; the first one writes.
func (w *saving) cut() (sets []set, err error) {
	writes := w.Mesh.Coord(w.World.Rank()).Data == 0
	for _, m := range w.snapshot.Models {
		kinds := map[string]tensor.Tensor{}
		if m.Optimizer != nil {
			kinds = m.Optimizer.State()
		}
		stems := []string{path.Join(m.Name, "model")}
		flats := []tensor.Tensor{m.Store.Weights()}
		for _, kind := range slices.Sorted(maps.Keys(kinds)) {
			stems = append(stems, path.Join(optimizerDir, m.Name, kind))
			flats = append(flats, kinds[kind])
		}
		for i, stem := range stems {
			dtype, err := fileType(flats[i].DType())
			if err != nil {
				return nil, err
			}
			one := set{stem: stem, store: m.Store, flat: flats[i], dtype: dtype}
			if writes {
				one.shards, err = cutFiles(owned(m.Store), dtype, cmp.Or(w.ShardBytes, safetensors.DefaultShardBytes))
			}
			if err != nil {
				return nil, err
			}
			sets = append(sets, one)
		}
	}
	return sets, nil
}

// cutFiles divides pieces into runs of at most limit bytes; a larger piece is alone.
func cutFiles(pieces []piece, dtype safetensors.DType, limit int64) (shards [][]piece, err error) {
	var filled int64
	for _, pc := range pieces {
		size, err := pc.spec(dtype).Bytes()
		if err != nil {
			return nil, fmt.Errorf("tensor %s: %w", pc.param.Name, err)
		}
		if len(shards) == 0 || filled+size > limit {
			shards, filled = append(shards, nil), 0
		}
		filled += size
		shards[len(shards)-1] = append(shards[len(shards)-1], pc)
	}
	return shards, nil
}

// shardName names a file of a set. Whole tensors have the names that transformers looks for; segments have others, so that nobody
// takes them for a model.
func shardName(stem string, whole bool, number, total int) string {
	switch {
	case !whole:
		return fmt.Sprintf("%s-segments-%05d-of-%05d.safetensors", stem, number, total)
	case total == 1:
		return stem + ".safetensors"
	}
	return fmt.Sprintf("%s-%05d-of-%05d.safetensors", stem, number, total)
}

// written is what a rank tells when its files are on stable storage.
type written struct {
	Files  []FileEntry `json:"files"`
	Placed [][]placed  `json:"placed"` // by model: where its weights are
}

// placed is what a file holds of a tensor.
type placed struct {
	Name string `json:"name"`
	File string `json:"file"` // in the model's folder
	Cut  cut    `json:"cut"`
	Size int64  `json:"size"` // bytes
}

// write writes this rank's files.
func (w *saving) write(plans []plan) (mine written, err error) {
	mine.Placed = make([][]placed, len(w.snapshot.Models))
	for i, one := range w.sets {
		before, total := 0, 0
		for rank, p := range plans {
			if len(p.Shards) != len(w.sets) {
				return mine, fmt.Errorf("rank %d saves %d sets of tensors, this rank %d", rank, len(p.Shards), len(w.sets))
			}
			if rank < w.World.Rank() {
				before += p.Shards[i]
			}
			total += p.Shards[i]
		}
		for n, shard := range one.shards {
			name := shardName(one.stem, w.Mesh.Tensor == 1, before+n+1, total)
			if err := w.writeTensors(name, one, shard); err != nil {
				return mine, err
			}
			for m, model := range w.snapshot.Models {
				if one.stem == path.Join(model.Name, "model") {
					mine.Placed[m] = append(mine.Placed[m], place(shard, path.Base(name), one.dtype)...)
				}
			}
		}
	}
	if w.first {
		if err := w.writeRest(); err != nil {
			return mine, err
		}
	}
	mine.Files = w.ledger.entries(w.temp)
	return mine, nil
}

func place(shard []piece, file string, dtype safetensors.DType) (list []placed) {
	for _, pc := range shard {
		size, _ := pc.spec(dtype).Bytes() // cutFiles has asked before
		list = append(list, placed{Name: pc.param.Name, File: file, Cut: pc.cut(), Size: size})
	}
	return list
}

// writeTensors writes one file of a set, piece by piece.
func (w *saving) writeTensors(name string, one set, shard []piece) error {
	var specs []safetensors.Spec
	for _, pc := range shard {
		specs = append(specs, pc.spec(one.dtype))
	}
	metadata, err := segmentsMetadata(shard)
	if err != nil {
		return err
	}
	out, err := safetensors.Create(w.ledger, filepath.Join(w.temp, filepath.FromSlash(name)), specs, metadata)
	if err != nil {
		return storageError(err)
	}
	defer out.Abort()
	var buf []byte
	for _, pc := range shard { // all have one type, so the file keeps this order
		err := out.WriteTensor(pc.param.Name, func(to io.Writer) error {
			return download(w.stream, &buf, pc, one.store.View(one.flat, pc.index), to)
		})
		if w.stream.Err() != nil {
			return w.stream.Err()
		}
		if err != nil {
			return storageError(err)
		}
	}
	return storageError(out.Close())
}

// download writes the runs of a piece, of which from holds the whole local tensor.
func download(s *backend.Stream, buf *[]byte, pc piece, from tensor.Tensor, to io.Writer) error {
	dtype := from.DType()
	for _, run := range pc.runs {
		part := pc.param.Part(from, run)
		step := rowsAtOnce(part.Cols())
		for at := 0; at < part.Rows(); at += step {
			rows := part.Slice(at, min(part.Rows(), at+step))
			*buf = sized(*buf, rows.Bytes())
			if err := s.Download(backend.Raw(dtype, *buf), rows).Wait(); err != nil {
				return err
			}
			if _, err := to.Write(*buf); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeRest writes what is not cut over ranks, except for the manifest.
func (w *saving) writeRest() error {
	text, err := w.snapshot.state()
	if err != nil {
		return err
	}
	if err := writeText(w.ledger, filepath.Join(w.temp, stateName), text); err != nil {
		return storageError(err)
	}
	for _, m := range w.snapshot.Models {
		cfg := m.Config
		cfg.DType, cfg.Role = dtypeName(m.Store.DType()), m.Name
		dir := filepath.Join(w.temp, m.Name)
		if err := errors.Join(writeConfig(w.ledger, dir, cfg), copyAssets(w.ledger, dir, w.snapshot.Assets)); err != nil {
			return storageError(err)
		}
	}
	return nil
}

// dtypeName is what config.json calls the type of weights. There is no name for the float64 of the reference backend.
func dtypeName(dtype tensor.DType) string {
	if dtype == tensor.BFloat16 {
		return "bfloat16"
	}
	return "float32"
}

// commit checks that the ranks' files make whole models, writes index and manifest, and makes the checkpoint appear.
func (w *saving) commit(all []written) (done outcome, err error) {
	m := &Manifest{
		Format: Format, Step: w.snapshot.Step, Stage: w.snapshot.Stage, ConfigHash: w.snapshot.ConfigHash,
		Layout: Layout{Tensor: w.Mesh.Tensor, Pipeline: w.Mesh.Pipeline, Data: w.Mesh.Data},
	}
	for i, trained := range w.snapshot.Models {
		var places []placed
		for _, theirs := range all {
			places = append(places, theirs.Placed[i]...)
		}
		contents, err := trained.contents(places)
		if err != nil {
			return done, err
		}
		m.Models = append(m.Models, contents)
		if err := w.writeIndex(trained.Name, places); err != nil {
			return done, storageError(err)
		}
	}
	for _, theirs := range all[1:] {
		m.Files = append(m.Files, theirs.Files...)
	}
	m.Files = append(m.Files, w.ledger.entries(w.temp)...)
	slices.SortFunc(m.Files, func(a, b FileEntry) int { return strings.Compare(a.Name, b.Name) })
	for _, f := range m.Files {
		done.Bytes += f.Size
	}
	if err := m.check(); err != nil { // what the reader would refuse
		return done, err
	}
	text, err := m.encode()
	if err != nil {
		return done, err
	}
	if err := writeText(w.ledger, filepath.Join(w.temp, manifestName), text); err != nil {
		return done, storageError(err)
	}
	if err := storage.CommitDir(w.ledger, w.temp, w.final); err != nil {
		return done, storageError(err)
	}
	old, err := w.superfluous()
	done.Prune = len(old) > 0
	return done, err
}

// contents describes a model, and demands that the placed pieces are each of its tensors exactly once.
func (t Trained) contents(places []placed) (c Contents, err error) {
	c = Contents{Name: t.Name, DType: t.Store.DType().String()}
	if t.Optimizer != nil {
		state := t.Optimizer.State()
		c.Optimizer = &StateEntry{Steps: t.Optimizer.Steps(), Kinds: slices.Sorted(maps.Keys(state))}
		c.Optimizer.DType = state[c.Optimizer.Kinds[0]].DType().String()
	}
	var errs []error
	byName := map[string][]placed{}
	for _, p := range places {
		byName[p.Name] = append(byName[p.Name], p)
	}
	for _, want := range t.Config.Tensors() {
		c.Tensors = append(c.Tensors, TensorEntry{want.Name, want.Shape})
		var spans []span
		for _, p := range byName[want.Name] {
			if !slices.Equal(p.Cut.Shape, want.Shape) || p.Cut.Dim != byName[want.Name][0].Cut.Dim {
				errs = append(errs, fmt.Errorf("model %s: tensor %s: %+v for shape %v", t.Name, want.Name, p.Cut, want.Shape))
				continue
			}
			for _, run := range p.Cut.Runs {
				spans = append(spans, span{run[0], run[0] + run[1], p.File})
			}
		}
		n := want.Shape[0]
		if len(spans) > 0 {
			n = want.Shape[byName[want.Name][0].Cut.Dim]
		}
		if err := covers(spans, n); err != nil {
			errs = append(errs, fmt.Errorf("model %s: tensor %s: %w", t.Name, want.Name, err))
		}
		delete(byName, want.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		errs = append(errs, fmt.Errorf("model %s: tensor %s is not in its configuration", t.Name, name))
	}
	return c, joinFew(errs)
}

// writeIndex writes the index of a folder of whole tensors in several files.
func (w *saving) writeIndex(model string, places []placed) error {
	files := map[string]bool{}
	weightMap := map[string]string{}
	var total int64
	for _, p := range places {
		files[p.File], weightMap[p.Name] = true, p.File
		total += p.Size
	}
	if w.Mesh.Tensor > 1 || len(files) == 1 {
		return nil
	}
	text, err := json.MarshalIndent(map[string]any{"metadata": map[string]int64{"total_size": total}, "weight_map": weightMap}, "", "  ")
	if err != nil {
		return err
	}
	return writeText(w.ledger, filepath.Join(w.temp, model, "model.safetensors.index.json"), append(text, '\n'))
}
