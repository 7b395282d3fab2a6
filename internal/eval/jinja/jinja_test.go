package jinja_test

import (
	"os"
	"strings"
	"testing"

	"alfred/internal/eval/jinja"
	"alfred/internal/eval/python"
)

func get(v any, key string) any {
	item, _ := v.(*python.Dict).Get(key)
	return item
}

func render(source string, doc *python.Dict) (string, error) {
	t, err := jinja.Parse("", source)
	if err != nil {
		return "", err
	}
	return t.Render(doc)
}

// TestProbes: each template gives Jinja2's text, or an error where Jinja2 has one. Where Jinja2 has a text, an error must say that something
// is not supported.
func TestProbes(t *testing.T) {
	data, err := os.ReadFile("testdata/probes.json")
	if err != nil {
		t.Fatal(err)
	}
	golden, err := python.ParseJSON(data)
	if err != nil {
		t.Fatal(err)
	}
	doc := get(golden, "document").(*python.Dict)
	probes := get(golden, "probes").([]any)
	unsupported := 0
	for _, p := range probes {
		source, want := p.([]any)[0].(string), p.([]any)[1]
		got, err := render(source, doc)
		text, ok := get(want, "text").(string)
		switch {
		case !ok && err == nil:
			t.Errorf("%s gives %q, Jinja2 has %s", source, got, get(want, "error"))
		case ok && err != nil && strings.Contains(err.Error(), "not supported"):
			unsupported++
			t.Logf("%s: %v", source, err)
		case ok && err != nil:
			t.Errorf("%s: %v, want %q", source, err, text)
		case got != text:
			t.Errorf("%s gives %q, want %q", source, got, text)
		}
	}
	if unsupported > 30 {
		t.Errorf("%d of %d probes are not supported", unsupported, len(probes))
	}
}

// TestRefusals: what is not supported or wrong is named, with its place.
func TestRefusals(t *testing.T) {
	for source, want := range map[string]string{
		"a\n{{ x|tojson }}": "line 2, column 6: the filter tojson is not supported", "{% import 'x' as y %}": "column 4: the statement import is not supported",
		"{{ x.format(1) }}": "the method format is not supported", "{{ x is callable }}": "the test callable is not supported", "{{ lipsum(2) }}": "the function lipsum is not supported",
		"{% macro m() %}{% endmacro %}": "the statement macro is not supported", "{% set x %}a{% endset %}": "set without a value is not supported",
		"{{ x|map('tojson') }}": "map with the filter tojson is not supported", "{{ x|join(e=1) }}": "has no argument e", "é{{ y }}": "line 1, column 5: y is undefined",
		"{{ x|regex_replace('(?=a)', '') }}": "no lookaround", "{{ x|random }}": "the filter random is not supported", "{% for a in x recursive %}{% endfor %}": "recursive for is not supported",
		"{{ " + strings.Repeat("(", 200) + "1" + strings.Repeat(")", 200) + " }}": "nested more than 100 deep", "{{ 'x' * 99999999 }}": "longer than", "{{ range(99999999)|list }}": "a range of more than",
		"{% for a in range(1000000) %}{% for b in range(1000000) %}{% endfor %}{% endfor %}": "does too much", "{{ 9223372036854775807 + 1 }}": "more than 64 bits",
		"{{ 99999999999999999999 }}": "no integer of 64 bits", "\xff": "not UTF-8",
	} {
		if _, err := render(source, python.NewDict("x", "text")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", source, err, want)
		}
	}
}

// FuzzRender: no template panics or runs forever.
func FuzzRender(f *testing.F) {
	for _, source := range []string{"{{ a[1:]|upper }}", "{% for x in l if x %}{{ loop.index }}{% else %}n{% endfor %}", "{%- set y = {'k': (1, 2.5)} -%}{{ y.k }}", "{% raw %}{{{% endraw %}{# c #}",
		"{{ a.split(' ', 1)|map('replace', 'a', 'b')|join(', ') if a is defined and 1 < 2 else none }}", "{{ a|regex_replace('(.)', '\\\\1\\\\1') }}", "{{ -7 // 2 % 3 ** 2 ~ 'x' }}"} {
		f.Add(source)
	}
	doc := python.NewDict("a", "some text", "l", []any{int64(1), "b", nil}, "d", python.NewDict("k", 1.5), "n", int64(-3))
	f.Fuzz(func(t *testing.T, source string) {
		if text, err := render(source, doc); err == nil && len(text) > 17<<20 {
			t.Errorf("%d bytes", len(text))
		}
	})
}
