package tokenizer

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// maxSequenceDepth bounds the time to read a crafted file: each level walks what it holds.
const maxSequenceDepth = 8

// byteLevelKeys are the keys of a ByteLevel component, whichever role it has.
var byteLevelKeys = []string{"type", "add_prefix_space", "trim_offsets", "use_regex"}

// parsePretokenizer reads the pre_tokenizer: one component, or a Sequence of them, with one
// ByteLevel in it.
func (p *problems) parsePretokenizer(c *classes, top object) pretokenizer {
	r := pretokenizerReader{problems: p, classes: c}
	if !top.has("pre_tokenizer") {
		p.add("pre_tokenizer", "missing; only byte-level tokenizers are supported (a ByteLevel component)")
		return r.result
	}
	before := len(p.lines)
	r.component("pre_tokenizer", top.fields["pre_tokenizer"])
	if !r.byteLevel && len(p.lines) == before {
		p.add("pre_tokenizer", "has no ByteLevel component; only byte-level tokenizers are supported")
	}
	return r.result
}

type pretokenizerReader struct {
	*problems
	classes   *classes
	byteLevel bool // ByteLevel has been seen, so what comes looks at the byte alphabet
	depth     int  // Sequences around the component
	result    pretokenizer
}

func (r *pretokenizerReader) component(path string, v jsonValue) {
	switch kind := v.kind(); kind {
	case "Sequence":
		r.sequence(path, v)
	case "ByteLevel":
		o, _ := r.object(path, v, byteLevelKeys...)
		if r.byteLevel {
			r.add(path, "a second ByteLevel is not supported")
		}
		r.byteLevel = true
		r.result.prefixSpace = o.flag("add_prefix_space")
		r.result.words = o.flagOr("use_regex", true)
	case "Punctuation":
		o, _ := r.object(path, v, "type", "behavior")
		b := isolated
		if o.has("behavior") {
			b = r.behavior(o)
		}
		r.splitter(splitter{matcher: r.class(classPunct), behavior: b})
	case "Digits":
		o, _ := r.object(path, v, "type", "individual_digits")
		b := contiguous
		if o.flag("individual_digits") {
			b = isolated
		}
		r.splitter(splitter{matcher: r.class(classDigits), behavior: b})
	case "Split":
		o, _ := r.object(path, v, "type", "pattern", "behavior", "invert")
		s := splitter{behavior: r.behavior(o), invert: o.flag("invert")}
		if re := r.pattern(o); re != nil {
			s.matcher = regexpMatcher{re}
			if r.byteLevel {
				s.matcher = byteRegexpMatcher{re}
			}
			r.splitter(s)
		}
	default:
		r.add(path, "type %q is not supported; Sequence, ByteLevel, Punctuation, Digits and Split are", kind)
	}
}

func (r *pretokenizerReader) sequence(path string, v jsonValue) {
	if r.depth == maxSequenceDepth {
		r.add(path, "more than %d Sequences inside each other", maxSequenceDepth)
		return
	}
	r.depth++
	defer func() { r.depth-- }()
	o, _ := r.object(path, v, "type", "pretokenizers")
	list := o.fields["pretokenizers"]
	if !list.isArray() {
		r.add(o.at("pretokenizers"), "want an array of components")
		return
	}
	for i, component := range list.elements() {
		r.component(fmt.Sprintf("%s[%d]", o.at("pretokenizers"), i), component)
	}
}

// splitter adds a stage on the side of ByteLevel where the file has it.
func (r *pretokenizerReader) splitter(s splitter) {
	if r.byteLevel {
		r.result.after = append(r.result.after, s)
	} else {
		r.result.before = append(r.result.before, s)
	}
}

func (r *pretokenizerReader) class(mask uint8) matcher {
	if r.byteLevel {
		return newByteClassMatcher(r.classes, mask)
	}
	return classMatcher{r.classes, mask}
}

func (r *pretokenizerReader) behavior(o object) behavior {
	name := o.text("behavior")
	if name != "" && !slices.Contains(behaviors, name) {
		r.add(o.at("behavior"), "%q is not one of %s", name, strings.Join(behaviors, ", "))
	}
	return behavior(name)
}

// pattern compiles {"String": s} or {"Regex": s}.
func (r *pretokenizerReader) pattern(o object) *regexp.Regexp {
	path := o.at("pattern")
	v, ok := o.fields["pattern"]
	if !ok {
		r.add(path, "missing")
		return nil
	}
	choice, ok := r.object(path, v, "String", "Regex")
	if !ok {
		return nil
	}
	if len(choice.fields) != 1 {
		r.add(path, "want one of String and Regex")
		return nil
	}
	if _, literal := choice.fields["String"]; literal {
		s := choice.text("String")
		if s == "" {
			r.add(choice.at("String"), "an empty pattern is not supported")
			return nil
		}
		return regexp.MustCompile(regexp.QuoteMeta(s))
	}
	re, err := compilePattern(choice.text("Regex"))
	if err != nil {
		r.add(choice.at("Regex"), "%v", err)
	}
	return re
}
