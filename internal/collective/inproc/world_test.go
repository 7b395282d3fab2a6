package inproc_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"alfred/internal/backend"
	"alfred/internal/backend/reference"
	"alfred/internal/collective"
	"alfred/internal/collective/inproc"
	"alfred/internal/tensor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run is w.Run that gives up when the ranks wait for each other.
func run(t *testing.T, w *inproc.World, body func(rank int) error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- w.Run(body) }()
	select {
	case err := <-done:
		return err
	case <-time.After(30 * time.Second):
		w.Abort(errors.New("the test gives up"))
		t.Fatal("the ranks wait for each other")
		return nil
	}
}

// newStream is a stream with a little memory.
func newStream(d backend.Device) (*backend.Stream, error) {
	s := d.Stream()
	a, err := d.Arena("test", 1<<16)
	s.Use(a)
	return s, err
}

// TestReturningWhileOthersWait: a rank that has returned will not come any more, so who waits for it is freed and Run says who
// waited for whom, whether the wait or the return was first.
func TestReturningWhileOthersWait(t *testing.T) {
	for name, wait := range map[string]func(s *backend.Stream, g collective.Group) error{
		"all-reduce": func(s *backend.Stream, g collective.Group) error {
			g.AllReduce(s, s.Zeros(tensor.Float64, 2))
			return s.Sync()
		},
		"recv": func(s *backend.Stream, g collective.Group) error {
			g.Recv(s, s.Zeros(tensor.Float64, 2), 0)
			return s.Sync()
		},
		"exchange": func(s *backend.Stream, g collective.Group) error { _, err := g.Exchange(nil); return err },
	} {
		for _, late := range []int{0, 2} {
			w := inproc.NewWorld(3)
			err := run(t, w, func(rank int) error {
				g := w.Group(rank, []int{0, 1, 2})
				if rank == late {
					time.Sleep(10 * time.Millisecond)
				}
				if rank != 2 { // 0 has something to do with 1 and 2, and then returns; 1 returns at once
					return nil
				}
				s, err := newStream(reference.New())
				if err != nil {
					return err
				}
				return wait(s, g)
			})
			if !errors.Is(err, collective.ErrAborted) || !strings.Contains(fmt.Sprint(err), "has returned, and rank 2 waits for it in "+name) {
				t.Errorf("%s, late rank %d: %v", name, late, err)
			}
		}
	}
}

// TestReturningAfterTheWork is no failure: messages and results outlive their sender, and the world serves another Run.
func TestReturningAfterTheWork(t *testing.T) {
	w := inproc.NewWorld(2)
	for range 50 {
		sent := make(chan bool)
		err := run(t, w, func(rank int) error {
			s, err := newStream(reference.New())
			if err != nil {
				return err
			}
			g, x := w.Group(rank, []int{0, 1}), s.Zeros(tensor.Float64, 2)
			g.AllReduce(s, x)
			if rank == 0 {
				g.Send(s, x, 1)
				g.Send(s, x, 1)
				time.AfterFunc(time.Millisecond, func() { close(sent) })
				return s.Sync()
			}
			<-sent
			g.Recv(s, x, 0)
			g.Recv(s, x, 0)
			return s.Sync()
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestGoexitFreesTheOthers: t.FailNow within a rank ends its goroutine without a return or a panic.
func TestGoexitFreesTheOthers(t *testing.T) {
	w := inproc.NewWorld(2)
	err := run(t, w, func(rank int) error {
		if rank == 1 {
			runtime.Goexit()
		}
		_, err := w.Group(rank, []int{0, 1}).Exchange(nil)
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "rank 1: ") || !strings.Contains(err.Error(), "Goexit") || errors.Is(err, collective.ErrAborted) {
		t.Errorf("got %v", err)
	}
}

func TestOneRankKeepsItsErrorAsItIs(t *testing.T) {
	cause := errors.New("cause")
	if err := inproc.NewWorld(1).Run(func(int) error { return cause }); err == nil || err.Error() != "cause" || !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	if err := inproc.NewWorld(1).Run(func(int) error { return nil }); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestAbortWithoutACause(t *testing.T) {
	w := inproc.NewWorld(2)
	w.Abort(nil)
	w.Abort(errors.New("later"))
	err := run(t, w, func(rank int) error { _, err := w.Group(rank, []int{0, 1}).Exchange(nil); return err })
	if !errors.Is(err, collective.ErrAborted) || !strings.Contains(err.Error(), "no cause given") {
		t.Errorf("got %v", err)
	}
}

func TestGroupsOfStrangersPanic(t *testing.T) {
	for _, members := range [][]int{{}, {0, 2}, {1, 5}, {-1, 1}, {1, 1}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("rank 1 is in %v", members)
				}
			}()
			inproc.NewWorld(3).Group(1, members)
		}()
	}
}

// TestGroupsKeepTheirMembers: the list belongs to the caller afterwards.
func TestGroupsKeepTheirMembers(t *testing.T) {
	w := inproc.NewWorld(3)
	err := run(t, w, func(rank int) error {
		if rank == 1 {
			return nil
		}
		members := []int{0, 2}
		g := w.Group(rank, members)
		members[0], members[1] = 7, 8
		s, err := newStream(reference.New())
		if err != nil {
			return err
		}
		g.Broadcast(s, s.Zeros(tensor.Float64, 1+rank), 0) // disagrees, so that ranks are named
		return s.Sync()
	})
	if err == nil || !strings.Contains(err.Error(), "rank 0 ") || !strings.Contains(err.Error(), "rank 2 ") {
		t.Errorf("got %v", err)
	}
}

// TestMemoryIsFreeAfterAFailure: when a collective has failed on a rank, no other rank looks at that rank's memory any more.
// The race detector watches.
func TestMemoryIsFreeAfterAFailure(t *testing.T) {
	for range 200 {
		w, d := inproc.NewWorld(3), reference.New()
		stop := errors.New("stop")
		go w.Abort(stop)
		err := run(t, w, func(rank int) error {
			s, err := newStream(d)
			if err != nil {
				return err
			}
			g, x := w.Group(rank, []int{0, 1, 2}), s.Zeros(tensor.Float64, 400)
			whole := s.Zeros(tensor.Float64, 1200)
			for s.Sync() == nil {
				g.AllReduce(s, x)
				g.Broadcast(s, x, 1)
				g.AllGather(s, whole, x)
				g.ReduceScatter(s, x, whole)
			}
			for _, t := range []tensor.Tensor{x, whole} {
				clear(t.Buffer().(tensor.HostBuffer).Host()[t.Offset() : t.Offset()+t.Bytes()])
			}
			return s.Err()
		})
		if !errors.Is(err, stop) {
			t.Fatal(err)
		}
	}
}

// TestAllRanksOrNone: a collective that an abort meets takes place on all ranks or on none, so all have made the same number.
func TestAllRanksOrNone(t *testing.T) {
	d, some := reference.New(), 0
	for i := range 1000 {
		w := inproc.NewWorld(3)
		var done [3]int
		if err := run(t, w, func(rank int) error {
			s, err := newStream(d)
			if err != nil {
				return err
			}
			g, x := w.Group(rank, []int{0, 1, 2}), s.Zeros(tensor.Float64, 5)
			if rank == i%3 { // when the others are busy
				time.AfterFunc(time.Duration(i)*200*time.Nanosecond, func() { w.Abort(errors.New("stop")) })
			}
			for {
				g.AllReduce(s, x)
				if err := s.Sync(); err != nil {
					return err
				}
				done[rank]++
			}
		}); err == nil {
			t.Fatal("no error")
		}
		if done[0] != done[1] || done[1] != done[2] {
			t.Fatalf("the ranks made %v", done)
		}
		if done[0] > 0 {
			some++
		}
	}
	if some < 100 {
		t.Errorf("only %d worlds did anything before they were aborted", some)
	}
}

// BenchmarkAllReduce is a gradient of 16 MiB on two ranks, per element type.
func BenchmarkAllReduce(b *testing.B) {
	for _, dtype := range []tensor.DType{tensor.Float32, tensor.BFloat16} {
		b.Run(dtype.String(), func(b *testing.B) {
			w, d := inproc.NewWorld(2), reference.New()
			n := (16 << 20) / dtype.Size()
			b.SetBytes(16 << 20)
			err := w.Run(func(rank int) error {
				s := d.Stream()
				a, err := d.Arena("gradients", 17<<20)
				if err != nil {
					return err
				}
				s.Use(a)
				g, x := w.Group(rank, []int{0, 1}), s.Zeros(dtype, n)
				for range b.N {
					g.AllReduce(s, x)
				}
				return s.Sync()
			})
			if err != nil {
				b.Fatal(err)
			}
		})
	}
}
