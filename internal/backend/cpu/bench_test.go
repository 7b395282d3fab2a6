//go:build unix

package cpu

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// bench is a device with an arena, for one benchmark.
type bench struct {
	*testing.B
	d     *Device
	s     *backend.Stream
	arena *backend.Arena
	rng   *rand.Rand
}

func newBench(b *testing.B, bytes int) *bench {
	d, err := NewWith(Options{})
	if err != nil {
		b.Fatal(err)
	}
	arena, err := d.Arena("bench", bytes)
	if err != nil {
		b.Fatal(err)
	}
	s := d.Stream()
	s.Use(arena)
	return &bench{B: b, d: d, s: s, arena: arena, rng: rand.New(rand.NewPCG(1, 2))}
}

func (b *bench) random(dtype tensor.DType, deviation float64, dims ...int) tensor.Tensor {
	t := b.s.Alloc(dtype, dims...)
	xs := make([]float32, t.Len())
	for i := range xs {
		xs[i] = float32(deviation * b.rng.NormFloat64())
	}
	b.s.Upload(t, backend.Float32s(xs))
	return t
}

func (b *bench) weight(dtype tensor.DType, dims ...int) tensor.Tensor {
	return b.random(dtype, 0.02, dims...).WithStamp(&tensor.Stamp{Version: 1})
}

// roof is what this machine can do, measured once.
var roof = sync.OnceValue(func() Roofline {
	d, err := NewWith(Options{})
	if err != nil {
		panic(err)
	}
	r, err := d.Roofline()
	if err != nil {
		panic(err)
	}
	return r
})

// BenchmarkRoof reports what the others are measured by: the multiply-add units and the memory, with all workers.
func BenchmarkRoof(b *testing.B) {
	for range b.N {
		roof()
	}
	b.ReportMetric(roof().Float32/1e9, "float32-GFLOP/s")
	b.ReportMetric(roof().BFloat16/1e9, "bfloat16-GFLOP/s")
	b.ReportMetric(roof().Read/1e9, "read-GB/s")
	b.ReportMetric(roof().Copy/1e9, "copy-GB/s")
	b.ReportMetric(0, "ns/op")
}

// flops times op, whose products take so many floating-point operations on numbers of a type.
func (b *bench) flops(work float64, dtype tensor.DType, op func()) {
	peak := roof().Float32
	if dtype == tensor.BFloat16 {
		peak = roof().BFloat16
	}
	b.time(work, "GFLOP/s", peak, op)
}

// reads times op, which has to read so many bytes of memory, and streams one that has to read and write so many in all.
func (b *bench) reads(work float64, op func())   { b.time(work, "GB/s", roof().Read, op) }
func (b *bench) streams(work float64, op func()) { b.time(work, "GB/s", roof().Copy, op) }

// time reports the rate of the median run, in units of 1e9 per second and as a share of the roof.
func (b *bench) time(work float64, unit string, roof float64, op func()) {
	op()
	var runs []float64
	for b.Loop() {
		begin := time.Now()
		op()
		runs = append(runs, time.Since(begin).Seconds())
	}
	slices.Sort(runs)
	median := runs[len(runs)/2]
	if err := b.s.Sync(); err != nil {
		b.Fatal(err)
	}
	rate := work / median
	b.ReportMetric(rate/1e9, unit)
	b.ReportMetric(100*rate/roof, "%roof")
	b.ReportMetric(median*1e3, "ms")
	b.ReportMetric(0, "ns/op")
}

func BenchmarkMatMul(b *testing.B) {
	for _, dtype := range []tensor.DType{tensor.Float32, tensor.BFloat16} {
		for _, s := range []struct{ n, o, i int }{{1, 2048, 2048}, {4, 2048, 2048}, {16, 2048, 2048}, {64, 512, 512}, {512, 512, 2048}, {512, 2048, 512}, {1024, 1024, 1024}, {1024, 4096, 1024}} {
			work := 2 * float64(s.n*s.o*s.i)
			b.Run(fmt.Sprintf("%v/%dx%dx%d", dtype, s.n, s.o, s.i), func(b *testing.B) {
				c := newBench(b, 256<<20)
				y, x, w := c.s.Alloc(dtype, s.n, s.o), c.random(dtype, 1, s.n, s.i), c.weight(dtype, s.o, s.i)
				c.flops(work, dtype, func() { c.s.MatMul(y, x, w, backend.Epilogue{}) })
			})
		}
	}
	const n, o, i = 512, 2048, 512
	for _, dtype := range []tensor.DType{tensor.Float32, tensor.BFloat16} {
		b.Run(dtype.String()+"/input gradient", func(b *testing.B) {
			c := newBench(b, 64<<20)
			dx, dy, w := c.random(dtype, 1, n, i), c.random(dtype, 1, n, o), c.weight(dtype, o, i)
			c.flops(2*n*o*i, dtype, func() { c.s.MatMulInput(dx, dy, w, backend.Set) })
		})
		b.Run(dtype.String()+"/weight gradient", func(b *testing.B) {
			c := newBench(b, 64<<20)
			dw, dy, x := c.random(tensor.Float32, 1, o, i), c.random(dtype, 1, n, o), c.random(dtype, 1, n, i)
			c.flops(2*n*o*i, dtype, func() { c.s.MatMulWeight(dw, dy, x) })
		})
	}
	b.Run("packing", func(b *testing.B) {
		c := newBench(b, 64<<20)
		stamp := &tensor.Stamp{}
		w := c.random(tensor.Float32, 1, 2048, 2048)
		x, y := c.random(tensor.Float32, 1, 1, 2048), c.s.Alloc(tensor.Float32, 1, 2048)
		c.streams(2*4*2048*2048, func() {
			stamp.Version++
			c.s.MatMul(y, x, w.WithStamp(stamp), backend.Epilogue{})
		})
	})
}

func BenchmarkAttention(b *testing.B) {
	const t, h, g, k = 1024, 8, 8, 64
	c := newBench(b, 64<<20)
	heads := func(h int) tensor.Tensor { return c.random(tensor.Float32, 1, t, h, k) }
	q, key, v, o, do, dq, dk, dv := heads(h), heads(g), heads(g), heads(h), heads(h), heads(h), heads(g), heads(g)
	lse := c.s.Alloc(tensor.Float32, t, h)
	offsets := c.s.Alloc(tensor.Int32, 2)
	c.s.Upload(offsets, backend.Int32s([]int32{0, t}))
	seqs, opt := backend.Sequences{Offsets: offsets, Lengths: []int{t}}, backend.Attention{Scale: 0.125}
	pairs := float64(h * k * t * (t + 1) / 2)
	b.Run("forward", func(b *testing.B) {
		c.B = b
		c.flops(4*pairs, tensor.Float32, func() { c.s.Attention(o, lse, q, key, v, seqs, opt) })
	})
	b.Run("backward", func(b *testing.B) {
		c.B = b
		c.flops(10*pairs, tensor.Float32, func() { c.s.AttentionBackward(dq, dk, dv, do, o, lse, q, key, v, seqs, opt) })
	})
	b.Run("decode", func(b *testing.B) {
		// 16 sequences of 1,024 keys, one query each, pages of 16.
		c := newBench(b, 256<<20)
		const seqs, page = 16, 16
		q, o := c.random(tensor.Float32, 1, seqs, h, k), c.s.Alloc(tensor.Float32, seqs, h, k)
		keys, values := c.random(tensor.Float32, 1, seqs*t, g, k), c.random(tensor.Float32, 1, seqs*t, g, k)
		table, queries, lengths := c.s.Alloc(tensor.Int32, seqs, t/page), c.s.Alloc(tensor.Int32, seqs+1), c.s.Alloc(tensor.Int32, seqs)
		pages, offsets, ones, counts := make([]int32, seqs*t/page), make([]int32, seqs+1), make([]int, seqs), make([]int, seqs)
		for i, p := range c.rng.Perm(len(pages)) {
			pages[i] = int32(p)
		}
		for i := range seqs {
			offsets[i+1], ones[i], counts[i] = int32(i+1), 1, t
		}
		c.s.Upload(table, backend.Int32s(pages))
		c.s.Upload(queries, backend.Int32s(offsets))
		c.s.Upload(lengths, backend.Int32s([]int32{t, t, t, t, t, t, t, t, t, t, t, t, t, t, t, t}))
		p := backend.Pages{Table: table, Queries: queries, KeyLengths: lengths, PageSize: page, QueryCounts: ones, KeyCounts: counts}
		c.reads(float64(keys.Bytes()+values.Bytes()), func() { c.s.AttentionPaged(o, tensor.Tensor{}, q, keys, values, p, opt) })
	})
}

func BenchmarkLogProb(b *testing.B) {
	for _, dtype := range []tensor.DType{tensor.Float32, tensor.BFloat16} {
		b.Run(dtype.String(), func(b *testing.B) { benchmarkLogProb(b, dtype) })
	}
}

func benchmarkLogProb(b *testing.B, dtype tensor.DType) {
	const n, d, v = 4096, 512, 65024
	c := newBench(b, 512<<20)
	h, w := c.random(dtype, 1, n, d), c.weight(dtype, v, d)
	targets := c.s.Zeros(tensor.Int32, n)
	dh, dw := c.s.Zeros(dtype, n, d), c.s.Zeros(tensor.Float32, v, d)
	stats, logp, lse, entropy := c.s.Alloc(tensor.Float32, n, 4), c.s.Alloc(tensor.Float32, n), c.s.Alloc(tensor.Float32, n), c.s.Alloc(tensor.Float32, n)
	dlogp := c.random(tensor.Float32, 1, n)
	head := backend.Head{Scale: 1}
	product := 2. * n * d * v
	report := func(b *testing.B) {
		q := c.s.Queue().(*queue)
		b.ReportMetric(float64(c.d.ScratchBytes()+q.scratch.size())/(1<<20), "scratch-MiB")
		b.ReportMetric(float64(c.d.PackedBytes())/(1<<20), "packed-MiB")
	}
	b.Run("stats", func(b *testing.B) {
		c.B = b
		c.flops(product, dtype, func() { c.s.LogProbStats(stats, h, w, targets, head) })
		report(b)
	})
	c.s.LogProbStats(stats, h, w, targets, head)
	c.s.LogProbMerge(logp, lse, entropy, stats.Reshape(1, n, 4))
	b.Run("backward", func(b *testing.B) {
		c.B = b
		c.flops(3*product, dtype, func() {
			c.s.LogProbBackward(dh, dw, h, w, targets, lse, entropy, dlogp, tensor.Tensor{}, head)
		})
		report(b)
	})
}

func BenchmarkElementwise(b *testing.B) {
	const n = 1 << 24 // more than the caches hold
	c := newBench(b, 1<<30)
	one := func() tensor.Tensor { return c.random(tensor.Float32, 1, n) }
	x, y, m, v, g := one(), one(), one(), c.s.Zeros(tensor.Float32, n), one()
	for _, op := range []struct {
		name    string
		streams float64 // tensors read and written
		run     func()
	}{
		{"add", 3, func() { c.s.Add(y, x, g) }},
		{"gelu", 2, func() { c.s.Gelu(y, x) }},
		{"gelu backward", 3, func() { c.s.GeluBackward(y, g, x) }},
		{"adamw", 7, func() {
			c.s.AdamW(y, y, m, v, g, backend.AdamWStep{LearningRate: 1e-9, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Step: 1, GradScale: 1})
		}},
	} {
		b.Run(op.name, func(b *testing.B) {
			c.B = b
			c.streams(4*n*op.streams, op.run)
		})
	}
	const rows, columns = 1 << 14, 1024
	in, out, dx := x.Reshape(rows, columns), y.Reshape(rows, columns), g.Reshape(rows, columns)
	mean, rstd := c.random(tensor.Float32, 1, rows), c.random(tensor.Float32, 1, rows)
	gamma, sum := c.random(tensor.Float32, 1, columns), c.random(tensor.Float32, 1, columns)
	b.Run("layer norm", func(b *testing.B) {
		c.B = b
		c.streams(2*4*n, func() { c.s.LayerNorm(out, mean, rstd, in, gamma, gamma, 1e-5) })
	})
	b.Run("layer norm backward", func(b *testing.B) {
		c.B = b
		c.streams(3*4*n, func() { c.s.LayerNormBackward(dx, sum, sum, out, in, gamma, mean, rstd, backend.Set) })
	})
}
