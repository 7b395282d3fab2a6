package inproc_test

import (
	"testing"

	"alfred/internal/backend"
	"alfred/internal/backend/backendtest"
	"alfred/internal/backend/cpu"
	"alfred/internal/backend/reference"
	"alfred/internal/collective/collectivetest"
	"alfred/internal/collective/inproc"
)

// on opens worlds whose ranks work on the device that open makes, all on one.
func on(open func() backend.Device) collectivetest.Open {
	return func(ranks int) (collectivetest.World, func(int) backend.Device) {
		d := open()
		return inproc.NewWorld(ranks), func(int) backend.Device { return d }
	}
}

func TestConformance(t *testing.T) { collectivetest.Run(t, on(reference.New)) }

// TestConformanceOfDeferredStreams: nothing runs before a rank waits, or another rank waits for it.
func TestConformanceOfDeferredStreams(t *testing.T) {
	collectivetest.Run(t, on(func() backend.Device {
		return backendtest.Deferring(reference.New(), backendtest.Options{PoisonArenas: true})
	}))
}

func TestConformanceOnCPU(t *testing.T) {
	d := cpu.New(2)
	collectivetest.Run(t, on(func() backend.Device { return d }))
}
