package task

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"gopkg.in/yaml.v3"

	"alfred/internal/config"
	"alfred/internal/eval/metric"
	"alfred/internal/eval/python"
)

// OutputType is what a task asks of a model.
type OutputType string

// The output types of the harness.
const (
	LogLikelihood  OutputType = "loglikelihood"
	Rolling        OutputType = "loglikelihood_rolling"
	MultipleChoice OutputType = "multiple_choice"
	GenerateUntil  OutputType = "generate_until"
)

// Config is a task file. Names and meanings are the harness's; what it does not list is refused or, where it changes no number, left out.
type Config struct {
	Name, Alias string
	Tags        []string
	At          Place

	DatasetPath, DatasetName string
	DataFiles                map[string][]string // by split, of dataset_kwargs.data_files
	TrainingSplit            string
	ValidationSplit          string
	TestSplit                string
	processDocs              *function

	OutputType                          OutputType
	docToText, docToTarget, docToChoice *field
	description, genPrefix              *field
	TargetDelimiter, FewshotDelimiter   string
	NumFewshot                          *int // nil where the file leaves it open
	fewshot                             fewshotConfig
	Metrics                             []Metric
	Generation                          Generation
	Filters                             []FilterList
	Version                             any    // metadata.version
	Primary                             string // metadata.primary: the metric of the tables, where there are several
	source                              *python.Dict
}

// fewshotConfig is how examples are chosen and written. Fields that are nil are those of the task.
type fewshotConfig struct {
	sampler                             string // default or first_n
	split                               string
	processDocs                         *function
	samples                             []*python.Dict
	docToText, docToTarget, docToChoice *field
	genPrefix                           *field
	delimiter, targetDelimiter          string
}

// Metric is an entry of metric_list.
type Metric struct {
	Name           string
	Aggregation    metric.Aggregation
	HigherIsBetter bool
	match          *metric.ExactMatch // of generated answers
}

// Generation are the generation_kwargs that mean something here.
type Generation struct {
	Until       []string
	MaxTokens   int
	Temperature float64
	Sample      bool
	given       *python.Dict // as the harness records them
}

// ignored are keys that change no number of an evaluation.
var ignored = []string{"should_decontaminate", "doc_to_decontamination_query", "unsafe_code", "use_prompt", "custom_dataset",
	"doc_to_image", "doc_to_audio", "process_results", "repeats", "group", "metadata", "tag"}

// reader collects what is wrong with a file.
type reader struct {
	m        *mapping
	problems []error
	used     map[string]bool
}

func (r *reader) fail(err error) {
	if err != nil {
		r.problems = append(r.problems, err)
	}
}

// has marks a key as known, and tells whether it has a value.
func (r *reader) has(key string) bool {
	r.used[key] = true
	return !r.m.absent(key)
}

func (r *reader) text(key, otherwise string) string {
	if !r.has(key) {
		return otherwise
	}
	s, err := text(r.m.nodes[key])
	r.fail(err)
	return s
}

// readConfig reads a task. All that is wrong is reported at once.
func readConfig(m *mapping) (*Config, error) {
	r := &reader{m: m, used: map[string]bool{}}
	c := &Config{At: m.at}
	c.Name = r.text("task", "")
	if c.Name == "" && len(r.problems) == 0 {
		r.fail(m.at.errorf("there is no task: a name is needed"))
	}
	c.Alias = r.text("task_alias", c.Name)
	if r.has("tag") {
		tags, err := texts(m.nodes["tag"])
		r.fail(err)
		c.Tags = tags
	}
	r.refusals()
	r.dataset(c)
	c.OutputType = OutputType(r.text("output_type", string(GenerateUntil)))
	if !slices.Contains([]OutputType{LogLikelihood, Rolling, MultipleChoice, GenerateUntil}, c.OutputType) {
		r.fail(m.nodes["output_type"].place().errorf("output_type %q: want %s, %s, %s or %s", c.OutputType, LogLikelihood, Rolling, MultipleChoice, GenerateUntil))
	}
	c.docToText, c.docToTarget, c.docToChoice = r.field("doc_to_text"), r.field("doc_to_target"), r.field("doc_to_choice")
	c.description, c.genPrefix = r.field("description"), r.field("gen_prefix")
	c.TargetDelimiter, c.FewshotDelimiter = r.text("target_delimiter", " "), r.text("fewshot_delimiter", "\n\n")
	r.required(c)
	c.fewshot = r.fewshot(c)
	c.Generation = r.generation(c)
	c.Metrics = r.metrics(c)
	c.Filters = r.filters()
	r.metadata(c)
	for _, key := range m.keys {
		if !r.used[key] {
			r.fail(m.nodes[key].place().errorf("unknown key %s%s", key, config.DidYouMean(key, slices.Sorted(maps.Keys(r.used)))))
		}
	}
	if len(r.problems) > 0 {
		return nil, errors.Join(r.problems...)
	}
	c.source = m.dump()
	return c, nil
}

// refusals reports what the harness can do and this package cannot.
func (r *reader) refusals() {
	for _, key := range ignored {
		r.used[key] = true
	}
	for _, key := range []string{"use_prompt", "custom_dataset", "doc_to_image", "doc_to_audio", "process_results", "class"} {
		if r.has(key) {
			r.fail(r.m.nodes[key].place().errorf("%s is not supported", key))
		}
	}
	if r.has("unsafe_code") {
		if unsafe, err := truth(r.m.nodes["unsafe_code"]); err != nil || unsafe {
			r.fail(errors.Join(err, r.m.nodes["unsafe_code"].place().errorf("unsafe_code: code of a model is never run")))
		}
	}
	if r.has("repeats") {
		if n, err := whole(r.m.nodes["repeats"], 1); err != nil || n != 1 {
			r.fail(errors.Join(err, r.m.nodes["repeats"].place().errorf("repeats: only 1 is supported")))
		}
	}
}

func (r *reader) dataset(c *Config) {
	c.DatasetPath, c.DatasetName = r.text("dataset_path", ""), r.text("dataset_name", "")
	c.TrainingSplit, c.ValidationSplit, c.TestSplit = r.text("training_split", ""), r.text("validation_split", ""), r.text("test_split", "")
	if c.TestSplit == "" && c.ValidationSplit == "" {
		r.fail(c.At.errorf("neither test_split nor validation_split says what to evaluate on"))
	}
	c.processDocs = r.function("process_docs", documentsFunction)
	if !r.has("dataset_kwargs") {
		return
	}
	kwargs, err := readMapping(r.m.nodes["dataset_kwargs"])
	if err != nil {
		r.fail(err)
		return
	}
	for _, key := range kwargs.keys {
		switch n := kwargs.nodes[key].resolve(); {
		case key == "trust_remote_code": // there is no code to trust
		case key != "data_files":
			r.fail(n.place().errorf("dataset_kwargs.%s is not supported", key))
		case n.Kind == yaml.MappingNode:
			splits, err := readMapping(n)
			r.fail(err)
			if err == nil {
				c.DataFiles = map[string][]string{}
				for _, split := range splits.keys {
					c.DataFiles[split], err = texts(splits.nodes[split])
					r.fail(err)
				}
			}
		default: // the harness's library calls files without a split train
			names, err := texts(n)
			r.fail(err)
			c.DataFiles = map[string][]string{"train": names}
		}
	}
}

// required reports fields that an output type cannot do without.
func (r *reader) required(c *Config) {
	need := map[string]*field{"doc_to_text": c.docToText, "doc_to_target": c.docToTarget}
	if c.OutputType == MultipleChoice {
		need["doc_to_choice"] = c.docToChoice
	}
	if c.OutputType == Rolling {
		delete(need, "doc_to_text")
	}
	for _, key := range slices.Sorted(maps.Keys(need)) {
		if need[key] == nil {
			r.fail(c.At.errorf("%s needs %s", c.OutputType, key))
		}
	}
}

func (r *reader) fewshot(c *Config) fewshotConfig {
	f := fewshotConfig{sampler: "default", split: r.text("fewshot_split", ""), processDocs: c.processDocs, docToText: c.docToText, docToTarget: c.docToTarget,
		docToChoice: c.docToChoice, genPrefix: c.genPrefix, delimiter: c.FewshotDelimiter, targetDelimiter: c.TargetDelimiter}
	if r.has("num_fewshot") {
		n, err := whole(r.m.nodes["num_fewshot"], 0)
		r.fail(err)
		c.NumFewshot = &n
	}
	if !r.has("fewshot_config") {
		return f
	}
	m, err := readMapping(r.m.nodes["fewshot_config"])
	if err != nil {
		r.fail(err)
		return f
	}
	in := &reader{m: m, used: map[string]bool{}}
	f.sampler, f.split = in.text("sampler", f.sampler), in.text("split", f.split)
	if f.sampler != "default" && f.sampler != "first_n" {
		r.fail(m.nodes["sampler"].place().errorf("the sampler %q is not supported: default or first_n", f.sampler))
	}
	f.delimiter, f.targetDelimiter = in.text("fewshot_delimiter", f.delimiter), in.text("target_delimiter", f.targetDelimiter)
	for key, to := range map[string]**field{"doc_to_text": &f.docToText, "doc_to_target": &f.docToTarget, "doc_to_choice": &f.docToChoice, "gen_prefix": &f.genPrefix} {
		if own := in.field(key); own != nil {
			*to = own
		}
	}
	if own := in.function("process_docs", documentsFunction); own != nil {
		f.processDocs = own
	}
	if in.has("samples") {
		f.samples = in.samples()
	}
	for _, key := range m.keys {
		if !in.used[key] {
			in.fail(m.nodes[key].place().errorf("fewshot_config.%s is not supported", key))
		}
	}
	r.problems = append(r.problems, in.problems...)
	return f
}

// samples are the examples that a file itself holds.
func (r *reader) samples() (docs []*python.Dict) {
	n := r.m.nodes["samples"]
	v, err := n.value()
	if err != nil {
		r.fail(err)
		return nil
	}
	list, _ := v.([]any)
	for _, item := range list {
		doc, ok := item.(*python.Dict)
		if !ok {
			r.fail(n.place().errorf("samples: want a list of mappings"))
			return nil
		}
		docs = append(docs, doc)
	}
	return docs
}

func (r *reader) metadata(c *Config) {
	if !r.has("metadata") {
		return
	}
	m, err := readMapping(r.m.nodes["metadata"])
	if err != nil {
		r.fail(err)
		return
	}
	if n, ok := m.nodes["version"]; ok {
		c.Version, err = n.value()
		r.fail(err)
	}
	if n, ok := m.nodes["primary"]; ok {
		c.Primary, err = text(n)
		r.fail(err)
		if !slices.ContainsFunc(c.Metrics, func(m Metric) bool { return m.Name == c.Primary }) {
			r.fail(n.place().errorf("metadata.primary: %s is not in metric_list", c.Primary))
		}
	}
}

// dump is a file's content as the harness records it: functions by name.
func (m *mapping) dump() *python.Dict {
	d := python.NewDict()
	for _, key := range m.keys {
		n := m.nodes[key]
		if name, ok := n.function(); ok {
			d.Set(key, name)
		} else if v, err := n.value(); err == nil {
			d.Set(key, v)
		} else {
			d.Set(key, fmt.Sprint(n.Node.Value))
		}
	}
	return d
}

// Record is the task file, as results record it: functions by name.
func (c *Config) Record() *python.Dict { return c.source }
