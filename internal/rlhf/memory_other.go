//go:build !linux

package rlhf

// physicalMemory is not known here.
func physicalMemory() int { return 0 }

// residentMemory is not known here.
func residentMemory() int { return 0 }

// peakMemory is not known here.
func peakMemory() int { return 0 }
