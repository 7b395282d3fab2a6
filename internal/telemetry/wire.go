package telemetry

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// EventWriter is the sink that passes events to another process, one JSON object per line.
type EventWriter struct{ w io.Writer }

// NewEventWriter writes to w, unbuffered; w stays the caller's.
func NewEventWriter(w io.Writer) *EventWriter { return &EventWriter{w} }

// Name is "events".
func (w *EventWriter) Name() string { return "events" }

// Handle writes one line in one write.
func (w *EventWriter) Handle(e Event) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = w.w.Write(append(line, '\n'))
	return err
}

// Flush does nothing: nothing is held back.
func (w *EventWriter) Flush() error { return nil }

// Close does nothing: the writer is the caller's.
func (w *EventWriter) Close() error { return nil }

// ReadEvents calls handle for each event that an EventWriter wrote, until the end of r. Lines that are no events, such as
// the last words of a worker that crashed, go to other, without their line break; the count of neither is bounded.
func ReadEvents(r io.Reader, handle func(Event), other func(line []byte)) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		line = bytes.TrimRight(line, "\r\n")
		if len(line) > 0 {
			if e, ok := decodeEvent(line); ok {
				handle(e)
			} else {
				other(line)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read events: %w", err)
		}
	}
}

func decodeEvent(line []byte) (Event, bool) {
	var e Event
	if line[0] != '{' || json.Unmarshal(line, &e) != nil {
		return Event{}, false
	}
	set := 0
	for _, there := range []bool{e.Run != nil, e.Record != nil, e.Phase != nil, e.Progress != nil, e.Message != nil, e.Samples != nil} {
		if there {
			set++
		}
	}
	return e, set == 1
}
