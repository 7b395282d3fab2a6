package reference

import (
	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// MatMul: y = x·wᵀ + bias + residual.
func (q *queue) MatMul(y, x, w tensor.Tensor, e backend.Epilogue) {
	if !q.floats("matmul", y, x, w, e.Bias, e.Residual) {
		return
	}
	yNO, xNI, wOI, biasO, residualNO := f64(y), f64(x), f64(w), f64(e.Bias), f64(e.Residual)
	numO, numI := w.Dim(0), w.Dim(1)
	for n := range x.Dim(0) {
		for o := range numO {
			sum := dot(row(xNI, n, numI), row(wOI, o, numI))
			if biasO != nil {
				sum += biasO[o]
			}
			if residualNO != nil {
				sum += residualNO[n*numO+o]
			}
			yNO[n*numO+o] = sum
		}
	}
}

// MatMulInput: dx = or += dy·w.
func (q *queue) MatMulInput(dx, dy, w tensor.Tensor, into backend.Into) {
	if !q.floats("matmul input gradient", dx, dy, w) {
		return
	}
	dxNI, dyNO, wOI := f64(dx), f64(dy), f64(w)
	numO, numI := w.Dim(0), w.Dim(1)
	for n := range dy.Dim(0) {
		sumI := make([]float64, numI)
		for o := range numO {
			addScaled(sumI, dyNO[n*numO+o], row(wOI, o, numI))
		}
		store(row(dxNI, n, numI), sumI, into)
	}
}

// MatMulWeight: dw += dyᵀ·x.
func (q *queue) MatMulWeight(dw, dy, x tensor.Tensor) {
	if !q.floats("matmul weight gradient", dw, dy, x) {
		return
	}
	dwOI, dyNO, xNI := f64(dw), f64(dy), f64(x)
	numO, numI := dw.Dim(0), dw.Dim(1)
	for o := range numO {
		sumI := make([]float64, numI)
		for n := range x.Dim(0) {
			addScaled(sumI, dyNO[n*numO+o], row(xNI, n, numI))
		}
		addScaled(row(dwOI, o, numI), 1, sumI)
	}
}

// SumRows: db += Σₙ dy[n].
func (q *queue) SumRows(db, dy tensor.Tensor) {
	if !q.floats("sum rows", db, dy) {
		return
	}
	dbO, dyNO := f64(db), f64(dy)
	for o := range db.Dim(0) {
		sum := 0.0
		for n := range dy.Dim(0) {
			sum += dyNO[n*db.Dim(0)+o]
		}
		dbO[o] += sum
	}
}
