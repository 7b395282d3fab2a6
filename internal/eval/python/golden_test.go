package python

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// golden is what Python wrote; see scripts/golden/python_values.py, which also rewrites it.
type golden struct {
	Printable, Digit, Space, Word [][2]rune
	Cased                         [][2]rune
	CasedOrIgnorable              [][2]rune `json:"cased_or_ignorable"`
	Lower, Upper, Capitalize      string
	Floats                        [][3]string
	Texts                         []struct {
		Text, Repr, JSON, Lower, Upper, Capitalize, LStrip, RStrip string
		IsDigit                                                    bool
		Len                                                        int
		Split                                                      []string
	}
	Literals        [][2]*string
	RefusedLiterals []string `json:"refused_literals"`
	JSON            [][]json.RawMessage
	RefusedJSON     []string `json:"refused_json"`
	Patterns        []struct {
		Pattern, Text, Removed string
		Spans                  [][]int
	}
	RefusedPatterns []string `json:"refused_patterns"`
	Random          []struct {
		Seed     string
		Random   []string
		Bits     [][2]any
		Below    [][2]int
		Samples  [][3]any
		Choices  []int
		Shuffled []int
		Later    string
	}
}

func readGolden(t testing.TB) (g golden) {
	t.Helper()
	text, err := os.ReadFile("testdata/golden.json")
	if err == nil {
		err = json.Unmarshal(text, &g)
	}
	if err != nil {
		t.Fatalf("%v; rewrite it with scripts/golden/python_values.py", err)
	}
	return g
}

func TestCharacterClasses(t *testing.T) {
	g := readGolden(t)
	for name, c := range map[string]struct {
		ranges  [][2]rune
		belongs func(rune) bool
	}{
		"isprintable": {g.Printable, isPrintable},
		"isdigit":     {g.Digit, func(c rune) bool { return IsDigit(string(c)) }},
		"isspace":     {g.Space, IsSpace},
		`\w`:          {g.Word, isWord},
		"cased":       {g.Cased, func(c rune) bool { return Lower("aΣ" + string(c))[1:3] == "σ" }},
		"ignorable":   {g.CasedOrIgnorable, func(c rune) bool { return strings.HasSuffix(Lower("a"+string(c)+"Σ"), "ς") }},
	} {
		next, wrong := 0, 0
		for r := rune(0); r <= utf8.MaxRune; r++ {
			if !utf8.ValidRune(r) || r > 0x32fff && r%100 > 0 { // above the third plane there are only few and long ranges
				continue
			}
			for next < len(c.ranges) && c.ranges[next][1] < r {
				next++
			}
			want := next < len(c.ranges) && c.ranges[next][0] <= r
			if c.belongs(r) != want && wrong < 10 {
				t.Errorf("%s of %U: got %v, Python says %v", name, r, !want, want)
				wrong++
			}
		}
	}
}

func TestCasesOfCharacters(t *testing.T) {
	g := readGolden(t)
	for name, c := range map[string]struct {
		pairs string
		to    func(string) string
	}{
		"lower": {g.Lower, Lower}, "upper": {g.Upper, Upper}, "capitalize": {g.Capitalize, Capitalize},
	} {
		fields := strings.Split(c.pairs, " ")
		want := map[string]string{}
		for i := 0; i+1 < len(fields); i += 2 {
			want[fields[i]] = fields[i+1]
		}
		wrong := 0
		for r := rune(0); r <= utf8.MaxRune; r++ {
			if r > 0x1ffff && r%100 > 0 { // above the second plane nothing has cases
				continue
			}
			from := string(r)
			to, changes := want[from]
			if !changes {
				to = from
			}
			if got := c.to(from); utf8.ValidRune(r) && got != to && wrong < 10 {
				t.Errorf("%s of %U: got %q, Python says %q", name, r, got, to)
				wrong++
			}
		}
	}
}

func TestFloats(t *testing.T) {
	for _, c := range readGolden(t).Floats {
		bits, err := strconv.ParseUint(c[0], 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		f := math.Float64frombits(bits)
		if got := Repr(f); got != c[1] {
			t.Errorf("repr of %x: got %s, want %s", c[0], got, c[1])
		}
		if got := string(AppendJSON(nil, f, 0)); got != c[2] {
			t.Errorf("JSON of %x: got %s, want %s", c[0], got, c[2])
		}
	}
}

func TestTexts(t *testing.T) {
	for _, c := range readGolden(t).Texts {
		for name, pair := range map[string][2]any{
			"repr":       {Repr(c.Text), c.Repr},
			"str":        {Str(c.Text), c.Text},
			"json":       {string(AppendJSON(nil, c.Text, 0)), c.JSON},
			"lower":      {Lower(c.Text), c.Lower},
			"upper":      {Upper(c.Text), c.Upper},
			"capitalize": {Capitalize(c.Text), c.Capitalize},
			"strip":      {Strip(c.Text), LStrip(c.RStrip)},
			"lstrip":     {LStrip(c.Text), c.LStrip},
			"rstrip":     {RStrip(c.Text), c.RStrip},
			"isdigit":    {IsDigit(c.Text), c.IsDigit},
			"len":        {Len(c.Text), c.Len},
			"split":      {SplitSpace(c.Text), c.Split},
		} {
			if !reflect.DeepEqual(pair[0], pair[1]) {
				t.Errorf("%s of %q: got %q, want %q", name, c.Text, pair[0], pair[1])
			}
		}
	}
}

func TestLiterals(t *testing.T) {
	g := readGolden(t)
	for _, c := range g.Literals {
		v, err := Literal(*c[0])
		switch {
		case c[1] == nil && err == nil:
			t.Errorf("%q: got %s, Python refuses it", *c[0], Repr(v))
		case c[1] != nil && err != nil:
			t.Errorf("%q: %v; Python reads %s", *c[0], err, *c[1])
		case c[1] != nil && Repr(v) != *c[1]:
			t.Errorf("%q: got %s, want %s", *c[0], Repr(v), *c[1])
		}
	}
	for _, text := range g.RefusedLiterals {
		if v, err := Literal(text); err == nil {
			t.Errorf("%q: got %s, want an error", text, Repr(v))
		}
	}
}

func TestJSON(t *testing.T) {
	g := readGolden(t)
	for _, c := range g.JSON {
		var text string
		var want *struct{ Repr, Line, Indented string }
		if err := json.Unmarshal(c[0], &text); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(c[1], &want); err != nil {
			t.Fatal(err)
		}
		v, err := ParseJSON([]byte(text))
		if (err == nil) != (want != nil) {
			t.Errorf("%q: got %v, %v; want %v", text, v, err, want)
		}
		if err != nil || want == nil {
			continue
		}
		for _, pair := range [][2]string{
			{Repr(v), want.Repr}, {string(AppendJSON(nil, v, 0)), want.Line}, {string(AppendJSON(nil, v, 2)), want.Indented},
		} {
			if pair[0] != pair[1] {
				t.Errorf("%q: got %s, want %s", text, pair[0], pair[1])
			}
		}
	}
	for _, text := range g.RefusedJSON {
		if v, err := ParseJSON([]byte(text)); err == nil {
			t.Errorf("%q: got %s, want an error", text, Repr(v))
		}
	}
}

func TestPatterns(t *testing.T) {
	g := readGolden(t)
	for _, c := range g.Patterns {
		p, err := CompilePattern(c.Pattern)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := p.FindAll(c.Text); fmt.Sprint(got) != fmt.Sprint(c.Spans) {
			t.Errorf("%q in %q: got %v, want %v", c.Pattern, c.Text, got, c.Spans)
		}
		if got := p.Remove(c.Text); got != c.Removed {
			t.Errorf("%q removed from %q: got %q, want %q", c.Pattern, c.Text, got, c.Removed)
		}
	}
	for _, text := range g.RefusedPatterns {
		if _, err := CompilePattern(text); err == nil || !strings.Contains(err.Error(), strconv.Quote(text)) {
			t.Errorf("%q: got %v, want an error that names it", text, err)
		}
	}
}

func TestRandom(t *testing.T) {
	hexFloat := func(text string) float64 {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	for _, c := range readGolden(t).Random {
		seed, err := strconv.ParseInt(c.Seed, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		r := NewRandom(seed)
		check := func(what string, got, want any) {
			t.Helper()
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("seed %d: %s: got %v, want %v", seed, what, got, want)
			}
		}
		for _, want := range c.Random {
			check("random", r.Random(), hexFloat(want))
		}
		for _, pair := range c.Bits {
			check("bits", r.Bits(int(pair[0].(float64))), pair[1])
		}
		for _, pair := range c.Below {
			check("below", r.Below(pair[0]), pair[1])
		}
		for _, s := range c.Samples {
			got, err := r.Sample(int(s[0].(float64)), int(s[1].(float64)))
			if err != nil {
				t.Fatal(err)
			}
			check("sample", got, s[2])
		}
		check("choices", r.Choices(37, 12), c.Choices)
		shuffled := make([]int, len(c.Shuffled))
		for i := range shuffled {
			shuffled[i] = i
		}
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		check("shuffle", shuffled, c.Shuffled)
		for range 700 {
			r.Random()
		}
		check("later", r.Random(), hexFloat(c.Later))
	}
}
