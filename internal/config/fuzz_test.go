package config

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// FuzzParse: any file and flag end in a config that round-trips or in problems
// with a place, without panic, within a second.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"ppo", "sft", "reward", "full-ppo", "full-sft", "full-reward"} {
		text, err := os.ReadFile("testdata/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, "trainer.max_steps=3")
		f.Add(text, "data.0.path=x")
	}
	for _, text := range []string{
		"", "---\n---\n", "a: &a [*a]\n", "x-a: &a {<<: *a}\noptimizer: {<<: [*a, *a]}\n", "? {a: b}\n: 1\n", "stage: &s ppo\nrun: {name: *s}\n",
		"stage: sft\nmodel: {policy: \"\\u0085\\u2028 \\n\\ttrailing \"}\nrun: {name: '# <<', dir: \"- a: b\"}\n", "\"<<\": {}\n<<: {stage: sft}\n", "stage: !!str ppo\n", "\t", "%TAG ! tag:x,2000:\n---\na: 1\n",
	} {
		f.Add([]byte(text), "model.reward={rule: contains, text: \"a\\nb \"}")
		f.Add([]byte(text), "a.b.0.c=[&x 1, *x]")
	}
	f.Fuzz(func(t *testing.T, text []byte, set string) {
		start := time.Now()
		c, err := Parse("f", text, []string{set})
		if took := time.Since(start); took > time.Second {
			// A busy machine can stop us for that long; a slow input is slow again.
			start = time.Now()
			Parse("f", text, []string{set})
			if again := time.Since(start); again > time.Second {
				t.Fatalf("took %v, then %v, for %d bytes", took, again, len(text))
			}
		}
		if err != nil {
			var e *Errors
			if !errors.As(err, &e) || len(e.Problems) == 0 || c != nil {
				t.Fatalf("got %v, %#v", c, err)
			}
			for _, p := range e.Problems {
				if placed := p.Line > 0 && p.Col > 0; p.Message == "" || placed == strings.HasPrefix(p.File, "--set ") {
					t.Fatalf("problem without message or place: %+v", p)
				}
			}
			return
		}
		again, err := Parse("effective", c.YAML(), nil)
		if err != nil {
			t.Fatalf("the effective config does not load: %v\n%s", err, c.YAML())
		}
		if d := cmp.Diff(c, again); d != "" {
			t.Fatalf("round trip (-first +second):\n%s", d)
		}
		if changes := Difference(c, again); changes != nil {
			t.Fatalf("differences of equals: %v", changes)
		}
	})
}
