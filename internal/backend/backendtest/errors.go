package backendtest

import (
	"regexp"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// testErrors gives indices that only the device can see to be wrong. They are reported by name, row and value, from Sync, and
// from then on the stream does nothing.
func testErrors(t *testing.T, d backend.Device) {
	storage := storages(d)[0]
	f := func(s *backend.Stream, dims ...int) tensor.Tensor { return s.Zeros(storage, dims...) }
	wide := func(s *backend.Stream, dims ...int) tensor.Tensor { return s.Zeros(s.Wide(), dims...) }
	ints := func(s *backend.Stream, values ...int32) tensor.Tensor {
		x := s.Alloc(tensor.Int32, len(values))
		s.Upload(x, backend.Int32s(values))
		return x
	}
	paged := func(s *backend.Stream, page, keys int32, queries int) {
		s.AttentionPaged(f(s, queries, 1, 2), wide(s, queries, 1), f(s, queries, 1, 2), f(s, 32, 1, 2), f(s, 32, 1, 2), backend.Pages{
			Table: ints(s, 0, page).Reshape(1, 2), Queries: ints(s, 0, int32(queries)), KeyLengths: ints(s, keys), PageSize: 16,
			QueryCounts: []int{queries}, KeyCounts: []int{int(keys)},
		}, backend.Attention{Scale: 1})
	}
	for _, c := range []struct {
		name string
		row  string
		bad  string // as the message must show it
		run  func(s *backend.Stream)
	}{
		{"embedding", "1", "-5", func(s *backend.Stream) { s.Embedding(f(s, 2, 3), f(s, 4, 3), ints(s, 1, -5), 0) }},
		{"embedding backward", "0", "-1", func(s *backend.Stream) { s.EmbeddingBackward(wide(s, 4, 3), f(s, 2, 3), ints(s, -1, 2), 0) }},
		{"gather rows", "2", "7", func(s *backend.Stream) { s.GatherRows(f(s, 3, 2), f(s, 7, 2), ints(s, 0, 6, 7)) }},
		{"gather rows", "0", "-3", func(s *backend.Stream) { s.GatherRows(f(s, 1, 2), f(s, 7, 2), ints(s, -3)) }},
		{"scatter rows", "1", "9", func(s *backend.Stream) { s.ScatterRows(f(s, 4, 2), f(s, 2, 2), ints(s, 0, 9)) }},
		{"add rows", "1", "4", func(s *backend.Stream) { s.AddRows(f(s, 4, 2), f(s, 2, 2), ints(s, 0, 4)) }},
		{"split qkv", "1", "8", func(s *backend.Stream) {
			s.SplitQKV(f(s, 2, 1, 4), f(s, 2, 1, 4), f(s, 2, 1, 4), f(s, 2, 12), backend.Rotary{Cos: wide(s, 8, 2), Sin: wide(s, 8, 2), Positions: ints(s, 7, 8)})
		}},
		{"split qkv backward", "0", "-2", func(s *backend.Stream) {
			s.SplitQKVBackward(f(s, 1, 12), f(s, 1, 1, 4), f(s, 1, 1, 4), f(s, 1, 1, 4), backend.Rotary{Cos: wide(s, 8, 2), Sin: wide(s, 8, 2), Positions: ints(s, -2)})
		}},
		{"log-prob", "1", "-7", func(s *backend.Stream) {
			s.LogProbStats(wide(s, 2, 4), f(s, 2, 3), f(s, 5, 3), ints(s, 0, -7), backend.Head{Scale: 1})
		}},
		{"paged attention", "0", "2", func(s *backend.Stream) { paged(s, 2, 20, 1) }},
		{"paged attention", "0", "-1", func(s *backend.Stream) { paged(s, -1, 20, 1) }},
		{"paged attention", "0", "33", func(s *backend.Stream) { paged(s, 1, 33, 1) }},
		{"paged attention", "0", "3", func(s *backend.Stream) { paged(s, 1, 3, 4) }},
	} {
		t.Run(c.name+" "+c.bad, func(t *testing.T) {
			b := mustBench(t, d)
			c.run(b.dev)
			err := b.dev.Sync()
			if err == nil {
				t.Fatal("no error")
			}
			message := regexp.MustCompile(c.name + `: .*` + c.bad + `\b.*(row|sequence) ` + c.row + `\b`)
			if !message.MatchString(err.Error()) {
				t.Errorf("the message is %q, want %q, %s and row or sequence %s in it", err, c.name, c.bad, c.row)
			}
			values := make([]float32, 2)
			x := b.dev.Alloc(tensor.Float32, 2)
			b.dev.Zero(x)
			if after := b.dev.Download(backend.Float32s(values), x).Wait(); after == nil || after.Error() != err.Error() {
				t.Errorf("afterwards Wait returns %v, want the first error", after)
			}
			if after := b.dev.Sync(); after == nil || after.Error() != err.Error() {
				t.Errorf("afterwards Sync returns %v, want the first error", after)
			}
		})
	}
}
