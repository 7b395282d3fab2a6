package telemetry

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// TensorBoard is the sink of TensorBoard's event files: a scalar per metric and record, under the metric's name (lists by
// their mean); the step's timing under timing/; sample tables as text.
type TensorBoard struct {
	file *appendFile
	path string
}

// Field numbers of tensorflow/core/util/event.proto, framework/summary.proto, tensor.proto and tensor_shape.proto.
const (
	eventWallTime    = 1
	eventStep        = 2
	eventFileVersion = 3
	eventSummary     = 5
	eventSessionLog  = 7
	sessionLogStatus = 1
	sessionLogStart  = 1 // value of the status
	summaryValue     = 1
	valueTag         = 1
	valueSimple      = 2
	valueTensor      = 8
	valueMetadata    = 9
	metadataPlugin   = 1
	pluginName       = 1
	tensorDType      = 1
	tensorShape      = 2
	tensorString     = 8
	dtypeString      = 7 // value of the dtype
	shapeDim         = 2
	dimSize          = 1
)

// OpenTensorBoard starts a new event file in a directory, which is created if need be. It says that the run goes on after step
// keep, and TensorBoard forgets what earlier files hold about later steps; a new run, or one that starts over, keeps -1.
func OpenTensorBoard(dir string, keep int, now time.Time) (*TensorBoard, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("tensorboard: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	host = strings.ReplaceAll(host, string(filepath.Separator), "_")
	second, err := nextSecond(dir, now)
	if err != nil {
		return nil, fmt.Errorf("tensorboard: %w", err)
	}
	t := &TensorBoard{path: filepath.Join(dir, fmt.Sprintf("%s%010d.%s.%d", eventFilePrefix, second, host, os.Getpid()))}
	if t.file, err = openAppend(t.path, os.O_EXCL); err != nil {
		return nil, fmt.Errorf("tensorboard: %w", err)
	}
	start := proto(nil).varint(sessionLogStatus, sessionLogStart)
	err = errors.Join(
		t.write(now, 0, proto(nil).string(eventFileVersion, "brain.Event:2")),
		t.write(now, keep+1, proto(nil).bytes(eventSessionLog, start)),
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("tensorboard: %w", err), t.file.f.Close())
	}
	return t, nil
}

const eventFilePrefix = "events.out.tfevents."

// nextSecond is the Unix time for a new event file's name. TensorBoard reads files in the order of their names, so it is later than
// those of the files that are there, whatever the clocks say that those were named by.
func nextSecond(dir string, now time.Time) (int64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	second := now.Unix()
	for _, e := range entries {
		at, _, _ := strings.Cut(strings.TrimPrefix(e.Name(), eventFilePrefix), ".")
		if s, err := strconv.ParseInt(at, 10, 64); err == nil && len(at) == 10 { // others are not ours
			second = max(second, s+1)
		}
	}
	return second, nil
}

// Name is "tensorboard".
func (t *TensorBoard) Name() string { return "tensorboard" }

// Path is the event file's.
func (t *TensorBoard) Path() string { return t.path }

// Handle writes records and samples, each in one write, so that a reader never waits for half an event.
func (t *TensorBoard) Handle(e Event) error {
	var summary proto
	index := 0
	switch {
	case e.Record != nil:
		index = e.Record.Index
		for name, v := range e.Record.Metrics.All() {
			summary = summary.scalar(string(name), v.Scalar())
		}
		timing := e.Record.Timing
		summary = summary.scalar("timing/seconds", timing.Seconds)
		if rate := timing.TokensPerSecond(); rate > 0 {
			summary = summary.scalar("timing/tokens_per_second", rate)
		}
		for _, p := range timing.Phases {
			summary = summary.scalar("timing/"+p.Name, p.Seconds)
		}
	case e.Samples != nil:
		index = e.Samples.Index
		summary = summary.text("samples", e.Samples.Table.Markdown())
	default:
		return nil
	}
	return t.write(e.Time, index, proto(nil).bytes(eventSummary, summary))
}

// Flush makes the events durable.
func (t *TensorBoard) Flush() error { return t.file.flush() }

// Close flushes and closes the file.
func (t *TensorBoard) Close() error { return t.file.close() }

func (t *TensorBoard) write(at time.Time, index int, payload proto) error {
	event := proto(nil).double(eventWallTime, float64(at.UnixMicro())/1e6)
	if index != 0 { // 0 is what a field that is left out means
		event = event.varint(eventStep, uint64(index))
	}
	return t.file.append(appendTFRecord(nil, append(event, payload...)))
}

// scalar appends a summary value; TensorBoard's scalars are float32.
func (p proto) scalar(tag string, x float64) proto {
	return p.bytes(summaryValue, proto(nil).string(valueTag, tag).float(valueSimple, float32(x)))
}

// text appends a summary value for the text plugin: a string tensor of shape [1], read as Markdown.
func (p proto) text(tag, markdown string) proto {
	dim := proto(nil).varint(dimSize, 1)
	shape := proto(nil).bytes(shapeDim, dim)
	tensor := proto(nil).varint(tensorDType, dtypeString).bytes(tensorShape, shape).string(tensorString, markdown)
	plugin := proto(nil).string(pluginName, "text")
	metadata := proto(nil).bytes(metadataPlugin, plugin)
	value := proto(nil).string(valueTag, tag+"/text_summary").bytes(valueTensor, tensor).bytes(valueMetadata, metadata)
	return p.bytes(summaryValue, value)
}
