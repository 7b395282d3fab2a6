package jinja

import (
	"fmt"
	"slices"
	"strings"
)

// maxDepth bounds how deep brackets and statements are nested.
const maxDepth = 100

type parser struct {
	tokens []token
	pos    int
	depth  int
}

func (p *parser) now() token { return p.tokens[p.pos] }

func (p *parser) take() token {
	t := p.tokens[p.pos]
	if t.kind != tokenEnd {
		p.pos++
	}
	return t
}

// is tells whether the next token is an operator or a name.
func (p *parser) is(value string) bool {
	t := p.now()
	return (t.kind == tokenOperator || t.kind == tokenName) && t.value == value
}

// accept takes the next token if it is an operator or a name of that value.
func (p *parser) accept(value string) bool {
	if p.is(value) {
		p.pos++
		return true
	}
	return false
}

// expect takes an operator or a name, or panics with a problem.
func (p *parser) expect(value string) token {
	if !p.is(value) {
		panic(problemf(p.now().at, "want %q, have %v", value, p.now()))
	}
	return p.take()
}

func (p *parser) close() {
	if t := p.take(); t.kind != tokenClose {
		panic(problemf(t.at, "%v cannot stand here", t))
	}
}

// deeper guards against nesting that would use up the stack; call what it gives afterwards.
func (p *parser) deeper() func() {
	if p.depth++; p.depth > maxDepth {
		panic(problemf(p.now().at, "this is nested more than %d deep", maxDepth))
	}
	return func() { p.depth-- }
}

// parse makes a template of tokens.
func parse(tokens []token) (body []node, err error) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case *problem:
			err = v
		default:
			panic(v)
		}
	}()
	p := &parser{tokens: tokens}
	body, _ = p.body(nil)
	if t := p.now(); t.kind != tokenEnd {
		panic(problemf(t.at, "%v cannot stand here", t))
	}
	return body, nil
}

// body reads up to a statement that is one of ends, whose name it takes and gives.
func (p *parser) body(ends []string) (body []node, end string) {
	defer p.deeper()()
	for {
		t := p.take()
		switch {
		case t.kind == tokenEnd:
			if ends != nil {
				panic(problemf(t.at, "the template ends where %s is missing", ends[len(ends)-1]))
			}
			return body, ""
		case t.kind == tokenData:
			body = append(body, dataNode{t.value})
		case t.value == "{{":
			body = append(body, outputNode{p.tuple()})
			p.close()
		default:
			name := p.take()
			if name.kind != tokenName {
				panic(problemf(name.at, "want a statement, have %v", name))
			}
			if slices.Contains(ends, name.value) {
				return body, name.value
			}
			body = append(body, p.statement(name))
		}
	}
}

func (p *parser) statement(name token) node {
	switch name.value {
	case "if":
		return p.ifStatement()
	case "for":
		return p.forStatement()
	case "set":
		targets := p.targets()
		if p.now().kind == tokenClose {
			panic(problemf(name.at, "set without a value is not supported"))
		}
		p.expect("=")
		n := setNode{targets, p.tuple()}
		p.close()
		return n
	}
	panic(problemf(name.at, "the statement %s is not supported", name.value))
}

func (p *parser) ifStatement() node {
	n := ifNode{tests: []expr{p.tuple()}}
	p.close()
	for {
		body, end := p.body([]string{"elif", "else", "endif"})
		n.bodies = append(n.bodies, body)
		switch end {
		case "elif":
			n.tests = append(n.tests, p.tuple())
			p.close()
			continue
		case "else":
			p.close()
			n.orElse, _ = p.body([]string{"endif"})
		}
		p.close()
		return n
	}
}

func (p *parser) forStatement() node {
	n := forNode{targets: p.targets()}
	if slices.Contains(n.targets, "loop") {
		panic(problemf(p.now().at, "loop cannot be the name of what a for runs over"))
	}
	p.expect("in")
	n.in = p.or()
	for p.now().kind == tokenOperator && p.now().value == "," {
		panic(problemf(p.now().at, "for over a tuple without brackets is not supported"))
	}
	if p.accept("if") {
		n.filter = p.expression()
	}
	if p.is("recursive") {
		panic(problemf(p.now().at, "recursive for is not supported"))
	}
	p.close()
	var end string
	if n.body, end = p.body([]string{"else", "endfor"}); end == "else" {
		p.close()
		n.orElse, _ = p.body([]string{"endfor"})
	}
	p.close()
	return n
}

// targets are the names that set and for give values to.
func (p *parser) targets() (names []string) {
	bracket := p.accept("(")
	for {
		t := p.take()
		if t.kind != tokenName {
			panic(problemf(t.at, "want a name, have %v", t))
		}
		if p.is(".") {
			panic(problemf(p.now().at, "setting attributes is not supported"))
		}
		if _, ok := constants[t.value]; ok {
			panic(problemf(t.at, "%s cannot have another value", t.value))
		}
		names = append(names, t.value)
		if !p.accept(",") {
			break
		}
	}
	if bracket {
		p.expect(")")
	}
	return names
}

// constants are names with a fixed value.
var constants = map[string]any{"true": true, "True": true, "false": false, "False": false, "none": nil, "None": nil}

// Parse reads a template. name stands in messages for where it is from.
func Parse(name, source string) (*Template, error) {
	t := &Template{name: name, source: source}
	tokens, err := lex(source)
	if err == nil {
		t.body, err = parse(tokens)
	}
	if err != nil {
		return nil, t.located(err)
	}
	return t, nil
}

// located puts name, line and column before an error that has a place.
func (t *Template) located(err error) error {
	p, ok := err.(*problem)
	if !ok {
		return err
	}
	before := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(t.source)[:p.at]
	line := strings.Count(before, "\n") + 1
	column := len([]rune(before[strings.LastIndexByte(before, '\n')+1:])) + 1
	if t.name == "" {
		return fmt.Errorf("template, line %d, column %d: %w", line, column, p.err)
	}
	return fmt.Errorf("%s: template, line %d, column %d: %w", t.name, line, column, p.err)
}
