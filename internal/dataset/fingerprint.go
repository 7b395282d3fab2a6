package dataset

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"

	"alfred/internal/config"
	"alfred/internal/dataset/source"
)

// fingerprint hashes what a set is made of, item by item, each on a line of its own.
type fingerprint struct{ h hash.Hash }

func newFingerprint(o Options, use source.Use) *fingerprint {
	f := &fingerprint{sha256.New()}
	f.line("alfred data 2")
	f.line("use %d max_len %d prompt_max_len %d eval_share %v loss_turns %q eod %d", use, o.MaxLen, o.PromptMaxLen, o.EvalShare, o.LossTurns, o.EOD)
	return f
}

func (f *fingerprint) line(format string, args ...any) { fmt.Fprintf(f.h, format+"\n", args...) }

// source adds one source: its settings, its template and its files in the order read. on_bad is left out, because malformed
// rows are never part of the samples.
func (f *fingerprint) source(spec config.Source, read interface {
	contents() ([32]byte, []source.File)
}) {
	languages := slices.Clone(spec.Languages)
	slices.Sort(languages)
	template, files := read.contents()
	f.line("source %q weight %v render %q shots %d use %q languages %q template %x", spec.Source, spec.Weight, spec.Render, spec.Shots, spec.Use, languages, template)
	for _, file := range files {
		f.line("file %x", file.SHA256)
	}
}

func (f *fingerprint) sum() string { return hex.EncodeToString(f.h.Sum(nil)) }

func (r *sourceRead[T]) contents() (template [32]byte, files []source.File) {
	return r.rendering.hash, r.tally.Files
}
