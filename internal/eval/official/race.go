package official

import (
	"fmt"

	"alfred/internal/eval/python"
)

// race: RACE, one file per passage, {answers, options, questions, article, id}. The hub's set (EleutherAI) has one document per
// passage: the article and all its problems as Python prints the list of {question, answer, options}. Passages are in the order of
// their file names as text; the hub's are in the order of its archive. Two files with the same article stay two documents here.
func race(in *input) error {
	for _, f := range in.rowFiles {
		whole, err := wholeJSON[*python.Dict](f, "an object")
		if err != nil {
			return err
		}
		in.convertValue(place{f.name, 0}, whole, raceRow)
	}
	return nil
}

func raceRow(_ *input, f *fields) *python.Dict {
	questions, answers, options := f.texts("questions"), f.texts("answers"), f.list("options")
	if len(answers) != len(questions) || len(options) != len(questions) {
		f.fail(WrongForm, "%d questions, %d answers, %d lists of options", len(questions), len(answers), len(options))
	}
	if len(questions) == 0 {
		f.fail(WrongForm, "no questions")
	}
	problems := []any{}
	for i := 0; f.row.problem == nil && i < len(questions); i++ {
		p := &fields{python.NewDict("answer", answers[i], "options", options[i]), fmt.Sprintf("problem %d: ", i), f.row}
		answer, choices := p.oneOf("answer", "A", "B", "C", "D"), p.choices("options")
		if len(choices) != 4 {
			f.fail(WrongForm, "problem %d has %d options, not 4", i, len(choices))
		}
		problems = append(problems, python.NewDict("question", questions[i], "answer", answer, "options", choices))
	}
	article := f.text("article")
	if f.row.problem != nil {
		return nil
	}
	return python.NewDict("article", article, "problems", python.Repr(problems))
}
