package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"alfred/internal/rlhf"
	"alfred/internal/telemetry"
)

// deafSink is a file that takes nothing.
type deafSink struct{ err error }

func (s deafSink) Name() string                 { return "metrics.jsonl" }
func (s deafSink) Handle(telemetry.Event) error { return s.err }
func (s deafSink) Flush() error                 { return s.err }
func (s deafSink) Close() error                 { return nil }

// What the files of a run miss is told however the run ends; what only has to wait is not missed.
func TestLostEventsAreTold(t *testing.T) {
	full := error(syscall.ENOSPC)
	stopped := fmt.Errorf("%w in runs/x", rlhf.ErrStopped)
	for what, c := range map[string]struct {
		sink, ended error
		code        int
		lost        bool
	}{
		"done":             {full, nil, exitStorage, true},
		"stopped":          {full, stopped, exitStopped, true},
		"failed":           {full, errors.New("failed"), exitBug, true},
		"delayed":          {fmt.Errorf("%w; %w", full, telemetry.ErrDelayed), nil, exitDone, false},
		"nothing happened": {nil, stopped, exitStopped, false},
	} {
		var errs bytes.Buffer
		a := &app{process: process{stderr: &errs}}
		a.openRecorder(telemetry.ConsoleOptions{})
		a.recorder.Add(deafSink{c.sink})
		a.recorder.Step(1, telemetry.Metrics{}, 0)
		if warned := strings.Contains(errs.String(), full.Error()); warned != (c.sink != nil) {
			t.Errorf("%s: warned %v: %s", what, warned, errs.String())
		}
		a.closeRecorder()
		errs.Reset()
		code := a.report(c.ended)
		said := errs.String()
		if code != c.code || strings.Contains(said, "metrics.jsonl misses events") != c.lost || c.ended != nil && !strings.Contains(said, c.ended.Error()) {
			t.Errorf("%s: code %d, want %d\n%s", what, code, c.code, said)
		}
	}
}

// TestNoColour: https://no-color.org, a variable that is set and not empty.
func TestNoColour(t *testing.T) {
	for value, want := range map[string]bool{"": false, "1": true, "0": true} {
		t.Setenv("NO_COLOR", value)
		if got := new(app).consoleOptions(telemetry.ConsoleOptions{}).NoColor; got != want {
			t.Errorf("NO_COLOR=%q: %v", value, got)
		}
	}
}

// TestKilledBeforeItsFirstCheckpoint starts a killed run again: it starts over, and TensorBoard does not show its first steps twice.
func TestKilledBeforeItsFirstCheckpoint(t *testing.T) {
	run := filepath.Join(t.TempDir(), "run")
	cmd, text := longRun(t, run)
	for text.Scan() && !strings.Contains(text.Text(), "3/100000") { // as many steps as the second run has
	}
	cmd.Process.Kill()
	if code := ended(t, cmd); code != -1-9 {
		t.Fatalf("exit code %d", code)
	}
	must(t, "", "train", "--config", trained(t).train, "--set", "run.dir="+run, "--set", "trainer.max_steps=3")
	if got := boardSteps(t, filepath.Join(run, "tensorboard")); !slices.Equal(got, []uint64{1, 2, 3}) {
		t.Errorf("TensorBoard shows the steps %v", got)
	}
}

// boardSteps are the steps whose scalars TensorBoard shows: it reads files in the order of their names, and forgets at a session's
// start what it knows of that step and later ones. Fields of tensorflow/core/util/event.proto: 2 step, 5 summary, 7 session log.
func boardSteps(t testing.TB, dir string) (steps []uint64) {
	t.Helper()
	files, err := fs.Glob(os.DirFS(dir), "events.out.tfevents.*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no event files in %s: %v", dir, err)
	}
	for _, name := range files {
		data := []byte(read(t, filepath.Join(dir, name)))
		for len(data) >= 12 {
			size := binary.LittleEndian.Uint64(data)
			if uint64(len(data)) < 16+size {
				break // a killed process has left half an event
			}
			step, fields := eventStep(t, data[12:12+size])
			if fields[7] {
				steps = slices.DeleteFunc(steps, func(s uint64) bool { return s >= step })
			}
			if fields[5] {
				steps = append(steps, step)
			}
			data = data[16+size:]
		}
	}
	return steps
}

// eventStep reads which step an event is about and which fields it has.
func eventStep(t testing.TB, event []byte) (step uint64, fields map[uint64]bool) {
	t.Helper()
	fields = map[uint64]bool{}
	for len(event) > 0 {
		key, n := binary.Uvarint(event)
		event, fields[key>>3] = event[n:], true
		switch key & 7 {
		case 0:
			value, n := binary.Uvarint(event)
			if key>>3 == 2 {
				step = value
			}
			event = event[n:]
		case 1:
			event = event[8:]
		case 2:
			size, n := binary.Uvarint(event)
			event = event[n+int(size):]
		default:
			t.Fatalf("wire type %d", key&7)
		}
	}
	return step, fields
}
