package telemetry

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
)

// MetricsFile is the sink of metrics.jsonl: one object per record, first the step under its unit's name, then the
// metrics in the order of Definitions. It holds nothing that depends on the clock, so the same run writes the same bytes.
//
//	{"iteration":12,"lr_policy":1.85e-06,"score_mean":0.83,"value_loss":[0.2,0.1],...}
type MetricsFile struct{ lineFile }

// TimingFile is the sink of timing.jsonl: seconds, tokens, tokens per second and the seconds of each phase, per record.
//
//	{"iteration":12,"seconds":3.2,"tokens":2600,"tokens_per_second":812.5,"phases":{"rollout":2.1,"policy_update":0.6}}
type TimingFile struct{ lineFile }

// lineFile is a file of JSON lines.
type lineFile struct {
	name string
	file *appendFile
}

// OpenMetrics opens or creates a metrics file for a run that goes on after step keep: later lines are cut off first, as
// CutBack does. A new run keeps -1.
func OpenMetrics(path string, keep int) (*MetricsFile, Cut, error) {
	f, cut, err := openLines(path, keep)
	if err != nil {
		return nil, cut, err
	}
	return &MetricsFile{f}, cut, nil
}

// OpenTiming is OpenMetrics for a timing file.
func OpenTiming(path string, keep int) (*TimingFile, Cut, error) {
	f, cut, err := openLines(path, keep)
	if err != nil {
		return nil, cut, err
	}
	return &TimingFile{f}, cut, nil
}

func openLines(path string, keep int) (lineFile, Cut, error) {
	cut, err := CutBack(path, keep)
	if err != nil {
		return lineFile{}, cut, err
	}
	f, err := openAppend(path, 0)
	if err != nil {
		return lineFile{}, cut, err
	}
	return lineFile{name: filepath.Base(path), file: f}, cut, nil
}

// Name is the file's name.
func (l *lineFile) Name() string { return l.name }

// Flush makes the lines durable.
func (l *lineFile) Flush() error { return l.file.flush() }

// Close flushes and closes the file.
func (l *lineFile) Close() error { return l.file.close() }

// Handle writes a record's metrics as one line.
func (m *MetricsFile) Handle(e Event) error {
	if e.Record == nil {
		return nil
	}
	return m.file.append(appendRecordLine(nil, e.Record))
}

// Handle writes a record's timing as one line.
func (t *TimingFile) Handle(e Event) error {
	if e.Record == nil {
		return nil
	}
	return t.file.append(appendTimingLine(nil, e.Record))
}

func appendStepField(b []byte, r *Record) []byte {
	b = appendKey(b, string(unitOf(r)))
	b[0] = '{'
	return strconv.AppendInt(b, int64(r.Index), 10)
}

func unitOf(r *Record) Unit {
	if r.Unit == "" {
		return Step
	}
	return r.Unit
}

func appendRecordLine(b []byte, r *Record) []byte {
	b = appendStepField(b, r)
	b = r.Metrics.appendFields(b)
	return append(b, '}', '\n')
}

func appendTimingLine(b []byte, r *Record) []byte {
	b = appendStepField(b, r)
	b = appendFloat(appendKey(b, "seconds"), r.Timing.Seconds)
	b = strconv.AppendInt(appendKey(b, "tokens"), r.Timing.Tokens, 10)
	b = appendFloat(appendKey(b, "tokens_per_second"), r.Timing.TokensPerSecond())
	if len(r.Timing.Phases) > 0 {
		var phases []byte
		for _, p := range r.Timing.Phases {
			phases = appendFloat(appendKey(phases, p.Name), p.Seconds)
		}
		phases[0] = '{'
		b = append(appendKey(b, "phases"), append(phases, '}')...)
	}
	return append(b, '}', '\n')
}

// DecodeRecord reads one line of a metrics file.
func DecodeRecord(line []byte) (Record, error) {
	fields, unit, index, err := decodeStep(line)
	if err != nil {
		return Record{}, err
	}
	delete(fields, string(unit))
	r := Record{Unit: unit, Index: index}
	return r, r.Metrics.read(fields)
}

// decodeStep reads a line's fields and which step it is about.
func decodeStep(line []byte) (fields map[string]json.RawMessage, unit Unit, index int, err error) {
	if err := json.Unmarshal(line, &fields); err != nil {
		return nil, "", 0, err
	}
	iteration, isIteration := fields[string(Iteration)]
	step, isStep := fields[string(Step)]
	raw := step
	switch {
	case isIteration == isStep:
		return nil, "", 0, fmt.Errorf("want either %q or %q among its keys", Iteration, Step)
	case isIteration:
		unit, raw = Iteration, iteration
	default:
		unit = Step
	}
	index, err = strconv.Atoi(string(raw))
	if err != nil || index < 0 {
		return nil, "", 0, fmt.Errorf("%s is %.40q, want a count", unit, raw)
	}
	return fields, unit, index, nil
}
