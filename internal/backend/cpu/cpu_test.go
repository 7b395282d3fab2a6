package cpu

import (
	"testing"

	"alfred/internal/backend"
	"alfred/internal/backend/backendtest"
)

// eachISA runs test for every instruction set that this machine has.
func eachISA(t *testing.T, test func(t *testing.T, open func(workers int) backend.Device)) {
	for _, isa := range InstructionSets() {
		t.Run(isa, func(t *testing.T) {
			test(t, func(workers int) backend.Device {
				d, err := NewWith(Options{Workers: workers, ISA: isa})
				if err != nil {
					t.Fatal(err)
				}
				return d
			})
		})
	}
}

func TestConformance(t *testing.T) {
	eachISA(t, func(t *testing.T, open func(workers int) backend.Device) {
		backendtest.Run(t, func() backend.Device { return open(2) })
	})
}

func TestInvariance(t *testing.T) {
	eachISA(t, func(t *testing.T, open func(workers int) backend.Device) {
		backendtest.RunInvariance(t, func() backend.Device { return open(3) })
	})
}

func TestDeterminism(t *testing.T) {
	eachISA(t, func(t *testing.T, open func(workers int) backend.Device) { backendtest.RunDeterminism(t, open) })
}
