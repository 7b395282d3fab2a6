package official

import (
	"bytes"
	"compress/gzip"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"alfred/internal/eval/python"
)

// sample is a split in its official files, with invented content, and the documents that the hub would give, as JSON.
type sample struct {
	path, config, split string
	files               map[string]string
	want                string // one document per line
	noted               map[Reason]int
}

var samples = []sample{
	{"allenai/ai2_arc", "ARC-Easy", "test", map[string]string{"arc/ARC-Easy-Test.jsonl": `{"id":"m1","question":{"stem":"Which is wet?","choices":[{"text":"rain","label":"1"},{"text":" sand ","label":"2"}]},"answerKey":"1"}`},
		`{"id": "m1", "question": "Which is wet?", "choices": {"text": ["rain", " sand "], "label": ["1", "2"]}, "answerKey": "1"}`, nil},
	{"allenai/ai2_arc", "ARC-Challenge", "validation", map[string]string{"ARC-V1-Feb2018-2/ARC-Challenge/ARC-Challenge-Dev.jsonl": "\ufeff" + `{"id":"m2","question":{"stem":"q","choices":[{"text":"","label":"A"},{"text":"b","label":"B"}]},"answerKey":"B"}` + "\r\n\r\n"},
		`{"id": "m2", "question": "q", "choices": {"text": ["", "b"], "label": ["A", "B"]}, "answerKey": "B"}`, map[Reason]int{EmptyChoice: 1, BlankLine: 1}},
	{"allenai/openbookqa", "main", "train", map[string]string{"OpenBookQA-V1-Sep2018/Data/Main/train.jsonl": `{"id":"7","question":{"stem":"Ice is","choices":[{"text":"cold","label":"A"},{"text":"hot","label":"B"}]},"answerKey":" A"}`},
		`{"id": "7", "question_stem": "Ice is", "choices": {"text": ["cold", "hot"], "label": ["A", "B"]}, "answerKey": " A"}`, nil},
	{"allenai/sciq", "default", "validation", map[string]string{"sciq/valid.json": `[{"support":"", "question":"q","distractor1":"x","distractor2":"y","distractor3":"z","correct_answer":"w"}]`},
		`{"question": "q", "distractor3": "z", "distractor1": "x", "distractor2": "y", "correct_answer": "w", "support": ""}`, nil},
	{"baber/piqa", "", "validation", map[string]string{"piqa/valid.jsonl": `{"goal":"g","sol1":"a ","sol2":"b"}` + "\n" + `{"goal":"h","sol1":"c","sol2":"d","id":5}` + "\n", "piqa/valid-labels.lst": "1\r\n0\r\n"},
		`{"goal": "g", "sol1": "a ", "sol2": "b", "label": 1}` + "\n" + `{"goal": "h", "sol1": "c", "sol2": "d", "label": 0}`, nil},
	{"baber/piqa", "", "test", map[string]string{"physicaliqa-train-dev/tests.jsonl": `{"goal":"g","sol1":"a","sol2":"b"}`},
		`{"goal": "g", "sol1": "a", "sol2": "b", "label": -1}`, nil},
	{"allenai/winogrande", "winogrande_xl", "validation", map[string]string{"winogrande_1.1/dev.jsonl": `{"qID":"1","sentence":"Ann met Eve and _ spoke.","option1":"Ann","option2":"Eve","answer":"2"}`},
		`{"sentence": "Ann met Eve and _ spoke.", "option1": "Ann", "option2": "Eve", "answer": "2"}`, nil},
	{"allenai/winogrande", "winogrande_xl", "test", map[string]string{"winogrande/test.jsonl": `{"qID":"1","sentence":"_ won.","option1":"Ann","option2":"Eve"}`},
		`{"sentence": "_ won.", "option1": "Ann", "option2": "Eve", "answer": ""}`, nil},
	{"Rowan/hellaswag", "", "validation", map[string]string{"hellaswag/hellaswag_val.jsonl": `{"ind":3,"activity_label":"Rowing","ctx_a":"He rows.","ctx_b":"he","ctx":"He rows. he","split":"val","split_type":"indomain","label":1,"endings":["a","b"],"source_id":"s"}`},
		`{"ind": 3, "activity_label": "Rowing", "ctx_a": "He rows.", "ctx_b": "he", "ctx": "He rows. he", "endings": ["a", "b"], "source_id": "s", "split": "val", "split_type": "indomain", "label": "1"}`, nil},
	{"Rowan/hellaswag", "", "test", map[string]string{"hellaswag/data/hellaswag_test.jsonl": `{"ind":3,"activity_label":"Rowing","ctx":"He rows.","split":"test","split_type":"indomain","endings":["a","b"],"source_id":"s"}`},
		`{"ind": 3, "activity_label": "Rowing", "ctx_a": "", "ctx_b": "", "ctx": "He rows.", "endings": ["a", "b"], "source_id": "s", "split": "test", "split_type": "indomain", "label": ""}`, nil},
	{"corypaik/prost", "", "test", map[string]string{"prost/data/default.jsonl": `{"name":"n_1","label":3,"A":"a","B":"b","C":"c","D":"d","context":"x","question":"The [MASK] rolls.","ex_question":"Which rolls?","group":"rolling"}`},
		`{"A": "a", "B": "b", "C": "c", "D": "d", "context": "x", "question": "The [MASK] rolls.", "ex_question": "Which rolls?", "group": "rolling", "label": 3, "name": "n_1"}`, nil},
	{"aps/super_glue", "boolq", "validation", map[string]string{"superglue/BoolQ-val.jsonl": `{"question":"is it","passage":"It is.","idx":4,"label":true}`},
		`{"question": "is it", "passage": "It is.", "idx": 4, "label": 1}`, nil},
	{"aps/super_glue", "cb", "validation", map[string]string{"CB/val.jsonl": `{"premise":"p","hypothesis":"h","label":"neutral","idx":0}`},
		`{"premise": "p", "hypothesis": "h", "idx": 0, "label": 2}`, nil},
	{"aps/super_glue", "rte", "test", map[string]string{"superglue/RTE/test.jsonl": `{"premise":"p","hypothesis":"h","idx":0}`},
		`{"premise": "p", "hypothesis": "h", "idx": 0, "label": -1}`, nil},
	{"aps/super_glue", "copa", "validation", map[string]string{"COPA/val.jsonl": `{"premise":"It rained.","choice1":"a","choice2":"b","question":"effect","label":1,"idx":9}`},
		`{"premise": "It rained.", "choice1": "a", "choice2": "b", "question": "effect", "idx": 9, "label": 1}`, nil},
	{"aps/super_glue", "wic", "validation", map[string]string{"WiC/val.jsonl": `{"word":"run","sentence1":"He ran.","sentence2":"A run.","idx":0,"label":false,"start1":3,"start2":2,"end1":6,"end2":5,"version":1.1}` + "\n" + `{"word":"run","sentence1":"He ran.","sentence2":"A run.","idx":1,"label":true}`},
		`{"word": "run", "sentence1": "He ran.", "sentence2": "A run.", "start1": 3, "start2": 2, "end1": 6, "end2": 5, "idx": 0, "label": 0}` + "\n" +
			`{"word": "run", "sentence1": "He ran.", "sentence2": "A run.", "idx": 1, "label": 1}`, map[Reason]int{NoOffsets: 1}},
	// A quotation mark that stands alone is text, so are spaces at the end of a cell; a CR alone ends a line.
	{"nyu-mll/glue", "mrpc", "test", map[string]string{"mrpc/msr_paraphrase_test.txt": "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n1\t10\t11\t\"He said \tno. \r\n0\t12\t13\tA\tB\r"},
		`{"sentence1": "\"He said ", "sentence2": "no. ", "label": 1, "idx": 0}` + "\n" + `{"sentence1": "A", "sentence2": "B", "label": 0, "idx": 1}`, nil},
	{"nyu-mll/glue", "mrpc", "validation", mrpcTrain, `{"sentence1": "c", "sentence2": "d", "label": 0, "idx": 1}`, nil},
	{"nyu-mll/glue", "mrpc", "train", mrpcTrain, `{"sentence1": "a", "sentence2": "b", "label": 1, "idx": 0}`, nil},
	{"nyu-mll/glue", "qqp", "validation", map[string]string{"QQP/dev.tsv": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n5\t6\t7\tWhy \"\"x?\t\"Why y?\t1\n"},
		`{"question1": "Why \"\"x?", "question2": "\"Why y?", "label": 1, "idx": 0}`, nil},
	{"nyu-mll/glue", "qqp", "test", map[string]string{"QQP/test.tsv": "id\tquestion1\tquestion2\n5\ta\tb\n\n6\tc\td\n"},
		`{"question1": "a", "question2": "b", "label": -1, "idx": 0}` + "\n" + `{"question1": "c", "question2": "d", "label": -1, "idx": 1}`, map[Reason]int{BlankLine: 1}},
	{"google-research-datasets/paws-x", "en", "test", map[string]string{"x-final/en/test_2k.tsv": "id\tsentence1\tsentence2\tlabel\n1\tA `` b '' .\tB .\t1"},
		"{\"id\": 1, \"sentence1\": \"A `` b '' .\", \"sentence2\": \"B .\", \"label\": 1}", nil},
	{"google-research-datasets/paws", "labeled_final", "validation", map[string]string{"paws/dev.tsv": "id\tsentence1\tsentence2\tlabel\n1\ta\tb\t0\n"},
		`{"id": 1, "sentence1": "a", "sentence2": "b", "label": 0}`, nil},
	{"EleutherAI/logiqa", "logiqa", "test", map[string]string{"logiqa/Test.txt": "\na\nIt is so.It is. \nWhat follows?\nA.First.\nB second\nNo letter\nB? last\n\n d\nc\nq\nA.1\nB.2\nA small one\nd.4"},
		`{"label": "a", "context": "It is so. It is.", "question": "What follows?", "options": ["First.", "second", "letter", "last"]}` + "\n" +
			`{"label": "d", "context": "c", "question": "q", "options": ["1", "2", "small one", "4"]}`, map[Reason]int{CutOption: 2, MovedOption: 1}},
	{"regisss/math_qa", "", "test", map[string]string{"MathQA/test.json": `[{"Problem":"1 + 1 ?","Rationale":"r","options":"a ) 1 , b ) 2 , c ) 3 , d ) 4 , e ) 5","correct":"b","annotated_formula":"f","linear_formula":"l","category":"general"}]`},
		`{"Problem": "1 + 1 ?", "Rationale": "r", "options": "a ) 1 , b ) 2 , c ) 3 , d ) 4 , e ) 5", "correct": "b", "annotated_formula": "f", "linear_formula": "l", "category": "general"}`, nil},
	{"mosaicml/llm-foundry", "math_qa", "test", map[string]string{"mathqa/llm_foundry_math_qa.jsonl": `{"query":"Question: 1 + 1 ?\nA. 2\nB. \nAnswer: ","choices":["A","B"],"gold":0}`},
		`{"query": "Question: 1 + 1 ?\nA. 2\nB. \nAnswer: ", "choices": ["A", "B"], "gold": 0, "problem": "1 + 1 ?", "options": ["2", ""]}`, map[Reason]int{EmptyChoice: 1}},
	{"EleutherAI/arithmetic", "two_digit_addition", "validation", map[string]string{"gpt-3/data/two_digit_addition.jsonl": `{"context": "\n\nQ: What is 10 plus 11?\n\nA:", "completion": " 21"}`},
		`{"context": "\n\nQ: What is 10 plus 11?\n\nA:", "completion": " 21"}`, nil},
	{"facebook/anli", "", "dev_r3", map[string]string{"anli_v1.0/R3/dev.jsonl": `{"uid":"u","context":"p","hypothesis":"h","label":"c","model_label":"e","genre":"news","reason":"r","tag":"t"}` + "\n" + `{"uid":"v","context":"p","hypothesis":"h","label":"e"}`},
		`{"uid": "u", "premise": "p", "hypothesis": "h", "label": 2, "reason": "r"}` + "\n" + `{"uid": "v", "premise": "p", "hypothesis": "h", "label": 0, "reason": ""}`, nil},
	{"EleutherAI/race", "high", "test", map[string]string{
		"race/test/high/9.txt":  `{"answers":["B"],"options":[["a","b","c","d"]],"questions":["It's a \"test\"\n?"],"article":"Nine.","id":"high9.txt"}`,
		"race/test/high/10.txt": `{"answers":["A","D"],"options":[["a'","b","c","d"],["e","f","g","\u00e9\u200b"]],"questions":["x _ .","y\\"],"article":"Ten.","id":"high10.txt"}`},
		`{"article": "Ten.", "problems": "[{'question': 'x _ .', 'answer': 'A', 'options': [\"a'\", 'b', 'c', 'd']}, {'question': 'y\\\\', 'answer': 'D', 'options': ['e', 'f', 'g', 'é\\u200b']}]"}` + "\n" +
			`{"article": "Nine.", "problems": "[{'question': 'It\\'s a \"test\"\\n?', 'answer': 'B', 'options': ['a', 'b', 'c', 'd']}]"}`, nil},
	{"community-datasets/qa4mre", "2012.alzheimers.EN", "train", map[string]string{"qa4mre/QA4MRE-2012_BIOMEDICAL_GS.xml": qaXML},
		`{"topic_id": "1", "topic_name": "Tea & co", "test_id": "2", "document_id": "3", "document_str": "\nGreen < black.\n", "question_id": "1", "question_str": "Which \"tea\"?", "answer_options": {"answer_id": ["1", "2"], "answer_str": ["green", "black "]}, "correct_answer_id": "2", "correct_answer_str": "black "}` + "\n" +
			`{"topic_id": "1", "topic_name": "Tea & co", "test_id": "2", "document_id": "3", "document_str": "\nGreen < black.\n", "question_id": "2", "question_str": "Why?", "answer_options": {"answer_id": ["1", "2"], "answer_str": ["x", ""]}, "correct_answer_id": "2", "correct_answer_str": ""}`,
		map[Reason]int{EmptyChoice: 1, TwoAnswers: 1}},
	{"EleutherAI/headqa", "en", "test", map[string]string{"HEAD_EN/test_HEAD_EN.json": `{"version":"1.0","language":"en","exams":{"B":{"name":" B ","year":"2016","category":"biology","data":[{"qid":" 12","qtext":"Cells \u00a0","ra":"2","image":"x.png","answers":[{"aid":1,"atext":" a"},{"aid":2,"atext":"b"}]}]}}}`},
		`{"name": "B", "year": "2016", "category": "biology", "qid": 12, "qtext": "Cells", "ra": 2, "answers": [{"aid": 1, "atext": "a"}, {"aid": 2, "atext": "b"}]}`, nil},
	{"bigbio/pubmed_qa", "pubmed_qa_labeled_fold0_source", "test", map[string]string{"pubmedqa/ori_pqal.json": pubMed, "pubmedqa/test_ground_truth.json": `{"2":"no","1":"yes"}`},
		`{"QUESTION": "B?", "CONTEXTS": ["x", "y"], "LABELS": [], "MESHES": [], "YEAR": null, "reasoning_required_pred": null, "reasoning_free_pred": null, "final_decision": "no", "LONG_ANSWER": null}` + "\n" +
			`{"QUESTION": "A?", "CONTEXTS": ["x"], "LABELS": ["L"], "MESHES": ["M"], "YEAR": "2001", "reasoning_required_pred": "yes", "reasoning_free_pred": "yes", "final_decision": "yes", "LONG_ANSWER": "l"}`, nil},
	{"allenai/sciq", "", "test", map[string]string{"SciQ dataset-2 3/test.json": `[{"question":"q","distractor3":"z","distractor1":"x","distractor2":"y","correct_answer":" ","support":"s"}]`},
		`{"question": "q", "distractor3": "z", "distractor1": "x", "distractor2": "y", "correct_answer": " ", "support": "s"}`, map[Reason]int{EmptyChoice: 1}},
	{"bigbio/pubmed_qa", "pubmed_qa_labeled_fold0_source", "train", map[string]string{"pubmedqa/pqal_fold0/train_set.json": `{"3":{"QUESTION":"C?","CONTEXTS":["x"],"YEAR":"1999","final_decision":"yes","LONG_ANSWER":"l"}}`},
		`{"QUESTION": "C?", "CONTEXTS": ["x"], "LABELS": [], "MESHES": [], "YEAR": "1999", "reasoning_required_pred": null, "reasoning_free_pred": null, "final_decision": "yes", "LONG_ANSWER": "l"}`, nil},
	{"bigbio/pubmed_qa", "pubmed_qa_labeled_fold0_source", "validation", map[string]string{"pubmedqa/data/pqal_fold0/dev_set.json": `{"3":{"QUESTION":"C?","CONTEXTS":[],"final_decision":"maybe"}}`},
		`{"QUESTION": "C?", "CONTEXTS": [], "LABELS": [], "MESHES": [], "YEAR": null, "reasoning_required_pred": null, "reasoning_free_pred": null, "final_decision": "maybe", "LONG_ANSWER": null}`, nil},
}

var mrpcTrain = map[string]string{
	"MRPC/msr_paraphrase_train.txt": "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t10\t11\ta\tb\n0\t12\t13\tc\td\n",
	"MRPC/mrpc_dev_ids.tsv":         "12\t13\n99\t98\n\n",
}

const pubMed = `{"1":{"QUESTION":"A?","CONTEXTS":["x"],"LABELS":["L"],"MESHES":["M"],"YEAR":"2001","reasoning_required_pred":"yes","reasoning_free_pred":"yes","final_decision":"yes","LONG_ANSWER":"l"},
"2":{"QUESTION":"B?","CONTEXTS":["x","y"],"LABELS":null,"final_decision":"no"},"3":{"QUESTION":"C?","CONTEXTS":[],"final_decision":"maybe"}}`

const qaXML = `<?xml version="1.0" encoding="UTF-8"?>
<test-set>
 <topic t_id="1" t_name="Tea &amp; co">
  <reading-test r_id="2">
   <doc d_id="3">
Green &lt; <!-- not text -->black.
</doc>
   <q  q_id="1" >
    <q_str>Which &quot;tea&quot;?</q_str><answer a_id='1' >green</answer>
    <answer a_id='2'  correct="Yes">black </answer>
   </q>
   <q q_id="2"><q_str><![CDATA[Why?]]></q_str><answer a_id="1" correct="Yes">x</answer><answer a_id="2" correct="Yes"/></q>
  </reading-test>
 </topic>
</test-set>`

// readFS reads a split from files in memory.
func readFS(t *testing.T, path, config, split string, files map[string]string) ([]*python.Dict, Report, error) {
	t.Helper()
	d, ok := Find(path, config)
	if !ok {
		t.Fatalf("no dataset %s %s", path, config)
	}
	s, err := d.split(split)
	if err != nil {
		t.Fatal(err)
	}
	dir := fstest.MapFS{}
	for name, text := range files {
		dir[name] = &fstest.MapFile{Data: []byte(text)}
	}
	found, err := s.find(dir)
	if err != nil {
		return nil, Report{}, err
	}
	return s.readFiles(dir, found)
}

func encoded(t *testing.T, rows []*python.Dict) string {
	t.Helper()
	var b []byte
	for _, row := range rows {
		b = append(python.AppendJSON(b, row, 0), '\n')
	}
	return string(b)
}

func pack(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(text))
	w.Close()
	return b.String()
}

func TestSamples(t *testing.T) {
	for _, c := range samples {
		t.Run(c.path+"/"+c.config+"/"+c.split, func(t *testing.T) {
			rows, report, err := readFS(t, c.path, c.config, c.split, c.files)
			if err != nil {
				t.Fatal(err)
			}
			if got := encoded(t, rows); got != c.want+"\n" {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if report.Rows != len(rows) || report.SkippedRows() != 0 || !maps.Equal(report.Noted, c.noted) || len(report.Sources) != len(c.files) {
				t.Errorf("report %+v; want %d rows, noted %v", report, len(rows), c.noted)
			}
			packed := map[string]string{}
			for name, text := range c.files {
				packed[name+".gz"] = pack(text)
			}
			again, _, err := readFS(t, c.path, c.config, c.split, packed)
			if err != nil || encoded(t, again) != c.want+"\n" {
				t.Errorf("packed: %v", err)
			}
		})
	}
}

// PubMedQA's test set is also published in one file.
func TestPubMedQATestFile(t *testing.T) {
	rows, _, err := readFS(t, "bigbio/pubmed_qa", "pubmed_qa_labeled_fold0_source", "test", map[string]string{"pubmedqa/pqal_test_set.json": pubMed})
	if err != nil || len(rows) != 3 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
}

// Every dataset has a sample, so that no row of the table is left untested; the languages of a set share a reader.
func TestEveryReaderHasASample(t *testing.T) {
	have := map[string]bool{}
	for _, s := range samples {
		have[s.path] = true
	}
	names := map[string]bool{}
	for _, d := range Datasets() {
		if !have[d.Path] {
			t.Errorf("no sample of %s", d.Path)
		}
		if names[d.Name()] {
			t.Errorf("%s is there twice", d.Name())
		}
		names[d.Name()] = true
		for _, split := range d.Splits() {
			if forms := d.Files(split); len(forms) == 0 || len(forms[0]) == 0 {
				t.Errorf("%s, split %s has no files", d.Name(), split)
			}
		}
	}
}

// No file may be read by two datasets, but for training files that are divided and folders that are told apart by name.
func TestPatternsBelongToOneDataset(t *testing.T) {
	owner := map[string]string{}
	for _, d := range Datasets() {
		for _, split := range d.Splits() {
			for _, form := range d.Files(split) {
				if other, ok := owner[form[0]]; ok && other != d.Name() {
					t.Errorf("%s belongs to %s and %s", form[0], other, d.Name())
				}
				owner[form[0]] = d.Name()
			}
		}
	}
}

func TestFind(t *testing.T) {
	for _, config := range []string{"", "default"} {
		if d, ok := Find("baber/piqa", config); !ok || d.Config != "" || !slices.Equal(d.Splits(), []string{"train", "validation", "test"}) {
			t.Errorf("Find(baber/piqa, %q) = %+v, %v", config, d, ok)
		}
	}
	if _, ok := Find("allenai/ai2_arc", ""); ok {
		t.Error("ARC without its configuration is found")
	}
	d, _ := Find("allenai/sciq", "")
	if _, _, err := d.Read(t.TempDir(), "test"); !errors.Is(err, ErrNoFiles) || !strings.Contains(err.Error(), "sciq/test.json") {
		t.Errorf("an empty folder: %v", err)
	}
	if _, _, err := d.Read(t.TempDir(), "dev"); err == nil || !strings.Contains(err.Error(), "train, validation, test") {
		t.Errorf("an unknown split: %v", err)
	}
	if d.Files("dev") != nil {
		t.Error("an unknown split has files")
	}
}
