package rollout

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRecordsRoundTrip(t *testing.T) {
	score := 0.1
	want := []Record{
		{PromptIDs: []int32{1, 2}, ResponseIDs: []int32{3, 0}, Finish: FinishEOD, Score: &score},
		{PromptIDs: []int32{5}, ResponseIDs: []int32{4}, Finish: FinishLength},
	}
	var b bytes.Buffer
	if err := WriteRecords(&b, want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadRecords("000001.jsonl", &b, 0, 10)
	if err != nil || cmp.Diff(want, got) != "" {
		t.Fatalf("%v\n%s", err, cmp.Diff(want, got))
	}
}

func TestBadRecordsAreAllNamed(t *testing.T) {
	file := strings.Join([]string{
		`{"prompt_ids":[1],"response_ids":[2],"finish":"eod"}`,
		`{"prompt_ids":[1],"response_ids":[0],"finish":"length"}`,
		`{"prompt_ids":[],"response_ids":[0],"finish":"eod"}`,
		`{"prompt_ids":[1],"response_ids":[10],"finish":"length"}`,
		`{"prompt_ids":[-1],"response_ids":[2],"finish":"length"}`,
		`{"prompt_ids":[1],"response_ids":[2],"finish":"stop"}`,
		`not json`,
		`{"prompt_ids":[1],"response_ids":[2],"finish":"length","id":"an extra field is ignored"}`,
	}, "\n")
	_, err := ReadRecords("r.jsonl", strings.NewReader(file), 0, 10)
	if err == nil {
		t.Fatal("accepted")
	}
	for line := 1; line <= 7; line++ {
		if !strings.Contains(err.Error(), "r.jsonl:"+string(rune('0'+line))+":") {
			t.Errorf("line %d is not named in:\n%v", line, err)
		}
	}
	if strings.Contains(err.Error(), "r.jsonl:8") {
		t.Errorf("line 8 is good, but:\n%v", err)
	}
}

func FuzzReadRecords(f *testing.F) {
	f.Add([]byte(`{"prompt_ids":[1],"response_ids":[0],"finish":"eod","score":1e3}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		records, err := ReadRecords("fuzz", bytes.NewReader(data), 0, 10)
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := WriteRecords(&b, records); err != nil {
			t.Fatal(err)
		}
		again, err := ReadRecords("fuzz", &b, 0, 10)
		if err != nil || cmp.Diff(records, again) != "" {
			t.Fatalf("%v\n%s", err, cmp.Diff(records, again))
		}
	})
}
