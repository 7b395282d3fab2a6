// Package rundir knows what lies where in a run directory, which looks the same for every stage, and lets one process at a
// time write to it.
package rundir

import (
	"fmt"
	"os"
	"path/filepath"
)

// Dir is the path of a run directory.
type Dir string

// Config is the effective configuration.
func (d Dir) Config() string { return d.join("config.yaml") }

// Metrics is one JSON object per step, without wall-clock fields.
func (d Dir) Metrics() string { return d.join("metrics.jsonl") }

// Timing is one JSON object per step with what depends on the clock.
func (d Dir) Timing() string { return d.join("timing.jsonl") }

// Report is the self-contained page about the run.
func (d Dir) Report() string { return d.join("report.html") }

// TensorBoard is the folder of event files.
func (d Dir) TensorBoard() string { return d.join("tensorboard") }

// Trajectories is the folder of recorded rollouts.
func (d Dir) Trajectories() string { return d.join("trajectories") }

// TrajectoryFile is the record of one iteration; the first is 1. Name order is the order of iterations.
func (d Dir) TrajectoryFile(iteration int) string {
	return filepath.Join(d.Trajectories(), fmt.Sprintf("%06d.jsonl", iteration))
}

// Checkpoints is the folder of checkpoints.
func (d Dir) Checkpoints() string { return d.join("checkpoints") }

// Crash is the folder of crash reports.
func (d Dir) Crash() string { return d.join("crash") }

func (d Dir) join(name string) string { return filepath.Join(string(d), name) }

func (d Dir) lockFile() string { return d.join("lock") }

// Used reports whether a run has left anything here besides a lock and its configuration: a new run would mix with it.
// Errors wrap ErrStorage.
func (d Dir) Used() (bool, error) {
	for _, path := range []string{d.Metrics(), d.Timing(), d.Checkpoints(), d.Trajectories(), d.TensorBoard()} {
		switch _, err := os.Lstat(path); {
		case err == nil:
			return true, nil
		case !os.IsNotExist(err):
			return false, fmt.Errorf("%w: %w", ErrStorage, err)
		}
	}
	return false, nil
}
