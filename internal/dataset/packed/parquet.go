package packed

import (
	"fmt"
	"slices"

	"github.com/parquet-go/parquet-go/format"
)

// readCodecs are the compressions that are read. LZ4 is not among them: the file format has two of that name, writers confuse
// them, and the decoder asks for ever more memory when a page is damaged.
var readCodecs = []format.CompressionCodec{format.Uncompressed, format.Snappy, format.Gzip, format.Brotli, format.Zstd}

// Decodable refuses columns what parquet-go (v0.32.0, the newest) does not decode, or worse, decodes to something else: it reads a run
// of equal run-length encoded booleans as the bits of one byte, so that most of a run of trues come out false.
func Decodable(c *format.ColumnMetaData) error {
	if !slices.Contains(readCodecs, c.Codec) {
		return fmt.Errorf("%v compression is not read: write the file again with snappy, gzip or zstd", c.Codec)
	}
	if c.Type == format.Boolean && !plainPages(c) {
		return fmt.Errorf("its booleans are run-length encoded, which is not read: write the file again with data page version 1.0 and plain booleans")
	}
	return nil
}

// plainPages reports whether the values of a column are not encoded, as far as its metadata tell. Every optional column lists
// RLE, for its definition levels.
func plainPages(c *format.ColumnMetaData) bool {
	for _, pages := range c.EncodingStats {
		if pages.PageType != format.DictionaryPage && pages.Encoding != format.Plain {
			return false
		}
	}
	return slices.Contains(c.Encoding, format.Plain)
}
