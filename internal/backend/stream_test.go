package backend_test

import (
	"errors"
	"strings"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/backend/reference"
	"alfred/internal/tensor"
)

func stream(t *testing.T, bytes int) *backend.Stream {
	t.Helper()
	s := reference.New().Stream()
	s.Use(arena(t, bytes))
	return s
}

// TestTheFirstErrorStays: whatever is called after an error does nothing, and everything returns that error.
func TestTheFirstErrorStays(t *testing.T) {
	s := stream(t, 4096)
	x, y := s.Zeros(tensor.Float64, 2, 3), s.Zeros(tensor.Float64, 3, 2)
	s.Upload(x, backend.Float64s([]float64{1, 2, 3, 4, 5, 6}))
	s.Gelu(y, x)
	const want = "backend: gelu: y is float64[3 2], want shape [2 3]"
	s.Zero(x)
	s.Add(y, x, x) // another mistake
	s.Fail(errors.New("later"))
	ran := false
	s.Enqueue("function", nil, nil, func() error { ran = true; return nil })
	got := []float64{7, 7, 7, 7, 7, 7}
	for name, err := range map[string]error{
		"Err": s.Err(), "Sync": s.Sync(), "Sync again": s.Sync(), "Wait": s.Record().Wait(), "Wait of a download": s.Download(backend.Float64s(got), x).Wait(),
	} {
		if err == nil || err.Error() != want {
			t.Errorf("%s returns %v, want %s", name, err, want)
		}
	}
	if ran || got[0] != 7 {
		t.Errorf("work was done after the error: %v, %v", ran, got)
	}
	other := stream(t, 256)
	other.WaitFor(s.Record())
	if err := other.Sync(); err == nil || err.Error() != want {
		t.Errorf("a stream that waited for the failed one returns %v", err)
	}
}

// TestLateErrors: what only the device finds out comes from Wait and Sync, and is the stream's error from then on.
func TestLateErrors(t *testing.T) {
	cause := errors.New("cause")
	for name, learn := range map[string]func(s *backend.Stream, e backend.Event) error{
		"Sync": func(s *backend.Stream, _ backend.Event) error { return s.Sync() },
		"Wait": func(_ *backend.Stream, e backend.Event) error { return e.Wait() },
	} {
		s := stream(t, 256)
		s.Enqueue("function", nil, nil, func() error { return cause })
		e := s.Record()
		if s.Err() != nil {
			t.Errorf("%s: the stream knew of %v before", name, s.Err())
		}
		if err := learn(s, e); !errors.Is(err, cause) || !strings.Contains(err.Error(), "function") {
			t.Errorf("%s returns %v", name, err)
		}
		if !errors.Is(s.Err(), cause) {
			t.Errorf("%s: Err returns %v afterwards", name, s.Err())
		}
	}
}

func TestAllocFailures(t *testing.T) {
	s := reference.New().Stream()
	if x := s.Alloc(tensor.Float64, 2, 3); !x.Absent() || s.Err() == nil || s.Err().Error() != "backend: alloc float64[2 3]: the stream has no arena" {
		t.Errorf("without an arena: %v, %v", x, s.Err())
	}
	s = stream(t, 256)
	if x := s.Zeros(tensor.Float64, 100); !x.Absent() || s.Err() == nil ||
		s.Err().Error() != `backend: alloc: arena "activations": float64[100] needs 800 bytes, 0 of 256 are in use` {
		t.Errorf("with a full arena: %v, %v", x, s.Err())
	}
	if x := s.Alloc(tensor.Float64, 1); !x.Absent() || s.Arena().Used() != 0 {
		t.Errorf("a failed stream allocates: %v", x)
	}
}

func TestUse(t *testing.T) {
	s, first, second := reference.New().Stream(), arena(t, 256), arena(t, 256)
	if before := s.Use(first); before != nil {
		t.Errorf("before the first arena there was %v", before)
	}
	if before := s.Use(second); before != first || s.Arena() != second {
		t.Errorf("got %v and %v", before, s.Arena())
	}
}

func TestHostMustFit(t *testing.T) {
	for want, run := range map[string]func(s *backend.Stream, x, ids tensor.Tensor){
		"backend: upload: 3 host elements for float64[2]": func(s *backend.Stream, x, _ tensor.Tensor) { s.Upload(x, backend.Float32s(make([]float32, 3))) },
		"backend: upload: host int32 for float64[2]":      func(s *backend.Stream, x, _ tensor.Tensor) { s.Upload(x, backend.Int32s(make([]int32, 2))) },
		"backend: upload: host float32 for int32[2]":      func(s *backend.Stream, _, ids tensor.Tensor) { s.Upload(ids, backend.Float32s(make([]float32, 2))) },
		"backend: download: 1 host elements for int32[2]": func(s *backend.Stream, _, ids tensor.Tensor) { s.Download(backend.Int32s(make([]int32, 1)), ids) },
		"backend: upload: 2 host elements for absent": func(s *backend.Stream, _, _ tensor.Tensor) {
			s.Upload(tensor.Tensor{}, backend.Float64s(make([]float64, 2)))
		},
	} {
		s := stream(t, 4096)
		run(s, s.Alloc(tensor.Float64, 2), s.Alloc(tensor.Int32, 2))
		if err := s.Sync(); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
