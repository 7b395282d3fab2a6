package official

import (
	"strings"
	"testing"
	"unicode/utf8"

	"alfred/internal/eval/python"
)

// fuzzSplit feeds arbitrary files to a reader. Whatever the input, the reader returns, the counts add up, and what it lets through
// can be encoded and read again as the same document.
func fuzzSplit(f *testing.F, path, config, split, suffix string, seeds ...string) {
	d, ok := Find(path, config)
	if !ok {
		f.Fatalf("no dataset %s %s", path, config)
	}
	s, err := d.split(split)
	if err != nil {
		f.Fatal(err)
	}
	for _, sample := range samples {
		if sample.path == path {
			for name, text := range sample.files {
				if strings.HasSuffix(name, suffix) {
					f.Add([]byte(text))
				}
			}
		}
	}
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in := &input{rowFiles: []file{{"fuzz", data}}, hidden: s.hidden}
		if err := s.read(in); err != nil {
			return
		}
		if in.report.Rows != len(in.rows) || in.report.SkippedRows() > len(data) {
			t.Errorf("%d rows, report %+v", len(in.rows), in.report)
		}
		for _, row := range in.rows {
			text := python.AppendJSON(nil, row, 0)
			if !utf8.Valid(text) {
				t.Fatalf("%q", text)
			}
			again, err := python.ParseJSON(text)
			if err != nil || !python.Equal(again, row) {
				t.Fatalf("%s comes back as %v, %v", text, again, err)
			}
		}
	})
}

func FuzzQA4MRE(f *testing.F) {
	fuzzSplit(f, "community-datasets/qa4mre", "2012.alzheimers.EN", "train", ".xml", "<a><b/></a>", "<a t_id='1'><b r_id='1'><q/></b></a>")
}

func FuzzLogiQA(f *testing.F) {
	fuzzSplit(f, "EleutherAI/logiqa", "logiqa", "test", "Test.txt", "a\n\n\nb\r\r", "a\nb\nc\n\xff\nB\nC.\nD.")
}

func FuzzTable(f *testing.F) {
	fuzzSplit(f, "nyu-mll/glue", "qqp", "validation", "dev.tsv", "question1\tquestion2\tis_duplicate\tquestion1\na\tb\t1\tc", "\t\t\r\n\t")
}

func FuzzRace(f *testing.F) {
	fuzzSplit(f, "EleutherAI/race", "high", "test", ".txt", `{"answers":["A"],"options":[[]],"questions":[""],"article":""}`)
}

func FuzzHeadQA(f *testing.F) {
	fuzzSplit(f, "EleutherAI/headqa", "en", "test", "test_HEAD_EN.json", `{"exams":{"":{"data":[null]}}}`)
}
