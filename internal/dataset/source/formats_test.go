package source

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

func readAll(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestHH(t *testing.T) {
	row := `{"chosen":"\n\nHuman: a\r\nb\n\nAssistant: c\n\nHuman: d \n\nAssistant: good\n\nend",` +
		`"rejected":"\n\nHuman: a\r\nb\n\nAssistant: c\n\nHuman: d \n\nAssistant: goo, bad"}`
	for _, use := range []Use{ForRanking, ForSFT, ForPrompts} {
		records, tally := mustRead(t, HHRLHF, use, row)
		r := records[0]
		if want := []Turn{{true, "a\nb"}, {false, "c"}, {true, "d "}}; !slices.Equal(r.Turns, want) {
			t.Errorf("turns %+v, want %+v", r.Turns, want)
		}
		if tally.Notes[CRLFInText] != 1 || r.ID != "data.jsonl:1" {
			t.Errorf("notes %v, id %q", tally.Notes, r.ID)
		}
		// The responses share their beginning; the prompt ends at the mark all the same.
		if want := []Alternative{{"good\n\nend", 0}, {"goo, bad", 1}}; use != ForPrompts && !slices.Equal(r.Ranked, want) {
			t.Errorf("ranked %+v, want %+v", r.Ranked, want)
		}
		if r.HasResponse != (use != ForPrompts) {
			t.Errorf("use %d: has a response: %v", use, r.HasResponse)
		}
	}
}

// The prompt is the common prefix cut back to a whole mark, even when the texts part within a mark or a character.
func TestHHCut(t *testing.T) {
	row := `{"chosen":"\n\nHuman: q\n\nAssistant: é\n\nAssistant: x","rejected":"\n\nHuman: q\n\nAssistant: è\n\nAssist"}`
	records, _ := mustRead(t, HHRLHF, ForPrompts, row)
	if want := []Turn{{true, "q"}}; !slices.Equal(records[0].Turns, want) {
		t.Errorf("turns %+v, want %+v", records[0].Turns, want)
	}
}

func TestDolly(t *testing.T) {
	records, _ := mustRead(t, Dolly, ForSFT, `{"instruction":"Say when.","context":"It began in 1900 [42].","response":"1900","category":"closed_qa"}
{"instruction":"Sing.","context":"","response":"La","category":""}
{"instruction":"Dance.","response":"Hop"}`)
	first := records[0]
	if first.Instruction != "Say when." || first.Input != "It began in 1900 [42]." || first.Response != "1900" || first.Turns[0].Text != "Say when.\n\nIt began in 1900 [42]." {
		t.Errorf("with context: %+v", first)
	}
	for _, r := range records[1:] {
		if r.Input != "" || len(r.Turns) != 1 || r.Turns[0].Text != r.Instruction {
			t.Errorf("without context: %+v", r)
		}
	}
}

func TestPrompts(t *testing.T) {
	records, tally := mustRead(t, Prompts, ForPrompts, `{"prompt":"p","id":"mine","response":"r"}
{"prompt_ids":[5,0,65023]}
{"messages":[{"role":"system","content":"s"},{"role":"user","content":"u"},{"role":"assistant","content":"a"},{"role":"user","content":"v"}]}
{"messages":[{"role":"user","content":"u"},{"role":"assistant","content":"a"}],"id":"mine"}
{"prompt":"p","system":"s"}`)
	if got, want := ids(records), []string{"mine", "data.jsonl:2", "data.jsonl:3", "data.jsonl:4", "data.jsonl:5"}; !slices.Equal(got, want) {
		t.Errorf("ids %q, want %q", got, want)
	}
	if want := (map[Reason]int{RepeatedID: 1}); !maps.Equal(tally.Notes, want) {
		t.Errorf("notes %v, want %v", tally.Notes, want)
	}
	if r := records[1]; !slices.Equal(r.PromptIDs, []int32{5, 0, 65023}) || r.Turns != nil {
		t.Errorf("ids: %+v", r)
	}
	if r := records[2]; r.System != "s" || len(r.Turns) != 3 || r.Turns[2].Text != "v" || r.HasResponse {
		t.Errorf("messages: %+v", r)
	}
	if r := records[3]; len(r.Turns) != 1 || r.Response != "a" || r.Instruction != "u" {
		t.Errorf("messages that end with the assistant: %+v", r)
	}
	keys := map[string]bool{}
	for _, r := range records {
		keys[r.SplitKey] = true
	}
	if len(keys) != 5 {
		t.Errorf("%d different split keys for 5 different prompts", len(keys))
	}
	_, tally, err := readFiles(t, Spec{Kind: Prompts, Use: ForPrompts, VocabSize: 10, Files: []string{writeFile(t, "p.jsonl", []byte(`{"prompt_ids":[9]}`+"\n"+`{"prompt_ids":[10]}`))}})
	if err != nil || tally.Malformed[WrongType] != 1 {
		t.Errorf("ids outside the vocabulary: %v, %v", tally.Malformed, err)
	}
}

func TestPairs(t *testing.T) {
	records, _ := mustRead(t, Pairs, ForRanking, `{"prompt":"p","chosen":"c","rejected":"r"}
{"messages":[{"role":"user","content":"u"}],"chosen":"c","rejected":"r"}`)
	for _, r := range records {
		if want := []Alternative{{"c", 0}, {"r", 1}}; !slices.Equal(r.Ranked, want) || r.Response != "c" {
			t.Errorf("ranked %v, response %q", r.Ranked, r.Response)
		}
	}
}

const sumTask = `{"Contributors":["x"],"Definition":["Add the numbers."],"Input_language":["English"],"Output_language":["English"],"Instruction_language":["English"],
"Positive Examples":[{"input":"1 1","output":"2","explanation":"-"},{"input":"2 2","output":["4"],"explanation":""}],"Negative Examples":[],
"Instances":[{"id":"i-1","input":"3 4","output":["7","seven"]},{"input":"5\r\n6","output":"11"},{"id":"i-3","input":"x","output":[]},{"id":"i-4","input":" ","output":["0"]},
{"id":"i-5","input":"0","output":[""]},{"id":"i-6","output":["1"]},7,{"id":"i-8","input":"\ud800","output":["1"]}]}`

func readTask(t *testing.T, content string, languages ...string) ([]*Record, *Tally, error) {
	t.Helper()
	return readFiles(t, Spec{Kind: NatInst, Use: ForSFT, Languages: languages, Files: []string{writeFile(t, "task007_sum.json", []byte(content))}})
}

func TestNatInst(t *testing.T) {
	records, tally, err := readTask(t, sumTask)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := ids(records), []string{"i-1", "task007_sum-2"}; !slices.Equal(got, want) {
		t.Errorf("ids %q, want %q", got, want)
	}
	r := records[0]
	if r.Instruction != "Add the numbers." || r.Input != "3 4" || r.Response != "7" || r.Language != "English" || !slices.Equal(r.Examples, []Example{{"1 1", "2"}, {"2 2", "4"}}) {
		t.Errorf("record %+v", r)
	}
	if records[1].Input != "5\n6" || tally.Notes[CRLFInText] != 1 {
		t.Errorf("CRLF: %q", records[1].Input)
	}
	if want := (map[Reason]int{MissingField: 2, BlankText: 1, NotObject: 1, LoneSurrogate: 1}); !maps.Equal(tally.Malformed, want) || tally.MalformedRows != 5 || tally.Rows != 8 {
		t.Errorf("malformed %v in %d of %d, want %v in 5 of 8", tally.Malformed, tally.MalformedRows, tally.Rows, want)
	}
	if want := (map[Reason]int{EmptyResponse: 1}); !maps.Equal(tally.Dropped, want) {
		t.Errorf("dropped %v, want %v", tally.Dropped, want)
	}
	if want := "task007_sum.json: instance 3: missing field"; !strings.Contains(tally.Examples[0], want) {
		t.Errorf("example %q, want %q", tally.Examples[0], want)
	}
}

func TestNatInstDefinition(t *testing.T) {
	early := strings.Replace(sumTask, `["Add the numbers."]`, `"Add the numbers."`, 1)
	records, _, err := readTask(t, early)
	if err != nil || len(records) != 2 || records[0].Instruction != "Add the numbers." {
		t.Errorf("Definition as a string: %v, %v", records, err)
	}
	for name, content := range map[string]string{
		"missing":  strings.Replace(sumTask, `"Definition"`, `"Definitions"`, 1),
		"blank":    strings.Replace(sumTask, "Add the numbers.", " ", 1),
		"empty":    strings.Replace(sumTask, `["Add the numbers."]`, `[]`, 1),
		"examples": strings.Replace(sumTask, `"Positive Examples":[`, `"Positive Examples":"none","x":[`, 1),
	} {
		records, tally, err := readTask(t, content)
		if err != nil || len(records) != 0 || tally.MalformedRows != 8 {
			t.Errorf("%s: %d records, %d malformed, %v; all 8 instances are unusable", name, len(records), tally.MalformedRows, err)
		}
	}
	for name, content := range map[string]string{
		"broken": sumTask[:len(sumTask)-10], "list": "[]", "no instances": `{"Definition":["x"]}`, "not JSON": "x", "instances is a map": `{"Definition":["x"],"Instances":{}}`,
	} {
		if _, _, err := readTask(t, content); err == nil || !strings.Contains(err.Error(), "task007_sum.json") {
			t.Errorf("%s: %v, want an error that names the file", name, err)
		}
	}
}

// One bad example does not spoil a task: it is left out and noted.
func TestNatInstBadExamples(t *testing.T) {
	for name, c := range map[string]struct {
		old, new string
		want     []Example
	}{
		"no output":      {`"output":"2"`, `"out":"2"`, []Example{{"2 2", "4"}}},
		"not an object":  {`{"input":"2 2","output":["4"],"explanation":""}`, `"2 2"`, []Example{{"1 1", "2"}}},
		"lone surrogate": {`"1 1"`, `"\ud800"`, []Example{{"2 2", "4"}}},
	} {
		records, tally, err := readTask(t, strings.Replace(sumTask, c.old, c.new, 1))
		if err != nil || len(records) != 2 || !slices.Equal(records[0].Examples, c.want) || tally.Notes[BadExamples] != 1 || tally.MalformedRows != 5 {
			t.Errorf("%s: %d records, notes %v, %d malformed, %v; want 2 with the examples %v, one bad noted, 5 malformed", name, len(records), tally.Notes, tally.MalformedRows, err, c.want)
		}
	}
}

func TestNatInstLanguages(t *testing.T) {
	mixed := strings.Replace(sumTask, `"Output_language":["English"]`, `"Output_language":["French"]`, 1)
	for _, c := range []struct {
		content   string
		languages []string
		want      int
	}{
		{sumTask, nil, 2}, {sumTask, []string{"en"}, 2}, {sumTask, []string{"English"}, 2}, {sumTask, []string{"fr", "de"}, 0},
		{mixed, []string{"en"}, 0}, {mixed, []string{"en", "fr"}, 2}, {mixed, nil, 2},
		{strings.Replace(sumTask, `["English"]`, `"English"`, 3), []string{"en"}, 2},
		{sumTask, []string{AllLanguages}, 2}, {mixed, []string{"de", AllLanguages}, 2},
		{strings.ReplaceAll(sumTask, `_language":["English"]`, `_language":[]`), []string{"fr"}, 2},
	} {
		records, tally, err := readTask(t, c.content, c.languages...)
		if err != nil || len(records) != c.want || (c.want == 0) != (tally.Dropped[Language] == 8) {
			t.Errorf("languages %q: %d records, dropped %v, %v; want %d", c.languages, len(records), tally.Dropped, err, c.want)
		}
	}
}
