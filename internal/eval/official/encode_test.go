package official

import (
	"testing"

	"alfred/internal/eval/python"
)

// What json.dumps(x, ensure_ascii=False) of Python 3.11 prints.
func TestEncode(t *testing.T) {
	row := python.NewDict("a\"", []any{"x\\\n\r\t\b\f\x00\x1f\x7f", nil, int64(-3), []any{}}, "é\u2028", python.NewDict())
	got, err := encode([]byte("> "), row)
	want := "> {\"a\\\"\": [\"x\\\\\\n\\r\\t\\b\\f\\u0000\\u001f\x7f\", null, -3, []], \"é\u2028\": {}}"
	if err != nil || string(got) != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
	if _, err := encode(nil, python.NewDict("x", []any{1.5})); err == nil {
		t.Error("a value that no reader makes is printed")
	}
}

// What repr of Python 3.11 prints.
func TestLiteral(t *testing.T) {
	for s, want := range map[string]string{
		"":                               `''`,
		"a'b":                            `"a'b"`,
		`a"b`:                            `'a"b'`,
		`a'b"c`:                          `'a\'b"c'`,
		"t\tn\nr\r\\":                    `'t\tn\nr\r\\'`,
		"\x00\x1f\x7f\u0085\u00a0\u00ad": `'\x00\x1f\x7f\x85\xa0\xad'`,
		"\u2028\u3000\ufeff":             `'\u2028\u3000\ufeff'`,
		"\U0001f600\U000e0001é中":         `'😀\U000e0001é中'`,
	} {
		if got := literal(s); got != want {
			t.Errorf("literal(%q) = %s, want %s", s, got, want)
		}
	}
}
