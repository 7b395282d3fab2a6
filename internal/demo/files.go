package demo

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"alfred/internal/checkpoint/storage"
	"alfred/internal/config"
)

// files are the demo's data, which scripts/demo writes, and its configurations.
//
//go:embed data configs
var files embed.FS

// home is the folder for which the configurations are written as they stand.
const home = "alfred-demo"

// readme marks a folder as the demo's, so it is written first.
const readme = "README.md"

const title = "# A demo of alfred"

const readmeText = title + `

` + "`alfred demo`" + ` made this folder, and goes on with it when it is told to use it again.

| | |
|---|---|
| data/sft.jsonl | conversations for supervised fine-tuning: every prompt is answered cheerfully and grumpily, some answers ramble |
| data/pairs.jsonl | preferences: a short cheerful answer about the right thing, and one that lacks something |
| data/prompts.jsonl | prompts for PPO |
| data/chat.tmpl | how conversations become text |
| data/tokenizer.json | the tokenizer: byte-level BPE, learnt from those texts |
| configs/ | the model's configuration, and one for each stage; run them with "alfred train --config" |
| base/ | the model with random weights |
| sft/ reward/ ppo/ | the runs: metrics.jsonl, timing.jsonl, tensorboard/, checkpoints/ |

A run directory can be given as a model to every command. Paths in the configurations start at the directory that the demo was started in.
`

// prepare writes what is missing in the folder and loads the configurations.
func (s *story) prepare() error {
	if err := s.claim(); err != nil {
		return err
	}
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		target := filepath.Join(s.Dir, filepath.FromSlash(name))
		if entry.IsDir() {
			return storage.MkdirAll(storage.OS, target)
		}
		text, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		return writeMissing(target, s.adapt(name, string(text)))
	})
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	return s.loadConfigs()
}

// claim takes an empty or missing folder, or one that a demo has claimed before.
func (s *story) claim() error {
	entries, err := os.ReadDir(s.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("demo: %w: %w", ErrFolder, err)
	}
	mark := filepath.Join(s.Dir, readme)
	text, err := os.ReadFile(mark)
	switch {
	case err == nil && strings.HasPrefix(string(text), title):
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("demo: %w", err)
	}
	for _, e := range entries {
		if !storage.IsTemp(e.Name()) { // a file that was being written when a demo was killed
			return fmt.Errorf("demo: %w: %s holds other things, such as %s: name a new folder with --dir", ErrFolder, s.Dir, e.Name())
		}
	}
	if err := storage.MkdirAll(storage.OS, s.Dir); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	if err := writeMissing(mark, readmeText); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	return nil
}

// writeMissing writes a file, whole or not at all, unless there is one: what a user has changed stays.
func writeMissing(path, text string) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return storage.WriteFile(storage.OS, path, func(to io.Writer) error {
		_, err := io.WriteString(to, text)
		return err
	})
}

// adapt puts folder and seed into a configuration. Paths stand in single quotes, where YAML takes everything literally but the
// single quote, which is doubled.
func (s *story) adapt(name, text string) string {
	if !strings.HasSuffix(name, ".yaml") {
		return text
	}
	text = strings.ReplaceAll(text, "'"+home+"/", "'"+strings.ReplaceAll(filepath.ToSlash(s.Dir), "'", "''")+"/")
	text = strings.ReplaceAll(text, "--config "+home+"/", "--config "+quoted(s.Dir)+"/")
	return strings.ReplaceAll(text, "seed: 1}", fmt.Sprintf("seed: %d}", s.Seed))
}

// samePath compares paths as seen from the working directory.
func samePath(a, b string) bool {
	absA, errA := filepath.Abs(a)
	absB, errB := filepath.Abs(b)
	return errA == nil && errB == nil && absA == absB
}

// loadConfigs reads the configurations in the folder and demands that they are those of this demo.
func (s *story) loadConfigs() error {
	var problems []error
	for _, stage := range stages {
		path := filepath.Join(s.Dir, "configs", stage.name+".yaml")
		cfg, err := config.Load(path, s.Sets[stage.name])
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if want := filepath.Join(s.Dir, stage.name); !samePath(cfg.Run.Dir, want) {
			problems = append(problems, fmt.Errorf("demo: %w: run.dir in %s is %q, and the demo's run is %q: start the demo from where that names the same folder, or give another --dir", ErrFolder, path, cfg.Run.Dir, want))
		}
		if cfg.Run.Seed != s.Seed {
			problems = append(problems, fmt.Errorf("demo: %w: run.seed in %s is %d, and the seed asked for is %d: give --seed %[3]d, or another --dir", ErrFolder, path, cfg.Run.Seed, s.Seed))
		}
		s.configs[stage.name] = cfg
	}
	return errors.Join(problems...)
}
