package rlhf

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// physicalMemory is the size of the machine's memory in bytes, or of what a container may use of it; 0 if it is not known.
func physicalMemory() int {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0
	}
	bytes := int(info.Totalram) * int(info.Unit)
	if text, err := os.ReadFile("/sys/fs/cgroup/memory.max"); err == nil {
		if limit, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			bytes = min(bytes, limit)
		}
	}
	return bytes
}

// residentMemory is what this process holds now, in bytes: anonymous memory, without the pages of mapped files.
func residentMemory() int {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "RssAnon:" {
			kib, _ := strconv.Atoi(fields[1])
			return kib << 10
		}
	}
	return 0
}

// peakMemory is the largest resident size that this process had, in bytes.
func peakMemory() int {
	var usage unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return int(usage.Maxrss) << 10
}
