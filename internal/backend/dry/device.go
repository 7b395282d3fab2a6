package dry

import (
	"maps"
	"sync"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// Unlimited is the Size of every arena, in bytes.
const Unlimited = 1 << 62

// Options of a dry device.
type Options struct {
	// Wide is the element type of statistics and gradients: Float32 when Invalid, as on real accelerators; Float64 to size
	// programs for the reference.
	Wide tensor.DType
	// Model fills downloads; with none they are zeros.
	Model Model
}

// Model stands for what the device would have computed.
type Model interface {
	// Fill sets dst to what the download of src would give. It may be called by the streams of several goroutines at once.
	Fill(dst backend.Host, src tensor.Tensor)
}

// Device counts. Its methods may be called by several goroutines; a stream belongs to one, as everywhere.
type Device struct {
	wide  tensor.DType
	model Model

	mu     sync.Mutex
	counts map[string]Count
	arenas []*backend.Arena
}

// New opens a dry device.
func New(o Options) *Device {
	d := &Device{wide: o.Wide, model: o.Model, counts: map[string]Count{}}
	if d.wide == tensor.Invalid {
		d.wide = tensor.Float32
	}
	if d.model == nil {
		d.model = Constant{}
	}
	return d
}

// Name is "dry".
func (d *Device) Name() string { return "dry" }

// Wide is Options.Wide.
func (d *Device) Wide() tensor.DType { return d.wide }

// BatchInvariant is true: rows do not depend on each other where nothing is computed.
func (d *Device) BatchInvariant() bool { return true }

// Overhead is nothing, like everything here. Ask the device that is meant.
func (d *Device) Overhead(int, bool) int { return 0 }

// Arena gives an arena without limit, whatever its size is said to be.
func (d *Device) Arena(name string, _ int) (*backend.Arena, error) {
	a := backend.NewArena(name, &nothing{name})
	d.mu.Lock()
	defer d.mu.Unlock()
	d.arenas = append(d.arenas, a)
	return a, nil
}

// Arenas lists the arenas in the order in which they were made. Look at their peaks when the program has ended.
func (d *Device) Arenas() []*backend.Arena {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]*backend.Arena(nil), d.arenas...)
}

// Stream makes a stream whose operations are counted.
func (d *Device) Stream() *backend.Stream { return backend.NewStream(&queue{device: d}, d.wide) }

// nothing is memory that is not there. It is a pointer to something so that arenas differ.
type nothing struct{ name string }

func (*nothing) Size() int { return Unlimited }

// Count is what the calls of one operation cost. Sums beyond 2^53 are rounded.
type Count struct {
	Calls int
	FLOPs float64 // floating-point operations
	Bytes float64 // moved
}

func (c Count) plus(other Count) Count {
	return Count{c.Calls + other.Calls, c.FLOPs + other.FLOPs, c.Bytes + other.Bytes}
}

// Counts is what each operation has cost since the last Reset, by the names that package backend gives operations. Functions
// given to Enqueue appear under their own names.
func (d *Device) Counts() map[string]Count {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.counts)
}

// Total is the sum of Counts.
func (d *Device) Total() Count {
	var total Count
	for _, c := range d.Counts() {
		total = total.plus(c)
	}
	return total
}

// Reset starts counting again. Arenas stay as they are.
func (d *Device) Reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.counts)
}

func (d *Device) count(op string, c Count) {
	c.Calls = 1
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts[op] = d.counts[op].plus(c)
}

// Constant is a Model in which every number and every token is the same.
type Constant struct {
	Number float64
	Token  int32
}

// Fill sets all elements of dst.
func (m Constant) Fill(dst backend.Host, src tensor.Tensor) {
	elements := make([]byte, src.Bytes())
	one := elements[:min(src.DType().Size(), len(elements))]
	if len(one) > 0 {
		if src.DType() == tensor.Int32 {
			backend.Int32s([]int32{m.Token}).Encode(one, tensor.Int32)
		} else {
			backend.Float64s([]float64{m.Number}).Encode(one, src.DType())
		}
	}
	for filled := len(one); filled > 0 && filled < len(elements); filled *= 2 {
		copy(elements[filled:], elements[:filled])
	}
	dst.Decode(elements, src.DType())
}
