// Package demo is the whole story of PPO from human feedback on embedded toy data: a model with random weights is fine-tuned on
// conversations about three dozen things, answered cheerfully or grumpily and sometimes without end; a reward model learns that
// cheerful answers that name the right thing and come to an end are preferred; PPO teaches the first model to give those.
//
// What it runs is what a user would: files.go lays out a folder with data and configurations, each stage is a training run of
// its configuration, outcome.go reads what the runs have recorded, and dialogue.go lets the models speak.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"alfred/internal/config"
	"alfred/internal/reward"
	"alfred/internal/rollout"
	"alfred/internal/rundir"
)

// Program is what the demo asks of the program that it is part of.
type Program interface {
	// InitModel writes a model directory with random weights, out, for the model configuration and the tokenizer at two paths.
	InitModel(ctx context.Context, config, tokenizer, out string, seed uint64) error
	// Train runs a stage, or goes on with it; a run that is done already it leaves alone. title says which stage it is.
	Train(ctx context.Context, title string, cfg *config.Config) error
	// Generate samples responses of the policy at path.
	Generate(ctx context.Context, path string, requests []rollout.Request, limits rollout.Limits, sampling rollout.Sampling) ([]rollout.Trajectory, error)
	// Score scores responses with the reward model at path.
	Score(ctx context.Context, path string, items []reward.Item) ([]float64, error)
}

// Options of the demo.
type Options struct {
	Dir  string              // folder of the demo; made if need be
	Seed uint64              // of weights, data order and sampling
	Sets map[string][]string // by stage: changes to its configuration, in the form of --set
}

// ErrFolder is wrapped by errors about a folder that the demo cannot use.
var ErrFolder = errors.New("not a folder for this demo")

// stages in their order: the name of configuration and run, and what happens.
var stages = []struct{ name, title string }{
	{config.SFT, "1 of 3: supervised fine-tuning, to answer at all"},
	{config.Reward, "2 of 3: a reward model, to tell good answers from bad ones"},
	{config.PPO, "3 of 3: PPO, to give good answers"},
}

// story is a demo in its folder.
type story struct {
	Options
	program Program
	configs map[string]*config.Config // by stage
}

// Run tells the story, or goes on with it where it was interrupted, and writes what came of it to out.
func Run(ctx context.Context, o Options, program Program, out io.Writer) (*Outcome, error) {
	s := &story{Options: o, program: program, configs: map[string]*config.Config{}}
	s.Dir = filepath.Clean(o.Dir)
	if err := s.prepare(); err != nil {
		return nil, err
	}
	if err := s.initModel(ctx); err != nil {
		return nil, err
	}
	for _, stage := range stages {
		if err := program.Train(ctx, stage.title, s.configs[stage.name]); err != nil {
			return nil, err
		}
	}
	outcome, err := s.outcome()
	if err != nil {
		return nil, err
	}
	lines, err := s.dialogue(ctx)
	if err != nil {
		return nil, err
	}
	_, err = io.WriteString(out, outcome.table().Text(width)+outcome.verdict()+"\n"+dialogueTable(lines).Text(width)+"\n"+s.next())
	return outcome, err
}

// width of the tables, in characters.
const width = 118

// initModel makes the model that everything starts from, unless it is there: its folder appears when it is complete.
func (s *story) initModel(ctx context.Context) error {
	base := filepath.Join(s.Dir, "base")
	_, err := os.Stat(filepath.Join(base, "config.json"))
	if errors.Is(err, fs.ErrNotExist) {
		err = s.program.InitModel(ctx, filepath.Join(s.Dir, "configs", "model.json"), filepath.Join(s.Dir, "data", "tokenizer.json"), base, s.Seed)
	}
	return err
}

func (s *story) run(stage string) rundir.Dir { return rundir.Dir(s.configs[stage].Run.Dir) }

// next says where everything is and what to try.
func (s *story) next() string {
	at := func(names ...string) string { return quoted(filepath.Join(append([]string{s.Dir}, names...)...)) }
	return fmt.Sprintf(`Data, configurations and runs are in %s; its README.md says what is what. To go on:

  alfred generate --model %s --num-return-sequences 5 --max-new-tokens 24 --prompt 'User: Do you like pancakes?
Alfred:'
  alfred data inspect --config %s
  alfred train --config %s --set run.dir=%s --set trainer.kl_coef=1.0
`, s.Dir, at("ppo"), at("configs", "reward.yaml"), at("configs", "ppo.yaml"), at("near"))
}

// quoted is a path as a shell takes it.
func quoted(path string) string {
	if !strings.ContainsFunc(path, func(r rune) bool { return !strings.ContainsRune(plain, r) }) {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+,"
