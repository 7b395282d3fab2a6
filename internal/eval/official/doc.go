// Package official reads evaluation sets in the files that their authors publish (JSON, JSON lines, tab-separated text, XML, the
// eight-line blocks of LogiQA, one file per passage of RACE) and gives the documents that the Language Model Evaluation Harness
// gets from the Hugging Face hub: the hub's field names, in the hub's order, with the hub's types.
//
// What the hub's loading scripts do to the text is done here too, and nothing else: text keeps its spaces, quotes and escapes
// unless the script of that set strips them. The docstring of a set's reader names its file layout, its script, and what differs.
//
// A malformed row is skipped and counted with its place; a row that is kept although something about it is odd is noted the same
// way (Report). What makes a whole file unusable is an error: compression, XML or JSON that is broken, a partner file that is
// missing or does not fit. Prepare writes whole folders as JSON lines, which both this project and the harness read.
package official
