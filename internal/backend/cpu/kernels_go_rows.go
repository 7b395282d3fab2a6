package cpu

import (
	"math"
	"unsafe"
)

func (goKernels) layerNorm(a layerNormArgs) {
	d := int(a.columns)
	gamma, beta := vectorAt(a.gamma, a.dtype, 0, a.columns), vectorAt(a.beta, a.dtype, 0, a.columns)
	means, rstds := floatsAt(a.mean, 0, a.rows), floatsAt(a.rstd, 0, a.rows)
	for r := range a.rows {
		x, y := vectorAt(a.x, a.dtype, r*a.columns, a.columns), vectorAt(a.y, a.dtype, r*a.columns, a.columns)
		var sum, squares [lanes]float32
		for i := range d {
			sum[i%lanes] += x.get(i)
		}
		mean := sum16(&sum) / float32(d)
		for i := range d {
			v := x.get(i) - mean
			squares[i%lanes] = mulAdd(v, v, squares[i%lanes])
		}
		rstd := 1 / float32(math.Sqrt(float64(float32(float64(sum16(&squares)/float32(d))+a.eps))))
		means[r], rstds[r] = mean, rstd
		for i := range d {
			y.put(i, mulAdd(float32((x.get(i)-mean)*rstd), gamma.get(i), beta.get(i)))
		}
	}
}

func (goKernels) layerNormBackward(a layerNormBackwardArgs) {
	d := int(a.columns)
	gamma := vectorAt(a.gamma, a.dtype, 0, a.columns)
	means, rstds := floatsAt(a.mean, 0, a.rows), floatsAt(a.rstd, 0, a.rows)
	dgamma, dbeta := floatsAt(a.dgamma, 0, a.columns), floatsAt(a.dbeta, 0, a.columns)
	clear(dgamma)
	clear(dbeta)
	for r := range a.rows {
		at := r * a.columns
		x, dy, dx := vectorAt(a.x, a.dtype, at, a.columns), vectorAt(a.dy, a.dtype, at, a.columns), vectorAt(a.dx, a.dtype, at, a.columns)
		mean, rstd := means[r], rstds[r]
		var sum, dot [lanes]float32
		for i := range d {
			v, g := float32((x.get(i)-mean)*rstd), float32(dy.get(i)*gamma.get(i))
			sum[i%lanes] += g
			dot[i%lanes] = mulAdd(g, v, dot[i%lanes])
			dgamma[i] = mulAdd(dy.get(i), v, dgamma[i])
			dbeta[i] += dy.get(i)
		}
		meanG, meanGX := sum16(&sum)/float32(d), sum16(&dot)/float32(d)
		for i := range d {
			v := float32((x.get(i) - mean) * rstd)
			g := float32(dy.get(i)*gamma.get(i)) - meanG
			grad := float32(mulAdd(v, -meanGX, g) * rstd)
			if a.mode == add {
				grad += dx.get(i)
			}
			dx.put(i, grad)
		}
	}
}

func (goKernels) splitQKV(a splitQKVArgs) {
	each, half := a.heads/a.groups, a.dim/2
	for n := range a.rows {
		var cos, sin []float32
		if a.cos != nil {
			at := int64(unsafe.Slice((*int32)(a.positions), a.rows)[n]) * half
			cos, sin = floatsAt(a.cos, at, half), floatsAt(a.sin, at, half)
		}
		at := n * (a.heads + 2*a.groups) * a.dim
		for g := range a.groups {
			for i := range each + 2 {
				p, head := a.q, (n*a.heads+g*each+i)*a.dim
				if i >= each {
					p, head = a.k, (n*a.groups+g)*a.dim
				}
				c, s := cos, sin
				if i > each {
					p, c, s = a.v, nil, nil
				}
				one, fused := vectorAt(p, a.dtype, head, a.dim), vectorAt(a.qkv, a.dtype, at, a.dim)
				if a.backward != 0 {
					turn(fused, one, c, s, -1)
				} else {
					turn(one, fused, c, s, 1)
				}
				at += a.dim
			}
		}
	}
}

// turn is y = x, rotated by the angles (or their negatives) unless there are none.
func turn(y, x vector, cos, sin []float32, sign float32) {
	if cos == nil {
		for i := range max(len(x.f), len(x.h)) {
			y.put(i, x.get(i))
		}
		return
	}
	for i, co := range cos {
		a, b, si := x.get(i), x.get(i+len(cos)), sin[i]*sign
		u, v := mulAdd(-b, si, float32(a*co)), mulAdd(a, si, float32(b*co))
		y.put(i, u)
		y.put(i+len(cos), v)
	}
}

// operands are the elements of a map.
func (a mapArgs) operands() (y, x, b vector, n int) {
	return vectorAt(a.y, a.dtype, 0, a.n), vectorAt(a.a, a.dtype, 0, a.n), vectorAt(a.b, a.dtype, 0, a.n), int(a.n)
}

func (goKernels) exp(a mapArgs) {
	y, x := floatsAt(a.y, 0, a.n), floatsAt(a.a, 0, a.n)
	for i, v := range x {
		y[i] = expf(v)
	}
}

// normalCDF is Φ(x) and e^(-x²/2), as in element.inc.h.
func normalCDF(x float32) (cdf, e float32) {
	a := float32(math.Abs(float64(x)))
	if !(a < 30) {
		a = 30
	}
	h := math.Float32frombits(math.Float32bits(a) & 0xfffff000)
	e = expSum(float32(h*h)*-0.5, float32((a-h)*(a+h))*-0.5)
	p := mulAdd(a, 0.00402018753811717, 0.03998414799571037)
	for _, c := range [...]float32{0.18130668997764587, 0.4356862008571625, 0.5} {
		p = mulAdd(p, a, c)
	}
	d := mulAdd(a, 0.010076972655951977, 0.10023277997970581)
	for _, c := range [...]float32{0.464380145072937, 1.1944838762283325, 1.669257402420044, 1} {
		d = mulAdd(d, a, c)
	}
	q := float32(e * (p / d))
	if x > 0 {
		return 1 - q, e
	}
	return q, e
}

func (goKernels) gelu(a mapArgs) {
	y, x, _, n := a.operands()
	for i := range n {
		v := x.get(i)
		cdf, _ := normalCDF(v)
		y.put(i, v*cdf)
	}
}

func (goKernels) geluBackward(a mapArgs) {
	y, dy, x, n := a.operands()
	for i := range n {
		v := x.get(i)
		cdf, e := normalCDF(v)
		y.put(i, dy.get(i)*mulAdd(float32(v*0.3989422804014327), e, cdf))
	}
}

func (goKernels) add(a mapArgs) {
	y, x, b, n := a.operands()
	for i := range n {
		y.put(i, x.get(i)+b.get(i))
	}
}

func (goKernels) copyRows(a copyRowsArgs) {
	for r := range a.rows {
		dst, src := vectorAt(a.dst, a.dstType, r*a.dstLD, a.columns), vectorAt(a.src, a.srcType, r*a.srcLD, a.columns)
		for i := range int(a.columns) {
			dst.put(i, src.get(i))
		}
	}
}

func (goKernels) addRows(a addRowsArgs) {
	for n, row := range unsafe.Slice((*int32)(a.rows), a.n) {
		at := int64(row) - a.first
		if at < 0 || at >= a.yRows {
			continue
		}
		y, x := vectorAt(a.y, a.yType, at*a.yLD, a.columns), vectorAt(a.x, a.xType, int64(n)*a.xLD, a.columns)
		for i := range int(a.columns) {
			y.put(i, y.get(i)+x.get(i))
		}
	}
}

func (goKernels) sumRows(a sumRowsArgs) {
	out := floatsAt(a.out, 0, a.columns)
	clear(out)
	for r := range a.rows {
		x := vectorAt(a.x, a.dtype, r*a.ld, a.columns)
		for i := range out {
			out[i] += x.get(i)
		}
	}
}

func (goKernels) sumSquares(a sumSquaresArgs) {
	var sum [lanes]float64
	x := vectorAt(a.x, a.dtype, 0, a.n)
	for i := range int(a.n) {
		v := float64(x.get(i))
		sum[i%lanes] += v * v // exact before the addition, fused or not
	}
	for s := lanes / 2; s > 0; s /= 2 {
		for i := range s {
			sum[i] += sum[i+s]
		}
	}
	*(*float64)(a.out) = sum[0]
}

func (goKernels) adamw(a adamwArgs) {
	weight, grad := vectorAt(a.weight, a.dtype, 0, a.n), floatsAt(a.grad, 0, a.n)
	master, m, v := floatsAt(a.master, 0, a.n), floatsAt(a.m, 0, a.n), floatsAt(a.v, 0, a.n)
	for i, g := range grad {
		g *= a.gradScale
		w := mulAdd(master[i], -a.decay, master[i])
		m[i] = mulAdd(g, a.oneMinusBeta1, float32(m[i]*a.beta1))
		v[i] = mulAdd(float32(g*g), a.oneMinusBeta2, float32(v[i]*a.beta2))
		w -= float32(m[i]*a.rate) / (float32(math.Sqrt(float64(float32(v[i]*a.invCorrection2)))) + a.eps)
		master[i] = w
		weight.put(i, w)
	}
}
