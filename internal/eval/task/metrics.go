package task

import (
	"slices"

	"gopkg.in/yaml.v3"

	"alfred/internal/config"
	"alfred/internal/eval/metric"
	"alfred/internal/eval/python"
)

// kind is a metric of documents: which output types it is for and how it is aggregated and ordered unless a task says so.
type kind struct {
	types       []OutputType
	aggregation string
	higher      bool
}

var kinds = map[string]kind{
	"acc":             {[]OutputType{LogLikelihood, MultipleChoice}, "mean", true},
	"acc_norm":        {[]OutputType{MultipleChoice}, "mean", true},
	"acc_bytes":       {[]OutputType{MultipleChoice}, "mean", true},
	"acc_mutual_info": {[]OutputType{MultipleChoice}, "mean", true},
	"f1":              {[]OutputType{MultipleChoice}, "f1", true},
	"mcc":             {[]OutputType{MultipleChoice}, "matthews_corrcoef", true},
	"exact_match":     {[]OutputType{MultipleChoice, GenerateUntil}, "mean", true},
	"perplexity":      {[]OutputType{LogLikelihood}, "perplexity", false},
	"word_perplexity": {[]OutputType{Rolling}, "weighted_perplexity", false},
	"byte_perplexity": {[]OutputType{Rolling}, "weighted_perplexity", false},
	"bits_per_byte":   {[]OutputType{Rolling}, "bits_per_byte", false},
}

// defaults are the metrics of a task that lists none.
var defaults = map[OutputType][]string{
	LogLikelihood:  {"perplexity", "acc"},
	MultipleChoice: {"acc", "acc_norm"},
	Rolling:        {"word_perplexity", "byte_perplexity", "bits_per_byte"},
	GenerateUntil:  {"exact_match"},
}

// metrics reads metric_list.
func (r *reader) metrics(c *Config) (list []Metric) {
	if !r.has("metric_list") {
		for _, name := range defaults[c.OutputType] {
			list = append(list, r.metric(c, name, c.At))
		}
		return list
	}
	n := r.m.nodes["metric_list"].resolve()
	if n.Kind != yaml.SequenceNode {
		r.fail(n.place().errorf("metric_list: want a list"))
		return nil
	}
	for _, item := range n.Content {
		m, err := readMapping(n.child(item))
		if err != nil {
			r.fail(err)
			continue
		}
		in := &reader{m: m, used: map[string]bool{}}
		if !in.has("metric") {
			r.fail(m.at.errorf("an entry of metric_list without metric"))
			continue
		}
		entry := in.metric(c, in.text("metric", ""), m.nodes["metric"].place())
		if slices.ContainsFunc(list, func(m Metric) bool { return m.Name == entry.Name }) {
			in.fail(m.at.errorf("the metric %s comes twice", entry.Name))
		}
		in.options(&entry)
		r.problems = append(r.problems, in.problems...)
		list = append(list, entry)
	}
	return list
}

// metric is a metric with what it is by default.
func (r *reader) metric(c *Config, name string, at Place) Metric {
	k, ok := kinds[name]
	if !ok || !slices.Contains(k.types, c.OutputType) {
		var fitting []string
		for name, k := range kinds {
			if slices.Contains(k.types, c.OutputType) {
				fitting = append(fitting, name)
			}
		}
		slices.Sort(fitting)
		r.fail(at.errorf("the metric %q is not supported for %s%s; there are %v", name, c.OutputType, config.DidYouMean(name, fitting), fitting))
		return Metric{Name: name}
	}
	aggregation, err := metric.Lookup(k.aggregation)
	r.fail(err)
	match, err := metric.NewExactMatch(metric.ExactMatchOptions{})
	r.fail(err)
	return Metric{Name: name, Aggregation: aggregation, HigherIsBetter: k.higher, match: match}
}

// options reads what an entry of metric_list says beside its name.
func (r *reader) options(m *Metric) {
	var err error
	if r.has("higher_is_better") {
		b, err := truth(r.m.nodes["higher_is_better"])
		r.fail(err)
		m.HigherIsBetter = b
	}
	if r.has("aggregation") {
		n := r.m.nodes["aggregation"]
		if _, ok := n.function(); ok {
			if f := r.function("aggregation", aggregateFunction); f != nil {
				m.Aggregation, err = metric.Lookup(f.aggregate)
				r.fail(err)
			}
		} else if name, err := text(n); err != nil {
			r.fail(err)
		} else if a, err := metric.Lookup(name); err != nil {
			r.fail(n.place().errorf("aggregation: %w", err))
		} else {
			m.Aggregation = a
		}
	}
	if r.has("hf_evaluate") {
		if on, err := truth(r.m.nodes["hf_evaluate"]); err != nil || on {
			r.fail(r.m.nodes["hf_evaluate"].place().errorf("hf_evaluate: metrics of another library are not supported"))
		}
	}
	o := metric.ExactMatchOptions{}
	for key, to := range map[string]*bool{"ignore_case": &o.IgnoreCase, "ignore_punctuation": &o.IgnorePunctuation, "ignore_numbers": &o.IgnoreNumbers} {
		if r.has(key) {
			b, err := truth(r.m.nodes[key])
			r.fail(err)
			*to = b
		}
	}
	if r.has("regexes_to_ignore") {
		patterns, err := texts(r.m.nodes["regexes_to_ignore"])
		r.fail(err)
		o.RegexesToIgnore = patterns
	}
	if m.match, err = metric.NewExactMatch(o); err != nil {
		r.fail(r.m.at.errorf("%w", err))
	}
	for _, key := range r.m.keys {
		if !r.used[key] {
			r.fail(r.m.nodes[key].place().errorf("the option %s of the metric %s is not supported", key, m.Name))
		}
	}
}

// generation reads generation_kwargs.
func (r *reader) generation(c *Config) Generation {
	g := Generation{Until: []string{c.FewshotDelimiter}, MaxTokens: 256}
	g.given = python.NewDict("temperature", 0.0, "do_sample", false, "max_gen_toks", int64(g.MaxTokens), "until", []any{c.FewshotDelimiter})
	if !r.has("generation_kwargs") {
		return g
	}
	m, err := readMapping(r.m.nodes["generation_kwargs"])
	if err != nil {
		r.fail(err)
		return g
	}
	g.given = m.dump()
	in := &reader{m: m, used: map[string]bool{}}
	if in.has("until") {
		g.Until, err = texts(m.nodes["until"])
		in.fail(err)
	} else {
		g.given.Set("until", []any{c.FewshotDelimiter})
	}
	for _, key := range []string{"max_completion_tokens", "max_tokens", "max_new_tokens", "max_gen_toks"} { // the last one counts
		if in.has(key) {
			g.MaxTokens, err = whole(m.nodes[key], 1)
			in.fail(err)
		}
	}
	if in.has("do_sample") {
		g.Sample, err = truth(m.nodes["do_sample"])
		in.fail(err)
	}
	if in.has("temperature") {
		switch v, err := m.nodes["temperature"].value(); t := v.(type) {
		case float64:
			g.Temperature = t
		case int64:
			g.Temperature = float64(t)
		default:
			in.fail(err)
			in.fail(m.nodes["temperature"].place().errorf("temperature: want a number"))
		}
		g.given.Set("temperature", g.Temperature)
	}
	if g.Sample && g.Temperature != 0 {
		in.fail(m.at.errorf("do_sample: answers are generated greedily here; a task that samples is not supported"))
	}
	for _, key := range m.keys {
		if !in.used[key] {
			in.fail(m.nodes[key].place().errorf("generation_kwargs.%s is not supported", key))
		}
	}
	r.problems = append(r.problems, in.problems...)
	return g
}

// Record is generation_kwargs as the harness records them.
func (g Generation) Record() *python.Dict { return g.given }
