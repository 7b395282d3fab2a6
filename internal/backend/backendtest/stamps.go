package backendtest

import (
	"bytes"
	"errors"
	"fmt"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// stampedWeights multiplies by weights with a Stamp, of which a device may keep packed copies. They give the bits that the same
// weights give without a Stamp: at first, again, and after they were written and their version was raised.
func stampedWeights(b *bench, storage tensor.DType) error {
	const n, numI, numO = 9, 33, 130
	var stamp tensor.Stamp
	c := testCase{"weights with a stamp", n, func(r *rig) {
		x, dy := r.random("x", storage, 1, rows, numI), r.random("dy", storage, 1, rows, numO)
		targets := r.ints("targets", func(int) int { return r.rng.IntN(numO) }, rows)
		lse, dlogp := r.random("lse", r.wide, 1, rows), r.random("dlogp", r.wide, 1, rows)
		weight := r.random("w", storage, 1, numO, numI)
		versions := []*operand{r.random("second w", storage, 1, numO, numI), r.random("third w", storage, 1, numO, numI)}
		for version := range 3 {
			if version > 0 {
				r.do(func(s side) { s.Copy(s.of(weight), s.of(versions[version-1])) })
				stamp.Version++
			}
			for _, use := range []string{"plain", "first", "second"} {
				name := func(output string) string { return fmt.Sprintf("version %d, %s use: %s", version, use, output) }
				y, stats := r.output(exact, name("y"), storage, rows, numO), r.output(exact, name("stats"), r.wide, rows, 4)
				dx, dh := r.output(exact, name("dx"), storage, rows, numI), r.output(exact, name("dh"), storage, rows, numI)
				dw := r.unwritten("dw", r.wide, numO, numI)
				r.do(func(s side) {
					w := s.of(weight)
					if use != "plain" {
						w = w.WithStamp(&stamp)
					}
					s.Zero(s.of(dw))
					s.MatMul(s.of(y), s.of(x), w, backend.Epilogue{})
					s.MatMulInput(s.of(dx), s.of(dy), w, backend.Set)
					s.LogProbStats(s.of(stats), s.of(x), w, s.of(targets), backend.Head{Scale: 1})
					s.LogProbBackward(s.of(dh), s.of(dw), s.of(x), w, s.of(targets), s.of(lse), s.of(lse), s.of(dlogp), tensor.Tensor{}, backend.Head{Scale: 0.1})
				})
			}
		}
	}}
	outputs, err := b.run(c, storage, nil, true)
	if err != nil {
		return err
	}
	const perUse, uses = 4, 3
	var errs []error
	for i, o := range outputs {
		plain := outputs[i/(perUse*uses)*(perUse*uses)+i%perUse]
		if !bytes.Equal(o.bits, plain.bits) {
			errs = append(errs, fmt.Errorf("%v and %v differ in their bits", plain, o))
		}
		if i >= perUse*uses && bytes.Equal(o.bits, outputs[i-perUse*uses].bits) {
			errs = append(errs, fmt.Errorf("%v is that of the version before", o))
		}
	}
	return errors.Join(errs...)
}
