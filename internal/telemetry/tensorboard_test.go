package telemetry

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// What follows reads event files by its own means: a bitwise CRC and a walk over protocol buffer fields.

// slowCRC is CRC-32C bit by bit from its polynomial, masked as TFRecord does.
func slowCRC(data []byte) uint32 {
	crc := ^uint32(0)
	for _, b := range data {
		crc ^= uint32(b)
		for range 8 {
			crc = crc>>1 ^ 0x82f63b78&-(crc&1)
		}
	}
	crc = ^crc
	return (crc>>15 | crc<<17) + 0xa282ead8
}

// records takes an event file apart and checks both checksums of each record.
func records(t *testing.T, data []byte) [][]byte {
	t.Helper()
	var out [][]byte
	for len(data) > 0 {
		if len(data) < 16 {
			t.Fatalf("%d bytes are left over", len(data))
		}
		n := binary.LittleEndian.Uint64(data)
		if got, want := binary.LittleEndian.Uint32(data[8:]), slowCRC(data[:8]); got != want {
			t.Fatalf("checksum of a length is %08x, want %08x", got, want)
		}
		body := data[12 : 12+n]
		if got, want := binary.LittleEndian.Uint32(data[12+n:]), slowCRC(body); got != want {
			t.Fatalf("checksum of a record is %08x, want %08x", got, want)
		}
		out = append(out, body)
		data = data[16+n:]
	}
	return out
}

// message is a decoded protocol buffer message: per field its values, as uint64 or []byte.
type message map[int][]any

func decode(t *testing.T, data []byte) message {
	t.Helper()
	m := message{}
	for len(data) > 0 {
		key, n := binary.Uvarint(data)
		data = data[n:]
		var v any
		switch key & 7 {
		case 0:
			x, n := binary.Uvarint(data)
			v, data = x, data[n:]
		case 1:
			v, data = binary.LittleEndian.Uint64(data), data[8:]
		case 2:
			size, n := binary.Uvarint(data)
			v, data = data[n:n+int(size)], data[n+int(size):]
		case 5:
			v, data = uint64(binary.LittleEndian.Uint32(data)), data[4:]
		default:
			t.Fatalf("wire type %d", key&7)
		}
		m[int(key>>3)] = append(m[int(key>>3)], v)
	}
	return m
}

func (m message) number(field int) uint64 {
	if len(m[field]) != 1 {
		return math.MaxUint64
	}
	return m[field][0].(uint64)
}

func (m message) text(field int) string {
	if len(m[field]) != 1 {
		return fmt.Sprint(len(m[field]), " values")
	}
	return string(m[field][0].([]byte))
}

func (m message) sub(t *testing.T, field int) message {
	t.Helper()
	return decode(t, []byte(m.text(field)))
}

// The first record of every event file in the world: length 24, its well-known checksum 0x224b7fa3, an event with a time
// and the version.
func TestTensorBoardHeader(t *testing.T) {
	tb, err := OpenTensorBoard(t.TempDir(), -1, time.Unix(1_700_000_000, 500_000_000))
	if err != nil {
		t.Fatal(err)
	}
	if err := tb.Close(); err != nil {
		t.Fatal(err)
	}
	data := []byte(mustRead(t, tb.Path()))
	if got := hex.EncodeToString(data[:12]); got != "1800000000000000a37f4b22" {
		t.Errorf("the file begins with %s", got)
	}
	events := records(t, data)
	if len(events) != 2 {
		t.Fatalf("%d events, want version and start", len(events))
	}
	e := decode(t, events[0])
	if got := math.Float64frombits(e.number(1)); got != 1_700_000_000.5 || e.text(3) != "brain.Event:2" {
		t.Errorf("time %v, version %q", got, e.text(3))
	}
	if base := filepath.Base(tb.Path()); !strings.HasPrefix(base, "events.out.tfevents.1700000000.") {
		t.Errorf("file name %s", base)
	}
}

func TestTensorBoardEvents(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tensorboard")
	tb, err := OpenTensorBoard(dir, 11, time.Unix(1_700_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	handleAll(t, tb, Event{Run: &Run{}}, recordEvent(Iteration, 12, sample()),
		Event{Time: time.Unix(1, 0), Samples: &Samples{Index: 12, Table: sampleTable}}, Event{Progress: &Progress{}})
	if err := tb.Flush(); err != nil {
		t.Fatal(err)
	}
	events := records(t, []byte(mustRead(t, tb.Path())))
	if len(events) != 4 {
		t.Fatalf("%d events, want version, start, record, samples", len(events))
	}
	// TensorBoard forgets what older files hold from step 12 on.
	if start := decode(t, events[1]); start.number(2) != 12 || start.sub(t, 7).number(1) != 1 {
		t.Errorf("session start %v", start)
	}
	rec := decode(t, events[2])
	if rec.number(2) != 12 || math.Float64frombits(rec.number(1)) != 1_700_000_000 {
		t.Errorf("step %d at %v", rec.number(2), math.Float64frombits(rec.number(1)))
	}
	got := map[string]float32{}
	for _, v := range rec.sub(t, 5)[1] {
		value := decode(t, v.([]byte))
		got[value.text(1)] = math.Float32frombits(uint32(value.number(2)))
	}
	for tag, want := range map[string]float64{
		"lr_policy": 1.85e-7, "score_mean": -3, "kl": math.Inf(1), "value_loss": math.NaN(), "lr_value": math.NaN(), "prompts_seen": 1024,
		"entropy": 1e21, "a_first": 0.1, "zeal": 2,
		"timing/seconds": 3.2, "timing/tokens_per_second": 812.5, "timing/rollout": 2.1, "timing/policy_update": 0.6,
	} {
		x, found := got[tag]
		if !found || !(x == float32(want) || math.IsNaN(want) && x != x) {
			t.Errorf("%s = %v (there: %v), want %v", tag, x, found, want)
		}
		delete(got, tag)
	}
	if len(got) != 0 {
		t.Errorf("unexpected tags %v", got)
	}
	value := decode(t, events[3]).sub(t, 5).sub(t, 1)
	tensor := value.sub(t, 8)
	if value.text(1) != "samples/text_summary" || value.sub(t, 9).sub(t, 1).text(1) != "text" {
		t.Errorf("text summary %v", value)
	}
	if tensor.number(1) != 7 || tensor.sub(t, 2).sub(t, 2).number(1) != 1 || tensor.text(8) != sampleTable.Markdown() {
		t.Errorf("text tensor %v", tensor)
	}
	if err := tb.Close(); err != nil {
		t.Error(err)
	}
}

// TensorBoard reads files in the order of their names, which must be that of the runs: also if one comes right after another, or the
// clock was set back.
func TestTensorBoardFilesAreInOrder(t *testing.T) {
	dir, last := t.TempDir(), ""
	for _, second := range []int64{1_700_000_000, 1_700_000_000, 1_600_000_000, 1_700_000_005} {
		tb, err := OpenTensorBoard(dir, -1, time.Unix(second, 0))
		if err != nil {
			t.Fatal(err)
		}
		if tb.Path() <= last {
			t.Errorf("%s comes after %s", tb.Path(), last)
		}
		last = tb.Path()
		if err := tb.Close(); err != nil {
			t.Error(err)
		}
		for _, name := range []string{"notes", "events.out.tfevents.99999999999999.x"} { // of somebody else
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if base := filepath.Base(last); !strings.HasPrefix(base, "events.out.tfevents.1700000005.") {
		t.Errorf("file name %s", base)
	}
}

// A run that is killed before its first checkpoint starts over in the same directory. TensorBoard reads files in the order of their
// names, and forgets at a session's start what it knows of that step and later ones.
func TestTensorBoardOfARunThatStartsOver(t *testing.T) {
	dir := t.TempDir()
	for _, steps := range []int{5, 3} {
		tb, err := OpenTensorBoard(dir, -1, time.Unix(1_700_000_000, 0))
		if err != nil {
			t.Fatal(err)
		}
		for i := range steps {
			handleAll(t, tb, lossAt(i))
		}
		if err := tb.Close(); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 2 {
		t.Fatalf("%v, %v", files, err)
	}
	var steps []int
	for _, file := range files {
		for _, data := range records(t, []byte(mustRead(t, file))) {
			e := decode(t, data)
			step := 0
			if len(e[2]) > 0 {
				step = int(e.number(2))
			}
			if len(e[7]) > 0 {
				steps = slices.DeleteFunc(steps, func(s int) bool { return s >= step })
			}
			if len(e[5]) > 0 {
				steps = append(steps, step)
			}
		}
	}
	if !slices.Equal(steps, []int{0, 1, 2}) {
		t.Errorf("TensorBoard shows the steps %v", steps)
	}
}

func TestMaskedCRC(t *testing.T) {
	// CRC-32C of "123456789" is e3069283 (the catalogue's check value).
	if got, want := maskedCRC([]byte("123456789")), uint32(0xe3069283>>15|0xe3069283<<17&0xffffffff)+0xa282ead8; got != want {
		t.Errorf("masked CRC %08x, want %08x", got, want)
	}
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOf(rapid.Byte()).Draw(t, "data")
		if got, want := maskedCRC(data), slowCRC(data); got != want {
			t.Fatalf("masked CRC of %x is %08x, want %08x", data, got, want)
		}
	})
}

func TestTensorBoardErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	f, _, err := OpenMetrics(file, -1)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if _, err := OpenTensorBoard(file, -1, time.Now()); err == nil {
		t.Error("a file was taken for a directory")
	}
}
