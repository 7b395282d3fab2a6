package python

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ParseJSON reads one JSON text as json.loads does, except that it refuses what JSON does not have (NaN, Infinity), integers beyond
// 64 bits, text that is not UTF-8 and surrogates that stand alone. Of a key that comes twice the last value counts.
func ParseJSON(text []byte) (any, error) {
	if !utf8.Valid(text) {
		return nil, fmt.Errorf("JSON: not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	v, err := parse(d)
	if err != nil {
		return nil, fmt.Errorf("JSON: at byte %d: %w", d.InputOffset(), err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("JSON: at byte %d: more after the value", d.InputOffset())
	}
	return v, nil
}

func parse(d *json.Decoder) (any, error) {
	token, err := d.Token()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	switch t := token.(type) {
	case json.Number:
		return parseNumber(t.String())
	case string:
		return parseText(t)
	case json.Delim:
		if t == '[' {
			return parseList(d)
		}
		return parseDict(d)
	}
	return token, nil // bool, nil
}

func parseNumber(s string) (any, error) {
	if strings.ContainsAny(s, ".eE") {
		return strconv.ParseFloat(s, 64)
	}
	return strconv.ParseInt(s, 10, 64)
}

// parseText refuses what the decoder puts in the place of half a surrogate pair; the character itself is refused with it.
func parseText(s string) (any, error) {
	if strings.ContainsRune(s, utf8.RuneError) {
		return nil, fmt.Errorf("the text %.40q has U+FFFD, or half of a surrogate pair", s)
	}
	return s, nil
}

func parseList(d *json.Decoder) (any, error) {
	list := []any{}
	for d.More() {
		v, err := parse(d)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := d.Token()
	return list, err
}

func parseDict(d *json.Decoder) (any, error) {
	dict := NewDict()
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		v, err := parse(d)
		if err != nil {
			return nil, err
		}
		dict.Set(key.(string), v)
	}
	_, err := d.Token()
	return dict, err
}
