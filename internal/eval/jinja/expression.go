package jinja

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The grammar, from the loosest to the tightest: x if y else z; or; and; not; comparisons; + -; ~; * / // %; **; unary - +; then what
// follows a primary: . [] () and, after a sign or not, filters and tests.

// tuple reads an expression, or several with commas between them.
func (p *parser) tuple() expr {
	first := p.expression()
	if !p.is(",") {
		return first
	}
	items := []expr{first}
	for p.accept(",") {
		if p.now().kind == tokenClose || p.is(")") || p.is("=") {
			break
		}
		items = append(items, p.expression())
	}
	return expr{tupleNode{items}, first.at}
}

func (p *parser) expression() expr {
	defer p.deeper()()
	e := p.or()
	for p.accept("if") {
		test := p.or()
		var orElse expr
		if p.accept("else") {
			orElse = p.expression()
		}
		e = expr{ternaryNode{test, e, orElse}, e.at}
	}
	return e
}

func (p *parser) or() expr {
	e := p.and()
	for p.accept("or") {
		e = expr{binaryNode{"or", e, p.and()}, e.at}
	}
	return e
}

func (p *parser) and() expr {
	e := p.not()
	for p.accept("and") {
		e = expr{binaryNode{"and", e, p.not()}, e.at}
	}
	return e
}

func (p *parser) not() expr {
	if p.is("not") {
		defer p.deeper()()
		at := p.take().at
		return expr{unaryNode{"not", p.not()}, at}
	}
	return p.compare()
}

func (p *parser) compare() expr {
	first := p.sum()
	n := compareNode{first: first}
	for {
		op := ""
		switch t := p.now(); {
		case t.kind == tokenOperator && slices.Contains([]string{"==", "!=", "<", "<=", ">", ">="}, t.value), p.is("in"):
			op = p.take().value
		case p.is("not") && p.pos+1 < len(p.tokens) && p.tokens[p.pos+1].kind == tokenName && p.tokens[p.pos+1].value == "in":
			p.take()
			p.take()
			op = "not in"
		}
		if op == "" {
			break
		}
		n.ops, n.rest = append(n.ops, op), append(n.rest, p.sum())
	}
	if len(n.ops) == 0 {
		return first
	}
	return expr{n, first.at}
}

// left reads operators that group to the left.
func (p *parser) left(next func() expr, ops ...string) expr {
	e := next()
	for p.now().kind == tokenOperator && slices.Contains(ops, p.now().value) {
		op := p.take().value
		e = expr{binaryNode{op, e, next()}, e.at}
	}
	return e
}

func (p *parser) sum() expr     { return p.left(p.concat, "+", "-") }
func (p *parser) concat() expr  { return p.left(p.product, "~") }
func (p *parser) product() expr { return p.left(p.power, "*", "/", "//", "%") }
func (p *parser) power() expr {
	return p.left(func() expr { return p.unary(true) }, "**")
}

func (p *parser) unary(filters bool) expr {
	defer p.deeper()()
	t := p.now()
	var e expr
	switch {
	case p.accept("-"):
		e = expr{unaryNode{"-", p.unary(false)}, t.at}
	case p.accept("+"):
		e = expr{unaryNode{"+", p.unary(false)}, t.at}
	default:
		e = p.primary()
	}
	e = p.postfix(e)
	if filters {
		e = p.filters(e)
	}
	return e
}

func (p *parser) primary() expr {
	t := p.take()
	at := func(n node) expr { return expr{n, t.at} }
	switch {
	case t.kind == tokenName:
		if v, ok := constants[t.value]; ok {
			return at(constNode{v})
		}
		if slices.Contains([]string{"and", "or", "not", "in", "is", "if", "else"}, t.value) {
			panic(problemf(t.at, "%v cannot stand here", t))
		}
		return at(nameNode{t.value})
	case t.kind == tokenString:
		text := t.value
		for p.now().kind == tokenString {
			text += p.take().value
		}
		return at(constNode{text})
	case t.kind == tokenInteger:
		v, err := strconv.ParseInt(t.value, 0, 64)
		if err != nil {
			panic(problemf(t.at, "%s is no integer of 64 bits", t.value))
		}
		return at(constNode{v})
	case t.kind == tokenFloat:
		v, err := strconv.ParseFloat(t.value, 64)
		if err != nil {
			panic(problemf(t.at, "%s is no number of 64 bits", t.value))
		}
		return at(constNode{v})
	case t.value == "(" && t.kind == tokenOperator:
		if p.accept(")") {
			return at(tupleNode{})
		}
		e := p.tuple()
		p.expect(")")
		return e
	case t.value == "[" && t.kind == tokenOperator:
		return at(listNode{p.items("]")})
	case t.value == "{" && t.kind == tokenOperator:
		n := dictNode{}
		for !p.accept("}") {
			if len(n.keys) > 0 {
				p.expect(",")
				if p.accept("}") {
					break
				}
			}
			n.keys = append(n.keys, p.expression())
			p.expect(":")
			n.values = append(n.values, p.expression())
		}
		return at(n)
	}
	panic(problemf(t.at, "want an expression, have %v", t))
}

// items reads expressions with commas between them, up to an end that it takes.
func (p *parser) items(end string) (items []expr) {
	for !p.accept(end) {
		if len(items) > 0 {
			p.expect(",")
			if p.accept(end) {
				break
			}
		}
		items = append(items, p.expression())
	}
	return items
}

func (p *parser) postfix(e expr) expr {
	for {
		t := p.now()
		switch {
		case p.accept("."):
			name := p.take()
			switch name.kind {
			case tokenName:
				e = expr{attrNode{e, name.value}, t.at}
			case tokenInteger:
				i, _ := strconv.ParseInt(name.value, 0, 64)
				e = expr{itemNode{e, expr{constNode{i}, name.at}}, t.at}
			default:
				panic(problemf(name.at, "want a name after the point, have %v", name))
			}
		case p.accept("["):
			e = p.subscript(e, t.at)
		case p.accept("("):
			e = p.call(e, t.at)
		default:
			return e
		}
	}
}

// subscript reads what is in brackets after an expression.
func (p *parser) subscript(of expr, at int) expr {
	var parts [3]expr
	colons := 0
	for i := range parts {
		if !p.is(":") && !p.is("]") {
			parts[i] = p.expression()
		}
		if !p.accept(":") {
			break
		}
		colons++
	}
	if p.is(",") {
		panic(problemf(p.now().at, "several subscripts are not supported"))
	}
	p.expect("]")
	switch {
	case colons > 0:
		return expr{sliceNode{of, parts[0], parts[1], parts[2]}, at}
	case parts[0].node == nil:
		panic(problemf(at, "a subscript is missing"))
	}
	return expr{itemNode{of, parts[0]}, at}
}

// call reads the arguments of a call, which must be of a method or of range.
func (p *parser) call(of expr, at int) expr {
	args := p.items(")")
	if p.is("=") {
		panic(problemf(p.now().at, "named arguments of calls are not supported"))
	}
	switch f := of.node.(type) {
	case attrNode:
		if !knownMethod(f.name) {
			panic(problemf(of.at, "the method %s is not supported", f.name))
		}
		return expr{callNode{f.of, f.name, args}, at}
	case nameNode:
		if f.name == "range" {
			return expr{callNode{method: "range", args: args}, at}
		}
		panic(problemf(of.at, "the function %s is not supported", f.name))
	}
	panic(problemf(at, "this cannot be called"))
}

// filters reads filters and tests.
func (p *parser) filters(e expr) expr {
	for {
		t := p.now()
		switch {
		case p.accept("|"):
			e = p.filter(e, t.at)
		case p.accept("is"):
			e = p.test(e, t.at)
		case p.is("("):
			panic(problemf(t.at, "what a filter gives cannot be called"))
		default:
			return e
		}
	}
}

func (p *parser) dotted() token {
	t := p.take()
	if t.kind != tokenName {
		panic(problemf(t.at, "want a name, have %v", t))
	}
	for p.accept(".") {
		t.value += "." + p.take().value
	}
	return t
}

func (p *parser) filter(of expr, at int) expr {
	name := p.dotted()
	f, ok := filters[name.value]
	if !ok {
		panic(problemf(name.at, "the filter %s is not supported", name.value))
	}
	n := filterNode{of: of, name: name.value, arguments: arguments{named: map[string]expr{}}}
	if p.accept("(") {
		for !p.accept(")") {
			if len(n.args)+len(n.named) > 0 {
				p.expect(",")
				if p.accept(")") {
					break
				}
			}
			if t := p.now(); t.kind == tokenName && p.tokens[p.pos+1].value == "=" && p.tokens[p.pos+1].kind == tokenOperator {
				p.take()
				p.take()
				if !slices.Contains(f.names, t.value) || n.named[t.value].node != nil {
					panic(problemf(t.at, "the filter %s has no argument %s, or has it twice", name.value, t.value))
				}
				n.named[t.value] = p.expression()
				continue
			}
			n.args = append(n.args, p.expression())
		}
	}
	if f.check != nil {
		if err := f.check(n.arguments); err != nil {
			panic(problemf(name.at, "%w", err))
		}
	}
	if len(n.args) > len(f.names) && !f.more {
		panic(problemf(name.at, "the filter %s takes up to %d arguments", name.value, len(f.names)))
	}
	return expr{n, at}
}

func (p *parser) test(of expr, at int) expr {
	n := testNode{of: of, not: p.accept("not")}
	name := p.dotted()
	n.name = name.value
	arity, ok := testArity[name.value]
	if !ok {
		panic(problemf(name.at, "the test %s is not supported", name.value))
	}
	switch t := p.now(); {
	case p.accept("("):
		n.args = p.items(")")
	case t.kind == tokenName && !slices.Contains([]string{"else", "or", "and", "if", "is", "in", "not"}, t.value),
		t.kind == tokenString, t.kind == tokenInteger, t.kind == tokenFloat, p.is("["), p.is("{"):
		n.args = []expr{p.postfix(p.primary())}
	}
	if len(n.args) != arity {
		panic(problemf(name.at, "the test %s takes %d arguments, not %d", name.value, arity, len(n.args)))
	}
	return expr{n, at}
}

// names of what a list of expressions is, for messages.
func list(names []string) string { return fmt.Sprintf("(%s)", strings.Join(names, ", ")) }
