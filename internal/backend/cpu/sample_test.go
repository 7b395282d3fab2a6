package cpu

import (
	"math"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// TestLogitsThatAreNotNumbers: a row of NaN or infinite logits gets some token that is not banned, and statistics that say NaN;
// the rows beside it are untouched and the stream goes on.
func TestLogitsThatAreNotNumbers(t *testing.T) {
	d := New(2)
	arena, err := d.Arena("test", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	s := d.Stream()
	s.Use(arena)
	const v = 130
	rows := [][]float32{make([]float32, v), make([]float32, v), make([]float32, v)}
	rows[0][77], rows[2][5] = float32(math.NaN()), float32(math.Inf(1))
	rows[1][9] = 50
	logits := s.Alloc(tensor.Float32, 3, v)
	for i, r := range rows {
		s.Upload(logits.Slice(i, i+1), backend.Float32s(r))
	}
	banned, uniforms := s.Alloc(tensor.Int32, 3), s.Alloc(tensor.Float64, 3)
	s.Upload(banned, backend.Int32s([]int32{0, -1, -1}))
	s.Upload(uniforms, backend.Float64s([]float64{0.5, 0.5, 0.5}))
	for name, draw := range map[string]backend.Draw{"pick": {TopP: 1}, "greedy": {TopP: 1, Greedy: true}, "truncated": {TopP: 0.9, TopK: 3}} {
		draw.Scale = 1
		tokens, stats := s.Alloc(tensor.Int32, 3), s.Alloc(tensor.Float32, 3, 4)
		blocks := s.Alloc(tensor.Float32, 3, 3, 2)
		s.SampleBlocks(blocks, stats, logits, banned, draw.Head)
		if name == "truncated" {
			s.SampleTruncated(tokens, stats, logits, uniforms, banned, draw)
		} else {
			s.SamplePick(tokens, stats, logits, blocks, uniforms, banned, draw)
		}
		logp, lse, entropy := s.Alloc(tensor.Float32, 3), s.Alloc(tensor.Float32, 3), s.Alloc(tensor.Float32, 3)
		s.LogProbMerge(logp, lse, entropy, stats.Reshape(1, 3, 4))
		chosen, p := make([]int32, 3), make([]float64, 3)
		s.Download(backend.Int32s(chosen), tokens)
		s.Download(backend.Float64s(p), logp)
		if err := s.Sync(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if chosen[0] == 0 || chosen[0] < 0 || chosen[0] >= v || chosen[1] != 9 || chosen[2] < 0 || chosen[2] >= v {
			t.Errorf("%s: chose %v", name, chosen)
		}
		if !math.IsNaN(p[0]) || !math.IsNaN(p[2]) && !math.IsInf(p[2], 0) || math.Abs(p[1]) > 1e-6 {
			t.Errorf("%s: log-probs %v", name, p)
		}
	}
}

// TestScaleBeyondFloat32: a temperature so small that scaled logits, or the scale itself, are infinite in float32 gives rows that
// are no distribution, and no error.
func TestScaleBeyondFloat32(t *testing.T) {
	for _, scale := range []float64{1e38, 1e40} {
		for name, draw := range map[string]backend.Draw{"pick": {TopP: 1}, "greedy": {TopP: 1, Greedy: true}, "truncated": {TopP: 0.9, TopK: 2}, "nucleus": {TopP: 0.9}} {
			r := newRig(t, Options{Workers: 1}, 1<<16)
			s := r.s
			draw.Scale = scale
			logits, uniforms := s.Alloc(tensor.Float32, 1, 3), s.Alloc(tensor.Float64, 1)
			s.Upload(logits, backend.Float32s([]float32{1, 10, 5}))
			s.Upload(uniforms, backend.Float64s([]float64{0.5}))
			banned := r.ints([]int{1}, func(int) int { return -1 })
			tokens, stats, blocks := s.Alloc(tensor.Int32, 1), s.Alloc(tensor.Float32, 1, 4), s.Alloc(tensor.Float32, 1, 1, 2)
			s.SampleBlocks(blocks, stats, logits, banned, draw.Head)
			if draw.TopP < 1 {
				s.SampleTruncated(tokens, stats, logits, uniforms, banned, draw)
			} else {
				s.SamplePick(tokens, stats, logits, blocks, uniforms, banned, draw)
			}
			logp, lse, entropy := s.Alloc(tensor.Float32, 1), s.Alloc(tensor.Float32, 1), s.Alloc(tensor.Float32, 1)
			s.LogProbMerge(logp, lse, entropy, stats.Reshape(1, 1, 4))
			token := []int32{-1}
			if err := s.Download(backend.Int32s(token), tokens).Wait(); err != nil || token[0] != 0 {
				t.Errorf("scale %g, %s: token %d, %v", scale, name, token[0], err)
				continue
			}
			if p := r.read(logp)[0]; !math.IsNaN(p) && !math.IsInf(p, 0) {
				t.Errorf("scale %g, %s: log-prob %v", scale, name, p)
			}
		}
	}
}
