// Package dataset turns files of conversations, tasks and preferences into token sequences to train on, in an order that is a
// pure function of (seed, position).
//
// # Pipeline
//
//	read -> validate -> normalise (CRLF to LF) -> render -> tokenize -> length filter -> duplicates -> split -> mix
//
// Reading and validating is package source; its documentation says what happens to each class of bad row. Malformed rows are
// counted by reason with the place of the first few; when more than 1 % of a source's rows are malformed, Open fails with
// ErrTooManyBad. What the filters drop (length, language, duplicates, ...) is counted apart and never stops a run. Nothing is cut:
// a sample over the length limit is left out and counted.
//
// # Samples
//
// Open[SFT] makes token ids with a loss mask, Open[Ranked] ranked responses to a prompt, Open[Prompt] prompts for rollouts.
// A sequence is prompt ids, response ids, EOD; prompt and response are tokenised apart, so the ids that a policy is asked to continue
// are the ids that it was trained on. With the loss on all turns (Options.LossTurns) each assistant turn is tokenised apart, too.
// Text never becomes a control token: the tokenizer encodes "<|endoftext|>" in a user's text as plain text.
//
// # Renderings
//
// A rendering is a text/template file with two blocks, "prompt" and "response"; text outside of blocks is ignored. "prompt" is given
// .System, .Turns (each with .User and .Text), .Instruction and .Input (the same prompt seen as a task) and .Examples (each
// with .Input and .Output); "response" is given the text, and also renders the assistant's earlier turns. Functions: sentence (trims,
// and adds a full stop when no ASCII punctuation mark ends the text), trim, number (an index counted from 1). Built in: chat, instruction,
// few_shot, and plain for sources without a rendering. A rendering's identity is the SHA-256 of its file.
//
// # Order
//
// Stream.At(position) is the sample at a position of an endless stream. A schedule that repeats (mixture.go) gives the source that
// a position draws from, and j, the number of draws of that source before it. After any n draws a source of share w has been drawn
// more than n·w - 1 and fewer than n·w + 1 times. Draw j of a source with n samples is element j mod n of the source's own
// permutation number j div n (random.Key.Permutation under random.Data). So a run is resumed from its position alone, and a source is
// gone through once before any of its samples comes again.
//
// # Held out
//
// Options.EvalShare of the conversations is held out: those whose hash falls below the share. The hash is over the system message and
// the first user turn (of a task: instruction and input), not over their rendering, and takes no seed: all stages and sources hold
// out the same conversations, the order of rows does not matter, and responses to one prompt, messages of one tree or rows that are one
// conversation cut at different turns never stand on both sides.
package dataset
