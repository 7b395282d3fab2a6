package task

import (
	"fmt"
	"regexp"
	"strings"

	"alfred/internal/eval/python"
)

// raceProblem is one of the questions about an article.
type raceProblem struct {
	question string
	options  []string
	answer   int
}

// raceProblems reads the column problems: a Python list of dicts, written as text.
func raceProblems(doc *python.Dict) (list []raceProblem, err error) {
	text, err := column(doc, "problems")
	if err != nil {
		return nil, err
	}
	v, err := python.Literal(text)
	if err != nil {
		return nil, fmt.Errorf("problems: %w", err)
	}
	items, _ := v.([]any)
	for i, item := range items {
		d, ok := item.(*python.Dict)
		if !ok {
			return nil, fmt.Errorf("problems: number %d is no dict", i)
		}
		p := raceProblem{}
		if p.options, err = listColumn(d, "options"); err != nil {
			return nil, fmt.Errorf("problems: number %d: %w", i, err)
		}
		c, err := columns(d, "question", "answer")
		if err != nil {
			return nil, fmt.Errorf("problems: number %d: %w", i, err)
		}
		p.question, p.answer = c[0], strings.Index("ABCD", c[1])
		if len(c[1]) != 1 || p.answer < 0 || len(p.options) < 4 {
			return nil, fmt.Errorf("problems: number %d has the answer %q to %d options; want A, B, C or D, and four", i, c[1], len(p.options))
		}
		list = append(list, p)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("problems: there are none")
	}
	return list, nil
}

// raceText is the article, all its problems but the last with their answers, and the question of the last one.
func raceText(doc *python.Dict) (any, error) {
	problems, err := raceProblems(doc)
	if err != nil {
		return nil, err
	}
	article, err := column(doc, "article")
	text := "Article: " + article + "\n\n"
	last := len(problems) - 1
	for _, p := range problems[:last] {
		if answer := p.options[p.answer]; strings.HasSuffix(p.question, "  _  .") {
			text += strings.TrimSuffix(p.question, " _  .") + answer + "\n"
		} else {
			text += "Question: " + p.question + "\nAnswer: " + answer + "\n"
		}
	}
	return text + problems[last].question, err
}

func raceTarget(doc *python.Dict) (any, error) {
	problems, err := raceProblems(doc)
	if err != nil {
		return nil, err
	}
	return int64(problems[len(problems)-1].answer), nil
}

func raceChoices(doc *python.Dict) (any, error) {
	problems, err := raceProblems(doc)
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, o := range problems[len(problems)-1].options[:4] {
		list = append(list, o)
	}
	return list, nil
}

// wikihowBracket is markup that WikiHow articles have left in HellaSwag.
var wikihowBracket = regexp.MustCompile(`\[.*?\]`)

func withoutMarkup(s string) string {
	s = strings.ReplaceAll(python.Strip(s), " [title]", ". ")
	return strings.ReplaceAll(wikihowBracket.ReplaceAllString(s, ""), "  ", " ")
}

func hellaswag(doc *python.Dict) (*python.Dict, error) {
	c, err := columns(doc, "ctx_a", "ctx_b", "activity_label", "label")
	if err != nil {
		return nil, err
	}
	endings, err := listColumn(doc, "endings")
	if err != nil {
		return nil, err
	}
	choices := []any{}
	for _, e := range endings {
		choices = append(choices, withoutMarkup(e))
	}
	gold, err := python.Literal(c[3])
	if _, ok := gold.(int64); err != nil || !ok {
		return nil, fmt.Errorf("the label is %q, no number", c[3])
	}
	return python.NewDict("query", withoutMarkup(c[2]+": "+c[0]+" "+python.Capitalize(c[1])), "choices", choices, "gold", gold), nil
}

// spaceBefore is a space before a sign that follows a word without one.
var spaceBefore = regexp.MustCompile(` (['.,])`)

// detokenized joins what the tokenizer of PAWS has set apart.
func detokenized(s string) string {
	s = strings.NewReplacer(" n't", "n't").Replace(s)
	for _, pair := range [][2]string{{" )", ")"}, {"( ", "("}, {`" `, `"`}, {` "`, `"`}} {
		s = strings.ReplaceAll(s, pair[0], pair[1])
	}
	return python.Strip(spaceBefore.ReplaceAllString(s, "$1"))
}

// pawsParaphrases leaves out pairs with an empty sentence and makes the rest fit the prompt "..., right? Yes, ...".
func pawsParaphrases(docs []*python.Dict) (out []*python.Dict, err error) {
	for i, doc := range docs {
		first, _ := doc.Get("sentence1")
		second, _ := doc.Get("sentence2")
		if first == nil || first == "" || second == nil || second == "" {
			continue
		}
		c, err := columns(doc, "sentence1", "sentence2")
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", i, err)
		}
		a, b := detokenized(c[0]), detokenized(c[1])
		if a != "" && strings.ContainsAny(a[len(a)-1:], ".,;") {
			a = a[:len(a)-1]
		}
		if b, err = lowerFirst(b); err != nil {
			return nil, fmt.Errorf("document %d: %w", i, err)
		}
		out = append(out, with(doc, python.NewDict("sentence1", a, "sentence2", b)))
	}
	return out, nil
}
