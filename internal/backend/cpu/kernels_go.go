package cpu

import (
	"math"
	"unsafe"

	"alfred/internal/tensor"
)

// goKernels are the kernels in plain Go, for builds without cgo. They compute what the baseline C kernels compute, bit for
// bit: products are rounded before they are added, and sums along rows go over 16 lanes.
type goKernels struct{}

const (
	goRowTile = 2
	goPanel   = 4
	lanes     = 16
)

func (goKernels) isa() string  { return "go" }
func (goKernels) rowTile() int { return goRowTile }
func (goKernels) panel() int   { return goPanel }
func (goKernels) pairs() bool  { return false }

// mulAdd is a·b + c, rounded twice on every processor: without the conversion Go may fuse the two.
func mulAdd(a, b, c float32) float32 { return float32(a*b) + c }

// vector is a run of elements of a tensor.
type vector struct {
	f []float32
	h []uint16 // bfloat16, when f is nil
}

// vectorAt is n elements of a type from element i of p on.
func vectorAt(p ptr, dtype int32, i, n int64) vector {
	if dtype == float32Type {
		return vector{f: unsafe.Slice((*float32)(unsafe.Add(p, 4*i)), n)}
	}
	return vector{h: unsafe.Slice((*uint16)(unsafe.Add(p, 2*i)), n)}
}

func (v vector) get(i int) float32 {
	if v.f != nil {
		return v.f[i]
	}
	return tensor.FromBFloat16(v.h[i])
}

func (v vector) put(i int, x float32) {
	if v.f != nil {
		v.f[i] = x
	} else {
		v.h[i] = tensor.ToBFloat16(x)
	}
}

// floatsAt is n float32 from element i of p on.
func floatsAt(p ptr, i, n int64) []float32 { return unsafe.Slice((*float32)(unsafe.Add(p, 4*i)), n) }

// sum16 adds the lanes in a fixed tree.
func sum16(t *[lanes]float32) float32 {
	for s := lanes / 2; s > 0; s /= 2 {
		for i := range s {
			t[i] += t[i+s]
		}
	}
	return t[0]
}

// cut gives the width of the panel or tile that starts at column c.
func cut(columns, c, width int64, balanced bool) int64 {
	if !balanced {
		return width
	}
	tiles := (columns - c + width - 1) / width
	return (columns - c + tiles - 1) / tiles
}

func (goKernels) pack(a packArgs) {
	stepK, stepC := a.ld, int64(1)
	if a.transposed != 0 {
		stepK, stepC = 1, a.ld
	}
	if a.k == 0 || a.columns == 0 {
		return
	}
	src := vectorAt(a.src, a.srcType, 0, (a.k-1)*stepK+(a.columns-1)*stepC+1)
	at := int64(0)
	for c := int64(0); c < a.columns; {
		width := cut(a.columns, c, a.width, a.balanced != 0)
		n := min(width, a.columns-c)
		dst := vectorAt(a.dst, a.dstType, at, a.k*width)
		for k := range a.k {
			for i := range width {
				x := float32(0)
				if i < n {
					x = src.get(int(k*stepK + (c+i)*stepC))
				}
				dst.put(int(k*width+i), x)
			}
		}
		at += a.k * width
		c += width
	}
}

func (goKernels) multiply(m multiplyArgs) {
	var acc [goRowTile][goPanel]float32
	for c := int64(0); c < m.columns; c += goPanel {
		panel := vectorAt(m.b, m.bType, c/goPanel*m.panelStride, m.k*goPanel)
		n := min(goPanel, m.columns-c)
		for r := int64(0); r < m.rows; {
			mr := cut(m.rows, r, goRowTile, true)
			acc = [goRowTile][goPanel]float32{}
			if m.mode == resume {
				for i := range mr {
					copy(acc[i][:n], floatsAt(m.y, (r+i)*m.ld+c, n))
				}
			}
			switch m.layout {
			case layoutTiles:
				accumulate(&acc, floatsAt(m.a, r*m.k, mr*m.k), panel, mr, 1, m.k, mr)
			case layoutRows:
				accumulate(&acc, floatsAt(m.a, r*m.aLD, (mr-1)*m.aLD+m.k), panel, 1, m.aLD, m.k, mr)
			case layoutColumns:
				accumulate(&acc, floatsAt(m.a, r, max(0, m.k-1)*m.aLD+mr), panel, m.aLD, 1, m.k, mr)
			}
			for i := range mr {
				finish(m, acc[i][:n], (r+i)*m.ld+c, c)
			}
			r += mr
		}
	}
}

// accumulate continues the chains of a tile: a(r, k) is a[k·stepK + r·stepR].
func accumulate(acc *[goRowTile][goPanel]float32, a []float32, b vector, stepK, stepR, k, rows int64) {
	if b.f == nil {
		wide := make([]float32, len(b.h))
		for i, h := range b.h {
			wide[i] = tensor.FromBFloat16(h)
		}
		b.f = wide
	}
	if rows == 1 {
		p := acc[0]
		for i := range k {
			x, y := a[i*stepK], (*[goPanel]float32)(b.f[i*goPanel:])
			p[0] += float32(x * y[0])
			p[1] += float32(x * y[1])
			p[2] += float32(x * y[2])
			p[3] += float32(x * y[3])
		}
		acc[0] = p
		return
	}
	p0, p1, p2, p3 := acc[0][0], acc[0][1], acc[0][2], acc[0][3]
	q0, q1, q2, q3 := acc[1][0], acc[1][1], acc[1][2], acc[1][3]
	for i := range k {
		x, z, y := a[i*stepK], a[i*stepK+stepR], (*[goPanel]float32)(b.f[i*goPanel:])
		p0 += float32(x * y[0])
		p1 += float32(x * y[1])
		p2 += float32(x * y[2])
		p3 += float32(x * y[3])
		q0 += float32(z * y[0])
		q1 += float32(z * y[1])
		q2 += float32(z * y[2])
		q3 += float32(z * y[3])
	}
	acc[0] = [goPanel]float32{p0, p1, p2, p3}
	acc[1] = [goPanel]float32{q0, q1, q2, q3}
}

// finish stores a row of a tile: product + bias + residual, or y + product, rounded once.
func finish(m multiplyArgs, acc []float32, at, column int64) {
	n := int64(len(acc))
	y := vectorAt(m.y, m.yType, at, n)
	var bias, residual vector
	if m.bias != nil {
		bias = vectorAt(m.bias, m.bType, column, n)
	}
	if m.residual != nil {
		residual = vectorAt(m.residual, m.yType, at, n)
	}
	for i, x := range acc {
		if m.mode == add {
			x = y.get(i) + x
		}
		if m.bias != nil {
			x += bias.get(i)
		}
		if m.residual != nil {
			x += residual.get(i)
		}
		y.put(i, x)
	}
}

// expf is e^x as in vector.inc.h.
func expf(x float32) float32 { return expSum(x, 0) }

// expSum is e^(hi+lo).
func expSum(hi, lo float32) float32 {
	const shift = 12582912
	x := hi + lo
	switch {
	case x < -87.33:
		return 0
	case x > 88.7228:
		return float32(math.Inf(1))
	case x != x:
		return x
	}
	t := mulAdd(x, 1.44269504088896341, shift)
	n := int32(math.Float32bits(t)) - int32(math.Float32bits(shift))
	k := t - shift
	r := mulAdd(k, -0x1.62e4p-1, hi) + lo
	r = mulAdd(k, -0x1.7f7d1cp-20, r)
	q := mulAdd(r, 0x1.6a2256p-10, 0x1.123b02p-7)
	q = mulAdd(q, r, 0x1.5558f8p-5)
	q = mulAdd(q, r, 0x1.55549p-3)
	q = mulAdd(q, r, 0x1.fffffcp-2)
	p := mulAdd(float32(r*r), q, r) + 1
	return math.Float32frombits(math.Float32bits(p) + uint32(n)<<23)
}

// peak has eight chains, as many as Go keeps in registers.
func (goKernels) peak(a *peakArgs) {
	var c [8]float32
	if a.src != nil {
		for _, x := range floatsAt(a.src, 0, a.n) {
			a.x += x
		}
		a.work = 4 * float64(a.n)
		return
	}
	for range a.n {
		for j := range c {
			c[j] = mulAdd(c[j], a.y, a.x)
		}
	}
	for _, x := range c {
		a.x += x
	}
	a.work = 2 * float64(len(c)) * float64(a.n)
}
