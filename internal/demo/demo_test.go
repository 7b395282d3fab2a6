package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"alfred/internal/checkpoint/storage"
	"alfred/internal/config"
	"alfred/internal/dataset"
	"alfred/internal/falcon"
	"alfred/internal/reward"
	"alfred/internal/rollout"
	"alfred/internal/rundir"
	"alfred/internal/tokenizer"
)

// actor plays alfred: its runs write a script's metrics, its models recite.
type actor struct {
	did    []string
	fail   string            // the stage that fails
	script map[string]string // metrics.jsonl by stage
	lines  map[string]string // what the model at a path says
	scores map[string]float64
	tok    *tokenizer.Tokenizer
}

var errStage = errors.New("the stage fails")

func newActor(t *testing.T, dir string) *actor {
	t.Helper()
	text, err := files.ReadFile("data/tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return &actor{
		tok: tok,
		script: map[string]string{
			"sft":    `{"step":0,"eval_loss":6.5}` + "\n" + `{"step":1,"loss":3.0}` + "\n" + `{"step":2,"loss":1.0,"eval_loss":0.25}` + "\n",
			"reward": `{"step":0,"eval_loss":0.69,"accuracy":0.5,"accuracy_stderr":0.0}` + "\n" + `{"step":9,"eval_loss":0.1,"accuracy":0.95,"accuracy_stderr":0.02}` + "\n",
			"ppo": `{"iteration":0,"score_heldout":-0.5,"score_heldout_stderr":0.15}` + "\n" +
				`{"iteration":1,"kl":0.0,"eod_rate":0.75,"response_length_mean":15.0,"ratio_max_error":0.0}` + "\n" +
				`{"iteration":2,"kl":2.5,"eod_rate":0.5,"response_length_mean":14.0,"ratio_max_error":0.001}` + "\n" +
				`{"iteration":3,"kl":1.25,"eod_rate":1.0,"response_length_mean":11.0,"ratio_max_error":0.0,"score_heldout":0.9,"score_heldout_stderr":0.08}` + "\n",
		},
		lines:  map[string]string{filepath.Join(dir, "sft"): " I hate it. They ruin my day.", filepath.Join(dir, "ppo"): " I love it!"},
		scores: map[string]float64{" I hate it. They ruin my day.": -1.5, " I love it!": 1.25},
	}
}

func (a *actor) InitModel(_ context.Context, config, tokenizer, out string, seed uint64) error {
	a.did = append(a.did, fmt.Sprint("init ", filepath.Base(out), " ", seed))
	for _, path := range []string{config, tokenizer} {
		if _, err := os.Stat(path); err != nil {
			return err
		}
	}
	return errors.Join(os.Mkdir(out, 0o755), os.WriteFile(filepath.Join(out, "config.json"), []byte("{}"), 0o644))
}

func (a *actor) Train(_ context.Context, title string, cfg *config.Config) error {
	a.did = append(a.did, cfg.Stage)
	if cfg.Stage == a.fail {
		return errStage
	}
	if !strings.Contains(title, "of 3") {
		return fmt.Errorf("title %q", title)
	}
	return errors.Join(os.MkdirAll(cfg.Run.Dir, 0o755), os.WriteFile(rundir.Dir(cfg.Run.Dir).Metrics(), []byte(a.script[cfg.Stage]), 0o644))
}

// Generate says the model's line to every prompt; the first response of each model is cut off.
func (a *actor) Generate(_ context.Context, path string, requests []rollout.Request, limits rollout.Limits, _ rollout.Sampling) (all []rollout.Trajectory, err error) {
	for i, r := range requests {
		tr := rollout.Trajectory{Sequence: r.Sequence, Prompt: r.Prompt, Response: a.tok.Encode(a.lines[path]), Finish: rollout.FinishLength}
		if i > 0 {
			tr.Response, tr.Finish = append(tr.Response, limits.EOD), rollout.FinishEOD
		}
		if n := len(r.Prompt) + r.Max; n > limits.Longest {
			return nil, fmt.Errorf("%d tokens, the limit is %d", n, limits.Longest)
		}
		all = append(all, tr)
	}
	return all, nil
}

func (a *actor) Score(_ context.Context, path string, items []reward.Item) ([]float64, error) {
	scores := make([]float64, len(items))
	for i, it := range items {
		ids := it.Response
		if it.Finish == rollout.FinishEOD {
			if ids = ids[:len(ids)-1]; it.Read != len(it.Prompt)+len(it.Response)-1 {
				return nil, fmt.Errorf("item %d is read at %d, and its EOD is at %d", i, it.Read, len(it.Prompt)+len(it.Response)-1)
			}
		}
		scores[i] = a.scores[a.tok.Decode(ids)]
	}
	return scores, nil
}

func play(t *testing.T, o Options, a *actor) (string, *Outcome, error) {
	t.Helper()
	var out bytes.Buffer
	outcome, err := Run(context.Background(), o, a, &out)
	return out.String(), outcome, err
}

func TestStory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "it's a demo") // a name that YAML and shells need quoted
	a := newActor(t, dir)
	text, outcome, err := play(t, Options{Dir: dir, Seed: 7}, a)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(a.did, ", "); got != "init base 7, sft, reward, ppo" {
		t.Errorf("it did %s", got)
	}
	if !outcome.Taught() || outcome.RatioError != 0.001 || outcome.KL.After.Value != 1.25 || outcome.PolicyLoss.Before.Value != 6.5 {
		t.Errorf("%+v", outcome)
	}
	for _, want := range []string{
		"loss, nats per token", "6.500", "0.250", "0.950 ± 0.020", "-0.500 ± 0.150", "0.900 ± 0.080", "1.250", "1.000", "11.000", "to within 0.001",
		"raised the score by 1.40, which is 8 standard errors", // 1.4 / hypot(0.15, 0.08) = 8.2
		"I hate it. They ruin my day. …", "I love it!", "-1.50", "1.25",
		`generate --model '` + strings.ReplaceAll(dir, "'", `'\''`) + `/ppo'`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the text lacks %q:\n%s", want, text)
		}
	}
	// What it has laid out can be run by hand.
	for _, stage := range stages {
		cfg, err := config.Load(filepath.Join(dir, "configs", stage.name+".yaml"), nil)
		if err != nil || cfg.Run.Dir != filepath.Join(dir, stage.name) || cfg.Run.Seed != 7 || cfg.DataRoot != filepath.Join(dir, "data") {
			t.Errorf("%s: %v, %+v", stage.name, err, cfg)
		}
	}
}

// TestCutOffResponsesArePenalised: they score what PPO pays for them, not what the reward model says.
func TestCutOffResponsesArePenalised(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	a := newActor(t, dir)
	if _, _, err := play(t, Options{Dir: dir, Seed: 1}, a); err != nil {
		t.Fatal(err)
	}
	s := &story{Options: Options{Dir: dir, Seed: 1}, program: a, configs: map[string]*config.Config{}}
	if err := s.loadConfigs(); err != nil {
		t.Fatal(err)
	}
	exchanges, err := s.dialogue(context.Background())
	if err != nil || len(exchanges) < 40 {
		t.Fatalf("%d, %v", len(exchanges), err)
	}
	penalty := s.configs[config.PPO].Trainer.MissingEOD.Penalty
	if first, second := exchanges[0].after, exchanges[1].after; first.ended || first.score != penalty || !second.ended || second.score != 1.25 || penalty == 0 {
		t.Errorf("%+v, %+v, penalty %g", first, second, penalty)
	}
}

func TestStoryGoesOn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	a := newActor(t, dir)
	a.fail = "reward"
	if _, _, err := play(t, Options{Dir: dir, Seed: 1}, a); !errors.Is(err, errStage) {
		t.Fatal(err)
	}
	edited := filepath.Join(dir, "data", "prompts.jsonl")
	if err := os.WriteFile(edited, []byte(`{"prompt":"Do you like apples?"}`+"\n"+`{"prompt":"Do you like bananas?"}`+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	a.fail, a.did = "", nil
	if _, _, err := play(t, Options{Dir: dir + "/", Seed: 1}, a); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(a.did, ", "); got != "sft, reward, ppo" { // a stage that is done goes on by doing nothing
		t.Errorf("it did %s", got)
	}
	if text, err := os.ReadFile(edited); err != nil || !strings.Contains(string(text), "bananas") {
		t.Errorf("what the user has changed is gone: %q, %v", text, err)
	}
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	spelling, err := filepath.Rel(here, dir)
	if err != nil || spelling == dir {
		t.Fatalf("%s, %v", spelling, err)
	}
	if _, _, err := play(t, Options{Dir: spelling, Seed: 1}, a); err != nil {
		t.Errorf("another spelling of its folder: %v", err)
	}
	if _, _, err := play(t, Options{Dir: dir, Seed: 2}, a); !errors.Is(err, ErrFolder) || !strings.Contains(err.Error(), "--seed 1") {
		t.Errorf("another seed: %v", err)
	}
}

func TestForeignFolders(t *testing.T) {
	dir := t.TempDir()
	a := newActor(t, dir)
	mine := filepath.Join(dir, "thesis.tex")
	if err := os.WriteFile(mine, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := play(t, Options{Dir: dir, Seed: 1}, a); !errors.Is(err, ErrFolder) || !strings.Contains(err.Error(), "thesis.tex") {
		t.Errorf("a folder of other things: %v", err)
	}
	if _, _, err := play(t, Options{Dir: mine, Seed: 1}, a); !errors.Is(err, ErrFolder) {
		t.Errorf("a file: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "README.md"), []byte("# My thesis"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := play(t, Options{Dir: dir, Seed: 1}, a); !errors.Is(err, ErrFolder) {
		t.Errorf("somebody else's README.md: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 || len(a.did) > 0 {
		t.Errorf("it touched the folder: %v, %v, %v", entries, err, a.did)
	}
	// An empty folder, and one with what a killed demo was writing.
	empty := filepath.Join(dir, "empty")
	if err := errors.Join(os.Mkdir(empty, 0o755), os.WriteFile(storage.TempName(filepath.Join(empty, readme)), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := play(t, Options{Dir: empty, Seed: 1}, newActor(t, empty)); err != nil {
		t.Errorf("an empty folder: %v", err)
	}
	// Line breaks cannot stand in YAML's quotes as they are.
	if _, _, err := play(t, Options{Dir: filepath.Join(dir, "two\nlines"), Seed: 1}, a); err == nil {
		t.Error("a folder name with a line break went through")
	}
}

// TestOutcomeNeedsItsMetrics: what a run has not recorded is an error that names it, not a zero.
func TestOutcomeNeedsItsMetrics(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	a := newActor(t, dir)
	a.script["reward"] = `{"step":0,"eval_loss":0.69}` + "\n"
	if _, _, err := play(t, Options{Dir: dir, Seed: 1}, a); err == nil || !strings.Contains(err.Error(), "accuracy") || !strings.Contains(err.Error(), "metrics.jsonl") {
		t.Errorf("%v", err)
	}
}

func TestTaught(t *testing.T) {
	change := func(rise float64) *Outcome {
		return &Outcome{Score: Change{Number{1, 0.3}, Number{1 + rise, 0.4}}} // the error of the difference is 0.5
	}
	for rise, want := range map[float64]bool{0.99: false, 1.01: true, -2: false} {
		if o := change(rise); o.Taught() != want || strings.Contains(o.verdict(), "has raised") != want {
			t.Errorf("a rise of %g: %v, %s", rise, o.Taught(), o.verdict())
		}
	}
	if o := change(math.NaN()); o.Taught() {
		t.Error("NaN passes")
	}
}

func TestFilesAreSmall(t *testing.T) {
	total := 0
	err := fs.WalkDir(files, "data", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			text, _ := files.ReadFile(name)
			total += len(text)
		}
		return err
	})
	if err != nil || total == 0 || total >= 200_000 {
		t.Errorf("%d bytes, %v", total, err)
	}
}

func TestTokenizerCoversAllBytes(t *testing.T) {
	a := newActor(t, "")
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	if got := a.tok.DecodeBytes(a.tok.Encode(string(all))); !bytes.Equal(got, all) || a.tok.Dropped(string(all)) != 0 {
		t.Errorf("%q", got)
	}
	text, err := files.ReadFile("configs/model.json")
	if err != nil {
		t.Fatal(err)
	}
	cfg, warnings, err := falcon.ParseConfig(text)
	if err != nil || len(warnings) > 0 {
		t.Fatalf("%v, %v", err, warnings)
	}
	eod, ok := a.tok.EOD()
	if !ok || cfg.EOSTokenID == nil || *cfg.EOSTokenID != int(eod) {
		t.Errorf("end of document is %d in the tokenizer, %v in the model", eod, cfg.EOSTokenID)
	}
	if n := a.tok.VocabSize(); n >= cfg.VocabSize { // one row is left for padding in reward models
		t.Errorf("the tokenizer has %d entries, the model %d", n, cfg.VocabSize)
	}
}

// TestDataFitTheConfigurations opens the data as the runs do: nothing is dropped, every prompt fits, prompts are held out alike
// in all stages, and every text is known words.
func TestDataFitTheConfigurations(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	s := &story{Options: Options{Dir: dir, Seed: 1}, configs: map[string]*config.Config{}}
	if err := s.prepare(); err != nil {
		t.Fatal(err)
	}
	a := newActor(t, dir)
	eod, _ := a.tok.EOD()
	options := func(stage string) dataset.Options {
		cfg := s.configs[stage]
		return dataset.Options{Root: cfg.DataRoot, Tokenizer: a.tok, EOD: eod, MaxLen: cfg.Trainer.MaxLen, PromptMaxLen: cfg.Trajectory.PromptMaxLen,
			EvalShare: cfg.Trainer.EvalShare, Seed: 1, LossTurns: cfg.Trainer.LossTurns}
	}
	held := map[string]int{} // how many stages hold a prompt out
	note := func(seen map[string]bool) {
		for p := range seen {
			held[p]++
		}
	}
	ctx := context.Background()
	sft, err := dataset.Open[dataset.SFT](ctx, s.configs[config.SFT].Data, options(config.SFT))
	if err != nil {
		t.Fatal(err)
	}
	ranked, err := dataset.Open[dataset.Ranked](ctx, s.configs[config.Reward].Data, options(config.Reward))
	if err != nil {
		t.Fatal(err)
	}
	prompts, err := dataset.Open[dataset.Prompt](ctx, s.configs[config.PPO].Data, options(config.PPO))
	if err != nil {
		t.Fatal(err)
	}
	for what, n := range map[string][2]int{
		"conversations": {sft.Train().Len() + len(sft.HeldOut()), 864},
		"pairs":         {ranked.Train().Len() + len(ranked.HeldOut()), 432},
		"prompts":       {prompts.Train().Len() + len(prompts.HeldOut()), 216},
	} {
		if n[0] != n[1] {
			t.Errorf("%d %s of %d are left", n[0], what, n[1])
		}
	}
	seen := map[string]bool{}
	for _, x := range sft.HeldOut() {
		prompt, _, _ := strings.Cut(a.tok.Decode(x.IDs), "\nAlfred:")
		seen[prompt+"\nAlfred:"] = true
	}
	note(seen)
	seen = map[string]bool{}
	for _, x := range ranked.HeldOut() {
		seen[a.tok.Decode(x.Prompt)] = true
	}
	note(seen)
	seen = map[string]bool{}
	for _, x := range prompts.HeldOut() {
		seen[x.Text] = true
	}
	note(seen)
	if n := len(prompts.HeldOut()); n < 40 || n > s.configs[config.PPO].Trainer.NumRollouts || len(held) != n {
		t.Errorf("%d prompts are held out for PPO, %d in any stage", n, len(held))
	}
	for p, n := range held {
		if n != 3 {
			t.Errorf("%q is held out in %d stages of 3", p, n)
		}
	}
}

// TestTablesShowWhatModelsSay without letting it act on a terminal.
func TestTablesShowWhatModelsSay(t *testing.T) {
	text := dialogueTable([]exchange{{"p", utterance{"a\x1b[2Jb", true, 0}, utterance{"c\nd", false, 1}}}).Text(width)
	if strings.ContainsRune(text, '\x1b') || !strings.Contains(text, "c↵d …") {
		t.Errorf("%q", text)
	}
}
