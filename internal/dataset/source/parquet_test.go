package source

import (
	"bytes"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
)

// Parquet gives the records that JSONL gives, whether nested columns are there or not, whatever the physical types.
func TestOasstParquet(t *testing.T) {
	for _, use := range []Use{ForSFT, ForRanking, ForPrompts} {
		want, wantTally := readFixture(t, use, fixtureJSONL)
		for _, path := range []string{fixtureParquet, fixtureMinimal, fixtureEmpty} {
			got, tally := readFixture(t, use, path)
			if !reflect.DeepEqual(withoutPlaces(got), withoutPlaces(want)) {
				t.Errorf("%s for %d: records differ from JSONL's\n got %q\nwant %q", path, use, ids(got), ids(want))
			}
			if !maps.Equal(tally.Dropped, wantTally.Dropped) || tally.Rows != wantTally.Rows || !maps.Equal(tally.Notes, wantTally.Notes) {
				t.Errorf("%s for %d: tally %+v, JSONL's %+v", path, use, tally, wantTally)
			}
		}
	}
	if _, tally := readFixture(t, ForPrompts, fixtureParquet); tally.Files[0].SHA256 != sha(readAll(t, fixtureParquet)) {
		t.Error("the hash is not the one of the file")
	}
	_, _, err := readFiles(t, Spec{Kind: OASST1, Use: ForSFT, Files: []string{"testdata/no-text.parquet"}})
	if err == nil || !strings.Contains(err.Error(), `no column "text"`) {
		t.Errorf("without text: %v", err)
	}
}

// A damaged parquet file is an error or gives other rows, never a crash. Cut short, it is always an error.
func TestOasstDamagedParquet(t *testing.T) {
	if testing.Short() {
		t.Skip("reads a thousand files")
	}
	for _, path := range []string{fixtureParquet, fixtureMinimal} {
		data := readAll(t, path)
		for cut := 4; cut < len(data); cut += 97 {
			if _, _, err := readFiles(t, Spec{Kind: OASST1, Use: ForSFT, Files: []string{writeFile(t, "cut.parquet", data[:cut])}}); err == nil {
				t.Errorf("%s cut to %d bytes: no error", path, cut)
			}
		}
		for at := 4; at < len(data); at += 37 {
			bad := slices.Clone(data)
			bad[at] ^= 0x55
			readFiles(t, Spec{Kind: OASST1, Use: ForSFT, Files: []string{writeFile(t, "bad.parquet", bad)}})
		}
	}
}

// What the decoder would read as something else is refused, with the way out.
func TestOasstParquetRefused(t *testing.T) {
	for path, want := range map[string][]string{
		"testdata/run-length.parquet": {`column "review_result"`, "run-length encoded", "data page version 1.0"},
		"testdata/lz4.parquet":        {`column "message_id"`, "LZ4", "with snappy, gzip or zstd"},
	} {
		records, _, err := readFiles(t, Spec{Kind: OASST1, Use: ForPrompts, Files: []string{path}})
		if !errors.Is(err, ErrData) || len(records) > 0 {
			t.Errorf("%s: %d records, %v; want ErrData and none", path, len(records), err)
			continue
		}
		for _, w := range append(want, path) {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("the error lacks %q: %v", w, err)
			}
		}
	}
}

func TestOasstParquetWithoutRows(t *testing.T) {
	records, tally := readFixture(t, ForPrompts, "testdata/no-rows.parquet")
	if len(records) != 0 || tally.Rows != 0 || len(tally.Files) != 1 {
		t.Errorf("%d records of %d rows in %d files; want a file without rows", len(records), tally.Rows, len(tally.Files))
	}
}

// Texts of parquet files are held to what holds for JSON's; the message is named, and its replies are below it.
func TestOasstParquetBadTexts(t *testing.T) {
	type row struct {
		ID     string  `parquet:"message_id"`
		Parent *string `parquet:"parent_id,optional"`
		Text   string  `parquet:"text"`
		Role   string  `parquet:"role"`
		Lang   string  `parquet:"lang"`
		State  string  `parquet:"tree_state"`
		Review bool    `parquet:"review_result"`
		Rank   *string `parquet:"rank,optional"`
	}
	root, bad := "r", "bad"
	good := row{Lang: "en", State: "ready_for_export", Review: true, Role: "prompter", Text: "t"}
	message := func(id string, parent *string, role, text string, rank *string) row {
		m := good
		m.ID, m.Parent, m.Role, m.Text, m.Rank = id, parent, role, text, rank
		return m
	}
	for name, c := range map[string]struct {
		text string
		rank *string
		want Reason
	}{
		"not UTF-8": {"\xff", nil, InvalidUTF8}, "NUL": {"a\x00b", nil, NULInText}, "blank": {" ", nil, BlankText}, "rank is a text": {"t", &root, WrongType},
	} {
		var file bytes.Buffer
		w := parquet.NewGenericWriter[row](&file)
		if _, err := w.Write([]row{message(root, nil, "prompter", "t", nil), message(bad, &root, "assistant", c.text, c.rank), message("below", &bad, "prompter", "t", nil)}); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		records, tally, err := readFiles(t, Spec{Kind: OASST1, Use: ForPrompts, Files: []string{writeFile(t, "data.parquet", file.Bytes())}})
		if err != nil || !slices.Equal(ids(records), []string{root}) || !maps.Equal(tally.Malformed, map[Reason]int{c.want: 1}) || tally.Dropped[BelowLeftOut] != 1 {
			t.Errorf("%s: prompts %q, malformed %v, dropped %v, %v; want the root, one of %q and one below", name, ids(records), tally.Malformed, tally.Dropped, err, c.want)
		}
		if len(tally.Examples) != 1 || !strings.Contains(tally.Examples[0], "data.parquet: row 2") || !strings.Contains(tally.Examples[0], "message bad") {
			t.Errorf("%s: examples %q name neither the row nor the message", name, tally.Examples)
		}
	}
}
