package main

import (
	"context"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"alfred/internal/checkpoint"
	"alfred/internal/tokenizer"
)

// TokenizeOptions are the flags of tokenize.
type TokenizeOptions struct {
	Tokenizer string
	Decode    bool
	Special   bool
}

// AddFlags adds the flags to a flag set.
func (o *TokenizeOptions) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Tokenizer, "tokenizer", "", "tokenizer.json, or a directory or run with one (`path`)")
	f.BoolVar(&o.Decode, "decode", false, "turn ids back into text")
	f.BoolVar(&o.Special, "special", false, "read the text of special tokens, such as <|endoftext|>, as those tokens; without it, it is text like any other")
}

func newTokenizeCommand(a *app) *cobra.Command {
	var opts TokenizeOptions
	cmd := &cobra.Command{
		Use:   "tokenize --tokenizer PATH",
		Short: "Turn text into token ids, and back",
		Long: `Turn lines {"text": "..."} on standard input into lines {"ids": [...]} on standard output, or back with --decode. An "id" is passed on.

Each line is answered before the next one is waited for, so the command can serve another program through two pipes. A bad line ends
it with an error that names the line; the lines before it have been answered by then.` + exitHelp(exitUsage, exitData, exitModel, exitStorage, exitPipe),
		Example: `  echo '{"text": "Hello there."}' | alfred tokenize --tokenizer models/base
  alfred tokenize --tokenizer tokenizer.json < texts.jsonl > ids.jsonl
  alfred tokenize --tokenizer tokenizer.json --decode < ids.jsonl`,
		Args: flagInstead("tokenizer"),
		RunE: a.action(func(ctx context.Context) error { return runTokenize(ctx, a, opts) }),
	}
	opts.AddFlags(cmd.Flags())
	require(cmd, "tokenizer")
	return cmd
}

func runTokenize(ctx context.Context, a *app, opts TokenizeOptions) error {
	if opts.Decode && opts.Special {
		return failf(exitUsage, "--special is about reading text, and there is none to read with --decode")
	}
	tok, err := loadTokenizer(opts.Tokenizer)
	if err != nil {
		return err
	}
	c := &converter{tok: tok, special: opts.Special}
	convert := c.encode
	if opts.Decode {
		convert = c.decode
	}
	in, _, err := a.openLines(ctx, "-")
	if err != nil {
		return err
	}
	out, err := a.openOutput("-")
	if err != nil {
		return err
	}
	err = c.each(in, out, convert)
	if c.losses > 0 {
		a.log().Warn(c.lossText(opts.Decode), "bytes", c.losses, "first_line", c.firstLoss, "lines", c.lossyLines)
	}
	return errors.Join(err, out.commit())
}

// converter turns lines into lines, and counts what the result cannot hold.
type converter struct {
	tok                           *tokenizer.Tokenizer
	special                       bool
	losses, lossyLines, firstLoss int
}

func (c *converter) each(in *lineReader, out *output, convert func(row, []byte) ([]byte, error)) error {
	var line []byte
	for {
		if in.waits() {
			if err := out.flush(); err != nil {
				return err
			}
		}
		r, err := in.next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = r.parse()
		}
		if err == nil {
			line, err = convert(r, line[:0])
		}
		if err != nil {
			return err
		}
		if _, err := out.Write(line); err != nil {
			return err
		}
	}
}

func (c *converter) encode(r row, line []byte) ([]byte, error) {
	text, err := r.text("text")
	if err != nil {
		return nil, err
	}
	line, err = begin(r, line)
	if err != nil {
		return nil, err
	}
	if c.special {
		line = appendIDs(append(line, `"ids":`...), c.tok.EncodeSpecial(text))
	} else {
		line = appendIDs(append(line, `"ids":`...), c.tok.Encode(text))
	}
	c.lost(r, c.tok.Dropped(text))
	return append(line, '}', '\n'), nil
}

func (c *converter) decode(r row, line []byte) ([]byte, error) {
	ids, err := r.ids("ids")
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if _, known := c.tok.TokenText(id); !known {
			return nil, r.errorf("the tokenizer has no token %d", id)
		}
	}
	if line, err = begin(r, line); err != nil {
		return nil, err
	}
	bytes := c.tok.DecodeBytes(ids)
	if !utf8.Valid(bytes) {
		n := 0
		for rest := bytes; len(rest) > 0; {
			char, size := utf8.DecodeRune(rest)
			if char == utf8.RuneError && size == 1 {
				n++
			}
			rest = rest[size:]
		}
		c.lost(r, n)
	}
	text, err := encodeLine(c.tok.Decode(ids))
	if err != nil {
		return nil, err
	}
	line = append(append(line, `"text":`...), text[:len(text)-1]...)
	return append(line, '}', '\n'), nil
}

// begin starts a line with the id of the row, if it has one.
func begin(r row, line []byte) ([]byte, error) {
	line = append(line, '{')
	if !r.has("id") {
		return line, nil
	}
	id, err := r.id()
	if err != nil {
		return nil, err
	}
	return append(append(append(line, `"id":`...), id...), ','), nil
}

// lost counts n bytes of a row that its result does not hold.
func (c *converter) lost(r row, n int) {
	if n == 0 {
		return
	}
	if c.losses == 0 {
		c.firstLoss = r.number
	}
	c.losses += n
	c.lossyLines++
}

func (c *converter) lossText(decode bool) string {
	if decode {
		return "bytes that are not UTF-8 became U+FFFD"
	}
	return "bytes that the tokenizer has no token for were left out"
}

// loadTokenizer reads a tokenizer.json, or that of a directory, a run or a checkpoint.
func loadTokenizer(path string) (*tokenizer.Tokenizer, error) {
	files, err := checkpoint.TokenizerFiles(path)
	if err != nil {
		return nil, fail(exitModel, err)
	}
	for _, f := range files {
		if f.Name == "tokenizer.json" {
			tok, err := tokenizer.Load(f.Path)
			return tok, fail(exitModel, err)
		}
	}
	return nil, failf(exitModel, "%s has no tokenizer.json", path)
}
