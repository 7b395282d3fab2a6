package dataset

import (
	"context"
	"errors"
	"strings"
	"testing"

	"alfred/internal/config"
	"alfred/internal/dataset/source"
)

// paragraph is the beginning of Alfred-40B-0723's chat form.
const paragraph = "Alfred is a large language model trained by LightOn. Knowledge cutoff: November 2022. Current date: 31 July, 2023"

const dialogue = `{"messages":[{"role":"user","content":"One?"},{"role":"assistant","content":"Uno."},{"role":"user","content":"Two?\nIn Latin."},{"role":"assistant","content":"Duo."}]}`

const sumTask = `{"Definition":["Add the numbers"],"Positive Examples":[{"input":"1 1","output":"2"},{"input":" 2 2 ?","output":"4!"},{"input":"3 3","output":"6"}],
"Instances":[{"id":"x","input":"3 4","output":[" 7 "]}]}`

// The whole text of each rendering, to the character.
func TestRenderings(t *testing.T) {
	for _, c := range []struct {
		name             string
		kind             source.Kind
		render           string
		content          string
		prompt, response string
	}{
		{"chat", source.Prompts, "chat", `{"prompt":"Who are you?","response":"Alfred."}`,
			paragraph + "\n\nUser: Who are you?\nAlfred:", " Alfred."},
		{"chat with history", source.Prompts, "chat", dialogue,
			paragraph + "\n\nUser: One?\nAlfred: Uno.\nUser: Two?\nIn Latin.\nAlfred:", " Duo."},
		{"chat with a system message", source.Prompts, "chat", `{"prompt":"Hi","system":"Be brief.","response":"Yo"}`,
			"Be brief.\n\nUser: Hi\nAlfred:", " Yo"},
		{"chat of a task", source.Dolly, "chat", `{"instruction":"Shorten.","context":"A long text.","response":"Text."}`,
			paragraph + "\n\nUser: Shorten.\n\nA long text.\nAlfred:", " Text."},
		{"chat of hh-rlhf", source.HHRLHF, "chat", `{"chosen":"\n\nHuman: q\n\nAssistant: yes","rejected":"\n\nHuman: q\n\nAssistant: no"}`,
			paragraph + "\n\nUser: q\nAlfred:", " yes"},
		{"content is kept", source.Prompts, "chat", `{"prompt":" a \n","response":" b\n"}`,
			paragraph + "\n\nUser:  a \n\nAlfred:", "  b\n"},
		{"instruction", source.Dolly, "instruction", `{"instruction":"Sing.","context":"","response":"La."}`,
			"Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\nSing.\n\n### Response:\n", "La."},
		{"instruction with context", source.Dolly, "instruction", `{"instruction":"Shorten.","context":"A long text.","response":"Text."}`,
			"Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\nShorten.\n\nInput:\nA long text.\n\n### Response:\n", "Text."},
		{"instruction of a task", source.NatInst, "instruction", sumTask,
			"Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\nAdd the numbers\n\nInput:\n3 4\n\n### Response:\n", " 7 "},
		{"few-shot", source.NatInst, "few_shot", sumTask,
			"Definition: Add the numbers.\n\n Positive Example 1 -\nInput: 1 1.\n Output: 2.\n\n Positive Example 2 -\nInput: 2 2 ?\n Output: 4!\n\nNow complete the following example -\nInput: 3 4.\nOutput: ", "7"},
		{"none", source.Prompts, "", `{"prompt":" as it is","response":"\tas it is"}`, " as it is", "\tas it is"},
		{"template text in data", source.Prompts, "chat", `{"prompt":"{{.System}} {{define \"prompt\"}}","response":"{{.}}"}`,
			paragraph + "\n\nUser: {{.System}} {{define \"prompt\"}}\nAlfred:", " {{.}}"},
		{"marks in data", source.Prompts, "chat", `{"prompt":"\u00fe\u00ff","response":"<|endoftext|>User:"}`,
			paragraph + "\n\nUser: \u00fe\u00ff\nAlfred:", " <|endoftext|>User:"},
	} {
		root := folder(t, map[string]string{"data.json": c.content})
		sample := all(mustOpen[SFT](t, options(root), spec(c.kind, "data.json", c.render)))[0]
		want := c.prompt + lossBegin + c.response + "<EOD>" + lossEnd
		if got := sample.show(decode); got != want {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, want)
		}
		if prompt := all(mustOpen[Prompt](t, options(root), spec(c.kind, "data.json", c.render)))[0]; prompt.Text != c.prompt || decode(prompt.IDs) != c.prompt {
			t.Errorf("%s, prompt:\n got %q\nwant %q", c.name, prompt.Text, c.prompt)
		}
	}
}

func TestShots(t *testing.T) {
	root := folder(t, map[string]string{"data.json": sumTask})
	for shots, want := range map[int]int{0: 0, 1: 1, 3: 3, 9: 3} {
		s := spec(source.NatInst, "data.json", "few_shot")
		s.Shots = shots
		set := mustOpen[Prompt](t, options(root), s)
		if got := strings.Count(all(set)[0].Text, "Positive Example"); got != want {
			t.Errorf("%d shots: %d examples, want %d", shots, got, want)
		}
		if got := reasons(set.Report().Sources[0].Notes)[string(FewerShots)]; (got == 1) != (shots > 3) {
			t.Errorf("%d shots of 3 examples: %d prompts with fewer noted", shots, got)
		}
	}
}

// Only chat can show a history; elsewhere such records are dropped and counted under a reason that names the way out.
func TestOneTurnRenderings(t *testing.T) {
	if !strings.Contains(string(NeedsHistory), "render: chat") {
		t.Errorf("%q does not say what to do", NeedsHistory)
	}
	root := folder(t, map[string]string{"data.jsonl": dialogue + "\n" + `{"prompt":"p","system":"s","response":"r"}` + "\n" + `{"prompt":"p","response":"r"}`})
	for render, want := range map[string]int{"chat": 3, "instruction": 1, "": 1} {
		set := mustOpen[SFT](t, options(root), spec(source.Prompts, "data.jsonl", render))
		if got := len(all(set)); got != want || reasons(set.Report().Sources[0].Dropped)[string(NeedsHistory)] != 3-want {
			t.Errorf("render %q: %d samples, dropped %v; want %d", render, got, set.Report().Sources[0].Dropped, want)
		}
	}
}

func TestOwnTemplate(t *testing.T) {
	const own = "Notes that are ignored.\r\n{{define \"prompt\" -}}\r\n{{range .Turns}}[{{.Text}}]{{end}}{{end}}\r\n{{define \"response\"}}({{.}}){{end}}\r\n"
	root := folder(t, map[string]string{"data.jsonl": dialogue, "own.tmpl": own, "unix.tmpl": strings.ReplaceAll(own, "\r\n", "\n")})
	s := spec(source.Prompts, "data.jsonl", "chat")
	s.Template = "own.tmpl"
	set := mustOpen[SFT](t, options(root), s)
	if got, want := all(set)[0].show(decode), "[One?][(Uno.)][Two?\nIn Latin.]⟦(Duo.)<EOD>⟧"; got != want {
		t.Errorf("own template: %q, want %q", got, want)
	}
	s.Template = "unix.tmpl"
	if other := mustOpen[SFT](t, options(root), s); other.Fingerprint() != set.Fingerprint() {
		t.Error("line ends of a template change the fingerprint")
	}
	s.Template = ""
	if other := mustOpen[SFT](t, options(root), s); other.Fingerprint() == set.Fingerprint() {
		t.Error("another template gives the same fingerprint")
	}
}

func TestBadTemplates(t *testing.T) {
	const answer = `{{define "response"}}{{.}}{{end}}`
	for name, c := range map[string]struct{ content, want string }{
		"syntax":                 {`{{define "prompt"}}{{`, "template"},
		"no prompt":              {answer, `"prompt"`},
		"no response":            {`{{define "prompt"}}x{{end}}`, `"response"`},
		"unknown field":          {`{{define "prompt"}}{{.Answer}}{{end}}` + answer, "Answer"},
		"unknown function":       {`{{define "prompt"}}{{shout .System}}{{end}}` + answer, "shout"},
		"endless":                {`{{define "prompt"}}{{template "prompt" .}}{{end}}` + answer, "depth"},
		"not UTF-8":              {"\xff" + answer, "UTF-8"},
		"leaves out the history": {`{{define "prompt"}}{{range .Turns}}{{if .User}}{{.Text}}{{end}}{{end}}{{end}}` + answer, "turns"},
		"history twice":          {`{{define "prompt"}}{{range .Turns}}{{.Text}}{{.Text}}{{end}}{{end}}` + answer, "turns"},
		"changes the history":    {`{{define "prompt"}}{{range .Turns}}{{printf "%q" .Text}}{{end}}{{end}}` + answer, "turns"},
	} {
		root := folder(t, map[string]string{"data.jsonl": dialogue, "own.tmpl": c.content})
		s := spec(source.Prompts, "data.jsonl", "chat")
		s.Template = "own.tmpl"
		_, err := Open[SFT](context.Background(), []config.Source{s}, options(root))
		if !errors.Is(err, ErrSpec) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want ErrSpec naming %q", name, err, c.want)
		}
	}
}
