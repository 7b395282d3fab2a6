package collectivetest

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"

	"alfred/internal/backend"
	"alfred/internal/collective"
	"alfred/internal/tensor"
)

// World is a set of ranks that the implementation connects.
type World interface {
	// Run runs body for every rank at the same time and joins the errors that ranks caused themselves. When there are none and the
	// world was aborted, it says why.
	Run(body func(rank int) error) error
	// Group is rank's handle on the group of members.
	Group(rank int, members []int) collective.Group
	// Abort ends all collectives.
	Abort(cause error)
}

// Open makes a new world, and says on which device each of its ranks works. The devices may run behind the host, but must not
// stand still for good while one of them waits for another.
type Open func(ranks int) (World, func(rank int) backend.Device)

// Run holds what open makes to the contract, and demands that no goroutine is left behind.
func Run(t *testing.T, open Open) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			for _, ranks := range c.ranks {
				if err := c.hold(opener{open, c.memory, 30 * time.Second}, ranks); err != nil {
					t.Errorf("%d ranks: %v", ranks, err)
				}
			}
		})
	}
}

// check is a part of the contract, held by worlds of some sizes.
type check struct {
	name   string
	ranks  []int
	memory int // bytes of each rank's arena; devices may touch all of them
	hold   func(o opener, ranks int) error
}

var (
	any5    = []int{1, 2, 3, 4, 5}
	several = []int{2, 3, 5}
)

const (
	much   = 4 << 20
	little = 64 << 10
)

var checks = []check{
	{"all-reduce", any5, much, allReduce},
	{"reduce-scatter", any5, much, reduceScatter},
	{"all-gather", any5, much, allGather},
	{"broadcast", any5, much, broadcast},
	{"ranks", any5, little, whoIsWho},
	{"messages", several, much, messages},
	{"exchange", any5, little, exchange},
	{"exchange beside streams", several, much, exchangeBesideStreams},
	{"programs", any5, little, programs},
	{"groups of a mesh", []int{6, 8}, much, meshGroups},
	{"disagreement", []int{2, 3, 4}, little, disagreement},
	{"bad operands", several, little, badOperands},
	{"failing rank", several, little, failingRank},
	{"own causes", []int{3, 4}, little, ownCauses},
	{"after abort", several, little, afterAbort},
	{"abort from outside", several, little, abortFromOutside},
	{"abort at the end", any5, little, abortAtTheEnd},
}

// opener makes worlds whose ranks have so much memory and are not waited for longer than patience.
type opener struct {
	open     Open
	memory   int
	patience time.Duration
}

// errLate aborts a world whose ranks do not come to an end.
var errLate = errors.New("collectivetest: the ranks take too long")

// run opens a world of so many ranks and runs body on all of them.
func (o opener) run(ranks int, body func(p *peer) error) error {
	world, device := o.open(ranks)
	return o.runIn(world, device, ranks, body)
}

func (o opener) runIn(world World, device func(int) backend.Device, ranks int, body func(p *peer) error) error {
	done := make(chan error, 1)
	go func() {
		done <- world.Run(func(rank int) error {
			p, err := o.newPeer(world, device(rank), rank, ranks)
			if err != nil {
				return err
			}
			return body(p)
		})
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(o.patience):
	}
	stacks := make([]byte, 1<<16)
	stacks = stacks[:runtime.Stack(stacks, true)]
	world.Abort(errLate)
	return fmt.Errorf("%w; after %v they do this:\n%s", errLate, o.patience, stacks)
}

// runToEnd is run for bodies that end the world and look at what they get themselves. Run says all the same that it has ended.
func (o opener) runToEnd(ranks int, body func(p *peer) error) error {
	world, device := o.open(ranks)
	return o.runToEndIn(world, device, ranks, body)
}

func (o opener) runToEndIn(world World, device func(int) backend.Device, ranks int, body func(p *peer) error) error {
	problems := make([]error, ranks)
	err := o.runIn(world, device, ranks, func(p *peer) error {
		problems[p.rank] = body(p) // which may hold ErrAborted: then Run would leave it out
		return problems[p.rank]
	})
	if errors.Is(err, errLate) {
		return err
	}
	if !errors.Is(err, collective.ErrAborted) {
		problems = append(problems, fmt.Errorf("of a world that has ended, Run says: %v", err))
	}
	return errors.Join(problems...)
}

// peer is one rank of a world.
type peer struct {
	rank, ranks int
	world       World
	group       collective.Group // of all ranks
	s           *backend.Stream
	late        []func() error // see later
}

func (o opener) newPeer(world World, d backend.Device, rank, ranks int) (*peer, error) {
	p := &peer{rank: rank, ranks: ranks, world: world, s: d.Stream()}
	a, err := d.Arena("collectives", o.memory)
	if err != nil {
		return nil, err
	}
	p.s.Use(a)
	var all []int
	for r := range ranks {
		all = append(all, r)
	}
	p.group = world.Group(rank, all)
	return p, nil
}

// margin is how many elements on either side of a tensor must stay as they are.
const margin = 3

// put uploads data into a tensor that has margins.
func (p *peer) put(dtype tensor.DType, data []byte) field {
	n := len(data) / dtype.Size()
	whole := p.s.Alloc(dtype, n+2*margin)
	f := field{Tensor: whole.Slice(margin, margin+n), whole: whole, p: p}
	p.s.Upload(whole, backend.Raw(dtype, f.framed(data)))
	return f
}

// field is a tensor with margins.
type field struct {
	tensor.Tensor
	whole tensor.Tensor
	p     *peer
}

// framed is data between margins.
func (f field) framed(data []byte) []byte {
	edge := make([]byte, margin*f.DType().Size())
	for i := range edge {
		edge[i] = 0x5a
	}
	return append(append(append(make([]byte, 0, len(data)+2*len(edge)), edge...), data...), edge...)
}

// holds waits for the tensor and compares it, margins included.
func (f field) holds(want []byte) error {
	got := make([]byte, f.whole.Bytes())
	if err := f.p.s.Download(backend.Raw(f.DType(), got), f.whole).Wait(); err != nil {
		return err
	}
	if err := same(f.DType(), got, f.framed(want)); err != nil {
		return fmt.Errorf("rank %d of %d, %v: %w", f.p.rank, f.p.ranks, f.Tensor, err)
	}
	return nil
}

// later keeps a comparison until settle, so that many operations are under way before anybody waits.
func (p *peer) later(what string, f field, want []byte) {
	p.late = append(p.late, func() error {
		if err := f.holds(want); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	})
}

// settle does what was kept for later.
func (p *peer) settle() error {
	for _, hold := range p.late {
		if err := hold(); err != nil {
			return err
		}
	}
	p.late = nil
	return p.s.Sync()
}
