package backendtest

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/backend/reference"
	"alfred/internal/tensor"
)

func TestDeferringConforms(t *testing.T) {
	Run(t, func() backend.Device { return Deferring(reference.New(), Options{PoisonArenas: true}) })
}

// stream opens a stream with an arena.
func stream(t *testing.T, d backend.Device) *backend.Stream {
	t.Helper()
	a, err := d.Arena("test", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	s := d.Stream()
	s.Use(a)
	return s
}

func upload(s *backend.Stream, values ...float64) tensor.Tensor {
	x := s.Alloc(tensor.Float64, len(values))
	s.Upload(x, backend.Float64s(values))
	return x
}

func TestNothingRunsBeforeItIsWaitedFor(t *testing.T) {
	s := stream(t, Deferring(reference.New(), Options{}))
	ran := 0
	count := func() { s.Enqueue("count", nil, nil, func() error { ran++; return nil }) }
	count()
	first := s.Record()
	count()
	second := s.Record()
	count()
	if ran != 0 {
		t.Errorf("%d functions ran before any wait", ran)
	}
	for _, step := range []struct {
		wait func() error
		want int
	}{{first.Wait, 1}, {first.Wait, 1}, {second.Wait, 2}, {s.Sync, 3}} {
		if err := step.wait(); err != nil || ran != step.want {
			t.Errorf("%d functions ran, %v, want %d", ran, err, step.want)
		}
	}
}

func TestDownloadsArePoisonedUntilTheirOwnWait(t *testing.T) {
	s := stream(t, Deferring(reference.New(), Options{}))
	x := upload(s, 1, 2)
	got, others := []float64{5, 5}, []float64{5, 5}
	e := s.Download(backend.Float64s(got), x)
	later := s.Download(backend.Float64s(others), x)
	poisoned := func() bool { return math.IsNaN(got[0]) && math.IsNaN(got[1]) }
	if !poisoned() {
		t.Errorf("after Download: %v", got)
	}
	if err := later.Wait(); err != nil || !poisoned() || others[1] != 2 {
		t.Errorf("after another Wait: %v, %v, %v", got, others, err)
	}
	if err := e.Wait(); err != nil || got[1] != 2 {
		t.Errorf("after Wait: %v, %v", got, err)
	}
	got[0] = 9
	if err := errors.Join(e.Wait(), s.Sync()); err != nil || got[0] != 9 {
		t.Errorf("a second Wait wrote again: %v, %v", got, err)
	}
	s.Download(backend.Float64s(got), x)
	if err := s.Sync(); err != nil || got[0] != 1 {
		t.Errorf("Sync did not deliver: %v, %v", got, err)
	}
}

func TestHostMemoryIsReadAtTheCall(t *testing.T) {
	s := stream(t, Deferring(reference.New(), Options{}))
	source, lengths, queries, keys := []float64{1, 2}, []int{1}, []int{1}, []int{1}
	x := s.Alloc(tensor.Float64, 1, 1, 2)
	s.Upload(x, backend.Float64s(source))
	source[0] = 7
	offsets := s.Alloc(tensor.Int32, 2)
	s.Upload(offsets, backend.Int32s([]int32{0, 1}))
	o := s.Alloc(tensor.Float64, 1, 1, 2)
	lse, dv, paged, one := s.Alloc(tensor.Float64, 1, 1), s.Zeros(tensor.Float64, 1, 1, 2), s.Alloc(tensor.Float64, 1, 1, 2), s.Alloc(tensor.Int32, 1)
	s.Upload(one, backend.Int32s([]int32{1}))
	table := s.Alloc(tensor.Int32, 1, 1)
	s.Upload(table, backend.Int32s([]int32{0}))
	seqs, a := backend.Sequences{Offsets: offsets, Lengths: lengths}, backend.Attention{Scale: 1}
	s.Attention(o, lse, x, x, x, seqs, a)
	s.AttentionBackward(s.Zeros(tensor.Float64, 1, 1, 2), s.Zeros(tensor.Float64, 1, 1, 2), dv, x, o, lse, x, x, x, seqs, a)
	s.AttentionPaged(paged, tensor.Tensor{}, x, x, x, backend.Pages{Table: table, Queries: offsets, KeyLengths: one, PageSize: 1, QueryCounts: queries, KeyCounts: keys}, a)
	lengths[0], queries[0], keys[0] = 5, 5, 5
	for _, y := range []tensor.Tensor{o, dv, paged} { // there is one key, so all are copies of x
		if got, err := read(s, y); err != nil || !slices.Equal(got, []float64{1, 2}) {
			t.Errorf("got %v, %v", got, err)
		}
	}
}

// descend is a program with several waits, as a training loop has them: each step reads the loss back, decides by it, and
// uploads a rate.
func descend(s *backend.Stream, steps int) (losses []float64, x []float64, err error) {
	w, g, loss := upload(s, 3, -2, 1), s.Alloc(tensor.Float64, 3), s.Alloc(tensor.Float64, 1)
	v, m := s.Zeros(tensor.Float64, 3), s.Zeros(tensor.Float64, 3)
	rate := 0.1
	for step := range steps {
		mark := s.Arena().Mark()
		scratch := s.Alloc(tensor.Float64, 3) // reused by every step
		s.Zero(loss)
		s.SumSquares(loss, w)
		host := make([]float64, 1)
		e := s.Download(backend.Float64s(host), loss)
		s.Copy(scratch, w)
		s.Copy(g, scratch)
		s.Arena().Release(mark)
		if err := e.Wait(); err != nil {
			return nil, nil, err
		}
		losses = append(losses, host[0])
		if !(host[0] < 10) {
			rate /= 2
		}
		s.AdamW(w, w, m, v, g, backend.AdamWStep{LearningRate: rate, Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, Step: step + 1, GradScale: 1})
	}
	x = make([]float64, 3)
	err = s.Download(backend.Float64s(x), w).Wait()
	return losses, x, err
}

func TestRemovingAnyWaitShows(t *testing.T) {
	const steps = 5
	want, wantX, err := descend(stream(t, reference.New()), steps)
	if err != nil {
		t.Fatal(err)
	}
	d := Deferring(reference.New(), Options{})
	losses, x, err := descend(stream(t, d), steps)
	if err != nil || !slices.Equal(losses, want) || !slices.Equal(x, wantX) {
		t.Fatalf("deferred: %v, %v, %v, want %v, %v", losses, x, err, want, wantX)
	}
	waits := d.Waits()
	if waits != steps+1 {
		t.Fatalf("%d waits, want %d", waits, steps+1)
	}
	for n := 1; n <= waits; n++ {
		losses, x, err := descend(stream(t, Deferring(reference.New(), Options{IgnoreWait: n})), steps)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Equal(losses, want) && slices.Equal(x, wantX) {
			t.Errorf("without wait %d of %d the result is right all the same", n, waits)
		}
	}
}

// TestRanksWithUnequalWaits has ranks that meet in a barrier, as in a collective, while one of them waits for a download and
// the other for the host.
func TestRanksWithUnequalWaits(t *testing.T) {
	d := Deferring(reference.New(), Options{})
	const ranks, rounds = 3, 20
	barriers := make([]sync.WaitGroup, rounds)
	for i := range barriers {
		barriers[i].Add(ranks)
	}
	hosts := make([]sync.WaitGroup, rounds)
	for i := range hosts {
		hosts[i].Add(ranks)
	}
	var group sync.WaitGroup
	errs := make([]error, ranks)
	for rank := range ranks {
		s := stream(t, d)
		group.Go(func() {
			x := upload(s, float64(rank))
			for i := range rounds {
				s.Add(x, x, x)
				s.Enqueue("barrier", nil, nil, func() error { barriers[i].Done(); barriers[i].Wait(); return nil })
				if rank == i%ranks { // the others have nothing to wait for
					got := make([]float64, 1)
					if err := s.Download(backend.Float64s(got), x).Wait(); err != nil {
						errs[rank] = err
					}
					if want := float64(rank) * math.Pow(2, float64(i+1)); got[0] != want {
						errs[rank] = fmt.Errorf("round %d: got %v, want %v", i, got[0], want)
					}
				}
				hosts[i].Done()
				hosts[i].Wait()
			}
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

func TestWaitForRunsTheOtherStreamOnlyThen(t *testing.T) {
	d := Deferring(reference.New(), Options{})
	a, b := stream(t, d), stream(t, d)
	x := upload(a, 1)
	y := b.Alloc(tensor.Float64, 1)
	b.Zero(y)
	if _, err := read(b, y); err != nil {
		t.Fatal(err)
	}
	// Without WaitFor, b would copy what x held before.
	b.WaitFor(a.Record())
	a.Add(x, x, x) // after the event
	b.Copy(y, x)
	if got, err := read(b, y); err != nil || got[0] != 1 {
		t.Errorf("got %v, %v, want x as it was at the event", got, err)
	}
	if got, err := read(a, x); err != nil || got[0] != 2 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestPoisonedArenas(t *testing.T) {
	s := stream(t, Deferring(reference.New(), Options{PoisonArenas: true}))
	got, err := read(s, s.Alloc(tensor.Float64, 2))
	if err != nil || !math.IsNaN(got[0]) || !math.IsNaN(got[1]) {
		t.Errorf("fresh memory is %v, %v, want NaN", got, err)
	}
	if s.Arena().Peak() != 256 {
		t.Errorf("poisoning counts as use: peak %d", s.Arena().Peak())
	}
}

func TestDeferredErrorsLeavePoison(t *testing.T) {
	s := stream(t, Deferring(reference.New(), Options{}))
	cause := errors.New("cause")
	x := upload(s, 1)
	s.Enqueue("fails", nil, nil, func() error { return cause })
	got := []float64{5}
	if err := s.Download(backend.Float64s(got), x).Wait(); !errors.Is(err, cause) || !math.IsNaN(got[0]) {
		t.Errorf("got %v, %v", got, err)
	}
	if err := s.Sync(); !errors.Is(err, cause) || !math.IsNaN(got[0]) {
		t.Errorf("after Sync: %v, %v", got, err)
	}
}
