package checkpoint

import (
	"fmt"

	gorgonia "gorgonia.org/tensor"

	"alfred/internal/checkpoint/safetensors"
	"alfred/internal/tensor"
)

// Tensor reads one whole tensor, by its Hugging Face name, as host numbers, whatever files it is cut into. It is for looking at;
// loading goes through Load.
func (m *Model) Tensor(name string) (*gorgonia.Dense, error) {
	t, ok := m.src.stored[name]
	if !ok {
		return nil, fmt.Errorf("checkpoint: %s has no tensor %s: %w", m.Dir, name, ErrUnusable)
	}
	rows, cols := t.shape[0], 1
	for _, d := range t.shape[1:] {
		cols *= d
	}
	data := make([]float32, rows*cols)
	var r reader
	err := r.pieces(t, safetensors.F32, safetensors.Range{Hi: rows}, safetensors.Range{Hi: cols}, func(at, n int, piece []byte) error {
		return safetensors.Decode(data[at*cols:(at+n)*cols], safetensors.F32, piece)
	})
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w: %w", ErrUnusable, err)
	}
	return tensor.Dense(data, t.shape...)
}
