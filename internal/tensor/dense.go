package tensor

import (
	"fmt"

	gorgonia "gorgonia.org/tensor"
)

// Dense wraps host numbers as a gorgonia.org/tensor.Dense, for programs that compute with that library and for its formats (it
// prints, and it writes numpy files). The Dense shares data's memory. len(data) must be the product of dims.
func Dense[T float32 | float64 | int32](data []T, dims ...int) (*gorgonia.Dense, error) {
	bytes, err := Bytes(Float64, dims...) // of the widest
	if err != nil || bytes/Float64.Size() != len(data) || len(dims) == 0 {
		return nil, fmt.Errorf("tensor: %d numbers for shape %v", len(data), dims)
	}
	if bytes == 0 {
		return nil, fmt.Errorf("tensor: shape %v holds nothing", dims)
	}
	return gorgonia.New(gorgonia.WithShape(dims...), gorgonia.WithBacking(data)), nil
}

// Numbers gives the data and the shape of a contiguous Dense of element type T.
func Numbers[T float32 | float64 | int32](d *gorgonia.Dense) (data []T, dims []int, err error) {
	data, ok := d.Data().([]T)
	if !ok {
		return nil, nil, fmt.Errorf("tensor: a Dense of %v, want %T", d.Dtype(), *new(T))
	}
	if d.RequiresIterator() {
		return nil, nil, fmt.Errorf("tensor: a Dense with strides %v and shape %v is not contiguous", d.Strides(), d.Shape())
	}
	return data, d.Shape().Clone(), nil
}
