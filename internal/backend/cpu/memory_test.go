package cpu

import (
	"go/build"
	"strings"
	"testing"
	"time"
)

// TestScratchBytesOfSeveralCallers: each takes all workers, and none waits for those that another one has taken.
func TestScratchBytesOfSeveralCallers(t *testing.T) {
	d, err := NewWith(Options{Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	const callers = 2
	done := make(chan bool)
	for range callers {
		go func() {
			for range 50_000 {
				d.ScratchBytes()
			}
			done <- true
		}()
	}
	for range callers {
		select {
		case <-done:
		case <-time.After(30 * time.Second):
			t.Fatal("the callers wait for each other")
		}
	}
}

// TestCGetsNoGoMemory: where buffers are slices of the Go heap, the C kernels, which get pointers within pointers, are not built.
func TestCGetsNoGoMemory(t *testing.T) {
	for _, goos := range []string{"linux", "darwin", "freebsd", "windows", "plan9"} {
		c := build.Default
		c.GOOS, c.GOARCH, c.CgoEnabled = goos, "amd64", true
		p, err := c.ImportDir(".", 0)
		if err != nil {
			t.Fatal(err)
		}
		files := strings.Join(p.GoFiles, " ")
		heap, c1 := strings.Contains(files, "memory_other.go"), len(p.CgoFiles)+len(p.CFiles) > 0
		if heap == c1 || c1 == strings.Contains(files, "kernels_nocgo.go") {
			t.Errorf("%s: %v, cgo %v, C %v", goos, p.GoFiles, p.CgoFiles, p.CFiles)
		}
	}
}
