package rlhf

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"alfred/internal/checkpoint"
	"alfred/internal/checkpoint/storage"
	"alfred/internal/dataset"
	"alfred/internal/rollout"
)

// replay reads the trajectories of the next iteration from its file. Scores come from the file when every line has one;
// otherwise a scorer must give them.
func (p *ppoStage) replay(st *State, it *iteration) error {
	name := p.in.replay[st.Step]
	records, err := readReplay(name, p.in.eod, p.policy.config.VocabSize)
	if err != nil {
		return fmt.Errorf("%w: %w", dataset.ErrData, err)
	}
	if n := p.cfg.Trainer.NumRollouts; len(records) != n {
		return fmt.Errorf("%w: %s has %d trajectories, trainer.num_rollouts is %d", dataset.ErrData, name, len(records), n)
	}
	scored := 0
	for s, r := range records {
		if n := len(r.PromptIDs) + len(r.ResponseIDs); n > p.limits().Longest {
			return fmt.Errorf("%w: %s:%d: %d tokens, trajectory.prompt_max_len + continuation_max_len is %d", dataset.ErrData, name, s+1, n, p.limits().Longest)
		}
		it.trajectories = append(it.trajectories, rollout.Trajectory{Sequence: s, Prompt: r.PromptIDs, Response: r.ResponseIDs, Finish: r.Finish})
		if r.Score != nil {
			it.scores = append(it.scores, *r.Score)
			scored++
		}
	}
	st.PromptsSeen += int64(len(records) / p.cfg.Trajectory.ResponsesPerPrompt)
	if scored == len(records) {
		return nil
	}
	if it.scores = nil; p.scorer == nil {
		return fmt.Errorf("%w: %s: %d of %d lines have a score, and no model.reward is given to score the rest", dataset.ErrData, name, scored, len(records))
	}
	return nil
}

func readReplay(name string, eod int32, vocabulary int) ([]rollout.Record, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(name, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return rollout.ReadRecords(filepath.Base(name), r, eod, vocabulary)
}

// record writes the iteration's trajectories where a later run can replay them.
func (p *ppoStage) record(st *State, it *iteration) error {
	if !p.cfg.Trajectory.Record || p.rec == nil {
		return nil
	}
	records := make([]rollout.Record, len(it.trajectories))
	for s, tr := range it.trajectories {
		records[s] = rollout.Record{PromptIDs: tr.Prompt, ResponseIDs: tr.Response, Finish: tr.Finish}
		if finite(it.scores[s]) { // JSON has no other numbers: a replay will ask the scorer
			records[s].Score = &it.scores[s]
		}
	}
	path := p.in.dir.TrajectoryFile(st.Step + 1)
	if err := storage.MkdirAll(storage.OS, filepath.Dir(path)); err != nil {
		return fmt.Errorf("%w: %w", checkpoint.ErrStorage, err)
	}
	if err := storage.WriteFile(storage.OS, path, func(w io.Writer) error { return rollout.WriteRecords(w, records) }); err != nil {
		return fmt.Errorf("%w: %w", checkpoint.ErrStorage, err)
	}
	return nil
}

// replayFiles lists the recorded iterations of a folder, in order.
func replayFiles(dir string) (files []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, ".jsonl") || strings.HasSuffix(name, ".jsonl.gz") {
			files = append(files, filepath.Join(dir, name))
		}
	}
	return files, nil
}

// cutTrajectories removes recorded iterations that the run has not come to: they belong to a past that a crash or a new start undid.
func (r *run) cutTrajectories() error {
	files, err := replayFiles(r.dir.Trajectories())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	last := r.dir.TrajectoryFile(r.st.Step)
	for _, f := range files {
		if f > last {
			err = errors.Join(err, os.Remove(f))
		}
	}
	return err
}
