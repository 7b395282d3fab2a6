package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"alfred/internal/checkpoint/safetensors"
	"alfred/internal/falcon"
	"alfred/internal/rundir"
)

// Model is an open model: a Hugging Face directory, or a model of a checkpoint. Any number of goroutines may load from it.
type Model struct {
	// Dir holds config.json.
	Dir    string
	Config falcon.Config
	// Warnings are what a person should know: things passed over, contradictions that have a safe reading.
	Warnings []string
	// Checkpoint is where the model comes from; nil for a plain Hugging Face directory.
	Checkpoint *Checkpoint
	// Name is its folder in the checkpoint; empty for a plain Hugging Face directory.
	Name string

	src *source
}

// Option changes how OpenModel works.
type Option func(*options)

type options struct {
	which      string
	skipFinite bool
}

// Which chooses among the models of a run: policy, value or reward. A plain Hugging Face directory has one model, whatever the
// choice.
func Which(name string) Option { return func(o *options) { o.which = name } }

// SkipFiniteCheck leaves out the pass over all weights that looks for NaN and infinite numbers.
func SkipFiniteCheck() Option { return func(o *options) { o.skipFinite = true } }

const configName = "config.json"

// OpenModel opens the model at path, which is one of
//
//   - a Hugging Face directory,
//   - a run directory: its newest checkpoint of which the model's files verify,
//   - a checkpoint directory, or the folder of one of its models.
//
// Of several models in a checkpoint it takes the policy, unless Which says otherwise. It checks that every tensor that the
// configuration asks for is there with its shape, and that all weights are finite, and reports all problems at once; errors wrap
// ErrUnusable. A language-model head that is stored besides the embedding makes the model tied or untied, by whether the two are
// equal.
func OpenModel(path string, opts ...Option) (*Model, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	m, err := openModel(path, o)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: open model %s: %w: %w", path, ErrUnusable, err)
	}
	return m, nil
}

func openModel(path string, o options) (*Model, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, plain(err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("is not a directory: name the one that holds %s and the weights", configName)
	}
	parent, name := filepath.Split(filepath.Clean(path))
	switch {
	case exists(path, manifestName):
		c, err := openCheckpoint(path)
		if err != nil {
			return nil, err
		}
		return c.openModel(o)
	case exists(path, configName) && !hasWeights(path) && exists(parent, manifestName):
		c, err := openCheckpoint(parent)
		if err != nil {
			return nil, err
		}
		o.which = name
		return c.openModel(o)
	case exists(path, configName):
		return openDirectory(path, o)
	case exists(rundir.Dir(path).Checkpoints(), "."):
		return openRun(rundir.Dir(path).Checkpoints(), o)
	case hasWeights(path):
		return nil, fmt.Errorf("%s is missing", configName)
	}
	return nil, fmt.Errorf("is neither a Hugging Face directory (%s is missing) nor a run directory (checkpoints is missing)", configName)
}

func exists(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

func hasWeights(dir string) bool {
	return exists(dir, "model.safetensors") || exists(dir, "model.safetensors.index.json")
}

// openRun opens a model of the newest checkpoint of a run whose files of that model verify. The optimizer's files, which are
// several times larger, are of no interest here.
func openRun(dir string, o options) (*Model, error) {
	var m *Model
	_, rejected, err := latest(dir, func(c *Checkpoint) (err error) {
		m, err = c.openModel(o)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, r := range rejected {
		m.Warnings = append(m.Warnings, r.String())
	}
	return m, nil
}

// openModel opens a model of a checkpoint after verifying its files.
func (c *Checkpoint) openModel(o options) (*Model, error) {
	contents, err := c.choose(o.which)
	if err != nil {
		return nil, err
	}
	inside := func(name string) bool { return strings.HasPrefix(name, contents.Name+"/") }
	if err := c.verify(inside); err != nil {
		return nil, err
	}
	m := &Model{Dir: filepath.Join(c.Dir, contents.Name), Checkpoint: c, Name: contents.Name}
	if err := m.readConfig(); err != nil {
		return nil, err
	}
	if m.src, err = openSegments(c.tensorFiles(contents.Name + "/model")); err != nil {
		return nil, err
	}
	return m.finish(o)
}

// choose finds a model by name. Without a name it is the only one, or the policy.
func (c *Checkpoint) choose(which string) (Contents, error) {
	var names []string
	for _, contents := range c.Manifest.Models {
		names = append(names, contents.Name)
		if contents.Name == which || which == "" && (len(c.Manifest.Models) == 1 || contents.Name == "policy") {
			return contents, nil
		}
	}
	if which == "" {
		which = "policy"
	}
	return Contents{}, fmt.Errorf("there is no model %q; there are: %s", which, strings.Join(names, ", "))
}

// openDirectory opens a plain Hugging Face directory.
func openDirectory(dir string, o options) (*Model, error) {
	m := &Model{Dir: dir}
	configErr := m.readConfig()
	weights, err := safetensors.OpenModel(dir)
	if err := errors.Join(configErr, err); err != nil {
		if weights != nil {
			weights.Close()
		}
		return nil, err
	}
	m.Warnings = append(m.Warnings, weights.Warnings...)
	m.src = wholeTensors(weights)
	if err := m.settleHead(); err != nil {
		m.Close()
		return nil, err
	}
	return m.finish(o)
}

// finish checks what has been opened, and closes it when that fails.
func (m *Model) finish(o options) (*Model, error) {
	err := m.checkTensors()
	if err == nil && !o.skipFinite {
		err = m.src.checkFinite(m.Config)
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	m.checkTokens()
	return m, nil
}

func (m *Model) readConfig() error {
	text, err := readSmall(filepath.Join(m.Dir, configName), 4<<20)
	if err == nil {
		var warnings []string
		m.Config, warnings, err = falcon.ParseConfig(text)
		for _, w := range warnings {
			m.warnf("%s: %s", configName, w)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", configName, err)
	}
	return nil
}

func (m *Model) warnf(format string, args ...any) {
	m.Warnings = append(m.Warnings, fmt.Sprintf(format, args...))
}

// Close closes the files.
func (m *Model) Close() error {
	if m.src == nil {
		return nil
	}
	return m.src.close()
}
