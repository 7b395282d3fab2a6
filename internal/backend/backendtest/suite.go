package backendtest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// groups are the cases of each group of operations.
var groups = []struct {
	name  string
	cases func() []testCase
}{
	{"matmul", matmulCases}, {"layernorm", layerNormCases}, {"qkv", qkvCases}, {"attention", attentionCases},
	{"gelu", geluCases}, {"embedding", embeddingCases}, {"logprob", logProbCases}, {"element", elementCases},
	{"adamw", adamwCases}, {"sample", sampleCases},
}

// storages are the types in which a device stores weights: on one that is float64 throughout, that.
func storages(d backend.Device) []tensor.DType {
	if d.Wide() == tensor.Float64 {
		return []tensor.DType{tensor.Float64}
	}
	return []tensor.DType{tensor.Float32, tensor.BFloat16}
}

// Run holds every operation of a device against the reference, forward and backward, on random shapes small and odd; tries
// what the contract allows and forbids at its edges; and tests that drawn tokens have the right distribution.
func Run(t *testing.T, open func() backend.Device) {
	d := open()
	t.Logf("device: %s", d.Name())
	for _, storage := range storages(d) {
		for _, g := range groups {
			t.Run(fmt.Sprint(g.name, "/", storage), func(t *testing.T) {
				b := mustBench(t, d)
				for _, c := range g.cases() {
					if _, err := b.run(c, storage, nil, false); err != nil {
						t.Errorf("%s: %v", c.name, err)
						b = mustBench(t, d) // a stream does no more after an error
					}
				}
			})
		}
	}
	for _, storage := range storages(d) {
		t.Run(fmt.Sprint("stamps/", storage), func(t *testing.T) {
			if err := stampedWeights(mustBench(t, d), storage); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("errors", func(t *testing.T) { testErrors(t, d) })
	t.Run("distribution", func(t *testing.T) { testDistribution(t, d) })
	t.Run("sets", func(t *testing.T) { testSets(t, d) })
	t.Run("streams", func(t *testing.T) { testStreams(t, d) })
}

// RunInvariance tests that the bits of a row, or of a sequence, do not depend on its batch, nor on how its keys are stored and
// its queries are cut. It skips devices that do not promise it.
func RunInvariance(t *testing.T, open func() backend.Device) {
	d := open()
	if !d.BatchInvariant() {
		t.Skipf("%s does not promise batch invariance", d.Name())
	}
	for _, storage := range storages(d) {
		for _, g := range groups {
			t.Run(fmt.Sprint(g.name, "/", storage), func(t *testing.T) {
				b := mustBench(t, d)
				for _, c := range g.cases() {
					if err := rowsAlone(b, c, storage); err != nil {
						t.Errorf("%s: %v", c.name, err)
						b = mustBench(t, d)
					}
				}
			})
		}
		for _, p := range invariants {
			t.Run(fmt.Sprint(p.name, "/", storage), func(t *testing.T) {
				if err := p.hold(mustBench(t, d), storage); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// invariants are what goes beyond the rows of one operation.
var invariants = []struct {
	name string
	hold func(b *bench, storage tensor.DType) error
}{
	{"batches of 1 to 200", batchSizes}, {"rows beside NaN", besideNaN}, {"sequences", sequencesAlone}, {"pages", pagedBits}, {"sampler statistics", samplerStatistics},
}

// rowsAlone runs a case on the whole batch and on parts of it, single rows among them, and compares the rows that each output
// has in common.
func rowsAlone(b *bench, c testCase, storage tensor.DType) error {
	whole, err := b.run(c, storage, nil, true)
	if err != nil || c.n == 0 || !slices.ContainsFunc(whole, func(o *operand) bool { return o.rowwise }) {
		return err
	}
	rng := seeded(c.name + " parts")
	parts := [][]int{{0}, {c.n - 1}, {rng.IntN(c.n)}}
	for range 3 {
		parts = append(parts, rng.Perm(c.n)[:1+rng.IntN(c.n)])
	}
	for _, picked := range parts {
		part, err := b.run(c, storage, picked, true)
		if err != nil {
			return err
		}
		for i, o := range part {
			if !o.rowwise {
				continue
			}
			rowBytes := o.dtype.Size() * length(o.dims[1:])
			for j, n := range picked {
				alone, among := o.bits[j*rowBytes:(j+1)*rowBytes], whole[i].bits[n*rowBytes:(n+1)*rowBytes]
				if !bytes.Equal(alone, among) {
					return fmt.Errorf("%v: row %d of %d has other bits in a batch of %d: % x, % x", whole[i], n, c.n, len(picked), among, alone)
				}
			}
		}
	}
	return nil
}

// RunDeterminism tests that the number of workers, and running twice, changes no bit of any operation, gradients of weights
// included.
func RunDeterminism(t *testing.T, open func(workers int) backend.Device) {
	devices := []backend.Device{open(1), open(1), open(2), open(3), open(7)}
	for _, storage := range storages(devices[0]) {
		for _, g := range groups {
			t.Run(fmt.Sprint(g.name, "/", storage), func(t *testing.T) {
				if err := sameBits(devices, g.cases(), storage); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// sameBits compares what the devices give for some cases with what the first one gives.
func sameBits(devices []backend.Device, cases []testCase, storage tensor.DType) error {
	var want [][]*operand
	var errs []error
	for i, d := range devices {
		b, err := newBench(d, benchBytes)
		if err != nil {
			return err
		}
		for j, c := range cases {
			outputs, err := b.run(c, storage, nil, true)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", d.Name(), c.name, err)
			}
			if i == 0 {
				want = append(want, outputs)
			}
			for k, o := range outputs {
				if !bytes.Equal(o.bits, want[j][k].bits) {
					errs = append(errs, fmt.Errorf("%s: %v has other bits on %s (device %d of this test) than on %s", c.name, o, d.Name(), i, devices[0].Name()))
				}
			}
		}
	}
	return errors.Join(errs...)
}

func mustBench(t *testing.T, d backend.Device) *bench {
	t.Helper()
	b, err := newBench(d, benchBytes)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
