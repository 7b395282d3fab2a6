package tokenizer

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"sync"
)

// EndOfDocument is the text of the token that ends a document in Falcon and GPT-2.
const EndOfDocument = "<|endoftext|>"

const (
	// maxFileSize bounds what Load reads: the largest published vocabularies take some 30 MB.
	maxFileSize = 256 << 20
	// maxVocabSize bounds ids, because tables are indexed by them.
	maxVocabSize = 1 << 20
)

// Tokenizer is a tokenizer.json in memory. All its methods may be called by many goroutines.
type Tokenizer struct {
	src string // the file

	tokens []token          // by id
	ids    map[string]int32 // by the token's text in the file
	eod    int32            // -1 when there is none

	classes      *classes
	added        []*addedMatcher // passes over the text: tokens not normalized, then normalized
	plainAdded   bool            // some added token is not special, so Encode looks for them too
	specials     map[int32]bool  // ids of special tokens
	pretokenizer pretokenizer
	symbols      [256]int32       // id of each byte symbol, -1 where there is none
	merges       map[uint64]merge // by pair(left, right)
	whole        map[string]int32 // ignore_merges: bytes of a piece -> id; nil otherwise
	lossless     bool             // no text loses a byte in Encode

	cache    *wordCache
	encoders *sync.Pool // of *encoder
}

// token is an entry of the vocabulary or an added token.
type token struct {
	text  string // as in the file
	bytes string // what it stands for
	known bool   // false: a hole between ids
}

// Load reads a tokenizer.json. The error names every component that is not supported.
func Load(path string) (*Tokenizer, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: load: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("tokenizer: load: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxFileSize {
		return nil, fmt.Errorf("tokenizer: load %s: want a file of at most %d MiB", path, maxFileSize>>20)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFileSize))
	if err != nil {
		return nil, fmt.Errorf("tokenizer: load %s: %w", path, err)
	}
	t, err := parse(string(data))
	if err != nil {
		return nil, fmt.Errorf("tokenizer: load %s: %w", path, err)
	}
	return t, nil
}

// Parse reads the content of a tokenizer.json.
func Parse(data []byte) (*Tokenizer, error) {
	t, err := parse(string(data))
	if err != nil {
		return nil, fmt.Errorf("tokenizer: parse: %w", err)
	}
	return t, nil
}

// VocabSize gives the largest id plus one, added tokens included.
func (t *Tokenizer) VocabSize() int { return len(t.tokens) }

// EOD gives the id of EndOfDocument, if the tokenizer has it.
func (t *Tokenizer) EOD() (id int32, ok bool) { return max(t.eod, 0), t.eod >= 0 }

// Special reports whether an id is that of a special token, whose text is a name and not what it stands for.
func (t *Tokenizer) Special(id int32) bool { return t.specials[id] }

// TokenText gives a token's text as the file spells it, in the byte alphabet ("Ġthe", not " the").
func (t *Tokenizer) TokenText(id int32) (text string, ok bool) {
	if id < 0 || int(id) >= len(t.tokens) {
		return "", false
	}
	return t.tokens[id].text, t.tokens[id].known
}

// ID gives the id of a token by its text in the file.
func (t *Tokenizer) ID(token string) (id int32, ok bool) {
	id, ok = t.ids[token]
	return id, ok
}

// Bytes gives the content of the file, to be copied into a model directory.
func (t *Tokenizer) Bytes() []byte { return []byte(t.src) }

// SHA256 gives the checksum of the file in hexadecimal: two tokenizers with the same one agree.
func (t *Tokenizer) SHA256() string {
	sum := sha256.Sum256([]byte(t.src))
	return hex.EncodeToString(sum[:])
}
