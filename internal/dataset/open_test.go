package dataset

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"alfred/internal/config"
	"alfred/internal/dataset/source"
)

// rows gives n good prompts with bad broken lines among them.
func rows(n, bad int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"prompt":"number %d"}`+"\n", i)
		if i < bad {
			b.WriteString("{broken\n")
		}
	}
	return b.String()
}

// One malformed row in a hundred is skipped; more than that stops the run and shows where.
func TestTooManyBad(t *testing.T) {
	for _, c := range []struct {
		good, bad int
		stops     bool
	}{{99, 1, false}, {98, 1, true}, {198, 2, false}, {197, 2, true}, {1, 0, false}, {1, 1, true}} {
		root := folder(t, map[string]string{"d.jsonl": rows(c.good, c.bad)})
		set, err := Open[Prompt](context.Background(), []config.Source{spec(source.Prompts, "d.jsonl", "")}, options(root))
		if errors.Is(err, ErrTooManyBad) != c.stops || errors.Is(err, ErrData) != c.stops {
			t.Errorf("%d bad of %d: %v; stop wanted: %v", c.bad, c.good+c.bad, err, c.stops)
			continue
		}
		if !c.stops {
			if r := set.Report().Sources[0]; r.MalformedRows != c.bad || r.Rows != c.good+c.bad || r.Train != c.good {
				t.Errorf("%d bad of %d: report %+v", c.bad, c.good+c.bad, r)
			}
			continue
		}
		for _, want := range []string{"d.jsonl:2: broken JSON", "data.0", fmt.Sprintf("%d of %d rows", c.bad, c.good+c.bad)} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("error lacks %q:\n%v", want, err)
			}
		}
		report, err := Inspect(context.Background(), "ppo", []config.Source{spec(source.Prompts, "d.jsonl", "")}, options(root))
		if !errors.Is(err, ErrTooManyBad) || len(report.Sources) != 1 || report.Sources[0].MalformedRows != c.bad {
			t.Errorf("inspect: %+v, %v", report, err)
		}
	}
}

// What filters drop never stops a run.
func TestFiltersDoNotStop(t *testing.T) {
	root := folder(t, map[string]string{"d.jsonl": strings.Repeat(`{"prompt":"same"}`+"\n", 500) + strings.Repeat(`{"prompt":"far too long"}`+"\n", 500)})
	opts := options(root)
	opts.PromptMaxLen = 4
	set := mustOpen[Prompt](t, opts, spec(source.Prompts, "d.jsonl", ""))
	if r := set.Report().Sources[0]; r.Train != 1 || reasons(r.Dropped)[string(Duplicate)] != 499 || reasons(r.Dropped)[string(TooLong)] != 500 {
		t.Errorf("report %+v", r)
	}
}

func TestOnBadStop(t *testing.T) {
	root := folder(t, map[string]string{"d.jsonl": rows(500, 1)})
	s := spec(source.Prompts, "d.jsonl", "")
	s.OnBad = "stop"
	_, err := Open[Prompt](context.Background(), []config.Source{s}, options(root))
	if !errors.Is(err, ErrData) || errors.Is(err, ErrTooManyBad) || !strings.Contains(err.Error(), "d.jsonl:2: broken JSON") {
		t.Errorf("on_bad stop: %v", err)
	}
}

// All problems of all sources come at once.
func TestAllProblemsAtOnce(t *testing.T) {
	root := folder(t, map[string]string{"bad.jsonl": rows(2, 2), "empty.jsonl": "", "good.jsonl": rows(3, 0)})
	few := spec(source.Prompts, "good.jsonl", "few_shot")
	few.Shots, few.Languages, few.OnBad, few.Weight = -1, []string{"en"}, "ignore", -1
	_, err := Open[Prompt](context.Background(), []config.Source{
		spec(source.Prompts, "bad.jsonl", ""), spec(source.Prompts, "good.jsonl", ""), spec(source.Prompts, "empty.jsonl", ""),
		spec(source.Dolly, "absent.jsonl", "chat"), spec("oasst2", "x", "chat"), spec(source.Prompts, "good.jsonl", "poem"), few,
	}, options(root))
	for _, want := range []string{"data.0", "malformed", "data.2", "no training sample", "data.3", "absent.jsonl", "data.4", `"oasst2" is unknown`, "data.5", `"poem"`,
		"data.6", "few_shot shows", "shots -1", "name no language", `on_bad "ignore"`, "weight -1"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "data.1") {
		t.Errorf("the good source is blamed:\n%v", err)
	}
	if !errors.Is(err, ErrTooManyBad) || !errors.Is(err, ErrSpec) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("not all causes can be told apart: %v", err)
	}
}

func TestRefused(t *testing.T) {
	root := folder(t, map[string]string{"d.jsonl": rows(3, 0), "p.jsonl": `{"prompt":"p","chosen":"c","rejected":"r"}`})
	open := func(opts Options, specs ...config.Source) error {
		_, err := Open[SFT](context.Background(), specs, opts)
		return err
	}
	pairs := spec(source.Pairs, "p.jsonl", "chat")
	if err := open(options(root), pairs); err != nil {
		t.Errorf("pairs with use: chosen: %v", err)
	}
	pairs.Use = ""
	for name, err := range map[string]error{
		"pairs without use": open(options(root), pairs),
		"no source":         open(options(root)),
		"all switched off":  open(options(root), config.Source{Source: "prompts", Path: "d.jsonl"}),
		"eval share 1":      open(Options{EvalShare: 1}),
		"loss turns":        open(Options{LossTurns: "first"}),
		"negative limit":    open(Options{MaxLen: -1}),
		"dolly for ranking": func() error {
			_, err := Open[Ranked](context.Background(), []config.Source{spec(source.Dolly, "d.jsonl", "")}, options(root))
			return err
		}(),
		"inspect unknown stage": func() error { _, err := Inspect(context.Background(), "dpo", nil, options(root)); return err }(),
	} {
		if !errors.Is(err, ErrSpec) {
			t.Errorf("%s: %v, want ErrSpec", name, err)
		}
	}
	if err := open(options(root), spec(source.Prompts, "d.jsonl", "")); !errors.Is(err, ErrTooManyBad) || !strings.Contains(err.Error(), "response") {
		t.Errorf("prompts without responses for fine-tuning: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Open[Prompt](ctx, []config.Source{spec(source.Prompts, "d.jsonl", "")}, options(root)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestWeightZeroIsNotRead(t *testing.T) {
	root := folder(t, map[string]string{"d.jsonl": rows(3, 0)})
	off := spec(source.Dolly, "absent", "chat")
	off.Weight = 0
	set := mustOpen[Prompt](t, options(root), off, spec(source.Prompts, "d.jsonl", ""))
	if set.Train().Len() != 3 || len(set.Report().Sources) != 1 || set.Report().Sources[0].Share != 1 {
		t.Errorf("report %+v", set.Report().Sources)
	}
}

// The fingerprint follows what the samples are made of, and nothing else.
func TestFingerprint(t *testing.T) {
	files := map[string]string{"d/a.jsonl": `{"prompt":"x","response":"y"}`, "d/b.jsonl": `{"prompt":"z","response":"y"}`, "t.tmpl": `{{define "prompt"}}{{range .Turns}}{{.Text}}{{end}}{{end}}{{define "response"}}{{.}}{{end}}`}
	base := spec(source.Prompts, "d", "chat")
	print := func(root string, change func(*config.Source, *Options)) string {
		s, o := base, options(root)
		change(&s, &o)
		return mustOpen[SFT](t, o, s).Fingerprint()
	}
	same := func(*config.Source, *Options) {}
	root := folder(t, files)
	want := print(root, same)
	if len(want) != 64 {
		t.Errorf("fingerprint %q", want)
	}
	elsewhere := folder(t, files)
	if err := os.Rename(filepath.Join(elsewhere, "d/a.jsonl"), filepath.Join(elsewhere, "d/a2.jsonl")); err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]string{
		"again":            print(root, same),
		"another folder":   print(elsewhere, same), // a file has another name, too, that changes no order
		"another seed":     print(root, func(_ *config.Source, o *Options) { o.Seed = 9 }),
		"on_bad":           print(root, func(s *config.Source, _ *Options) { s.OnBad = "stop" }),
		"an absolute path": print("/", func(s *config.Source, _ *Options) { s.Path = filepath.Join(root, "d") }),
	} {
		if got != want {
			t.Errorf("%s changes the fingerprint", name)
		}
	}
	swapped := folder(t, map[string]string{"d/a.jsonl": files["d/b.jsonl"], "d/b.jsonl": files["d/a.jsonl"]})
	changed := folder(t, map[string]string{"d/a.jsonl": files["d/a.jsonl"], "d/b.jsonl": files["d/b.jsonl"] + "\n"})
	seen := map[string]string{want: "the base"}
	for name, got := range map[string]string{
		"another byte":   print(changed, same),
		"another order":  print(swapped, same),
		"one file only":  print(root, func(s *config.Source, _ *Options) { s.Path = "d/a.jsonl" }),
		"render":         print(root, func(s *config.Source, _ *Options) { s.Render = "instruction" }),
		"template":       print(root, func(s *config.Source, _ *Options) { s.Template = "t.tmpl" }),
		"weight":         print(root, func(s *config.Source, _ *Options) { s.Weight = 2 }),
		"max_len":        print(root, func(_ *config.Source, o *Options) { o.MaxLen = 4000 }),
		"prompt_max_len": print(root, func(_ *config.Source, o *Options) { o.PromptMaxLen = 4000 }),
		"eval_share":     print(root, func(_ *config.Source, o *Options) { o.EvalShare = 0.01 }),
		"loss_turns":     print(root, func(_ *config.Source, o *Options) { o.LossTurns = LossAll }),
		"eod":            print(root, func(_ *config.Source, o *Options) { o.EOD = 1 }),
		"use":            mustOpen[Prompt](t, options(root), base).Fingerprint(),
	} {
		if other, twice := seen[got]; twice {
			t.Errorf("%s has the fingerprint of %s", name, other)
		}
		seen[got] = name
	}
}
