package cpu

import (
	"testing"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// TestFlatDistributionNeedsManyEntries: of 2,000 equal entries, one of them banned, 90 % are 1,800, the lowest ids first. Ranking
// the largest few of them does not suffice.
func TestFlatDistributionNeedsManyEntries(t *testing.T) {
	r := newRig(t, Options{Workers: 2}, 8<<20)
	const n, v, ban = 400, 2001, 7
	us := make([]float64, n)
	for i := range us {
		us[i] = (float64(i) + 0.5) / n
	}
	logits, uniforms, tokens, stats := r.s.Zeros(tensor.Float32, n, v), r.s.Alloc(tensor.Float64, n), r.s.Alloc(tensor.Int32, n), r.s.Zeros(tensor.Float32, n, 4)
	r.s.Upload(uniforms, backend.Float64s(us))
	banned := r.ints([]int{n}, func(int) int { return ban })
	r.s.SampleTruncated(tokens, stats, logits, uniforms, banned, backend.Draw{Head: backend.Head{Scale: 1}, TopP: 0.9})
	got := make([]int32, n)
	if err := r.s.Download(backend.Int32s(got), tokens).Wait(); err != nil {
		t.Fatal(err)
	}
	for i, u := range us {
		want := int32(u * 1800)
		if want >= ban {
			want++
		}
		if got[i] != want {
			t.Errorf("u = %v gives entry %d, want %d", u, got[i], want)
		}
	}
}

// TestRowsAreDrawnInTheSameScratch: a worker needs no more temporary memory for many rows than for one.
func TestRowsAreDrawnInTheSameScratch(t *testing.T) {
	r := newRig(t, Options{Workers: 1}, 8<<20)
	const n, v = 400, 2000
	logits, uniforms, tokens, stats := r.s.Zeros(tensor.Float32, n, v), r.s.Zeros(tensor.Float64, n), r.s.Alloc(tensor.Int32, n), r.s.Zeros(tensor.Float32, n, 4)
	banned := r.ints([]int{n}, func(int) int { return -1 })
	draw := func(rows int) int {
		r.s.SampleTruncated(tokens.Slice(0, rows), stats.Slice(0, rows), logits.Slice(0, rows), uniforms.Slice(0, rows), banned.Slice(0, rows), backend.Draw{Head: backend.Head{Scale: 1}, TopP: 0.9})
		if err := r.s.Sync(); err != nil {
			t.Fatal(err)
		}
		return r.d.ScratchBytes()
	}
	draw(4) // a tile for each: from the second one on, scratch is one block
	if few, many := draw(4), draw(n); many > few {
		t.Errorf("%d bytes for %d rows, %d for one", many, n/4, few)
	}
}
