package official

import (
	"fmt"

	"alfred/internal/eval/python"
)

// jsonArray reads files that are one JSON array of objects. A row's place is the file and, for want of lines, its number.
func jsonArray(convert func(*input, *fields) *python.Dict) reader {
	return func(in *input) error {
		for _, f := range in.rowFiles {
			rows, err := wholeJSON[[]any](f, "an array")
			if err != nil {
				return err
			}
			for i, row := range rows {
				in.convertValue(place{fmt.Sprintf("%s[%d]", f.name, i), 0}, row, convert)
			}
		}
		return nil
	}
}

func wholeJSON[T any](f file, want string) (T, error) {
	v, err := python.ParseJSON(f.text)
	t, ok := v.(T)
	switch {
	case err != nil:
		return t, fmt.Errorf("%s: %w", f.name, err)
	case !ok:
		return t, fmt.Errorf("%s: %s, not %s", f.name, kind(v), want)
	}
	return t, nil
}

// sciQRow: SciQ, {question, distractor3, distractor1, distractor2, correct_answer, support}; the hub's sciq.py keeps that order.
func sciQRow(_ *input, f *fields) *python.Dict {
	return python.NewDict("question", f.text("question"), "distractor3", f.choice("distractor3"), "distractor1", f.choice("distractor1"),
		"distractor2", f.choice("distractor2"), "correct_answer", f.choice("correct_answer"), "support", f.text("support"))
}

// mathQARow: MathQA, seven texts; the hub's math_qa.py keeps them. The five options are one text, "a ) 1 , b ) 2 , ...", which the
// harness takes apart.
func mathQARow(_ *input, f *fields) *python.Dict {
	return python.NewDict("Problem", f.text("Problem"), "Rationale", f.text("Rationale"), "options", f.text("options"),
		"correct", f.oneOf("correct", "a", "b", "c", "d", "e"), "annotated_formula", f.text("annotated_formula"),
		"linear_formula", f.text("linear_formula"), "category", f.text("category"))
}

// headQA: HEAD-QA, {exams{NAME{name, year, category, data[{qid, qtext, ra, image, answers[{aid, atext}]}]}}} with numbers written as
// text; the hub's head_qa.py (EleutherAI) strips every text, makes qid and ra numbers, and leaves the image out.
func headQA(in *input) error {
	f := in.rowFiles[0]
	whole, err := wholeJSON[*python.Dict](f, "an object")
	if err != nil {
		return err
	}
	v, _ := whole.Get("exams")
	exams, ok := v.(*python.Dict)
	if !ok {
		return fmt.Errorf("%s: exams is %s, not an object", f.name, kind(v))
	}
	for _, name := range exams.Keys() {
		v, _ := exams.Get(name)
		exam, ok := v.(*python.Dict)
		if !ok {
			return fmt.Errorf("%s: exam %q is %s, not an object", f.name, name, kind(v))
		}
		v, _ = exam.Get("data")
		questions, ok := v.([]any)
		if !ok {
			return fmt.Errorf("%s: the data of exam %q are %s, not a list", f.name, name, kind(v))
		}
		head := newFields(exam)
		title, year, category := python.Strip(head.text("name")), python.Strip(head.text("year")), python.Strip(head.text("category"))
		for i, question := range questions {
			at := place{fmt.Sprintf("%s, exam %s[%d]", f.name, name, i), 0}
			if head.row.problem != nil { // then none of its questions can be told where it comes from
				in.report.skip(at, head.row.problem)
				continue
			}
			in.convertValue(at, question, func(_ *input, f *fields) *python.Dict {
				return headQARow(f, title, year, category)
			})
		}
	}
	return nil
}

func headQARow(f *fields, name, year, category string) *python.Dict {
	answers := []any{}
	for _, a := range f.objects("answers") {
		answers = append(answers, python.NewDict("aid", a.int32("aid"), "atext", python.Strip(a.choice("atext"))))
	}
	right := f.written("ra")
	if right < 1 || right > int64(len(answers)) {
		f.fail(UnknownAnswer, "ra is %d of %d answers", right, len(answers))
	}
	return python.NewDict("name", name, "year", year, "category", category, "qid", f.written("qid"), "qtext", python.Strip(f.text("qtext")),
		"ra", right, "answers", answers)
}

// pubMedQARow: PubMedQA's labelled part, keyed by PubMed id; the hub's pubmed_qa.py (bigbio) gives the source's fields. A field that
// is missing is null; those that the harness asks for may not be.
func pubMedQARow(_ *input, f *fields) *python.Dict {
	row := python.NewDict("QUESTION", f.text("QUESTION"), "CONTEXTS", f.texts("CONTEXTS"))
	for _, key := range []string{"LABELS", "MESHES"} {
		if f.has(key) {
			row.Set(key, f.texts(key))
		} else {
			row.Set(key, []any{})
		}
	}
	for _, key := range []string{"YEAR", "reasoning_required_pred", "reasoning_free_pred"} {
		row.Set(key, f.nullable(key))
	}
	row.Set("final_decision", f.oneOf("final_decision", "yes", "no", "maybe"))
	row.Set("LONG_ANSWER", f.nullable("LONG_ANSWER"))
	return row
}

// pubMedQA reads a file of one split (pqal_fold0/train_set.json, dev_set.json, pqal_test_set.json).
func pubMedQA(in *input) error {
	items, err := wholeJSON[*python.Dict](in.rowFiles[0], "an object")
	if err != nil {
		return err
	}
	for _, id := range items.Keys() {
		item, _ := items.Get(id)
		in.convertValue(place{in.rowFiles[0].name + ", item " + id, 0}, item, pubMedQARow)
	}
	return nil
}

// pubMedQATest reads pqal_test_set.json, or makes it of all labelled items (ori_pqal.json) and the ids in test_ground_truth.json, in
// the order of the latter. An id without an item is an error.
func pubMedQATest(in *input) error {
	if len(in.partners) == 0 {
		return pubMedQA(in)
	}
	items, err := wholeJSON[*python.Dict](in.rowFiles[0], "an object")
	if err != nil {
		return err
	}
	truth, err := wholeJSON[*python.Dict](in.partners[0], "an object")
	if err != nil {
		return err
	}
	for _, id := range truth.Keys() {
		item, ok := items.Get(id)
		if !ok {
			return fmt.Errorf("%s has no item %s, which %s lists", in.rowFiles[0].name, id, in.partners[0].name)
		}
		answer, _ := truth.Get(id)
		in.convertValue(place{in.rowFiles[0].name + ", item " + id, 0}, item, func(in *input, f *fields) *python.Dict {
			row := pubMedQARow(in, f)
			if decision, _ := row.Get("final_decision"); !python.Equal(decision, answer) {
				f.fail(Disagreement, "%q here, %v in %s", decision, answer, in.partners[0].name)
			}
			return row
		})
	}
	return nil
}
