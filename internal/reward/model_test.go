package reward_test

import (
	"context"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/backend/reference"
	"alfred/internal/checkpoint/safetensors/goldentest"
	"alfred/internal/collective"
	"alfred/internal/collective/inproc"
	"alfred/internal/falcon"
	"alfred/internal/pipeline"
	"alfred/internal/reward"
	"alfred/internal/rollout"
	"alfred/internal/tensor"
)

// form40BReward is a small model with a score head, and what transformers computed with it in float64.
const form40BReward = "../falcon/testdata/golden/form-40b-reward/"

// golden is what the folder holds.
type golden struct {
	config               falcon.Config
	weights              goldentest.File
	rotaryCos, rotarySin []float64
	sequences            [][]int32
	values               [][]float64 // of each sequence, at every position
	scores               []float64   // of each sequence, at its last position
}

func openGolden(t *testing.T) golden {
	t.Helper()
	text, err := os.ReadFile(form40BReward + "config.json")
	if err != nil {
		t.Fatal(err)
	}
	cfg, _, err := falcon.ParseConfig(text)
	if err != nil {
		t.Fatal(err)
	}
	f := goldentest.Open(t, form40BReward+"golden.safetensors")
	g := golden{
		config: cfg, weights: goldentest.Open(t, form40BReward+"model.safetensors"), rotaryCos: f.Floats("rotary_cos"), rotarySin: f.Floats("rotary_sin"),
		sequences: f.Sequences("ids", "offsets"), scores: f.Floats("scores"),
	}
	values := f.Floats("values")
	for _, ids := range g.sequences {
		g.values, values = append(g.values, values[:len(ids)]), values[len(ids):]
	}
	return g
}

// model builds the golden's model on the reference backend, as one of the ranks of replicas.
func (g golden) model(t *testing.T, replicas collective.Group, budget int, gain, bias float64) (*reward.Model, error) {
	d := reference.New()
	weights, err := d.Arena("weights", 16<<20)
	if err != nil {
		return nil, err
	}
	work, err := d.Arena("work", 64<<20)
	if err != nil {
		return nil, err
	}
	s := d.Stream()
	s.Use(weights)
	stage := falcon.NewStage(s, g.config, falcon.Options{DType: tensor.Float64, Positions: 2 * len(g.rotaryCos) / g.config.HeadDim, RotaryCos: g.rotaryCos, RotarySin: g.rotarySin})
	for _, p := range stage.Params.Params() {
		s.Upload(p.Weight(), backend.Float64s(g.weights.Floats(p.Name)))
		p.Touch()
	}
	m := &reward.Model{
		Executor: &pipeline.Executor{Stage: stage, Stream: s, Arena: work, Scale: 1},
		Replicas: pipeline.Replicas{Group: replicas, Budget: budget},
		Gain:     gain, Bias: bias,
	}
	return m, s.Sync()
}

// score asks one model per rank and demands that all ranks get the same.
func (g golden) score(t *testing.T, ranks, budget int, gain, bias float64, items []reward.Item) []float64 {
	t.Helper()
	world, everybody := inproc.NewWorld(ranks), []int{}
	for r := range ranks {
		everybody = append(everybody, r)
	}
	scores := make([][]float64, ranks)
	err := world.Run(func(rank int) error {
		m, err := g.model(t, world.Group(rank, everybody), budget, gain, bias)
		if err != nil {
			return err
		}
		scores[rank], err = m.Score(t.Context(), items)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for r := range scores {
		if !slices.Equal(scores[r], scores[0]) {
			t.Fatalf("rank 0 has %v, rank %d %v", scores[0], r, scores[r])
		}
	}
	return scores[0]
}

// items are the golden's sequences, cut into prompt and response somewhere, to be read at the last token.
func (g golden) items() (items []reward.Item) {
	for i, q := range g.sequences {
		cut := (len(q) + 1) / 2
		items = append(items, reward.Item{Read: len(q) - 1, Trajectory: rollout.Trajectory{Sequence: i, Prompt: q[:cut], Response: q[cut:], Finish: rollout.FinishLength}})
	}
	return items
}

// TestModelScores holds the scores against transformers'. Both compute in float64, and 1e-11 is what two orders of summation
// leave (scripts/golden/README.md, "How near").
func TestModelScores(t *testing.T) {
	g := openGolden(t)
	if len(g.scores) != 5 {
		t.Fatalf("%d scores", len(g.scores))
	}
	got := g.score(t, 1, 1<<20, 1, 0, g.items())
	goldentest.Near(t, "score", got, g.scores, 1e-11, 1e-11)
	if slices.Max(g.scores)-slices.Min(g.scores) < 0.1 {
		t.Errorf("the goldens are too much alike to tell anything: %v", g.scores)
	}

	const gain, bias = 0.5, -3 // powers of two and small integers: the expected value is exact
	for i, x := range g.score(t, 1, 1<<20, gain, bias, g.items()) {
		if want := gain*got[i] + bias; x != want {
			t.Errorf("calibrated score of sequence %d: %g, want %g", i, x, want)
		}
	}
}

// TestModelReadsWhereItIsTold: at any position of prompt or response, and what comes behind it changes no bit.
func TestModelReadsWhereItIsTold(t *testing.T) {
	g := openGolden(t)
	const longest = 4
	var items []reward.Item
	var want []float64
	for _, read := range []int{0, 1, 30, 35, 68} {
		it := g.items()[longest]
		it.Read = read
		items, want = append(items, it), append(want, g.values[longest][read])
	}
	got := g.score(t, 1, 1<<20, 1, 0, items)
	goldentest.Near(t, "score", got, want, 1e-11, 1e-11)
	for i := range items { // -1 is no token at all
		it := &items[i]
		ids := append(it.Tokens(), -1, -1, -1)
		for at := it.Read + 1; at < len(ids); at++ {
			ids[at] = -1
		}
		it.Prompt, it.Response = ids[:len(it.Prompt)], ids[len(it.Prompt):]
	}
	if again := g.score(t, 1, 1<<20, 1, 0, items); !slices.Equal(again, got) {
		t.Errorf("%v after changing what comes behind, before %v", again, got)
	}
}

// TestModelScoresAreTheSameOnAnyRanks, bit by bit, however the sequences are cut into micro-batches.
func TestModelScoresAreTheSameOnAnyRanks(t *testing.T) {
	g := openGolden(t)
	want := g.score(t, 1, 1<<20, 1.25, 0.5, g.items())
	for _, ranks := range []int{1, 2, 3, 7} { // of seven ranks two have nothing to do
		for _, budget := range []int{1, 40, 1 << 20} {
			got := g.score(t, ranks, budget, 1.25, 0.5, g.items())
			for i := range want {
				if math.Float64bits(got[i]) != math.Float64bits(want[i]) {
					t.Errorf("%d ranks, %d tokens at a time: score %d is %v, want %v", ranks, budget, i, got[i], want[i])
				}
			}
		}
	}
	reversed := g.items()
	slices.Reverse(reversed)
	got := g.score(t, 2, 40, 1.25, 0.5, reversed)
	slices.Reverse(got)
	if !slices.Equal(got, want) {
		t.Errorf("in another order: %v, want %v", got, want)
	}
	if none := g.score(t, 2, 40, 1, 0, nil); len(none) != 0 {
		t.Errorf("no items: %v", none)
	}
}

func TestModelReportsItsErrors(t *testing.T) {
	g := openGolden(t)
	m, err := g.model(t, collective.Solo{}, 1<<20, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Score(ctx, g.items()); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	bad := g.items()
	bad[0].Prompt = []int32{-1}
	if scores, err := m.Score(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "-1") {
		t.Errorf("a token of -1: %v, %v", scores, err)
	}
}
