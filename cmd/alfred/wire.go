package main

import (
	"alfred/internal/backend"
	"alfred/internal/backend/cpu"
	"alfred/internal/backend/dry"
)

// openDevice makes the device that a configuration or a flag names. This is the only place that knows which backends are linked in.
// threads is for the cpu: 0 is one per core.
func openDevice(name string, threads int) (backend.Device, error) {
	switch name {
	case "cpu":
		return cpu.New(threads), nil
	case "cuda":
		return nil, failf(exitUsage, "device cuda: this binary computes on the cpu only. GPUs are served by a binary of its own, alfred-cuda, "+
			"because the driver's library ends any process that finds no driver. Run the same command with alfred-cuda, or set the device to cpu "+
			"(device.backend in a configuration, --device elsewhere)")
	}
	return nil, failf(exitUsage, "device %q: want cpu or cuda", name)
}

// planningDevice is asked by a run that only plans. The cpu is here and answers for itself, its packed copies of weights included;
// what is not here is stood for by a device that needs no such hardware. Neither takes memory for a plan.
func planningDevice(name string, threads int) backend.Device {
	if name == "cpu" {
		return cpu.New(threads)
	}
	return dry.New(dry.Options{})
}
