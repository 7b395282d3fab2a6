package optim_test

import (
	"math"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"alfred/internal/optim"
)

// TestScheduleGolden compares with the schedules that torch's schedulers confirmed. Two roundings of the cosine's argument and
// the two of the formula: 1e-15 of the peak.
func TestScheduleGolden(t *testing.T) {
	g := openGolden(t, "schedule.safetensors")
	if len(g.Names()) != 5 {
		t.Errorf("%d schedules", len(g.Names()))
	}
	for _, name := range g.Names() {
		var c optim.Schedule
		for _, pair := range strings.Split(g.Metadata()[name], ", ") {
			key, value, _ := strings.Cut(pair, "=")
			x, _ := strconv.ParseFloat(value, 64)
			switch key {
			case "learning_rate":
				c.Max = x
			case "final_learning_rate":
				c.Final = x
			case "warmup_steps":
				c.Warmup = int(x)
			case "decay_steps":
				c.DecaySteps = int(x)
			case "decay":
				c.Decay = value
			default:
				t.Fatalf("%s: unknown parameter %s", name, pair)
			}
		}
		want := g.Floats(name)
		got := make([]float64, len(want))
		for s := range got {
			got[s] = c.Rate(s)
		}
		if c.Max == 0 || c.DecaySteps == 0 || c.Decay == "" || len(want) != 120 {
			t.Fatalf("%s: %+v, %d steps", name, c, len(want))
		}
		within(t, name, got, want, func(int) float64 { return 1e-15 * c.Max })
	}
}

// TestScheduleOfTheCard: 1.85e-6 with 10 steps of warm-up and a cosine over 100 to 1.85e-7, flat up to step 200 (Alfred-40B-0723's
// card; the points are worked out to five digits from the formula).
func TestScheduleOfTheCard(t *testing.T) {
	card := optim.Schedule{Max: 1.85e-6, Final: 1.85e-7, Warmup: 10, Decay: "cosine", DecaySteps: 100}
	for s, want := range map[int]float64{
		0: 1.85e-7, 4: 9.25e-7, 9: 1.85e-6, 10: 1.85e-6, 55: 1.0175e-6, 99: 1.8551e-7, 100: 1.85e-7, 101: 1.85e-7, 199: 1.85e-7, 1 << 40: 1.85e-7,
	} {
		if got := card.Rate(s); math.Abs(got-want) > 5e-5*want {
			t.Errorf("step %d: %.5g, want %.5g", s, got, want)
		}
	}
	if card.Rate(9) != card.Max || card.Rate(100) != card.Final {
		t.Errorf("peak %v and end %v are not exact", card.Rate(9), card.Rate(100))
	}
}

// TestScheduleShape: whatever its numbers, a schedule is never zero in the warm-up, climbs to its peak, does not rise afterwards
// (or not fall, when the final rate is the larger), stays between the two, and ends at the final rate.
func TestScheduleShape(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := optim.Schedule{
			Max:        rapid.Float64Range(1e-9, 1).Draw(t, "max"),
			Final:      rapid.Float64Range(0, 1).Draw(t, "final"),
			Warmup:     rapid.IntRange(0, 50).Draw(t, "warm-up"),
			DecaySteps: rapid.IntRange(1, 120).Draw(t, "decay steps"),
			Decay:      rapid.SampledFrom([]string{"cosine", "linear", "constant"}).Draw(t, "decay"),
		}
		low, high := min(c.Max, c.Final), max(c.Max, c.Final)
		slack := 1e-15 * high
		for s := range 150 {
			r, before := c.Rate(s), 0.0
			if s > 0 {
				before = c.Rate(s - 1)
			}
			switch {
			case s < c.Warmup:
				if r <= before || r > c.Max || math.Abs(r*float64(c.Warmup)-c.Max*float64(s+1)) > 1e-14*c.Max*float64(s+1) {
					t.Fatalf("warm-up step %d: %v after %v", s, r, before)
				}
			case c.Decay == "constant":
				if r != c.Max {
					t.Fatalf("step %d: %v", s, r)
				}
			case s >= c.DecaySteps:
				if r != c.Final {
					t.Fatalf("step %d: %v", s, r)
				}
			default:
				if r < low-slack || r > high+slack || s == c.Warmup && math.Abs(r-c.Max) > slack {
					t.Fatalf("step %d: %v is not between %v and %v", s, r, low, high)
				}
				if s > c.Warmup && (r-before)*(c.Final-c.Max) < -slack {
					t.Fatalf("step %d: %v after %v, on the way from %v to %v", s, r, before, c.Max, c.Final)
				}
			}
		}
	})
}
