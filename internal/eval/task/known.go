package task

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"alfred/internal/eval/python"
)

// pythonFiles are the Python files whose functions are known, by their SHA-256: those of lm-eval 0.4.13, in the folders that the comments
// name, and the one beside the tasks that come with alfred.
var pythonFiles = map[string]map[string]function{
	"55c93da7005300ce496a18bce8251febab8acd36b8c4d8875679ff432c2031f9": {"process_docs": {documents: each(arithmetic)}}, // arithmetic
	"e55327629264a98f1d383fda24645b6779afb53fa0bce2150042b9416b1ae006": { // winogrande
		"doc_to_text": {field: winograndeAnswer}, "doc_to_target": {field: winograndeRest}, "doc_to_choice": {field: winograndeBeginnings}},
	"0be98a907db647a518c42c916a61385b64f394cf9d0171b5cb86b7a036282de7": { // super_glue/copa
		"doc_to_text": {field: copaText}, "doc_to_target": {field: copaTarget}, "doc_to_choice": {field: copaChoices}},
	"46399f40065469d234c0c9e1ef3de9b67e50d5fe1c2c4130607eda2dda268260": {"doc_to_text": {field: logiqaText}, "doc_to_target": {field: logiqaTarget}}, // logiqa
	"345aa27870efd145f970456632622efc617b299a4d00abc9459242d2c696d342": {"doc_to_choice": {field: mathqaChoices}},                                    // mathqa
	"15778ab69ca3b96c3d82618500ad59702ff7ea9dbf09e90e4505abc16ac53ad0": { // race
		"doc_to_text": {field: raceText}, "doc_to_target": {field: raceTarget}, "doc_to_choice": {field: raceChoices}},
	"07d23b60b28f2a4f658dcf8440623a63fe6644854ce9b846a114dde980dc1214": {"process_docs": {documents: each(hellaswag)}},             // hellaswag
	"43528eee61666d94ae9ac3d58bcd3a0c38182a8898f996f536be9de1d3655740": {"doc_to_text": {field: pubmedqaText}},                     // pubmedqa
	"1a65ad044b6b663a7293c84a70a1d1deb1762897272b4de3328f4b9ad57d847a": {"cb_multi_fi": {aggregate: "cb_multi_fi"}},                // super_glue/cb
	"9a41d04f937b941f8fe68aa2853c293c0d324d3419dd81bf7dcebe8df24e482c": {"process_docs_paraphrases": {documents: pawsParaphrases}}, // paws-x
}

// The tasks that come with alfred need no Python where Jinja will do, so their file has few functions.
func init() {
	text, err := builtin.ReadFile(builtinFolder + "/functions.py")
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(text)
	pythonFiles[hex.EncodeToString(sum[:])] = map[string]function{
		"hellaswag_documents": {documents: each(hellaswag)},
		"mathqa_choices":      {field: mathqaChoices},
		"paws_documents":      {documents: pawsParaphrases},
		"race_text":           {field: raceText},
		"race_answer":         {field: raceTarget},
		"race_choices":        {field: raceChoices},
		"mean_f1_of_three":    {aggregate: "cb_multi_fi"},
	}
}

// each is a function of documents that treats one at a time: what it gives is set in a copy of the document.
func each(f func(doc *python.Dict) (*python.Dict, error)) func([]*python.Dict) ([]*python.Dict, error) {
	return func(docs []*python.Dict) ([]*python.Dict, error) {
		out := make([]*python.Dict, len(docs))
		for i, doc := range docs {
			changes, err := f(doc)
			if err != nil {
				return nil, fmt.Errorf("document %d: %w", i, err)
			}
			out[i] = with(doc, changes)
		}
		return out, nil
	}
}

// with is a copy of a document with some columns set.
func with(doc, changes *python.Dict) *python.Dict {
	c := python.NewDict()
	for _, d := range []*python.Dict{doc, changes} {
		for _, key := range d.Keys() {
			v, _ := d.Get(key)
			c.Set(key, v)
		}
	}
	return c
}

// column is a column that must be text.
func column(doc *python.Dict, key string) (string, error) {
	v, ok := doc.Get(key)
	if !ok {
		return "", fmt.Errorf("there is no column %s; there are %v", key, doc.Keys())
	}
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("the column %s is %s, no text", key, shortened(python.Repr(v)))
	}
	return s, nil
}

// columns are several of them.
func columns(doc *python.Dict, keys ...string) ([]string, error) {
	var list []string
	for _, key := range keys {
		s, err := column(doc, key)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

// listColumn is a column that must be a list of texts.
func listColumn(doc *python.Dict, key string) ([]string, error) {
	v, _ := doc.Get(key)
	items, ok := v.([]any)
	list := make([]string, len(items))
	for i, item := range items {
		if s, isText := item.(string); isText {
			list[i] = s
		} else {
			ok = false
		}
	}
	if !ok {
		return nil, fmt.Errorf("the column %s is %s, no list of texts", key, shortened(python.Repr(v)))
	}
	return list, nil
}

func arithmetic(doc *python.Dict) (*python.Dict, error) {
	context, err := column(doc, "context")
	context = strings.ReplaceAll(python.Strip(context), "\n\n", "\n")
	context = strings.ReplaceAll(strings.ReplaceAll(context, "Q:", "Question:"), "A:", "Answer:")
	return python.NewDict("context", context), err
}

func winograndeAnswer(doc *python.Dict) (any, error) {
	answer, err := column(doc, "answer")
	if err == nil && answer != "1" && answer != "2" {
		err = fmt.Errorf("the answer is %q, not 1 or 2", answer)
	}
	return int64(strings.Index("12", answer)), err
}

// winograndeParts is what stands before and after the blank.
func winograndeParts(doc *python.Dict) (before, after string, err error) {
	sentence, err := column(doc, "sentence")
	if err != nil {
		return "", "", err
	}
	before, after, found := strings.Cut(sentence, "_")
	if !found {
		return "", "", fmt.Errorf("the sentence %q has no blank", shortened(sentence))
	}
	return before, after, nil
}

func winograndeRest(doc *python.Dict) (any, error) {
	_, after, err := winograndeParts(doc)
	return python.Strip(after), err
}

func winograndeBeginnings(doc *python.Dict) (any, error) {
	before, _, err := winograndeParts(doc)
	if err != nil {
		return nil, err
	}
	options, err := columns(doc, "option1", "option2")
	if err != nil {
		return nil, err
	}
	return []any{before + options[0], before + options[1]}, nil
}

func copaText(doc *python.Dict) (any, error) {
	c, err := columns(doc, "premise", "question")
	if err != nil {
		return nil, err
	}
	connector, ok := map[string]string{"cause": "because", "effect": "therefore"}[c[1]]
	if !ok {
		return nil, fmt.Errorf("the question is %q, not cause or effect", c[1])
	}
	premise := []rune(python.Strip(c[0]))
	return string(premise[:max(0, len(premise)-1)]) + " " + connector, nil // without the full stop
}

func copaTarget(doc *python.Dict) (any, error) {
	choices, err := copaChoices(doc)
	if err != nil {
		return nil, err
	}
	label, _ := doc.Get("label")
	if python.Equal(label, int64(0)) {
		return choices.([]any)[0], nil
	}
	return choices.([]any)[1], nil
}

func copaChoices(doc *python.Dict) (any, error) {
	c, err := columns(doc, "choice1", "choice2")
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, s := range c {
		lower, err := lowerFirst(s)
		if err != nil {
			return nil, err
		}
		list = append(list, " "+lower)
	}
	return list, nil
}

func lowerFirst(s string) (string, error) {
	r := []rune(s)
	if len(r) == 0 {
		return "", fmt.Errorf("a choice or sentence is empty")
	}
	return python.Lower(string(r[:1])) + string(r[1:]), nil
}

func logiqaText(doc *python.Dict) (any, error) {
	c, err := columns(doc, "context", "question")
	if err != nil {
		return nil, err
	}
	options, err := listColumn(doc, "options")
	if err != nil {
		return nil, err
	}
	text := "Passage: " + c[0] + "\nQuestion: " + c[1] + "\nChoices:\n"
	for i, option := range options[:min(4, len(options))] {
		text += string(rune('A'+i)) + ". " + option + "\n"
	}
	return text + "Answer:", nil
}

func logiqaTarget(doc *python.Dict) (any, error) {
	label, err := column(doc, "label")
	i := slices.Index([]string{"a", "b", "c", "d"}, python.Strip(label))
	if err == nil && i < 0 {
		err = fmt.Errorf("the label is %q, not a, b, c or d", label)
	}
	return int64(i), err
}

// mathqaOption finds the options in one text: "a ) 38 , b ) 27.675 , ..., e ) none".
var mathqaOption = regexp.MustCompile(`[abcd] \) .*?, |e \) .*?$`)

func mathqaChoices(doc *python.Dict) (any, error) {
	options, err := column(doc, "options")
	list := []any{}
	for _, c := range mathqaOption.FindAllString(options, -1) {
		list = append(list, strings.TrimRight(string([]rune(c)[4:]), " ,"))
	}
	return list, err
}

func pubmedqaText(doc *python.Dict) (any, error) {
	contexts, err := listColumn(doc, "CONTEXTS")
	if err != nil {
		return nil, err
	}
	question, err := column(doc, "QUESTION")
	return "Abstract: " + strings.Join(contexts, "\n") + "\nQuestion: " + question + "\nAnswer:", err
}
