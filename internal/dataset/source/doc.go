// Package source reads conversations, tasks and preference data from files into one record type.
//
// Formats: Open-Assistant exports (conversation trees or flat messages, JSONL or parquet), Anthropic hh-rlhf transcripts,
// databricks-dolly rows, Natural Instructions v2 task files, and the project's own prompts and preference pairs.
// Files are plain, gzip or zstd (told apart by their first bytes) and are streamed line by line; every byte that is read is hashed.
//
// What happens to bad input, class by class:
//
//	broken JSON line, not an object, missing field, wrong type      malformed row
//	a key that comes twice in one object                            malformed row
//	invalid UTF-8, lone surrogate escape, NUL in a text             malformed row
//	line over 64 MiB                                                malformed row (its bytes are skipped, not held)
//	blank prompt or message, hh-rlhf without a shared Assistant turn  malformed row
//	oasst1: no parent, cycle, roles that do not alternate           malformed row (of a tree: with the replies below)
//	oasst1, flat: below a malformed message or one read in a tree   dropped, counted
//	oasst1: id seen before                                          dropped, counted (first one stays)
//	oasst1: tree state, review result, language, deleted, synthetic dropped, counted (Open-Assistant's own rules)
//	hh-rlhf: odd pairs (see hh.go), empty response, identical pair  dropped, counted
//	natinst: unreadable positive example                            left out of the task, noted
//	blank line, byte order mark, CRLF at a line's end               skipped
//	CRLF inside a text                                              becomes LF
//	empty file, parquet file or row group without rows              read as no rows, named in the report
//	missing path, truncated or corrupt gzip, zstd or parquet, bytes after gzip's end, parquet with LZ4 or run-length
//	encoded booleans, UTF-16, broken JSON of a whole task file: the read fails
//
// A malformed row is counted by reason and the first few are kept with file and line; Tally.StopOnBad makes the first one an error.
package source
