package official

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"alfred/internal/eval/python"
)

// jsonLines reads files of one JSON object per line.
func jsonLines(convert func(*input, *fields) *python.Dict) reader {
	return func(in *input) error {
		for _, f := range in.rowFiles {
			for number, line := range splitJSONLines(in, f) {
				in.convertLine(place{f.name, number}, line, convert)
			}
		}
		return nil
	}
}

// splitJSONLines walks the lines that hold something. Only LF ends a line: a CR is a space between JSON's tokens.
func splitJSONLines(in *input, f file) func(yield func(int, []byte) bool) {
	return func(yield func(int, []byte) bool) {
		number := 0
		for line := range bytes.Lines(f.text) {
			number++
			if len(bytes.TrimSpace(line)) == 0 {
				in.report.note(place{f.name, number}, &problem{reason: BlankLine})
			} else if !yield(number, line) {
				return
			}
		}
	}
}

func (in *input) convertLine(at place, line []byte, convert func(*input, *fields) *python.Dict) {
	if !utf8.Valid(line) {
		in.report.skip(at, &problem{reason: NotUTF8})
		return
	}
	v, err := python.ParseJSON(line)
	if err != nil {
		in.report.skip(at, problemf(BrokenJSON, "%v", err))
		return
	}
	in.convertValue(at, v, convert)
}

// convertValue makes a row of an object and keeps it, or counts why not.
func (in *input) convertValue(at place, v any, convert func(*input, *fields) *python.Dict) {
	object, ok := v.(*python.Dict)
	if !ok {
		in.report.skip(at, problemf(NotObject, "%s", kind(v)))
		return
	}
	f := newFields(object)
	in.finish(at, f.row, convert(in, f))
}

// finish keeps a row with its notes, or counts its problem.
func (in *input) finish(at place, state *rowState, row *python.Dict) {
	if state.problem != nil {
		in.report.skip(at, state.problem)
		return
	}
	for _, n := range state.notes {
		in.report.note(at, n)
	}
	in.keep(row)
}

// arcRow: ARC (ARC-V1-Feb2018), {id, question{stem, choices[{text, label}]}, answerKey}; the hub's ai2_arc.py.
func arcRow(_ *input, f *fields) *python.Dict {
	q := f.object("question")
	choices, labels := q.labelled("choices")
	return python.NewDict("id", f.text("id"), "question", q.text("stem"), "choices", choices, "answerKey", f.key("answerKey", labels))
}

// openBookRow: OpenBookQA (OpenBookQA-V1-Sep2018, folder Main), the layout of ARC; the hub's openbookqa.py calls the question
// question_stem.
func openBookRow(_ *input, f *fields) *python.Dict {
	q := f.object("question")
	choices, labels := q.labelled("choices")
	return python.NewDict("id", f.text("id"), "question_stem", q.text("stem"), "choices", choices, "answerKey", f.key("answerKey", labels))
}

// key is the label of the right choice; the harness looks it up without the spaces before it, and fails if it is not there.
func (f *fields) key(key string, labels []any) string {
	s := f.text(key)
	for _, label := range labels {
		if label == strings.TrimLeft(s, " \t\r\n") {
			return s
		}
	}
	f.fail(UnknownAnswer, "%s%s is %q, the choices are %q", f.path, key, s, labels)
	return s
}

// winograndeRow: WinoGrande 1.1, {qID, sentence, option1, option2, answer "1" or "2"}; the hub's winogrande.py leaves qID out and
// gives "" as the answer of the test set. The harness cuts the sentence at its "_".
func winograndeRow(in *input, f *fields) *python.Dict {
	sentence, option1, option2 := f.text("sentence"), f.choice("option1"), f.choice("option2")
	if !strings.Contains(sentence, "_") {
		f.fail(NoBlank, "%q", sentence)
	}
	answer := ""
	if !in.hidden {
		answer = f.oneOf("answer", "1", "2")
	}
	return python.NewDict("sentence", sentence, "option1", option1, "option2", option2, "answer", answer)
}

// hellaSwagRow: HellaSwag's own files, {ind, activity_label, ctx_a, ctx_b, ctx, split, split_type, label, endings, source_id}; the
// hub's hellaswag.py orders them differently, makes the label a text and gives "" for that of the test set. ctx_a and ctx_b may be
// missing; they are "" then.
func hellaSwagRow(in *input, f *fields) *python.Dict {
	optional := func(key string) string {
		if !f.has(key) {
			return ""
		}
		return f.text(key)
	}
	endings, label := f.choices("endings"), ""
	if !in.hidden || f.has("label") {
		n := f.integer("label")
		if n < 0 || n >= int64(len(endings)) {
			f.fail(UnknownAnswer, "label is %d of %d endings", n, len(endings))
		}
		label = fmt.Sprint(n)
	}
	return python.NewDict("ind", f.int32("ind"), "activity_label", f.text("activity_label"), "ctx_a", optional("ctx_a"),
		"ctx_b", optional("ctx_b"), "ctx", f.text("ctx"), "endings", endings, "source_id", f.text("source_id"),
		"split", f.text("split"), "split_type", f.text("split_type"), "label", label)
}

// anliRow: ANLI, {uid, context, hypothesis, label e, n or c, reason, ...}; the hub's anli.py calls the context premise and numbers
// the labels entailment 0, neutral 1, contradiction 2. A reason that is missing is "". Left out on the hub: model_label, emturk,
// genre, tag.
func anliRow(_ *input, f *fields) *python.Dict {
	reason := ""
	if f.has("reason") {
		reason = f.text("reason")
	}
	return python.NewDict("uid", f.text("uid"), "premise", f.text("context"), "hypothesis", f.text("hypothesis"),
		"label", f.class("label", "e", "n", "c"), "reason", reason)
}

// arithmeticRow: the arithmetic sets of GPT-3, {context, completion}. The harness takes these files as they are and itself turns
// "Q:" into "Question:".
func arithmeticRow(_ *input, f *fields) *python.Dict {
	return python.NewDict("context", f.text("context"), "completion", f.text("completion"))
}

// prostRow: PROST as the hub's data/default.jsonl has it, which the harness reads directly: four choices A to D, label 0 to 3.
func prostRow(_ *input, f *fields) *python.Dict {
	row := python.NewDict()
	for _, key := range []string{"A", "B", "C", "D"} {
		row.Set(key, f.choice(key))
	}
	for _, key := range []string{"context", "question", "ex_question", "group"} {
		row.Set(key, f.text(key))
	}
	label := f.integer("label")
	if label < 0 || label > 3 {
		f.fail(UnknownAnswer, "label is %d", label)
	}
	row.Set("label", label)
	row.Set("name", f.text("name"))
	return row
}

// foundryRow: MathQA as llm-foundry publishes it (local_data/symbolic_problem_solving), {query, choices, gold}: one wrong option
// was dropped, the others were shuffled, and the options stand in the query as "\nA. ...". That is another task than MathQA, with
// another chance level, so it has a name of its own. Problem and options are also given apart, in fields that MathQA does not have.
func foundryRow(_ *input, f *fields) *python.Dict {
	query, choices, gold := f.text("query"), f.choices("choices"), f.integer("gold")
	if gold < 0 || gold >= int64(len(choices)) {
		f.fail(UnknownAnswer, "gold is %d of %d choices", gold, len(choices))
	}
	rest, ok := strings.CutPrefix(query, "Question: ")
	rest, end := strings.CutSuffix(rest, "\nAnswer: ")
	parts := []any{}
	for _, c := range choices {
		letter, _ := c.(string)
		before, after, found := strings.Cut(rest, "\n"+letter+". ")
		ok = ok && found
		parts, rest = append(parts, before), after
	}
	parts = append(parts, rest)
	if !ok || !end {
		f.fail(WrongForm, "query %q", query)
	}
	for i, option := range parts[1:] {
		if s, ok := option.(string); ok && python.Strip(s) == "" {
			f.note(EmptyChoice, "option %d of the query", i)
		}
	}
	return python.NewDict("query", query, "choices", choices, "gold", gold, "problem", parts[0], "options", parts[1:])
}

// piqa: PIQA, {goal, sol1, sol2} per line and a file of as many labels, 0 or 1 per line; the hub's piqa.py puts them together and
// gives -1 where there are no labels.
func piqa(in *input) error {
	f := in.rowFiles[0]
	var labels [][]byte
	if !in.hidden {
		for _, line := range in.partners[0].lines {
			labels = append(labels, bytes.TrimSpace(line))
		}
		rows := 0
		for range splitJSONLines(&input{}, f) {
			rows++
		}
		if rows != len(labels) {
			return fmt.Errorf("%s has %d rows, %s has %d labels", f.name, rows, in.partners[0].name, len(labels))
		}
	}
	row := 0
	for number, line := range splitJSONLines(in, f) {
		in.convertLine(place{f.name, number}, line, func(_ *input, fields *fields) *python.Dict {
			label := int64(-1)
			if !in.hidden {
				switch string(labels[row]) {
				case "0", "1":
					label = int64(labels[row][0] - '0')
				default:
					fields.fail(UnknownAnswer, "%s:%d is %q", in.partners[0].name, row+1, labels[row])
				}
			}
			return python.NewDict("goal", fields.text("goal"), "sol1", fields.choice("sol1"), "sol2", fields.choice("sol2"), "label", label)
		})
		row++
	}
	return nil
}
