package rlhf

import "golang.org/x/sys/unix"

// physicalMemory is the size of the machine's memory in bytes, 0 if it is not known.
func physicalMemory() int {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0
	}
	return int(info.Totalram) * int(info.Unit)
}

// peakMemory is the largest resident size that this process had, in bytes.
func peakMemory() int {
	var usage unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return int(usage.Maxrss) << 10
}
