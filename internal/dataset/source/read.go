package source

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Spec says what to read and for what.
type Spec struct {
	Kind      Kind
	Files     []string // from Expand
	Use       Use
	Languages []string // keep only these; empty keeps all (oasst1, natinst)
	VocabSize int      // bound of given prompt_ids; 0 leaves it unchecked
}

// Read reads the files in order and hands each record to yield; an error of yield ends the read and is returned as it is.
// Counts go to tally. Records are in file order, which does not depend on the machine.
func Read(ctx context.Context, spec Spec, tally *Tally, yield func(*Record) error) error {
	if !spec.Kind.Serves(spec.Use) {
		return fmt.Errorf("%s holds no ranked responses: %w", spec.Kind, ErrData)
	}
	r := &reader{ctx: ctx, Spec: spec, tally: tally, yield: yield, ids: map[string]struct{}{}, folder: commonFolder(spec.Files)}
	var rows func(*stream) error
	finish := func() error { return nil }
	switch spec.Kind {
	case OASST1:
		o := &forest{reader: r, leftOut: map[string]struct{}{}}
		rows, finish = o.read, o.finish
	case HHRLHF:
		rows = r.eachLine(r.hhRow)
	case Dolly:
		rows = r.eachLine(r.dollyRow)
	case Prompts:
		rows = r.eachLine(r.promptRow)
	case Pairs:
		rows = r.eachLine(r.pairRow)
	case NatInst:
		rows = r.taskFile
	default:
		return fmt.Errorf("unknown source %q", spec.Kind)
	}
	for _, path := range spec.Files {
		if err := r.file(path, rows); err != nil {
			return err
		}
	}
	return finish()
}

// reader is the state of one Read.
type reader struct {
	Spec
	ctx    context.Context
	tally  *Tally
	yield  func(*Record) error
	ids    map[string]struct{} // record or message ids seen so far
	folder string              // where the names of files start in the ids of records
}

func (r *reader) file(path string, rows func(*stream) error) error {
	s, err := openStream(path)
	if err != nil {
		return err
	}
	defer s.Close()
	if s.Parquet && r.Kind != OASST1 {
		return s.fail(fmt.Errorf("%s is not read from parquet", r.Kind))
	}
	before := r.tally.Rows
	if err := rows(s); err != nil {
		return err
	}
	sum, err := s.Sum()
	if err != nil {
		return s.fail(err)
	}
	r.tally.Files = append(r.tally.Files, File{Path: path, SHA256: sum, Rows: r.tally.Rows - before})
	return nil
}

// eachLine makes a file reader out of a row reader. A problem that the row reader returns makes the row malformed.
func (r *reader) eachLine(row func(at Location, line []byte) (*problem, error)) func(*stream) error {
	return func(s *stream) error {
		l := &lines{s: s}
		for {
			line, err := l.next()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if err := r.ctx.Err(); err != nil {
				return err
			}
			at := Location{File: s.path, Number: l.number}
			if !l.tooLong && blankLine(line) {
				r.tally.Note(BlankLines, 1)
				continue
			}
			r.tally.Rows++
			var p *problem
			if l.tooLong {
				p = problemf(LineTooLong, "over %d MiB", maxLine>>20)
			} else if p, err = row(at, line); err != nil {
				return err
			}
			if p != nil {
				if err := r.tally.malformed(at, p); err != nil {
					return err
				}
			}
		}
	}
}

func blankLine(line []byte) bool {
	for _, c := range line {
		if c != ' ' && c != '\t' && c != '\r' {
			return false
		}
	}
	return true
}

// emit hands a record on, giving it an id of its own when the data gave none or gave it before.
func (r *reader) emit(rec *Record) error {
	if _, seen := r.ids[rec.ID]; rec.ID == "" || seen {
		if seen {
			r.tally.Note(RepeatedID, 1)
		}
		rec.ID = rec.At.below(r.folder)
	}
	r.ids[rec.ID] = struct{}{}
	return r.yield(rec)
}

// noteCRLF counts a row whose texts were given LF line ends.
func (r *reader) noteCRLF(o *object) {
	if o.crlf {
		r.tally.Note(CRLFInText, 1)
	}
}
