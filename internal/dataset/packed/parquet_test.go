package packed

import (
	"bytes"
	"testing"

	"github.com/parquet-go/parquet-go/encoding/rle"
	"github.com/parquet-go/parquet-go/format"
)

// The reason why run-length encoded booleans are refused. When this fails the decoder has been mended, and they may be read.
func TestParquetGoDecodesRunsOfBooleansWrong(t *testing.T) {
	const eightTrue = 8 << 1 // the header of a run (its low bit is 0) of eight equal values; the value follows in a byte
	got, err := (&rle.Encoding{BitWidth: 1}).DecodeBoolean(nil, []byte{2, 0, 0, 0, eightTrue, 1})
	if err != nil || !bytes.Equal(got, []byte{1}) {
		t.Errorf("eight trues are decoded to %08b, %v; one true and seven falses were expected of this version", got, err)
	}
}

func TestPlainPages(t *testing.T) {
	both := []format.Encoding{format.Plain, format.RLE}
	for _, c := range []struct {
		name   string
		column format.ColumnMetaData
		want   bool
	}{
		{"levels by run length", format.ColumnMetaData{Encoding: both}, true},
		{"nothing plain", format.ColumnMetaData{Encoding: both[1:]}, false},
		{"pages of both kinds", format.ColumnMetaData{Encoding: both, EncodingStats: []format.PageEncodingStats{
			{PageType: format.DataPage, Encoding: format.Plain, Count: 1}, {PageType: format.DataPageV2, Encoding: format.RLE, Count: 1}}}, false},
		{"plain pages", format.ColumnMetaData{Encoding: both, EncodingStats: []format.PageEncodingStats{
			{PageType: format.DataPage, Encoding: format.Plain, Count: 1}}}, true},
	} {
		if got := plainPages(&c.column); got != c.want {
			t.Errorf("%s: plain is %v, want %v", c.name, got, c.want)
		}
	}
}
