package backendtest

import (
	"errors"
	"slices"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// testStreams holds the order of queues, and who owns host memory when.
func testStreams(t *testing.T, d backend.Device) {
	one := func(s *backend.Stream, v float64) tensor.Tensor {
		x := s.Alloc(s.Wide(), 1)
		s.Upload(x, backend.Float64s([]float64{v}))
		return x
	}
	t.Run("buffers can be compared", func(t *testing.T) {
		first, err := d.Arena("first", 1024)
		second, err2 := d.Arena("second", 1024)
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		buffer := func(a *backend.Arena) tensor.Buffer {
			x, err := a.Alloc(tensor.Float32, 1)
			if err != nil {
				t.Fatal(err)
			}
			return x.Buffer()
		}
		if buffer(first) != buffer(first) || buffer(first) == buffer(second) {
			t.Error("tensors have the same buffer if and only if they lie in the same arena")
		}
	})
	t.Run("upload copies its source", func(t *testing.T) {
		s := mustBench(t, d).dev
		x, source := s.Alloc(s.Wide(), 3), []float64{1, 2, 3}
		s.Upload(x, backend.Float64s(source))
		clear(source)
		if got, err := read(s, x); err != nil || got[2] != 3 {
			t.Errorf("got %v, %v", got, err)
		}
	})
	t.Run("host types", func(t *testing.T) {
		s := mustBench(t, d).dev
		values := []float64{1, -2.5, 0.0078125, 3e8} // 3e8 is no bfloat16, and no other is rounded
		for _, dtype := range append(storages(d), tensor.Float64) {
			want := make([]float64, len(values))
			narrow, raw := make([]float32, len(values)), make([]byte, len(values)*dtype.Size())
			for i, v := range values {
				want[i], narrow[i] = round(dtype, v), float32(v)
			}
			backend.Float64s(values).Encode(raw, dtype)
			for name, src := range map[string]backend.Host{"float64": backend.Float64s(values), "float32": backend.Float32s(narrow), "raw": backend.Raw(dtype, raw)} {
				x := s.Alloc(dtype, len(values))
				s.Upload(x, src)
				got, gotRaw, gotNarrow := make([]float64, len(values)), make([]byte, len(raw)), make([]float32, len(values))
				first, second := s.Download(backend.Float64s(got), x), s.Download(backend.Raw(dtype, gotRaw), x)
				if err := errors.Join(first.Wait(), second.Wait(), s.Download(backend.Float32s(gotNarrow), x).Wait()); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(got, want) || !slices.Equal(gotRaw, raw) || float64(gotNarrow[3]) != want[3] {
					t.Errorf("%s to %v: got %v, % x, %v, want %v, % x", name, dtype, got, gotRaw, gotNarrow, want, raw)
				}
			}
		}
	})
	t.Run("an event is a point in the order", func(t *testing.T) {
		s := mustBench(t, d).dev
		x := one(s, 1)
		got := make([]float64, 1)
		e := s.Download(backend.Float64s(got), x)
		s.Add(x, x, x)
		if err := e.Wait(); err != nil || got[0] != 1 {
			t.Errorf("downloaded %v, %v, want what x was before the operation that follows", got, err)
		}
		if got, err := read(s, x); err != nil || got[0] != 2 {
			t.Errorf("got %v, %v", got, err)
		}
	})
	t.Run("functions run in order", func(t *testing.T) {
		s := mustBench(t, d).dev
		var order []string
		note := func(name string) { s.Enqueue(name, nil, nil, func() error { order = append(order, name); return nil }) }
		note("first")
		note("second")
		if err := s.Record().Wait(); err != nil || len(order) != 2 || order[0] != "first" {
			t.Errorf("ran %v, %v", order, err)
		}
	})
	t.Run("a stream waits for another", func(t *testing.T) {
		b := mustBench(t, d)
		s, other := b.dev, d.Stream()
		x := one(s, 1)
		for range 20 {
			s.Add(x, x, x)
		}
		other.WaitFor(s.Record())
		other.Add(x, x, x)
		s.WaitFor(other.Record())
		s.Add(x, x, x)
		if got, err := read(s, x); err != nil || got[0] != 1<<22 {
			t.Errorf("got %v, %v, want %d", got, err, 1<<22)
		}
	})
	t.Run("the first error stays", func(t *testing.T) {
		s := mustBench(t, d).dev
		cause, later := errors.New("cause"), errors.New("later")
		x, ran := one(s, 1), false
		s.Enqueue("fails", nil, nil, func() error { return cause })
		s.Enqueue("fails again", nil, nil, func() error { ran = true; return later })
		if err := s.Sync(); !errors.Is(err, cause) {
			t.Errorf("Sync returns %v, want the first error", err)
		}
		if ran {
			t.Error("a function ran after an error")
		}
		if err := s.Download(backend.Float64s(make([]float64, 1)), x).Wait(); !errors.Is(err, cause) {
			t.Errorf("Wait returns %v, want the first error", err)
		}
	})
}
