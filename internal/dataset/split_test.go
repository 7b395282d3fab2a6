package dataset

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"alfred/internal/config"
	"alfred/internal/dataset/source"
)

// Whatever the data, no prompt stands on both sides, every sample stands on one, and neither the order of rows nor the seed
// changes the sides.
func TestHeldOutNeverLeaks(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		prompts := rapid.SliceOfN(rapid.IntRange(0, 25), 30, 60).Draw(rt, "prompts")
		lines := make([]string, len(prompts))
		for i, p := range prompts { // siblings: several pairs to one prompt
			lines[i] = fmt.Sprintf(`{"id":"row %d","prompt":"prompt %d","chosen":"good %d","rejected":"bad"}`, i, p, i)
		}
		opts := Options{EvalShare: rapid.Float64Range(0, 0.6).Draw(rt, "share"), Seed: rapid.Uint64().Draw(rt, "seed")}
		open := func(opts Options, lines []string) *Set[Ranked] {
			o := options(folder(t, map[string]string{"p.jsonl": strings.Join(lines, "\n")}))
			o.EvalShare, o.Seed = opts.EvalShare, opts.Seed
			return mustOpen[Ranked](t, o, spec(source.Pairs, "p.jsonl", ""))
		}
		set := open(opts, lines)
		side := map[string]bool{}
		for _, s := range set.HeldOut() {
			side[decode(s.Prompt)] = true
		}
		for _, s := range all(set) {
			if side[decode(s.Prompt)] {
				rt.Fatalf("prompt %q is on both sides", decode(s.Prompt))
			}
		}
		if n := len(all(set)) + len(set.HeldOut()); n != len(lines) {
			rt.Fatalf("%d samples of %d rows", n, len(lines))
		}
		shuffled := slices.Clone(lines)
		rand.New(rand.NewSource(int64(opts.Seed))).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		opts.Seed++
		if got, want := heldOutIDs(open(opts, shuffled)), heldOutIDs(set); !slices.Equal(got, want) {
			rt.Fatalf("other held-out rows after shuffling and with another seed: %q, %q", got, want)
		}
	})
}

func heldOutIDs[T Sample](s *Set[T]) []string {
	var ids []string
	for _, sample := range s.HeldOut() {
		ids = append(ids, sampleID(sample))
	}
	slices.Sort(ids)
	return ids
}

// Of n different prompts a share p is held out to within 5 standard deviations, sqrt(n·p·(1-p)) each.
func TestHeldOutShare(t *testing.T) {
	const n = 20_000
	for _, share := range []float64{0.01, 0.05, 0.5} {
		held := 0
		for i := range n {
			if splitHash(fmt.Sprintf("prompt %d", i)) < share {
				held++
			}
		}
		mean, variance := share*n, share*(1-share)*n
		if d := float64(held) - mean; d*d > 25*variance {
			t.Errorf("share %v: %d of %d held out", share, held, n)
		}
	}
}

// The stages hold out the same prompts: what PPO is judged on, neither fine-tuning nor the reward model has seen. So do
// renderings. Messages of one tree stay together.
func TestStagesHoldOutTheSamePrompts(t *testing.T) {
	var pairs, trees strings.Builder
	for i := range 120 {
		fmt.Fprintf(&pairs, `{"id":"%d","prompt":"prompt %d","chosen":"yes","rejected":"no"}`+"\n", i, i)
		trees.WriteString(strings.NewReplacer(`_id":"`, fmt.Sprintf(`_id":"%d-`, i), `"text":"q"`, fmt.Sprintf(`"text":"question %d"`, i)).Replace(oneLine(tree)))
	}
	opts := options(folder(t, map[string]string{"p.jsonl": pairs.String(), "t.jsonl": trees.String()}))
	opts.EvalShare = 0.3
	for _, s := range []config.Source{spec(source.Pairs, "p.jsonl", ""), spec(source.OASST1, "t.jsonl", "chat")} {
		treeOf := func(ids []string) []string { // "17-a" is of tree 17
			for i := range ids {
				ids[i], _, _ = strings.Cut(ids[i], "-")
			}
			return slices.Compact(slices.Sorted(slices.Values(ids)))
		}
		want := treeOf(heldOutIDs(mustOpen[Ranked](t, opts, s)))
		if len(want) < 15 || len(want) > 60 {
			t.Fatalf("%s: %d of 120 prompts held out", s.Source, len(want))
		}
		if got := treeOf(heldOutIDs(mustOpen[SFT](t, opts, s))); !slices.Equal(got, want) {
			t.Errorf("%s: fine-tuning holds out %q, reward training %q", s.Source, got, want)
		}
		other := s
		other.Render = "chat"
		set := mustOpen[Prompt](t, opts, other)
		if got := treeOf(heldOutIDs(set)); !slices.Equal(got, want) {
			t.Errorf("%s: PPO holds out %q, reward training %q", s.Source, got, want)
		}
		for _, p := range all(set) {
			if id, _, _ := strings.Cut(p.ID, "-"); slices.Contains(want, id) {
				t.Errorf("%s: prompt %s is trained on, its tree is held out", s.Source, p.ID)
			}
		}
	}
}

// Public data cut one conversation at several turns; whatever the format, its rows stand on one side.
func TestRowsOfOneConversationStayTogether(t *testing.T) {
	var hh, dialogues strings.Builder
	for i := range 60 {
		first := fmt.Sprintf(`\n\nHuman: question %d\n\nAssistant:`, i)
		second := fmt.Sprintf(`%s answer %d\n\nHuman: and then?\n\nAssistant:`, first, i)
		for _, prompt := range []string{first, second} {
			fmt.Fprintf(&hh, `{"chosen":"%s answer %d","rejected":"%s no"}`+"\n", prompt, i, prompt)
		}
		for _, more := range []string{"", `{"role":"assistant","content":"yes"},{"role":"user","content":"and then?"},`} {
			fmt.Fprintf(&dialogues, `{"messages":[{"role":"system","content":"s"},{"role":"user","content":"question %d"},%s{"role":"assistant","content":"end"}]}`+"\n", i, more)
		}
	}
	opts := options(folder(t, map[string]string{"hh.jsonl": hh.String(), "dialogues.jsonl": dialogues.String()}))
	opts.EvalShare = 0.3
	for _, s := range []config.Source{spec(source.HHRLHF, "hh.jsonl", "chat"), spec(source.Prompts, "dialogues.jsonl", "chat")} {
		train, held := firstTurns(mustOpen[SFT](t, opts, s))
		both := 0
		for turn, n := range held {
			if train[turn] > 0 {
				both++
			}
			if n != 2 {
				t.Errorf("%s: %d of 2 rows that start with %q are held out", s.Source, n, turn)
			}
		}
		if both > 0 || len(held) < 8 || len(held) > 30 {
			t.Errorf("%s: of 60 conversations %d are held out and %d stand on both sides", s.Source, len(held), both)
		}
	}
}

// firstTurns counts the training and held-out samples by the user's first turn, as chat renders it.
func firstTurns(s *Set[SFT]) (train, held map[string]int) {
	count := func(samples []SFT) map[string]int {
		n := map[string]int{}
		for _, sample := range samples {
			turn, _, _ := strings.Cut(decode(sample.IDs), "\nAlfred:")
			n[turn]++
		}
		return n
	}
	return count(all(s)), count(s.HeldOut())
}
