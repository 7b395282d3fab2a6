package official

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// realRoot is where the real data lie beside the repository.
const realRoot = "../../../../shared/data/eval"

// The rows that the data's README gives for each set, none of them malformed. The options of LogiQA were counted by a separate
// script: 18 of the validation set start with no letter, 38 of the test set are not in the order of their letters.
func TestRealData(t *testing.T) {
	if _, err := os.Stat(realRoot); err != nil {
		t.Skipf("shared data is absent: %v", err)
	}
	want := map[string]int{
		"allenai/ai2_arc/ARC-Easy/test": 1000, "allenai/ai2_arc/ARC-Challenge/test": 1000, "allenai/openbookqa/main/test": 500,
		"baber/piqa/validation": 1000, "allenai/winogrande/winogrande_xl/validation": 1000, "corypaik/prost/test": 1000,
		"aps/super_glue/boolq/validation": 1000, "aps/super_glue/cb/validation": 56, "aps/super_glue/copa/validation": 100,
		"aps/super_glue/rte/validation": 277, "aps/super_glue/wic/validation": 638, "nyu-mll/glue/mrpc/test": 1000,
		"nyu-mll/glue/qqp/validation": 1000, "EleutherAI/logiqa/logiqa/validation": 651, "EleutherAI/logiqa/logiqa/test": 456,
		"mosaicml/llm-foundry/math_qa/test": 1000, "community-datasets/qa4mre/2012.alzheimers.EN/train": 40,
		"EleutherAI/headqa/en/test": 996, "bigbio/pubmed_qa/pubmed_qa_labeled_fold0_source/test": 500,
	}
	for _, task := range []string{
		"single_digit_three_ops", "two_digit_addition", "two_digit_subtraction", "two_digit_multiplication", "three_digit_addition",
		"three_digit_subtraction", "four_digit_addition", "four_digit_subtraction", "five_digit_addition", "five_digit_subtraction",
	} {
		want["EleutherAI/arithmetic/"+task+"/validation"] = 1000
	}
	checkReal(t, realRoot, want, map[string]map[Reason]int{
		"aps/super_glue/wic/validation":       {NoOffsets: 638},
		"EleutherAI/logiqa/logiqa/validation": {CutOption: 18},
		"EleutherAI/logiqa/logiqa/test":       {MovedOption: 38},
		"mosaicml/llm-foundry/math_qa/test":   {EmptyChoice: 25},
	})
}

// The samples of original files: RACE counts passages.
func TestFormatSamples(t *testing.T) {
	root := filepath.Join(realRoot, "format-samples")
	if _, err := os.Stat(root); err != nil {
		t.Skipf("shared data is absent: %v", err)
	}
	want := map[string]int{
		"allenai/ai2_arc/ARC-Easy/test": 2, "allenai/ai2_arc/ARC-Challenge/test": 2, "allenai/openbookqa/main/test": 2,
		"allenai/sciq/train": 3, "allenai/sciq/validation": 3, "allenai/sciq/test": 3, "allenai/winogrande/winogrande_xl/validation": 2,
		"Rowan/hellaswag/validation": 2, "aps/super_glue/boolq/validation": 2, "aps/super_glue/cb/validation": 2,
		"aps/super_glue/copa/validation": 2, "aps/super_glue/rte/validation": 2, "aps/super_glue/wic/validation": 2,
		"nyu-mll/glue/qqp/validation": 2, "regisss/math_qa/test": 1,
		"google-research-datasets/paws/labeled_final/validation": 4, "google-research-datasets/paws/labeled_final/test": 4,
		"EleutherAI/race/high/train": 3, "EleutherAI/race/high/validation": 2, "EleutherAI/race/high/test": 2,
		"EleutherAI/race/middle/train": 2, "EleutherAI/race/middle/validation": 3, "EleutherAI/race/middle/test": 3,
		"community-datasets/qa4mre/2011.main.EN/train": 3, "community-datasets/qa4mre/2012.main.EN/train": 3,
		"community-datasets/qa4mre/2013.main.EN/train": 3, "community-datasets/qa4mre/2013.entrance_exam.EN/train": 3,
	}
	for _, round := range []string{"r1", "r2", "r3"} {
		want["facebook/anli/dev_"+round], want["facebook/anli/test_"+round] = 3, 3
	}
	checkReal(t, root, want, nil)
}

func checkReal(t *testing.T, root string, want map[string]int, noted map[string]map[Reason]int) {
	t.Helper()
	s, err := Prepare(t.Context(), root, t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, o := range s.Outputs {
		name := o.Dataset.Name() + "/" + o.Split
		got[name] = o.Report.Rows
		if o.Report.SkippedRows() != 0 || !maps.Equal(o.Report.Noted, noted[name]) {
			t.Errorf("%s: skipped %v, noted %v, want %v: %q", name, o.Report.Skipped, o.Report.Noted, noted[name], o.Report.Examples)
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("rows\ngot  %v\nwant %v", got, want)
	}
	for _, name := range s.Unknown {
		if !strings.HasPrefix(name, "format-samples/") {
			t.Errorf("%s is not read", name)
		}
	}
}
