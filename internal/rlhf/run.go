package rlhf

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"alfred/internal/backend"
	"alfred/internal/checkpoint"
	"alfred/internal/checkpoint/storage"
	"alfred/internal/collective/inproc"
	"alfred/internal/config"
	"alfred/internal/mesh"
	"alfred/internal/rundir"
	"alfred/internal/telemetry"
)

// Env is what a run needs from outside.
type Env struct {
	// Device makes the device of this process, which its ranks share. threads is the configuration's; 0 means one per core.
	Device   func(threads int) (backend.Device, error)
	Recorder *telemetry.Recorder // may be nil
	// Stop is closed to ask for the run to save and end after the step in progress, or at once before the first one.
	Stop <-chan struct{}
	// Resume is auto (the newest good checkpoint of the run directory, if there is one), never, or another run's directory.
	Resume string
	// DryRun opens everything, plans the memory, reports, and trains nothing.
	DryRun bool
}

// run is a training run of this process.
type run struct {
	cfg  *config.Config
	env  Env
	log  *slog.Logger
	mesh mesh.Mesh
	dir  rundir.Dir
	in   *inputs
	from *checkpoint.Checkpoint // nil for a new run
	st   *State

	origin string // another run, that this one started from because it was told so

	planned int // bytes that the process is expected to hold at its peak
}

// Train runs the stage that the configuration describes, from its newest checkpoint if there is one. A run that was asked to
// stop ends with ErrStopped.
func Train(ctx context.Context, cfg *config.Config, env Env) error {
	r := &run{cfg: cfg, env: env, dir: rundir.Dir(cfg.Run.Dir), log: slog.New(slog.DiscardHandler)}
	if env.Recorder != nil {
		r.log = slog.New(env.Recorder.Handler(slog.LevelInfo))
	}
	ctx, begun := untilBegun(ctx, env.Stop)
	defer begun()
	err := r.train(ctx, begun)
	if err != nil && errors.Is(context.Cause(ctx), ErrStopped) { // what else was reported comes of that
		return ErrStopped
	}
	return err
}

// untilBegun is a context that a request to stop ends until begun is called: what comes before the first step need not be finished.
func untilBegun(ctx context.Context, stop <-chan struct{}) (_ context.Context, begun func()) {
	ctx, end := context.WithCancelCause(ctx)
	underway := make(chan struct{})
	go func() {
		select {
		case <-stop:
			end(ErrStopped)
		case <-underway:
		}
	}()
	return ctx, sync.OnceFunc(func() { close(underway) })
}

func (r *run) train(ctx context.Context, begun func()) (err error) {
	if err := r.cfg.Runnable(); err != nil {
		return err
	}
	if r.mesh, err = meshOf(r.cfg); err != nil {
		return err
	}
	if !r.env.DryRun {
		lock, err := r.dir.Lock()
		if err != nil {
			return err
		}
		defer lock.Unlock()
		if lock.Stale != nil {
			r.log.Warn("took over the lock of a process that is gone", "holder", lock.Stale.String())
		}
	}
	if err := r.findCheckpoint(); err != nil {
		return err
	}
	if r.in, err = openInputs(ctx, r.cfg); err != nil {
		return err
	}
	defer r.in.close()
	r.in.dir = r.dir
	for _, w := range r.in.warnings {
		r.log.Warn(w)
	}
	r.announceData()
	if err := r.restoreState(); err != nil {
		return err
	}
	device, err := r.env.Device(r.cfg.Device.Threads)
	if err != nil {
		return err
	}
	sizes, err := r.plan(ctx, device, physicalMemory())
	if err != nil {
		return err
	}
	if err := r.announce(sizes); err != nil || r.env.DryRun {
		return err
	}
	if steps := r.in.steps(); r.st.Step >= steps {
		r.log.Info("nothing to do: the run is complete", "step", r.st.Step, "of", steps, "checkpoint", r.from.Dir)
		return nil
	}
	if err := r.openFiles(); err != nil {
		return err
	}
	world := inproc.NewWorld(r.mesh.Ranks())
	err = world.Run(func(id int) error { return r.rank(ctx, device, world, id, sizes[id], begun) })
	r.reportMemory()
	return err
}

// rank is the life of one rank.
func (r *run) rank(ctx context.Context, device backend.Device, world *inproc.World, id int, size memory, begun func()) error {
	rk, err := newRank(r.in, r.env, device, world, r.mesh, id, size)
	if err != nil {
		return err
	}
	t, err := newStage(rk)
	if err != nil {
		return err
	}
	if err := t.load(r.from != nil); err != nil {
		return err
	}
	if err := r.restoreModels(rk, t); err != nil {
		return err
	}
	if err := rk.stream.Sync(); err != nil {
		return err
	}
	saver := &checkpoint.Saver{Dir: r.dir.Checkpoints(), Keep: r.cfg.Checkpoint.Keep, Mesh: r.mesh, World: rk.world}
	st := r.st.clone() // each rank advances its own, and they stay equal
	save := func(final bool) (bool, error) { return rk.save(saver, t, st, configHash(r.cfg), final) }
	return rk.loop(ctx, t, st, r.in.steps(), r.env.Stop, begun, save)
}

// save writes a checkpoint once everything that was recorded is on disk. A failure can be passed over only while another one will
// be tried: that of the final one would lose work without a word.
func (r *rank) save(saver *checkpoint.Saver, t stage, st *State, hash string, final bool) (done bool, err error) {
	snapshot := checkpoint.Snapshot{Stage: r.cfg.Stage, Step: st.Step, ConfigHash: hash, State: st, Assets: r.in.tokenizerFiles}
	for _, m := range t.trained() {
		cfg := m.config
		cfg.Role = m.role
		cfg.DType = r.cfg.Model.Precision
		if r.in.tokenizer != nil {
			cfg = checkpoint.Padded(cfg, r.in.tokenizer)
		}
		snapshot.Models = append(snapshot.Models, checkpoint.Trained{Name: m.role, Config: cfg, Store: m.stage.Params, Optimizer: m.opt})
	}
	end := r.rec.Phase("checkpoint")
	if err = r.flush(); err == nil {
		_, err = saver.Save(r.stream, snapshot)
	}
	end(0)
	if err != nil && !final && errors.Is(err, checkpoint.ErrStorage) && r.cfg.Checkpoint.OnError == "continue" {
		st.FailedSaves++
		r.log.Error("checkpoint failed, the next one will be tried (checkpoint.on_error: continue)", "step", st.Step, "failed so far", st.FailedSaves, "error", err)
		return false, nil
	}
	if err == nil && final {
		r.log.Info("saved", "step", st.Step, "of", r.in.steps(), "checkpoint", filepath.Join(saver.Dir, checkpoint.Name(st.Step)))
	}
	return err == nil, err
}

// flush stores what rank 0 has recorded, and tells every rank whether that failed: they save together or not at all.
func (r *rank) flush() error {
	err := r.rec.Flush()
	failed, disagree := r.agree(err != nil)
	switch {
	case disagree != nil:
		return disagree
	case failed && err == nil:
		err = errors.New("another rank could not store what it has recorded")
	case !failed:
		return nil
	}
	return fmt.Errorf("%w: %w", checkpoint.ErrStorage, err)
}

// openFiles starts the files of the run directory, cut back to the step that the run goes on from.
func (r *run) openFiles() error {
	write := func(w io.Writer) error { _, err := w.Write(r.cfg.YAML()); return err }
	if err := errors.Join(storage.WriteFile(storage.OS, r.dir.Config(), write), r.cutTrajectories()); err != nil {
		return fmt.Errorf("%w: %w", checkpoint.ErrStorage, err)
	}
	if r.env.Recorder == nil {
		return nil
	}
	keep := r.st.Step
	if r.from == nil {
		keep = -1
	}
	add := func(s telemetry.Sink, err error) error {
		if err != nil {
			return fmt.Errorf("%w: %w", checkpoint.ErrStorage, err)
		}
		r.env.Recorder.Add(s)
		return nil
	}
	metrics, _, err := telemetry.OpenMetrics(r.dir.Metrics(), keep)
	if err := add(metrics, err); err != nil {
		return err
	}
	timing, _, err := telemetry.OpenTiming(r.dir.Timing(), keep)
	if err := add(timing, err); err != nil {
		return err
	}
	if r.cfg.Log.TensorBoard {
		board, err := telemetry.OpenTensorBoard(r.dir.TensorBoard(), keep, time.Now())
		if err := add(board, err); err != nil {
			return err
		}
	}
	unit := telemetry.Step
	if r.cfg.Stage == config.PPO {
		unit = telemetry.Iteration
	}
	r.env.Recorder.Begin(telemetry.Run{Name: r.cfg.Run.Name, Stage: r.cfg.Stage, Unit: unit, Done: r.st.Step, Total: r.in.steps()})
	return nil
}

// configHash identifies the effective configuration in manifests.
func configHash(cfg *config.Config) string {
	sum := sha256.Sum256(cfg.YAML())
	return hex.EncodeToString(sum[:])
}
