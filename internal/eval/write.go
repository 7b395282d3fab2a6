package eval

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"alfred/internal/eval/python"
	"alfred/internal/eval/task"
)

// Setting is how an evaluation was asked for, for its records.
type Setting struct {
	Date        time.Time
	Version     string // of alfred
	Limit       int    // 0 for all documents
	Resamplings int
	FewshotSeed int64
	Device      string
	Folder      string         // of the data
	Left        []string       // tasks that were left out, with the reason
	Extra       map[string]any // beside the harness's keys
}

// Write writes the results of a model as the harness (0.4.13) does: results_TIME.json, and samples_TASK_TIME.jsonl for each task, in a folder
// named after the model. It gives the paths.
func (r *Results) Write(folder string, s Setting) (results string, samples []string, err error) {
	dir := filepath.Join(folder, sanitized(r.Model.Name))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", nil, err
	}
	stamp := strings.ReplaceAll(s.Date.Format("2006-01-02T15:04:05.000000"), ":", "-")
	hashes := python.NewDict()
	for _, t := range r.Tasks {
		path := filepath.Join(dir, "samples_"+t.Name+"_"+stamp+".jsonl")
		err := writeWhole(path, func(w io.Writer) error {
			hash, err := t.writeSamples(w)
			hashes.Set(t.Name, hash)
			return err
		})
		if err != nil {
			return "", nil, err
		}
		samples = append(samples, path)
	}
	results = filepath.Join(dir, "results_"+stamp+".json")
	text := python.AppendJSON(nil, r.document(s, hashes), 2)
	return results, samples, writeWhole(results, func(w io.Writer) error {
		_, err := w.Write(append(text, '\n'))
		return err
	})
}

// writeWhole makes a file appear when it is complete.
func writeWhole(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".part-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // if it is still there
	err = write(f)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Chmod(f.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}

var notInNames = regexp.MustCompile(`[/\\:<>|"?*]`)

// sanitized is a model's name as the harness writes it in paths.
func sanitized(name string) string { return notInNames.ReplaceAllString(name, "__") }

// document is results.json.
func (r *Results) document(s Setting, hashes *python.Dict) *python.Dict {
	results, groups, subtasks := python.NewDict(), python.NewDict(), python.NewDict()
	configs, versions, shots, better, counts := python.NewDict(), python.NewDict(), python.NewDict(), python.NewDict(), python.NewDict()
	for _, t := range r.Tasks {
		results.Set(t.Name, figures(python.NewDict("name", t.Name, "alias", t.Alias, "sample_len", int64(len(t.Samples))), t.Figures))
		configs.Set(t.Name, t.Record())
		versions.Set(t.Name, version(t.Version))
		shots.Set(t.Name, int64(t.Shots))
		of := python.NewDict()
		for _, m := range t.Metrics {
			of.Set(m.Name, m.HigherIsBetter)
		}
		better.Set(t.Name, of)
		counts.Set(t.Name, python.NewDict("original", int64(len(t.Documents)), "effective", int64(len(t.Samples))))
	}
	for _, g := range r.Groups {
		entry := figures(python.NewDict("alias", g.Alias, "name", g.Name, "sample_len", int64(g.Samples)), g.Figures)
		results.Set(g.Name, entry)
		if len(g.Aggregates) > 0 {
			groups.Set(g.Name, entry)
		}
		children := []any{}
		for _, name := range g.Members() {
			children = append(children, name)
		}
		subtasks.Set(g.Name, children)
		versions.Set(g.Name, version(g.Version))
	}
	d := python.NewDict("results", results)
	if groups.Len() > 0 {
		d.Set("groups", groups)
	}
	for _, pair := range []struct {
		key   string
		value *python.Dict
	}{{"group_subtasks", subtasks}, {"configs", configs}, {"versions", versions}, {"n-shot", shots}, {"higher_is_better", better}, {"n-samples", counts}} {
		d.Set(pair.key, pair.value)
	}
	var limit any
	if s.Limit > 0 {
		limit = float64(s.Limit)
	}
	d.Set("config", python.NewDict("model", r.Model.Source, "model_args", "pretrained="+r.Model.Dir+",dtype="+r.Model.Precision, "model_num_parameters", r.Model.Parameters,
		"model_dtype", r.Model.Precision, "model_sha", r.Model.Weights, "tokenizer_sha", r.Model.TokenizerSHA, "batch_size", nil, "device", s.Device, "limit", limit,
		"bootstrap_iters", int64(s.Resamplings), "random_seed", nil, "numpy_seed", nil, "torch_seed", nil, "fewshot_seed", s.FewshotSeed))
	d.Set("git_hash", s.Version)
	d.Set("date", float64(s.Date.UnixNano())/1e9)
	d.Set("max_length", int64(r.Model.MaxLength))
	d.Set("eot_token_id", int64(r.Model.Prefix))
	d.Set("task_hashes", hashes)
	d.Set("model_source", r.Model.Source)
	d.Set("model_name", r.Model.Name)
	d.Set("model_name_sanitized", sanitized(r.Model.Name))
	for _, key := range []string{"system_instruction", "system_instruction_sha", "chat_template", "chat_template_sha"} {
		d.Set(key, nil)
	}
	d.Set("total_evaluation_time_seconds", fmt.Sprint(r.Seconds))
	d.Set("alfred", r.own(s))
	return d
}

// own is what the harness does not record.
func (r *Results) own(s Setting) *python.Dict {
	tasks, sources := python.NewDict(), python.NewDict()
	for _, t := range r.Tasks {
		entry := python.NewDict("primary", t.Primary().Key(), "random", jsonNumber(t.Random), "majority", jsonNumber(t.Majority))
		if c := t.Calibration; c != nil {
			entry.Set("ece", jsonNumber(c.Error))
			entry.Set("entropy", jsonNumber(c.Entropy))
			entry.Set("brier", jsonNumber(c.Brier))
		}
		tasks.Set(t.Name, entry)
		for _, f := range t.Sources {
			sources.Set(f.Path, python.NewDict("sha256", f.SHA256, "rows", int64(f.Rows)))
		}
	}
	left := []any{}
	for _, l := range s.Left {
		left = append(left, l)
	}
	return python.NewDict("version", s.Version, "tasks", tasks, "data", sources, "left_out", left, "truncated_requests", int64(r.Truncated), "cached_requests", int64(r.Cached))
}

// jsonNumber is a number, or null for what is none.
func jsonNumber(x float64) any {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return x
}

func version(v any) any {
	if v == nil {
		return "N/A"
	}
	return v
}

// figures adds figures to an entry of results.
func figures(entry *python.Dict, list []Figure) *python.Dict {
	for _, f := range list {
		entry.Set(f.Key(), f.Value)
		var e any = "N/A"
		if !math.IsNaN(f.StdErr) {
			e = f.StdErr
		}
		entry.Set(f.StdErrKey(), e)
	}
	return entry
}

// writeSamples writes the samples of a task, and gives the hash of all its prompts.
func (t *TaskResult) writeSamples(w io.Writer) (hash string, err error) {
	sum := sha256.New()
	for f := range t.Filters {
		for i, s := range t.Samples {
			line, id := t.sampleLine(f, i, s)
			sum.Write([]byte(id))
			if _, err := w.Write(append(python.AppendJSON(nil, line, 0), '\n')); err != nil {
				return "", err
			}
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func (t *TaskResult) sampleLine(filter, i int, s *task.Sample) (line *python.Dict, id string) {
	document, prompt, target := s.Hashes()
	arguments, responses, filtered := python.NewDict(), []any{}, []any{}
	for r, request := range s.Requests {
		args := python.NewDict("arg_0", request.Context, "arg_1", any(request.Continuation))
		a := t.Answers[i][r]
		said := any(a.Text)
		switch t.OutputType {
		case task.GenerateUntil:
			args.Set("arg_1", t.Generation.Record())
			filtered = append(filtered, t.Verdicts[i][filter].Filtered)
		case task.Rolling:
			args = python.NewDict("arg_0", request.Continuation)
			said = python.Str(a.LogLikelihood)
			filtered = append(filtered, said)
		default:
			said = []any{python.Str(a.LogLikelihood), python.Str(a.Greedy)}
			filtered = append(filtered, said)
		}
		arguments.Set(fmt.Sprintf("gen_args_%d", r), args)
		responses = append(responses, []any{said})
	}
	v := t.Verdicts[i][filter]
	names := []any{}
	for _, value := range v.Values {
		names = append(names, value.Metric)
	}
	line = python.NewDict("doc_id", int64(s.Index), "doc", s.Document, "target", python.Str(s.Target), "arguments", arguments, "resps", responses, "filtered_resps", filtered,
		"filter", v.Filter, "metrics", names, "doc_hash", document, "prompt_hash", prompt, "target_hash", target)
	for _, value := range v.Values {
		line.Set(value.Metric, t.logged(value))
	}
	return line, document + prompt + target
}

// logged is a metric of a sample as it is recorded: pairs where it is made of two numbers.
func (t *TaskResult) logged(v task.Value) any {
	switch {
	case t.OutputType == task.Rolling:
		return []any{v.X, int64(v.Y)}
	case slices.Contains([]string{"f1", "mcc"}, v.Metric):
		return []any{int64(v.X), int64(v.Y)}
	case t.OutputType == task.LogLikelihood && v.Metric == "acc":
		return int64(v.X)
	}
	return v.X
}
