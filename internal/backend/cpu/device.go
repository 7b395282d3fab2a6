package cpu

import (
	"fmt"
	"strings"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// Options of a Device.
type Options struct {
	Workers int    // tiles computed at a time; 0 for as many as there are processors
	ISA     string // avx512bf16, avx512, avx2, base or go; empty for the best that the machine has
}

// Device is the processor. Several goroutines may use one Device, each through a Stream of its own; they share the workers
// and the packed weights.
type Device struct {
	kernels kernels
	pool    *pool
	packed  *packedWeights
}

// New is the best device of this machine with so many workers, 0 for one per processor.
func New(workers int) backend.Device {
	d, err := NewWith(Options{Workers: workers})
	if err != nil {
		panic(err) // the last instruction set of the list exists everywhere
	}
	return d
}

// NewWith fails when the machine does not have the instruction set that is asked for. It raises GOMAXPROCS of the whole process to the
// workers and one more (see spareProcessor), for good.
func NewWith(o Options) (*Device, error) {
	workers := o.Workers
	if workers <= 0 {
		workers = processors
	}
	names := instructionSets
	if o.ISA != "" {
		names = []string{o.ISA}
	}
	for _, name := range names {
		if k := findKernels(name); k != nil {
			spareProcessor(workers)
			p := newPool(k, workers)
			return &Device{kernels: k, pool: p, packed: newPackedWeights()}, nil
		}
	}
	return nil, fmt.Errorf("cpu: instruction set %q is not to be had here; this machine and build have %s", o.ISA, strings.Join(InstructionSets(), ", "))
}

// InstructionSets are the values of Options.ISA that work on this machine, the best one first.
func InstructionSets() []string {
	var have []string
	for _, name := range instructionSets {
		if findKernels(name) != nil {
			have = append(have, name)
		}
	}
	return have
}

// Name gives instruction set and workers, as in "cpu (avx512, 2 workers)".
func (d *Device) Name() string {
	plural := "s"
	if d.pool.size == 1 {
		plural = ""
	}
	return fmt.Sprintf("cpu (%s, %d worker%s)", d.kernels.isa(), d.pool.size, plural)
}

// Wide is Float32.
func (d *Device) Wide() tensor.DType { return tensor.Float32 }

// BatchInvariant holds: see the package comment.
func (d *Device) BatchInvariant() bool { return true }

// Arena reserves address space; pages are committed when they are first written.
func (d *Device) Arena(name string, bytes int) (*backend.Arena, error) {
	buf, err := newBuffer(backend.Align(bytes))
	if err != nil {
		return nil, fmt.Errorf("cpu: arena %q: %w", name, err)
	}
	return backend.NewArena(name, buf), nil
}

// Stream makes a queue whose operations are done when their call returns.
func (d *Device) Stream() *backend.Stream {
	return backend.NewStream(&queue{kernels: d.kernels, pool: d.pool, packed: d.packed}, d.Wide())
}

// PackedBytes is the memory that packed copies of weights hold now.
func (d *Device) PackedBytes() int { return d.packed.size() }

// ScratchBytes is the memory that the workers hold for temporary results. Streams hold theirs besides.
func (d *Device) ScratchBytes() int { return d.pool.scratchBytes() }
