package safetensors

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// measures skips a test of memory and time where there is nothing to measure.
func measures(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("writes files of 100 MB")
	}
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		t.Skip("the race detector's own memory and time would be measured")
	}
}

// peakRSS runs f and returns by how many bytes the resident set grew at its peak.
func peakRSS(t *testing.T, f func()) int64 {
	t.Helper()
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		t.Skipf("the peak of the resident set cannot be reset here: %v", err)
	}
	before := statusBytes(t, "VmRSS:")
	f()
	return statusBytes(t, "VmHWM:") - before
}

func statusBytes(t *testing.T, key string) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	_, rest, found := strings.Cut(string(text), key)
	if !found {
		t.Skipf("no %s in /proc/self/status", key)
	}
	kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// cpuTime is the processor time of this process: unlike the clock it does not depend on who else uses the machine.
func cpuTime() time.Duration {
	var usage unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func repeat(before string, n int, item func(i int) string) string {
	var b strings.Builder
	b.WriteString(before)
	for i := range n {
		b.WriteString(item(i))
	}
	return b.String()
}

// The largest headers that the format allows, built to cost as much as possible, are refused (or, where valid, read)
// within a second of processor time and 200 MB of memory.
func TestHostileFiles(t *testing.T) {
	measures(t)
	const part = 1 << 20 // more than any of these should be looked at
	pad := func(text, last string) string {
		return text + strings.Repeat(" ", maxHeader-len(text)-len(last)) + last
	}
	tensor := func(i int) string { // the most text and dimensions that 65,536 tensors may have
		return fmt.Sprintf(`"%0215d":{"dtype":"U8","shape":[%s0],"data_offsets":[0,0]},`, i, strings.Repeat("1,", maxRank-1))
	}
	for _, test := range []struct {
		name   string
		header func() string
		size   int64 // of the file, if there is more than the header
		want   string
	}{
		{"spaces", func() string { return pad("{", "") }, 0, "found the end"},
		{"brackets", func() string { return `{"a":` + strings.Repeat("[", part) }, 0, "expected '{'"},
		{"braces", func() string { return strings.Repeat(`{"a":`, part) }, 0, "unknown key"},
		{"one long name", func() string { return `{"` + strings.Repeat("a", maxText+part) }, 0, "bytes of names and metadata"},
		{"one long escaped name", func() string { return `{"` + strings.Repeat(`\u0041`, (maxText+part)/6) }, 0, "bytes of names and metadata"},
		{"long metadata", func() string { return `{"__metadata__":{"a":"` + strings.Repeat("a", maxText+part) }, 0, "bytes of names and metadata"},
		{"many metadata entries", func() string {
			return repeat(`{"__metadata__":{`, maxTensors+1, func(i int) string { return fmt.Sprintf(`"%d":"",`, i) })
		}, 0, "metadata entries"},
		{"long shape", func() string { return `{"a":{"shape":[` + strings.Repeat("1,", part) }, 0, "more than 32 numbers"},
		{"long number", func() string { return `{"a":{"shape":[` + strings.Repeat("1", part) }, 0, "overflows"},
		{"many keys", func() string { return `{"a":{` + strings.Repeat(`"x":0,`, part) }, 0, "unknown key"},
		{"too many tensors", func() string { return repeat("{", maxTensors+1, tensor) }, 0, "more than 65536 tensors"},
		{"as many tensors as allowed, then rubbish", func() string {
			text := strings.TrimSuffix(repeat("{", maxTensors, tensor), ",")
			return pad(text, "x")
		}, 0, "expected ',', found 'x'"},
		{"terabyte of zeros", func() string { return `{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}` }, 1 << 40, "bytes follow"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x")
			writeHostile(t, path, test.header(), test.size)
			var openErr error
			var elapsed time.Duration
			growth := peakRSS(t, func() {
				start := cpuTime()
				_, openErr = Open(path)
				elapsed = cpuTime() - start
			})
			if openErr == nil || !strings.Contains(openErr.Error(), test.want) {
				t.Errorf("error %.300v; want %q", openErr, test.want)
			}
			if len(fmt.Sprint(openErr)) > 1000 {
				t.Errorf("a message of %d bytes", len(fmt.Sprint(openErr)))
			}
			if elapsed > time.Second || growth > 200e6 {
				t.Errorf("%.2f s, %.0f MB", elapsed.Seconds(), float64(growth)/1e6)
			}
			t.Logf("%.2f s, %.0f MB", elapsed.Seconds(), float64(growth)/1e6)
		})
	}
}

// writeHostile writes a header of the largest length that begins with the given text; zeros (a hole in the file, which
// costs no disk) fill the rest. With a size, the text is the whole header and the zeros are data.
func writeHostile(t *testing.T, path, text string, size int64) {
	if len(text) > maxHeader {
		t.Fatalf("header of %d bytes", len(text))
	}
	length := maxHeader
	if size > 0 {
		length = len(text)
	}
	file, err := os.Create(path)
	must(t, err)
	_, err = file.Write(binary.LittleEndian.AppendUint64(nil, uint64(length)))
	must(t, err)
	_, err = file.WriteString(text)
	must(t, err)
	must(t, file.Close())
	must(t, os.Truncate(path, max(size, int64(8+length))))
}

func TestHostileIndex(t *testing.T) {
	measures(t)
	for name, text := range map[string]string{
		"many tensors":  repeat(`{"weight_map":{`, maxIndexTensors+1, func(i int) string { return fmt.Sprintf(`"%042d":"%042d.safetensors",`, i, i) }),
		"many others":   `{"x":[` + strings.Repeat(`{},`, (maxIndex-100)/3),
		"one long word": `{"x":` + strings.Repeat("1", maxIndex-100),
	} {
		dir := filepath.Dir(writeFile(t, indexName, []byte(text)))
		var err error
		var elapsed time.Duration
		growth := peakRSS(t, func() {
			start := cpuTime()
			_, err = OpenModel(dir)
			elapsed = cpuTime() - start
		})
		if err == nil || elapsed > time.Second || growth > 200e6 {
			t.Errorf("%s: %.2f s, %.0f MB, %v", name, elapsed.Seconds(), float64(growth)/1e6, err)
		}
		t.Logf("%s: %.2f s, %.0f MB, %.100v", name, elapsed.Seconds(), float64(growth)/1e6, err)
	}
}

// Reading a tensor costs the memory of the result, not that of the file besides.
func TestReadingHoldsOneCopy(t *testing.T) {
	measures(t)
	const rows, cols = 1 << 12, 1 << 12
	path := filepath.Join(t.TempDir(), "x")
	f, entry := openTensor(t, path, F32, []int{rows, cols}, bytes.Repeat([]byte{1}, 4*rows*cols))
	defer f.Close()
	dst := make([]float32, rows*cols)
	clear(dst) // resident before
	growth := peakRSS(t, func() {
		must(t, entry.Float32(dst, entry.Rows(), entry.Cols()))
		must(t, entry.Float32(dst[:rows*cols/2], entry.Rows(), Range{0, cols / 2}))
		must(t, entry.CheckFinite())
	})
	if growth > entry.Size()/8 {
		t.Errorf("reading %d MB took %d MB besides the result", entry.Size()>>20, growth>>20)
	}
}
