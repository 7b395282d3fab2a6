package dataset

import (
	"context"
	"crypto/sha256"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"alfred/internal/config"
	"alfred/internal/dataset/source"
)

// batchRecords is how many records are rendered and tokenised in parallel at a time.
const batchRecords = 512

// identity is a hash of what makes two samples duplicates.
type identity [16]byte

// sourceRead is one source in memory.
type sourceRead[T Sample] struct {
	train     []T
	held      []placed[T]
	rendering *rendering
	tally     source.Tally
	report    SourceReport
}

// readSource takes one source through the pipeline. seen holds the identities of all samples so far: a later duplicate is
// dropped, also across sources.
func readSource[T Sample](ctx context.Context, spec config.Source, opts Options, seen map[identity]struct{}) (*sourceRead[T], error) {
	use := useOf[T]()
	if err := checkSpec(spec, use); err != nil {
		return nil, err
	}
	kind := source.Kind(spec.Source)
	rendering, err := newRendering(spec, opts.Root)
	if err != nil {
		return nil, err
	}
	files, ignored, err := source.Expand(opts.Root, spec.Path, kind)
	if err != nil {
		return nil, err
	}
	r := &sourceRead[T]{rendering: rendering}
	r.tally.StopOnBad = spec.OnBad == "stop"
	s := sink[T]{sourceRead: r, builder: newBuilder(rendering, opts, spec.Source), seen: seen, share: opts.EvalShare}
	err = source.Read(ctx, source.Spec{Kind: kind, Files: files, Use: use, Languages: spec.Languages, VocabSize: opts.VocabSize}, &r.tally, s.add)
	if err == nil {
		err = s.flush()
	}
	r.report = s.summary(spec, ignored)
	if err != nil {
		return r, err
	}
	return r, r.judge()
}

// judge applies the rules on what a source must hold once it is read.
func (r *sourceRead[T]) judge() error {
	t := &r.tally
	if float64(t.MalformedRows) > mostMalformed*float64(t.Rows) {
		text := fmt.Sprintf("%d of %d rows are malformed (%.2f %%, the limit is 1 %%): %s",
			t.MalformedRows, t.Rows, 100*float64(t.MalformedRows)/float64(t.Rows), source.Counts(t.Malformed))
		for _, e := range t.Examples {
			text += "\n  " + e
		}
		return fmt.Errorf("%s\n  mend or remove these rows: %w", text, ErrTooManyBad)
	}
	if len(r.train) == 0 {
		why := ""
		if len(t.Dropped) > 0 {
			why = "; dropped: " + source.Counts(t.Dropped)
		}
		if len(r.held) > 0 {
			why += fmt.Sprintf("; all %d samples that passed are held out by eval_share", len(r.held))
		}
		return fmt.Errorf("no training sample is left of %d rows in %d files%s: %w", t.Rows, len(t.Files), why, ErrData)
	}
	return nil
}

// sink builds records into samples and sorts out what to keep. Records are built in parallel and judged in order.
type sink[T Sample] struct {
	*sourceRead[T]
	builder *builder
	seen    map[identity]struct{}
	share   float64

	pending []*source.Record
	lengths []int // tokens of every kept sequence
	shown   []T   // the first kept samples
}

func (s *sink[T]) add(rec *source.Record) error {
	if s.pending = append(s.pending, rec); len(s.pending) < batchRecords {
		return nil
	}
	return s.flush()
}

func (s *sink[T]) flush() error {
	results := make([]built[T], len(s.pending))
	ids := make([]identity, len(s.pending))
	var group errgroup.Group
	workers := min(runtime.GOMAXPROCS(0), len(s.pending))
	for w := range workers {
		group.Go(func() error {
			for i := w; i < len(s.pending); i += workers {
				var err error
				if results[i], err = build[T](s.builder, s.pending[i]); err != nil {
					return err
				}
				if results[i].drop == "" {
					h := sha256.New()
					results[i].sample.identify(h)
					copy(ids[i][:], h.Sum(nil))
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i := range results {
		s.judgeSample(&results[i], ids[i])
	}
	s.pending = s.pending[:0]
	return nil
}

func (s *sink[T]) judgeSample(b *built[T], id identity) {
	if b.drop != "" {
		s.tally.Drop(b.drop, 1)
		return
	}
	if _, twice := s.seen[id]; twice {
		s.tally.Drop(Duplicate, 1)
		return
	}
	s.seen[id] = struct{}{}
	for reason, n := range b.notes {
		s.tally.Note(reason, n)
	}
	s.lengths = append(s.lengths, b.sample.lengths()...)
	if len(s.shown) < shownSamples {
		s.shown = append(s.shown, b.sample)
	}
	if hash := splitHash(b.key); hash < s.share {
		s.held = append(s.held, placed[T]{b.sample, hash})
	} else {
		s.train = append(s.train, b.sample)
	}
}
