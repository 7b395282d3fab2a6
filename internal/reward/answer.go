package reward

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// wireItem is an item as a scoring service sees it. The ids of a response hold its end-of-document token if and only if
// finish is "eod"; its text never does. Without a tokenizer both texts are empty.
type wireItem struct {
	Prompt      string  `json:"prompt"`
	Response    string  `json:"response"`
	PromptIDs   []int32 `json:"prompt_ids"`
	ResponseIDs []int32 `json:"response_ids"`
	Finish      string  `json:"finish"`
}

// encodeItems is the body of a request: {"items": [...]}.
func encodeItems(items []Item) ([]byte, error) {
	wire := make([]wireItem, len(items))
	for i, it := range items {
		wire[i] = wireItem{
			Prompt: it.PromptText, Response: it.ResponseText, Finish: string(it.Finish),
			PromptIDs: append([]int32{}, it.Prompt...), ResponseIDs: append([]int32{}, it.Response...), // [] rather than null
		}
	}
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetEscapeHTML(false)
	if err := e.Encode(map[string][]wireItem{"items": wire}); err != nil {
		return nil, fmt.Errorf("encoding items: %w", err)
	}
	return body.Bytes(), nil
}

// noNumber is added where a service may have tried to send something else than a number.
const noNumber = "every item needs a finite number, and NaN and infinity do not exist in JSON: a service that has none for an item must refuse the request"

// decodeScores reads {"scores": [...]}, which must have one number per item. Other fields are ignored. Errors show parts of
// the text by show.
func decodeScores(text []byte, items int, show func([]byte) string) ([]float64, error) {
	var answer map[string]json.RawMessage
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, fmt.Errorf("the answer is not a JSON object (%w; %s)", err, noNumber)
	}
	list, ok := answer["scores"]
	if !ok {
		return nil, errors.New(`the answer has no "scores"`)
	}
	var numbers []json.RawMessage
	if err := json.Unmarshal(list, &numbers); err != nil || numbers == nil {
		return nil, errors.New("scores is not a list")
	}
	if len(numbers) != items {
		return nil, fmt.Errorf("%d scores for %d items", len(numbers), items)
	}
	scores := make([]float64, items)
	for i, n := range numbers {
		x, err := strconv.ParseFloat(string(n), 64)
		if err != nil || !strings.ContainsRune("-0123456789", rune(n[0])) {
			return nil, fmt.Errorf("scores[%d] is %s (%s)", i, show(n), noNumber)
		}
		scores[i] = x
	}
	return scores, nil
}

// excerptBytes is how much of an unexpected answer a message shows.
const excerptBytes = 300

// excerpt quotes the beginning of a text.
func excerpt(text []byte) string {
	if len(text) <= excerptBytes {
		return strconv.Quote(string(text))
	}
	n := excerptBytes
	for n > excerptBytes-utf8.UTFMax && !utf8.RuneStart(text[n]) {
		n--
	}
	return fmt.Sprintf("%q and more", text[:n])
}
