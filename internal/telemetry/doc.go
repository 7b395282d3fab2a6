// Package telemetry carries what a run tells the world: metrics of a step, timings of its phases, progress inside a step,
// log messages and sample tables.
//
// Everything is an Event, a plain value that survives JSON, so a supervising process can render what a worker says. The
// training code holds a *Recorder, which numbers nothing, knows no format and may be nil (it then says nothing: ranks
// other than 0 pass nil); it hands each event to its sinks, one at a time and in order:
//
//	Console       standard error: one line per step or a live bar; or one JSON object per line
//	MetricsFile   metrics.jsonl: one object per step, no clock in it, the same bytes run after run
//	TimingFile    timing.jsonl: seconds and tokens per second of the same steps
//	TensorBoard   event files with the same names
//	EventWriter   the events themselves, for another process (ReadEvents)
//
// A sink that fails does not stop a run by itself: its first error is reported, all are counted, and Recorder.Err tells. What a
// file does not take waits in memory (ErrDelayed); Recorder.Flush fails until it is stored, so a checkpoint, which a later run
// continues from, never knows of steps that the files miss.
package telemetry
