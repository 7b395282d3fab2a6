//go:build !(cgo && unix)

package cpu

var instructionSets = []string{"go"}

// findKernels gives the kernels for isa, or nil when this machine or this build has none.
func findKernels(isa string) kernels {
	if isa == "go" {
		return goKernels{}
	}
	return nil
}
