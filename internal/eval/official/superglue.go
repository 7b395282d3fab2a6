package official

import "alfred/internal/eval/python"

// The sets of SuperGLUE (version 2): one JSON object per line. The hub's super_glue.py orders the texts as below, then idx, then the
// label as the number of its class; -1 stands for the labels of the test sets, which are not published.

// boolQRow: {question, passage, idx, label true or false}; classes False, True.
func boolQRow(in *input, f *fields) *python.Dict {
	return python.NewDict("question", f.text("question"), "passage", f.text("passage"), "idx", f.int32("idx"), "label", f.truth(in))
}

// cbRow: {premise, hypothesis, label, idx}.
func cbRow(in *input, f *fields) *python.Dict {
	return python.NewDict("premise", f.text("premise"), "hypothesis", f.text("hypothesis"), "idx", f.int32("idx"),
		"label", f.named(in, "entailment", "contradiction", "neutral"))
}

// rteRow: {premise, hypothesis, label, idx}.
func rteRow(in *input, f *fields) *python.Dict {
	return python.NewDict("premise", f.text("premise"), "hypothesis", f.text("hypothesis"), "idx", f.int32("idx"),
		"label", f.named(in, "entailment", "not_entailment"))
}

// copaRow: {premise, choice1, choice2, question, label 0 or 1, idx}. The harness knows the questions cause and effect only.
func copaRow(in *input, f *fields) *python.Dict {
	label := int64(-1)
	if !f.withheld(in) {
		if label = f.integer("label"); label != 0 && label != 1 {
			f.fail(UnknownAnswer, "label is %d", label)
		}
	}
	return python.NewDict("premise", f.text("premise"), "choice1", f.choice("choice1"), "choice2", f.choice("choice2"),
		"question", f.oneOf("question", "cause", "effect"), "idx", f.int32("idx"), "label", label)
}

// wicRow: {word, sentence1, sentence2, idx, label, start1, start2, end1, end2, version}. The offsets say where the word stands in
// the sentences, in characters; the harness's prompt needs them. Of copies that lack all four the rows are kept without them, and
// noted: where an inflected word stands would be a guess.
func wicRow(in *input, f *fields) *python.Dict {
	row := python.NewDict("word", f.text("word"), "sentence1", f.text("sentence1"), "sentence2", f.text("sentence2"))
	offsets := []string{"start1", "start2", "end1", "end2"}
	some := false
	for _, key := range offsets {
		some = some || f.has(key)
	}
	if some {
		for _, key := range offsets {
			row.Set(key, f.int32(key))
		}
	} else {
		f.note(NoOffsets, "")
	}
	row.Set("idx", f.int32("idx"))
	row.Set("label", f.truth(in))
	return row
}

// withheld says that this row of a test set has no label.
func (f *fields) withheld(in *input) bool { return in.hidden && !f.has("label") }

func (f *fields) named(in *input, names ...string) int64 {
	if f.withheld(in) {
		return -1
	}
	return f.class("label", names...)
}

func (f *fields) truth(in *input) int64 {
	if f.withheld(in) {
		return -1
	}
	if field[bool](f, "label", "a truth value") {
		return 1
	}
	return 0
}
