package rlhf

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"alfred/internal/checkpoint"
	"alfred/internal/checkpoint/storage"
	"alfred/internal/config"
	"alfred/internal/dataset"
	"alfred/internal/rundir"
)

// findCheckpoint decides what the run goes on from.
func (r *run) findCheckpoint() error {
	from := r.dir
	switch r.env.Resume {
	case "", "auto":
		if !r.env.DryRun {
			if _, err := checkpoint.Clean(storage.OS, r.dir.Checkpoints()); err != nil {
				return err
			}
		}
	case "never":
		used, err := r.dir.Used()
		if err == nil && used {
			err = fmt.Errorf("%w: %s holds a run already: choose another run.dir, or leave out --resume never to continue it", ErrUnsupported, r.dir)
		}
		return err
	default:
		other, err := r.otherRun()
		if err != nil {
			return err
		}
		from = other
	}
	found, err := r.latest(from)
	if errors.Is(err, checkpoint.ErrNone) && from == r.dir {
		return r.startOver()
	}
	if err != nil {
		return err
	}
	r.from = found
	return r.compareConfig(from)
}

// latest is the newest good checkpoint of a run.
func (r *run) latest(dir rundir.Dir) (*checkpoint.Checkpoint, error) {
	found, rejected, err := checkpoint.Latest(dir.Checkpoints())
	for _, bad := range rejected {
		r.log.Warn("checkpoint passed over", "reason", bad.String())
	}
	return found, err
}

// otherRun is where a run goes on that was told to start from another one: there, or, if it has done so before, in its own directory.
func (r *run) otherRun() (rundir.Dir, error) {
	other := rundir.Dir(r.env.Resume)
	origin, err := filepath.Abs(string(other))
	if err != nil {
		return "", fmt.Errorf("%w: --resume %s: %w", ErrUnsupported, other, err)
	}
	if own, err := filepath.Abs(string(r.dir)); err == nil && own == origin {
		return r.dir, nil
	}
	if _, err := os.Stat(other.Config()); err != nil {
		return "", fmt.Errorf("%w: --resume %s: not the directory of a run: %w", ErrUnsupported, other, err)
	}
	r.origin = origin
	used, err := r.dir.Used()
	if err != nil || !used {
		return other, err
	}
	own, err := r.latest(r.dir)
	if errors.Is(err, checkpoint.ErrNone) { // it ended before its first checkpoint
		return other, r.startOver()
	}
	saved := newState()
	if err == nil {
		err = own.State(saved)
	}
	if err == nil && saved.Origin != origin {
		err = fmt.Errorf("%w: --resume %s would start from another run in %s, which holds a run already: choose another run.dir, or leave out --resume to continue that run", ErrUnsupported, other, r.dir)
	}
	return r.dir, err
}

// startOver looks at a directory without checkpoints: a run that ended before its first one begins again, another one is refused.
func (r *run) startOver() error {
	if used, err := r.dir.Used(); err != nil || !used {
		return err
	}
	if _, err := os.Stat(r.dir.Config()); err == nil {
		if err := r.compareConfig(r.dir); err != nil {
			return err
		}
	}
	r.log.Warn("the run in this directory has no checkpoint: it starts over", "directory", string(r.dir))
	return nil
}

// compareConfig refuses to go on under a configuration that differs in what must stay as it was.
func (r *run) compareConfig(from rundir.Dir) error {
	old, err := config.Load(from.Config(), nil)
	if err != nil {
		return fmt.Errorf("the run in %s: %w", from, err)
	}
	if old.Stage != r.cfg.Stage {
		return fmt.Errorf("%w: the run in %s is of stage %s, the configuration of stage %s: choose another run.dir", ErrUnsupported, from, old.Stage, r.cfg.Stage)
	}
	var refused []string
	for _, c := range config.Difference(old, r.cfg) {
		switch c.Permission {
		case config.Refused:
			refused = append(refused, "\n  "+c.String())
		case config.SameContent, config.Allowed: // content is compared by hash when it has been read
			r.log.Info("changed since the run began", "key", c.Key, "was", c.Old, "is", c.New)
		}
	}
	if len(refused) > 0 {
		return fmt.Errorf("%w: %s goes on with the run in %s, where these may not change (choose another run.dir for another run):%s", ErrUnsupported, r.dir, from, strings.Join(refused, ""))
	}
	return nil
}

// restoreState brings back the loop's state, or starts a new one, and checks that data and frozen models are what they were.
func (r *run) restoreState() error {
	r.st = newState()
	startKL(&r.cfg.Trainer, r.st)
	if report := r.in.report(); report != nil {
		r.st.Data = report.Fingerprint
	}
	read, err := r.in.read()
	if err != nil {
		return err
	}
	r.st.Read, r.st.Origin = read, r.origin
	if r.from == nil {
		return nil
	}
	saved := newState()
	if err := r.from.State(saved); err != nil {
		return err
	}
	if saved.Data != r.st.Data {
		return fmt.Errorf("%w: the data have changed since %s was written (fingerprint %.12s, now %.12s)", dataset.ErrData, r.from.Dir, saved.Data, r.st.Data)
	}
	if !maps.Equal(saved.Read, read) {
		return fmt.Errorf("%w: what the run reads besides its data has changed since %s was written: SHA-256 %v, now %v", ErrMismatch, r.from.Dir, saved.Read, read)
	}
	if r.st = saved; r.origin != "" {
		r.st.Origin = r.origin
	}
	r.log.Info("resuming", "checkpoint", r.from.Dir, "step", r.st.Step)
	return nil
}

// read identifies, by SHA-256, what a run reads besides its data: the models that it begins with, the tokenizer, a replay.
func (in *inputs) read() (map[string]string, error) {
	hashes := map[string]string{}
	if in.tokenizer != nil {
		hashes["tokenizer"] = in.tokenizer.SHA256()
	}
	if in.replay != nil {
		sum := sha256.New()
		for _, name := range in.replay {
			text, err := os.ReadFile(name)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", dataset.ErrData, err)
			}
			fmt.Fprintf(sum, "%s %d\n", filepath.Base(name), len(text))
			sum.Write(text)
		}
		hashes["replay"] = hex.EncodeToString(sum.Sum(nil))
	}
	byDir := map[string]string{} // policy and reference are often one model, value and reward too
	for role, m := range map[string]*checkpoint.Model{
		"policy": in.policy, "reference": in.reference, "reward": in.reward, "value": in.value, "policy of normalise": in.normaliser,
	} {
		if m == nil {
			continue
		}
		if byDir[m.Dir] == "" {
			sum, err := m.SHA256()
			if err != nil {
				return nil, err
			}
			byDir[m.Dir] = sum
		}
		hashes[role] = byDir[m.Dir]
	}
	return hashes, nil
}

// restoreModels loads the trained models and their optimizers from the checkpoint, or lets the optimizers adopt the weights that
// were loaded from elsewhere.
func (r *run) restoreModels(rk *rank, t stage) error {
	for _, m := range t.trained() {
		if r.from == nil {
			m.opt.Adopt(rk.stream)
			continue
		}
		src, err := r.from.OpenModel(m.role, checkpoint.SkipFiniteCheck())
		if err != nil {
			return err
		}
		err = m.load(src)
		if r.cfg.Stage != config.Reward { // a reward model that is trained further is no longer calibrated
			m.config.Normalisation = src.Config.Normalisation
		}
		src.Close()
		if err != nil {
			return err
		}
		state, err := r.from.OpenOptimizer(m.role)
		if err != nil {
			return err
		}
		err = state.Restore(rk.stream, m.stage.Params, m.opt)
		state.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// load fills the weights from a model's files; parameters named in fresh may be missing there and are zero then.
func (m *model) load(src *checkpoint.Model, fresh ...string) error {
	if err := src.Load(m.stream, m.stage.Params, fresh...); err != nil {
		return fmt.Errorf("%s: %w", m.role, err)
	}
	return m.stream.Sync()
}
