package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"alfred/internal/backend"
	"alfred/internal/checkpoint/storage"
	"alfred/internal/collective"
	"alfred/internal/falcon"
	"alfred/internal/mesh"
	"alfred/internal/optim"
	"alfred/internal/param"
)

// Saver writes the checkpoints of a run. Every rank has one, and all of them save at the same step.
type Saver struct {
	FS    storage.FS       // nil: the operating system's
	Dir   string           // the run's folder of checkpoints
	Keep  int              // how many of the newest are kept, at least 2; 0: all
	Mesh  mesh.Mesh        // layout of the ranks
	World collective.Group // all ranks, in the order of the mesh

	ShardBytes int64 // size above which weights go to another file; 0: 5 GB, as in transformers
}

// Snapshot is what a checkpoint holds. The models are the same and in the same order on all ranks; what is not cut over ranks is
// taken from rank 0.
type Snapshot struct {
	Stage      string // sft, reward or ppo
	Step       int    // steps or iterations done
	ConfigHash string
	State      any // the loop's state, as JSON
	Models     []Trained
	Assets     []Asset // tokenizer files, copied into each model's folder
}

// Trained is a model with the state of its optimizer.
type Trained struct {
	Name      string // policy, value or reward: its folder
	Config    falcon.Config
	Store     *param.Store
	Optimizer *optim.AdamW // nil: no state is kept
}

// Saved tells what Save has done.
type Saved struct {
	Dir     string
	Bytes   int64    // of all files, of all ranks
	Already bool     // a good checkpoint of this step was there, and nothing was written
	Pruned  []string // old checkpoints that were removed
}

// saving is one Save on one rank.
type saving struct {
	*Saver
	snapshot Snapshot
	stream   *backend.Stream
	ledger   *ledger
	first    bool // this is rank 0
	final    string
	temp     string // where the files are until they are complete; on all ranks the same
	sets     []set
}

// Save writes the checkpoint of a step. All ranks call it together, and all of them get an error or none does. Then earlier
// checkpoints are as they were, and this one is either not there or whole. Errors of writing wrap ErrStorage. A rank that did not
// fail itself gets an error that also wraps collective.ErrAborted.
//
// When older checkpoints are to go, the new one is read back and verified first, each rank its own files.
func (sv *Saver) Save(s *backend.Stream, snapshot Snapshot) (Saved, error) {
	w := &saving{Saver: sv, snapshot: snapshot, stream: s, first: sv.World.Rank() == 0}
	fsys := sv.FS
	if fsys == nil {
		fsys = storage.OS
	}
	w.ledger = newLedger(fsys)
	w.final = filepath.Join(sv.Dir, Name(snapshot.Step))
	saved, err := w.run()
	if err != nil {
		return Saved{}, fmt.Errorf("checkpoint: save step %d: %w", snapshot.Step, err)
	}
	return saved, nil
}

// plan is what ranks tell each other before they write.
type plan struct {
	Temp    string `json:"temp"`    // from rank 0
	Already bool   `json:"already"` // from rank 0
	Shards  []int  `json:"shards"`  // files that this rank writes, by set
}

// outcome is what rank 0 tells when the checkpoint has appeared.
type outcome struct {
	Bytes int64 `json:"bytes"`
	Prune bool  `json:"prune"`
}

func (w *saving) run() (saved Saved, err error) {
	saved.Dir = w.final
	mine, err := w.prepare()
	defer func() {
		if err != nil && w.first && w.temp != "" {
			w.ledger.RemoveAll(w.temp) // what resists is removed at the next start
		}
	}()
	plans, err := meet(w.World, mine, err)
	if err != nil || plans[0].Already {
		saved.Already = err == nil
		return saved, err
	}
	w.temp = plans[0].Temp

	written, err := w.write(plans)
	all, err := meet(w.World, written, err)
	if err != nil {
		return saved, err
	}
	var done outcome
	if w.first {
		done, err = w.commit(all)
	}
	outcomes, err := meet(w.World, done, err)
	if err != nil {
		return saved, err
	}
	saved.Bytes = outcomes[0].Bytes
	if !outcomes[0].Prune {
		return saved, nil
	}
	if err = storageError(verifyFiles(w.final, written.Files)); err != nil {
		err = fmt.Errorf("read back what was written: %w", err)
	}
	if _, err = meet(w.World, struct{}{}, err); err != nil {
		return saved, err
	}
	if w.first {
		saved.Pruned, err = w.prune()
	}
	pruned, err := meet(w.World, saved.Pruned, err)
	if err == nil {
		saved.Pruned = pruned[0]
	}
	return saved, err
}

// storageError marks an error of writing.
func storageError(err error) error {
	if err == nil || errors.Is(err, ErrStorage) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrStorage, err)
}

// prepare cuts this rank's tensors into files, and on rank 0 makes the temporary directory.
func (w *saving) prepare() (mine plan, err error) {
	if err := w.stream.Sync(); err != nil { // before anything is written
		return mine, err
	}
	if w.sets, err = w.cut(); err != nil {
		return mine, err
	}
	for _, set := range w.sets {
		mine.Shards = append(mine.Shards, len(set.shards))
	}
	if !w.first {
		return mine, nil
	}
	if mine.Already, err = w.makeRoom(); mine.Already || err != nil {
		return mine, storageError(err)
	}
	w.temp = storage.TempName(w.final)
	mine.Temp = w.temp
	return mine, storageError(w.makeFolders())
}

// makeRoom takes a damaged checkpoint of the same step out of the way, and reports whether there is a good one.
func (w *saving) makeRoom() (already bool, err error) {
	if err := storage.MkdirAll(w.ledger, w.Dir); err != nil {
		return false, err
	}
	steps, err := list(w.ledger, w.Dir)
	if err != nil || !slices.Contains(steps, w.snapshot.Step) {
		return false, err
	}
	if _, err := Verify(w.final); err != nil {
		return false, remove(w.ledger, w.final)
	}
	return true, w.ledger.Sync(w.Dir) // its writer may have failed at just that
}

// makeFolders makes the temporary directory and the folders in it.
func (w *saving) makeFolders() error {
	folders := []string{"."}
	for _, m := range w.snapshot.Models {
		folders = append(folders, m.Name)
		if m.Optimizer != nil {
			folders = append(folders, optimizerDir, filepath.Join(optimizerDir, m.Name))
		}
	}
	for _, folder := range folders {
		if err := w.ledger.Mkdir(filepath.Join(w.temp, folder)); err != nil && !(folder == optimizerDir && errors.Is(err, fs.ErrExist)) {
			return err
		}
	}
	return nil
}

// remove makes a checkpoint disappear at once, and then deletes it. What a crash leaves is recognised as temporary.
func remove(fsys storage.FS, dir string) error {
	temp := storage.TempName(dir)
	if err := fsys.Rename(dir, temp); err != nil {
		return err
	}
	return fsys.RemoveAll(temp)
}

// Clean removes what a process that died while saving has left in a run's folder of checkpoints, and returns the names. The caller
// holds the run's lock.
func Clean(fsys storage.FS, dir string) (removed []string, err error) {
	if fsys == nil {
		fsys = storage.OS
	}
	removed, err = storage.RemoveTemps(fsys, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return removed, fmt.Errorf("checkpoint: clean %s: %w", dir, storageError(err))
	}
	return removed, nil
}

// prune removes all but the newest checkpoints. Those beyond the present step are not counted: they were found damaged when the run
// resumed, and will be replaced when it gets there.
func (w *saving) prune() (removed []string, err error) {
	old, err := w.superfluous()
	for _, step := range old {
		if err := remove(w.ledger, filepath.Join(w.Dir, Name(step))); err != nil {
			return removed, storageError(fmt.Errorf("remove old checkpoint %s: %w", Name(step), err))
		}
		removed = append(removed, Name(step))
	}
	return removed, err
}

func (w *saving) superfluous() ([]int, error) {
	if w.Keep == 0 {
		return nil, nil
	}
	steps, err := list(w.ledger, w.Dir)
	if err != nil {
		return nil, storageError(err)
	}
	steps = slices.DeleteFunc(steps, func(step int) bool { return step > w.snapshot.Step })
	return steps[:max(0, len(steps)-max(2, w.Keep))], nil
}

// state is the text of state.json.
func (snap Snapshot) state() ([]byte, error) {
	text, err := json.MarshalIndent(snap.State, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", stateName, err)
	}
	return append(text, '\n'), nil
}
