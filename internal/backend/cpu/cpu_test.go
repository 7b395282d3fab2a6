package cpu

import (
	"os"
	"slices"
	"strings"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/backend/backendtest"
)

// eachISA runs test for the instruction sets of this machine, or some of them; short tests take the best one.
func eachISA(t *testing.T, test func(t *testing.T, open func(workers int) backend.Device), some ...func(isa string) bool) {
	for i, isa := range InstructionSets() {
		if len(some) > 0 && !some[0](isa) || testing.Short() && i > 0 {
			continue
		}
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

// What users get is among what the tests run.
func TestBestInstructionSetIsTested(t *testing.T) {
	d, err := NewWith(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := d.kernels.isa(), InstructionSets()[0]; got != want {
		t.Errorf("New takes %s, the first of the list is %s", got, want)
	}
}

// TestInstructionSetsOfThisMachine: what the kernel says that the processor has is what the tests run on.
func TestInstructionSetsOfThisMachine(t *testing.T) {
	have := InstructionSets()
	t.Log(have)
	if have[0] == "go" {
		t.Skip("this build has no C kernels")
	}
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Skip(err)
	}
	flags := strings.Fields(string(info))
	for flag, isa := range map[string]string{"avx512_bf16": "avx512bf16", "avx512f": "avx512", "avx2": "avx2"} {
		if slices.Contains(flags, flag) && !slices.Contains(have, isa) {
			t.Errorf("this machine has %s, but %s is not among %v", flag, isa, have)
		}
	}
}

func TestConformance(t *testing.T) {
	eachISA(t, func(t *testing.T, open func(workers int) backend.Device) {
		backendtest.Run(t, func() backend.Device { return open(2) })
	})
}

// oneOfEachKind leaves out the sets that give the bits of another one, see TestSameBitsOnOtherInstructionSets.
func oneOfEachKind(isa string) bool {
	return isa == InstructionSets()[0] || isa == "avx512bf16" || isa == "avx512" || isa == "base"
}

func TestInvariance(t *testing.T) {
	eachISA(t, func(t *testing.T, open func(workers int) backend.Device) {
		backendtest.RunInvariance(t, func() backend.Device { return open(3) })
	}, oneOfEachKind)
}

func TestDeterminism(t *testing.T) {
	eachISA(t, func(t *testing.T, open func(workers int) backend.Device) { backendtest.RunDeterminism(t, open) }, oneOfEachKind)
}
