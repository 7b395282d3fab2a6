package safetensors

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Limits. The first is the format's; the others are ours, far above what models have and low enough that no header
// of the allowed size takes more than about 100 MB of memory besides itself.
const (
	maxHeader  = 100_000_000 // bytes of header
	maxTensors = 1 << 16     // tensors in one file
	maxRank    = 32          // dimensions of a tensor
	maxText    = 16 << 20    // bytes of names and metadata in one header or index
)

const metadataKey = "__metadata__"

// header is what the start of a file says, checked against the file's size.
type header struct {
	size     int64   // where the data begin
	entries  []Entry // in the order of their data
	metadata map[string]string
}

// parseHeader reads and checks a whole file's header. file is the file's contents; only the header is touched.
func parseHeader(file []byte) (*header, error) {
	if len(file) < 8 {
		return nil, fmt.Errorf("%d bytes are too few: a file begins with 8 bytes that give the header's length", len(file))
	}
	length := binary.LittleEndian.Uint64(file)
	if length > min(maxHeader, uint64(len(file)-8)) {
		if err := recognise(file); err != nil {
			return nil, err
		}
		if length > maxHeader {
			return nil, fmt.Errorf("header length %d is above the format's limit of %d", length, maxHeader)
		}
		return nil, fmt.Errorf("header length %d is more than the file's %d bytes", length, len(file))
	}
	h := &header{size: 8 + int64(length), metadata: map[string]string{}}
	text := file[8:h.size]
	if len(text) == 0 || text[0] != '{' {
		return nil, fmt.Errorf("header does not begin with {")
	}
	if err := h.parse(&scanner{data: text}); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if err := h.checkLayout(int64(len(file)) - h.size); err != nil {
		return nil, err
	}
	return h, nil
}

func (h *header) parse(s *scanner) error {
	names := map[string]bool{}
	err := s.object(func(name string) error {
		if names[name] {
			return s.errorf("%q appears twice", name)
		}
		names[name] = true
		if name == metadataKey {
			return h.parseMetadata(s)
		}
		if len(h.entries) == maxTensors {
			return s.errorf("more than %d tensors", maxTensors)
		}
		entry, err := parseEntry(s, name)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		h.entries = append(h.entries, entry)
		return nil
	})
	if err != nil {
		return err
	}
	if s.peek(); s.pos < len(s.data) {
		return s.errorf("expected the end, found %s", s.found())
	}
	return nil
}

func (h *header) parseMetadata(s *scanner) error {
	return s.object(func(key string) error {
		if _, double := h.metadata[key]; double {
			return s.errorf("metadata key %q appears twice", key)
		}
		if len(h.metadata) == maxTensors {
			return s.errorf("more than %d metadata entries", maxTensors)
		}
		value, err := s.string()
		if err != nil {
			return fmt.Errorf("metadata key %q: %w", key, err)
		}
		h.metadata[key] = value
		return nil
	})
}

// parseEntry reads {"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}, the keys in any order and each once.
func parseEntry(s *scanner, name string) (Entry, error) {
	entry := Entry{Name: name}
	var offsets []int
	seen := map[string]bool{}
	err := s.object(func(key string) (err error) {
		if seen[key] {
			return s.errorf("%q appears twice", key)
		}
		seen[key] = true
		switch key {
		case "dtype":
			var text string
			text, err = s.string()
			entry.DType = DType(text)
		case "shape":
			entry.Shape, err = s.integers(maxRank)
		case "data_offsets":
			offsets, err = s.integers(2)
		default:
			err = s.errorf("unknown key %q", key)
		}
		return err
	})
	if err != nil {
		return entry, err
	}
	for _, key := range []string{"dtype", "shape", "data_offsets"} {
		if !seen[key] {
			return entry, s.errorf("%q is missing", key)
		}
	}
	if len(offsets) != 2 || offsets[0] > offsets[1] {
		return entry, fmt.Errorf("data_offsets %v are not a begin and an end", offsets)
	}
	size, err := byteSize(entry.DType, entry.Shape)
	if err != nil {
		return entry, err
	}
	entry.begin, entry.end = int64(offsets[0]), int64(offsets[1])
	if entry.end-entry.begin != size {
		return entry, fmt.Errorf("data_offsets %v hold %d bytes, but shape %v of %s needs %d",
			offsets, entry.end-entry.begin, entry.Shape, entry.DType, size)
	}
	return entry, nil
}

func (s *scanner) integers(most int) ([]int, error) {
	list := []int{}
	err := s.list('[', ']', func() error {
		if len(list) == most {
			return s.errorf("more than %d numbers", most)
		}
		n, err := s.number()
		list = append(list, n)
		return err
	})
	return slices.Clip(list), err
}

// checkLayout sorts the entries by position and demands that they cover the data exactly: no hole, no overlap, and
// the last ends where the file does. Bytes outside of tensors could hide another file format.
func (h *header) checkLayout(size int64) error {
	slices.SortFunc(h.entries, func(a, b Entry) int {
		if a.begin != b.begin {
			return int(min(1, max(-1, a.begin-b.begin)))
		}
		return int(min(1, max(-1, a.end-b.end)))
	})
	var end int64
	last := "the header"
	for _, entry := range h.entries {
		if entry.begin > end {
			return fmt.Errorf("tensor %q: hole of %d bytes between %s and it", entry.Name, entry.begin-end, last)
		}
		if entry.begin < end {
			return fmt.Errorf("tensor %q: overlaps %s by %d bytes", entry.Name, last, end-entry.begin)
		}
		end = entry.end
		last = fmt.Sprintf("tensor %q", entry.Name)
	}
	if end > size {
		return fmt.Errorf("the tensors need %d bytes, the file has %d: it is cut short", end, size)
	}
	if end < size {
		return fmt.Errorf("%d bytes follow %s", size-end, last)
	}
	return nil
}
