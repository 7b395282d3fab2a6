package rollout_test

import (
	"context"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/backend/cpu"
	"alfred/internal/backend/reference"
	"alfred/internal/checkpoint/safetensors/goldentest"
	"alfred/internal/falcon"
	"alfred/internal/nn"
	"alfred/internal/param"
	"alfred/internal/pipeline"
	"alfred/internal/random"
	"alfred/internal/rollout"
	"alfred/internal/tensor"
	"github.com/google/go-cmp/cmp"
)

const goldens = "../falcon/testdata/golden/"

// precision is a device and the type that models are stored in.
type precision struct {
	device func() backend.Device
	dtype  tensor.DType
}

var precisions = map[string]precision{
	"reference": {reference.New, tensor.Float64},
	"float32":   {func() backend.Device { return cpu.New(2) }, tensor.Float32},
	"bfloat16":  {func() backend.Device { return cpu.New(2) }, tensor.BFloat16},
}

// open builds the language model of a golden folder.
func open(t testing.TB, form string, p precision) (*pipeline.Executor, falcon.Config, goldentest.File) {
	t.Helper()
	text, err := os.ReadFile(goldens + form + "/config.json")
	if err != nil {
		t.Fatal(err)
	}
	cfg, _, err := falcon.ParseConfig(text)
	if err != nil {
		t.Fatal(err)
	}
	golden, weights := goldentest.Open(t, goldens+form+"/golden.safetensors"), goldentest.Open(t, goldens+form+"/model.safetensors")
	d := p.device()
	arena, err := d.Arena("weights", 32<<20)
	if err != nil {
		t.Fatal(err)
	}
	work, err := d.Arena("work", 128<<20)
	if err != nil {
		t.Fatal(err)
	}
	s := d.Stream()
	s.Use(arena)
	o := falcon.Options{DType: p.dtype, Positions: 512}
	if golden.Has("rotary_cos") {
		cos := golden.Floats("rotary_cos")
		o.RotaryCos, o.RotarySin, o.Positions = cos, golden.Floats("rotary_sin"), 2*len(cos)/cfg.HeadDim
	}
	stage := falcon.NewStage(s, cfg, o)
	for _, prm := range stage.Params.Params() {
		s.Upload(prm.Weight(), backend.Float64s(weights.Floats(prm.Name)))
		prm.Touch()
	}
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	return &pipeline.Executor{Stage: stage, Stream: s, Arena: work, Scale: 1}, cfg, golden
}

func params(e *pipeline.Executor) *param.Store { return e.Stage.(*falcon.Stage).Params }

// generate samples in a cache of its own.
func generate(e *pipeline.Executor, requests []rollout.Request, limits rollout.Limits, sampling rollout.Sampling, progress rollout.Progress) ([]rollout.Trajectory, rollout.Stats, error) {
	d, err := rollout.Open(e, limits)
	if err != nil {
		return nil, rollout.Stats{}, err
	}
	defer d.Close()
	return rollout.Generate(context.Background(), d, requests, limits, sampling, progress)
}

// each runs a test on every device; short ones leave out the reference, which is slow and works in the goroutine that calls it.
func each(t *testing.T, forms []string, test func(t *testing.T, form string, p precision)) {
	for name, p := range precisions {
		if name == "reference" && testing.Short() {
			continue
		}
		for _, form := range forms {
			t.Run(name+"/"+form, func(t *testing.T) { test(t, form, p) })
		}
	}
}

var forms = []string{"form-40b", "form-40b-1ln", "form-7b", "form-rw", "form-rw-4"}

// noEOD never ends a sequence early.
const noEOD = -1

func TestGreedyContinuationIsTransformers(t *testing.T) {
	each(t, forms, func(t *testing.T, form string, p precision) {
		if p.dtype == tensor.BFloat16 {
			t.Skip("the golden's continuation is that of the float32 weights")
		}
		e, _, golden := open(t, form, p)
		ids, offsets, want := golden.Ints("greedy_prompt_ids"), golden.Ints("greedy_prompt_offsets"), golden.Ints("greedy_ids")
		var requests []rollout.Request
		n := len(want) / (len(offsets) - 1)
		for i := range len(offsets) - 1 {
			requests = append(requests, rollout.Request{Sequence: i, Prompt: ids[offsets[i]:offsets[i+1]], Max: n})
		}
		limits := rollout.Limits{Slots: 2, Tokens: 32, PageSize: 16, Longest: 64, EOD: noEOD}
		got, _, err := generate(e, requests, limits, rollout.Sampling{Draw: nn.Draw{Greedy: true, Temperature: 1, TopP: 1}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, tr := range got {
			if w := want[i*n : (i+1)*n]; !slices.Equal(tr.Response, w) || tr.Finish != rollout.FinishLength {
				t.Errorf("prompt %d: got %v, want %v", i, tr.Response, w)
			}
		}
	})
}

// requests are ten prompts of different lengths.
func requests(vocabulary int) (rs []rollout.Request) {
	r := rand.New(rand.NewPCG(7, 7))
	for i := range 10 {
		prompt := make([]int32, 1+r.IntN(40))
		for j := range prompt {
			prompt[j] = int32(r.IntN(vocabulary))
		}
		rs = append(rs, rollout.Request{Sequence: i, Prompt: prompt, Max: 5 + r.IntN(30), Min: r.IntN(5)})
	}
	return rs
}

// TestTrajectoriesDoNotDependOnScheduling: whatever the slots, the step size, the page size and the order of pages, the same
// tokens come out, with the same bits of log-prob; and the training forward gives those bits too.
func TestTrajectoriesDoNotDependOnScheduling(t *testing.T) {
	each(t, forms, func(t *testing.T, form string, p precision) {
		e, cfg, _ := open(t, form, p)
		const eod = 3
		sampling := rollout.Sampling{Draw: nn.Draw{Temperature: 0.9, TopP: 1}, Key: random.Key{Seed: 5, Purpose: random.Rollout}, Iteration: 2, LogProbs: true}
		e.Scale, e.Entropy = 1/sampling.Temperature, true
		run := func(limits rollout.Limits, sampling rollout.Sampling) []rollout.Trajectory {
			t.Helper()
			limits.Longest, limits.EOD = 80, eod
			if limits.Pages != nil { // shuffled
				limits.Pages = nil
				for _, page := range rand.New(rand.NewPCG(1, 2)).Perm(limits.CachePages()) {
					limits.Pages = append(limits.Pages, int32(page))
				}
			}
			got, stats, err := generate(e, requests(cfg.VocabSize), limits, sampling, nil)
			if err != nil {
				t.Fatal(err)
			}
			if stats.Occupancy <= 0 || stats.Occupancy > 1 {
				t.Errorf("occupancy %g", stats.Occupancy)
			}
			return got
		}
		shuffle := []int32{}
		want := run(rollout.Limits{Slots: 10, Tokens: 1000, PageSize: 64}, sampling)
		for _, limits := range []rollout.Limits{
			{Slots: 3, Tokens: 1000, PageSize: 16, Pages: shuffle},
			{Slots: 3, Tokens: 7, PageSize: 16, Pages: shuffle},
			{Slots: 1, Tokens: 1, PageSize: 64},
			{Slots: 5, Tokens: 30, PageSize: 128, Pages: shuffle},
		} {
			if d := cmp.Diff(want, run(limits, sampling)); d != "" {
				t.Fatalf("%+v:\n%s", limits, d)
			}
		}
		var units []pipeline.Unit
		ended := 0
		for i, tr := range want {
			first := len(tr.Prompt) - 1
			units = append(units, pipeline.Single(i, nn.Sequence{IDs: tr.Tokens(), From: first, To: first + len(tr.Response)}))
			if (tr.Finish == rollout.FinishEOD) != (tr.Response[len(tr.Response)-1] == eod) {
				t.Errorf("sequence %d ends with %d, finish %s", i, tr.Response[len(tr.Response)-1], tr.Finish)
			}
			if tr.Finish == rollout.FinishEOD {
				ended++
			}
			if at := slices.Index(tr.Response, eod); at >= 0 && at < requests(cfg.VocabSize)[i].Min {
				t.Errorf("sequence %d ends after %d tokens, minimum is %d", i, at+1, requests(cfg.VocabSize)[i].Min)
			}
		}
		t.Logf("%d of %d sequences ended by themselves", ended, len(want))
		for _, micro := range pipeline.Partition(units, 1, 100)[0] {
			err := e.Score(context.Background(), []pipeline.MicroBatch{micro}, func(_ int, out pipeline.Output) {
				out.Each(func(i, lo, hi int) {
					tr := want[micro.Units[i].ID]
					if !slices.Equal(out.LogProb[lo:hi], tr.LogProb) {
						t.Errorf("sequence %d: training sees log-probs %v, sampling saw %v", tr.Sequence, out.LogProb[lo:hi], tr.LogProb)
					}
					if !slices.Equal(out.Entropy[lo:hi], tr.Entropy) {
						t.Errorf("sequence %d: training sees entropies %v, sampling saw %v", tr.Sequence, out.Entropy[lo:hi], tr.Entropy)
					}
				})
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		truncated := sampling
		truncated.TopK, truncated.TopP = 8, 0.7
		a, b := run(rollout.Limits{Slots: 10, Tokens: 1000, PageSize: 64}, truncated), run(rollout.Limits{Slots: 2, Tokens: 9, PageSize: 16, Pages: shuffle}, truncated)
		if d := cmp.Diff(a, b); d != "" {
			t.Errorf("top-k and top-p:\n%s", d)
		}
	})
}

// TestTokensAllocateNothing: a rollout allocates for its sequences. Longer responses cost nothing but that their lists are doubled now
// and then: tokens, log-probs and entropies of each have room for 32 numbers, then for 64, then for 128.
func TestTokensAllocateNothing(t *testing.T) {
	e, cfg, _ := open(t, "form-40b", precisions["float32"])
	run := func(tokens int) float64 {
		rs := requests(cfg.VocabSize)
		for i := range rs {
			rs[i].Max, rs[i].Min = tokens, 0
		}
		limits := rollout.Limits{Slots: 5, Tokens: 100, PageSize: 64, Longest: 128, EOD: noEOD}
		sampling := rollout.Sampling{Draw: nn.Draw{Temperature: 1, TopP: 1}, LogProbs: true}
		return testing.AllocsPerRun(3, func() {
			if _, _, err := generate(e, rs, limits, sampling, nil); err != nil {
				t.Fatal(err)
			}
		})
	}
	run(66) // grows the scratch memory
	const doublings = 10 * 3 * 2
	if few, many := run(20), run(66); many > few+2*doublings { // the runtime has some of its own, but not 460
		t.Errorf("%v objects for 200 tokens, %v for 660; %d are for longer lists", few, many, doublings)
	}
}
