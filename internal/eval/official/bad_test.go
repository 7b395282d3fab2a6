package official

import (
	"maps"
	"strings"
	"testing"
)

// replaced is a sample with one of its files changed.
func replaced(s sample, old, new string) map[string]string {
	files := maps.Clone(s.files)
	for name, text := range files {
		files[name] = strings.Replace(text, old, new, 1)
	}
	return files
}

func sampleOf(t *testing.T, path, config, split string) sample {
	t.Helper()
	for _, s := range samples {
		if s.path == path && s.config == config && s.split == split {
			return s
		}
	}
	t.Fatalf("no sample of %s %s %s", path, config, split)
	return sample{}
}

// Each reader with one row broken beside a good one: the reason it is counted under, and its place.
func TestMalformedRows(t *testing.T) {
	arc := func(bad string) map[string]string {
		return map[string]string{"arc/ARC-Easy-Test.jsonl": sampleOf(t, "allenai/ai2_arc", "ARC-Easy", "test").files["arc/ARC-Easy-Test.jsonl"] + "\n" + bad + "\n"}
	}
	lines := func(path, config, split, old, new string) map[string]string {
		s := sampleOf(t, path, config, split)
		files := map[string]string{}
		for name, text := range s.files {
			files[name] = text + "\n" + strings.Replace(text, old, new, 1)
		}
		return files
	}
	for _, c := range []struct {
		path, config, split string
		files               map[string]string
		want                Reason
		place               string
	}{
		{"allenai/ai2_arc", "ARC-Easy", "test", arc(`{"id":"x"`), BrokenJSON, "arc/ARC-Easy-Test.jsonl:2: "},
		{"allenai/ai2_arc", "ARC-Easy", "test", arc(`[]`), NotObject, ":2: "},
		{"allenai/ai2_arc", "ARC-Easy", "test", arc("{\"id\":\"\xe9\"}"), NotUTF8, ":2: "},
		{"allenai/ai2_arc", "ARC-Easy", "test", arc(`{"id":"x"}`), MissingField, "question"},
		{"allenai/ai2_arc", "ARC-Easy", "test", arc(`{"id":"x","question":"stem"}`), WrongType, "question is text"},
		{"allenai/ai2_arc", "ARC-Easy", "test", arc(`{"id":"x","question":{"stem":"s","choices":[]},"answerKey":"A"}`), WrongForm, "question.choices has 0"},
		{"allenai/ai2_arc", "ARC-Easy", "test", arc(`{"id":"x","question":{"stem":"s","choices":[{"text":"a","label":"A"},5]},"answerKey":"A"}`), WrongType, "question.choices[1] is a number"},
		{"allenai/ai2_arc", "ARC-Easy", "test", arc(`{"id":"x","question":{"stem":"s","choices":[{"text":"a","label":"A"},{"label":"B"}]},"answerKey":"A"}`), MissingField, "question.choices[1].text"},
		{"allenai/ai2_arc", "ARC-Easy", "test", arc(`{"id":"x","question":{"stem":"s","choices":[{"text":"a","label":"A"},{"text":"b","label":"B"}]},"answerKey":"C"}`), UnknownAnswer, "C"},
		{"allenai/winogrande", "winogrande_xl", "validation", lines("allenai/winogrande", "winogrande_xl", "validation", "_", "she"), NoBlank, ":2: "},
		{"allenai/winogrande", "winogrande_xl", "validation", lines("allenai/winogrande", "winogrande_xl", "validation", `"answer":"2"`, `"answer":""`), UnknownAnswer, ":2: "},
		{"Rowan/hellaswag", "", "validation", lines("Rowan/hellaswag", "", "validation", `"label":1`, `"label":2`), UnknownAnswer, ":2: "},
		{"Rowan/hellaswag", "", "validation", lines("Rowan/hellaswag", "", "validation", `"ind":3`, `"ind":3000000000`), WrongType, "32 bits"},
		{"Rowan/hellaswag", "", "validation", lines("Rowan/hellaswag", "", "validation", `"endings":["a","b"]`, `"endings":["a",1]`), WrongType, "endings[1]"},
		{"corypaik/prost", "", "test", lines("corypaik/prost", "", "test", `"label":3`, `"label":4`), UnknownAnswer, ":2: "},
		{"aps/super_glue", "boolq", "validation", lines("aps/super_glue", "boolq", "validation", `"label":true`, `"label":"yes"`), WrongType, "truth value"},
		{"aps/super_glue", "cb", "validation", lines("aps/super_glue", "cb", "validation", `neutral`, `neither`), UnknownAnswer, ":2: "},
		{"aps/super_glue", "cb", "validation", lines("aps/super_glue", "cb", "validation", `"label":"neutral",`, ``), MissingField, "label"},
		{"aps/super_glue", "copa", "validation", lines("aps/super_glue", "copa", "validation", `effect`, `reason`), UnknownAnswer, ":2: "},
		{"aps/super_glue", "copa", "validation", lines("aps/super_glue", "copa", "validation", `"label":1`, `"label":2`), UnknownAnswer, ":2: "},
		{"aps/super_glue", "wic", "validation", lines("aps/super_glue", "wic", "validation", `"start2":2,`, ``), MissingField, "start2"},
		{"facebook/anli", "", "dev_r3", lines("facebook/anli", "", "dev_r3", `"label":"c"`, `"label":"x"`), UnknownAnswer, ":3: "},
		{"mosaicml/llm-foundry", "math_qa", "test", lines("mosaicml/llm-foundry", "math_qa", "test", `\nB. `, ` B. `), WrongForm, ":2: "},
		{"mosaicml/llm-foundry", "math_qa", "test", lines("mosaicml/llm-foundry", "math_qa", "test", `"gold":0`, `"gold":-1`), UnknownAnswer, ":2: "},
		{"EleutherAI/arithmetic", "two_digit_addition", "validation", lines("EleutherAI/arithmetic", "two_digit_addition", "validation", "completion", "answer"), MissingField, "completion"},
		{"baber/piqa", "", "validation", map[string]string{"piqa/valid.jsonl": `{"goal":"g","sol1":"a","sol2":"b"}` + "\n{}", "piqa/valid-labels.lst": "1\n0"}, MissingField, "valid.jsonl:2"},
		{"baber/piqa", "", "validation", map[string]string{"piqa/valid.jsonl": `{"goal":"g","sol1":"a","sol2":"b"}` + "\n" + `{"goal":"g","sol1":"a","sol2":"b"}`, "piqa/valid-labels.lst": "1\n2"}, UnknownAnswer, "valid-labels.lst:2"},
		{"allenai/sciq", "", "test", map[string]string{"sciq/test.json": `[{"question":"q","distractor3":"z","distractor1":"x","distractor2":"y","correct_answer":"w","support":""},{"question":"q"}]`}, MissingField, "sciq/test.json[1]"},
		{"regisss/math_qa", "", "test", map[string]string{"mathqa/test.json": `[{"Problem":"p","Rationale":"r","options":"o","correct":"e","annotated_formula":"","linear_formula":"","category":""},{"Problem":"p","Rationale":"r","options":"o","correct":"f","annotated_formula":"","linear_formula":"","category":""}]`}, UnknownAnswer, "[1]"},
		{"nyu-mll/glue", "mrpc", "test", map[string]string{"mrpc/msr_paraphrase_test.txt": "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t2\t3\ta\tb\n1\t2\t3\ta"}, WrongColumns, "test.txt:3"},
		{"nyu-mll/glue", "qqp", "validation", map[string]string{"qqp/dev.tsv": "question1\tquestion2\tis_duplicate\na\tb\t1\na\tb\t\n"}, NoAnswer, ":3: "},
		{"nyu-mll/glue", "qqp", "validation", map[string]string{"qqp/dev.tsv": "question1\tquestion2\tis_duplicate\na\tb\t1\na\tb\t5\n"}, UnknownAnswer, ":3: "},
		{"nyu-mll/glue", "qqp", "validation", map[string]string{"qqp/dev.tsv": "question1\tquestion2\tis_duplicate\na\tb\t1\na\t\xff\t1\n"}, NotUTF8, ":3: "},
		{"google-research-datasets/paws", "labeled_final", "test", map[string]string{"paws/test.tsv": "id\tsentence1\tsentence2\tlabel\n1\ta\tb\t1\nx\ta\tb\t1\n"}, WrongType, ":3: "},
		{"EleutherAI/logiqa", "logiqa", "test", map[string]string{"logiqa/Test.txt": "\na\nc\nq\nA.1\nB.2\nC.3\nD.4\n\na\nc\nq\nA.1\nB.2\nC.3\n"}, WrongBlock, "Test.txt:10: "},
		{"EleutherAI/logiqa", "logiqa", "test", map[string]string{"logiqa/Test.txt": "\na\nc\nq\nA.1\nB.2\nC.3\nD.4\n\ne\nc\nq\nA.1\nB.2\nC.3\nD.4"}, UnknownAnswer, ":10: "},
		{"EleutherAI/logiqa", "logiqa", "test", map[string]string{"logiqa/Test.txt": "\na\nc\nq\nA.1\nB.2\nC.3\nD.4\n\na\n\xff\nq\nA.1\nB.2\nC.3\nD.4"}, NotUTF8, ":10: "},
		{"EleutherAI/headqa", "en", "test", map[string]string{"headqa/test_HEAD_EN.json": `{"exams":{"B":{"name":"B","year":"1","category":"c","data":[{"qid":"1","qtext":"q","ra":"1","answers":[{"aid":1,"atext":"a"}]},{"qid":"2","qtext":"q","ra":"0","answers":[{"aid":1,"atext":"a"}]}]}}}`}, UnknownAnswer, "exam B[1]"},
		{"EleutherAI/headqa", "en", "test", map[string]string{"headqa/test_HEAD_EN.json": `{"exams":{"B":{"name":"B","year":"1","category":"c","data":[{"qid":"1","qtext":"q","ra":"1","answers":[{"aid":1,"atext":"a"}]}]},"C":{"name":"C","year":"1","data":[{}]}}}`}, MissingField, "exam C[0]"},
		{"EleutherAI/race", "high", "test", map[string]string{"race/test/high/1.txt": `{"answers":["A"],"options":[["a","b","c","d"]],"questions":["q"],"article":"x"}`, "race/test/high/2.txt": `{"answers":[],"options":[["a","b","c","d"]],"questions":["q"],"article":"x"}`}, WrongForm, "race/test/high/2.txt: "},
		{"EleutherAI/race", "high", "test", map[string]string{"race/test/high/1.txt": `{"answers":["A"],"options":[["a","b","c","d"]],"questions":["q"],"article":"x"}`, "race/test/high/2.txt": `{"answers":["E"],"options":[["a","b","c","d"]],"questions":["q"],"article":"x"}`}, UnknownAnswer, "problem 0"},
		{"EleutherAI/race", "high", "test", map[string]string{"race/test/high/1.txt": `{"answers":["A"],"options":[["a","b","c","d"]],"questions":["q"],"article":"x"}`, "race/test/high/2.txt": `{"answers":["A"],"options":[["a","b","c"]],"questions":["q"],"article":"x"}`}, WrongForm, "3 options"},
		{"EleutherAI/race", "high", "test", map[string]string{"race/test/high/1.txt": `{"answers":["A"],"options":[["a","b","c","d"]],"questions":["q"],"article":"x"}`, "race/test/high/2.txt": `{"answers":["A"],"options":[7],"questions":["q"],"article":"x"}`}, WrongType, "problem 0"},
		{"community-datasets/qa4mre", "2012.alzheimers.EN", "train", map[string]string{"qa4mre/QA4MRE-2012_BIOMEDICAL_GS.xml": strings.Replace(qaXML, `correct="Yes">black`, `>black`, 1)}, NoAnswer, "GS.xml:8: "},
		{"community-datasets/qa4mre", "2012.alzheimers.EN", "train", map[string]string{"qa4mre/QA4MRE-2012_BIOMEDICAL_GS.xml": strings.Replace(qaXML, `q_id="2"`, ``, 1)}, MissingField, "q_id"},
		{"community-datasets/qa4mre", "2012.alzheimers.EN", "train", map[string]string{"qa4mre/QA4MRE-2012_BIOMEDICAL_GS.xml": strings.Replace(qaXML, `<![CDATA[Why?]]>`, ``, 1)}, MissingField, "q_str"},
		{"bigbio/pubmed_qa", "pubmed_qa_labeled_fold0_source", "test", map[string]string{"pubmedqa/ori_pqal.json": pubMed, "pubmedqa/test_ground_truth.json": `{"2":"yes","1":"yes"}`}, Disagreement, "item 2"},
	} {
		rows, report, err := readFS(t, c.path, c.config, c.split, c.files)
		if err != nil {
			t.Errorf("%s %s: %v", c.path, c.want, err)
			continue
		}
		if len(rows) == 0 || !maps.Equal(report.Skipped, map[Reason]int{c.want: 1}) {
			t.Errorf("%s: %d rows, skipped %v; want 1 %s", c.path, len(rows), report.Skipped, c.want)
		}
		if text := strings.Join(report.Examples, "\n"); !strings.Contains(text, c.place) || !strings.Contains(text, string(c.want)) {
			t.Errorf("%s %s: examples %q do not say %q", c.path, c.want, report.Examples, c.place)
		}
	}
}

// What makes a file unusable as a whole, and what the error has to name.
func TestUnusableFiles(t *testing.T) {
	qa := func(text string) map[string]string {
		return map[string]string{"qa4mre/QA4MRE-2012_BIOMEDICAL_GS.xml": text}
	}
	const bio = "2012.alzheimers.EN"
	row := `{"goal":"g","sol1":"a","sol2":"b"}`
	for _, c := range []struct {
		path, config, split string
		files               map[string]string
		want                string
	}{
		{"baber/piqa", "", "validation", map[string]string{"piqa/valid.jsonl": row}, "piqa/valid.jsonl is there without piqa/valid-labels.lst"},
		{"baber/piqa", "", "validation", map[string]string{"piqa/valid.jsonl": row, "piqa/valid-labels.lst": "1\n0\n"}, "piqa/valid.jsonl has 1 rows, piqa/valid-labels.lst has 2 labels"},
		{"baber/piqa", "", "validation", map[string]string{"piqa/valid.jsonl": row, "piqa/valid-labels.lst": "1\n", "piqa/dev.jsonl": row, "piqa/dev-labels.lst": "1\n"}, "both there"},
		{"baber/piqa", "", "test", map[string]string{"piqa/tests.jsonl": row, "piqa/tests.jsonl.gz": pack(row)}, "both there"},
		{"baber/piqa", "", "test", map[string]string{"piqa/tests.jsonl.gz": pack(row)[:20]}, "piqa/tests.jsonl.gz: gzip"},
		{"baber/piqa", "", "test", map[string]string{"piqa/tests.jsonl.gz": pack(row) + "more"}, "gzip"},
		{"baber/piqa", "", "test", map[string]string{"piqa/tests.jsonl": "{}\n[]\n"}, "no row is good, 2 are malformed: piqa/tests.jsonl:1: missing field: goal"},
		{"baber/piqa", "", "test", map[string]string{"piqa/tests.jsonl": ""}, "no row is good"},
		{"nyu-mll/glue", "mrpc", "validation", map[string]string{"mrpc/msr_paraphrase_train.txt": "x"}, "without mrpc/mrpc_dev_ids.tsv"},
		{"nyu-mll/glue", "mrpc", "validation", replaced(sample{files: mrpcTrain}, "12\t13\n99\t98", "12"), "MRPC/mrpc_dev_ids.tsv:1"},
		{"nyu-mll/glue", "mrpc", "test", map[string]string{"mrpc/msr_paraphrase_test.txt": "Quality\n"}, `mrpc/msr_paraphrase_test.txt:1: no column "#1 String"`},
		{"nyu-mll/glue", "qqp", "validation", map[string]string{"qqp/dev.tsv": "question1\tquestion2\n"}, `no column "is_duplicate"`},
		{"nyu-mll/glue", "qqp", "validation", map[string]string{"qqp/dev.tsv": ""}, "no column"},
		{"allenai/sciq", "", "test", map[string]string{"sciq/test.json": `[{"question"`}, "sciq/test.json: JSON: line 1"},
		{"allenai/sciq", "", "test", map[string]string{"sciq/test.json": strings.Repeat("[", 1<<23)}, "nested deeper than 500"},
		{"allenai/sciq", "", "test", map[string]string{"sciq/test.json": strings.Repeat(`{"\\\"{":`, 1<<20)}, "nested deeper than 500"},
		{"allenai/sciq", "", "test", map[string]string{"sciq/test.json": `{}`}, "an object, not an array"},
		{"EleutherAI/race", "high", "test", map[string]string{"race/test/high/1.txt": `{`}, "race/test/high/1.txt: JSON"},
		{"EleutherAI/race", "high", "test", map[string]string{"race/test/high/1.txt": `[]`}, "a list, not an object"},
		{"EleutherAI/headqa", "en", "test", map[string]string{"headqa/test_HEAD_EN.json": `{"exams":[]}`}, "exams is a list"},
		{"EleutherAI/headqa", "en", "test", map[string]string{"headqa/test_HEAD_EN.json": `{"exams":{"B":1}}`}, `exam "B" is a number`},
		{"EleutherAI/headqa", "en", "test", map[string]string{"headqa/test_HEAD_EN.json": `{"exams":{"B":{}}}`}, "the data of exam"},
		{"bigbio/pubmed_qa", "pubmed_qa_labeled_fold0_source", "test", map[string]string{"pubmedqa/ori_pqal.json": pubMed}, "without pubmedqa/test_ground_truth.json"},
		{"bigbio/pubmed_qa", "pubmed_qa_labeled_fold0_source", "test", map[string]string{"pubmedqa/ori_pqal.json": pubMed, "pubmedqa/test_ground_truth.json": `{"77":"yes"}`}, "has no item 77"},
		{"bigbio/pubmed_qa", "pubmed_qa_labeled_fold0_source", "test", map[string]string{"pubmedqa/ori_pqal.json": pubMed, "pubmedqa/test_ground_truth.json": `[]`}, "test_ground_truth.json: a list"},
		{"community-datasets/qa4mre", bio, "train", qa(strings.Replace(qaXML, "</q>", "", 1)), "GS.xml: XML: line 13, column 18: element <q> closed by </reading-test>"},
		{"community-datasets/qa4mre", bio, "train", qa(strings.Replace(qaXML, "&lt;", "&nosuch;", 1)), "XML: line 6"},
		{"community-datasets/qa4mre", bio, "train", qa(strings.Replace(qaXML, "UTF-8", "ISO-8859-1", 1)), "ISO-8859-1"},
		{"community-datasets/qa4mre", bio, "train", qa(strings.Replace(qaXML, "black.", "\xe9", 1)), "UTF-8"},
		{"community-datasets/qa4mre", bio, "train", qa(qaXML + "<again/>"), "a second root"},
		{"community-datasets/qa4mre", bio, "train", qa(qaXML + "text"), "outside of the root"},
		{"community-datasets/qa4mre", bio, "train", qa(qaXML[:300]), "XML"},
		{"community-datasets/qa4mre", bio, "train", qa(strings.Repeat("<a>", 200)), "more than 100 levels"},
		{"community-datasets/qa4mre", bio, "train", qa(""), "no element"},
		{"community-datasets/qa4mre", bio, "train", qa("<test-set/>"), "no row is good"},
		{"EleutherAI/logiqa", "logiqa", "test", map[string]string{"logiqa/Test.txt": "\n\n\n"}, "no row is good"},
	} {
		_, _, err := readFS(t, c.path, c.config, c.split, c.files)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v; want %q", c.path, err, c.want)
		}
	}
}

// A broken row of MRPC still has its number, so that the rows after it keep their idx.
func TestNumbersOfRowsBehindABadOne(t *testing.T) {
	rows, _, err := readFS(t, "nyu-mll/glue", "qqp", "validation", map[string]string{"qqp/dev.tsv": "question1\tquestion2\tis_duplicate\na\n\nb\tc\t1\n"})
	if err != nil {
		t.Fatal(err)
	}
	if got := encoded(t, rows); !strings.Contains(got, `"idx": 1`) {
		t.Errorf("got %s", got)
	}
}

// Examples are few and short, and hold no control characters.
func TestExamplesAreBounded(t *testing.T) {
	bad := `{"goal":"g","sol1":"a","sol2":5,"x":"` + strings.Repeat("long", 1000) + `"}` + "\n"
	rows := strings.Repeat(bad, 10) + strings.Repeat("{\x1b]0;"+strings.Repeat("y", 900)+"\n", 10) + `{"goal":"g","sol1":"a","sol2":"b"}`
	_, report, err := readFS(t, "baber/piqa", "", "test", map[string]string{"piqa/tests.jsonl": rows})
	if err != nil || report.SkippedRows() != 20 || len(report.Examples) != 2*examplesPerReason {
		t.Fatalf("%v, %+v", err, report)
	}
	for _, e := range report.Examples {
		if len(e) > 1000 || strings.ContainsRune(e, 0x1b) {
			t.Errorf("example %q", e)
		}
	}
}
