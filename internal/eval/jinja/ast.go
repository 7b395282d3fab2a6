package jinja

// node is a piece of a template or of an expression.
type node interface{}

// Statements.
type (
	dataNode   struct{ text string }
	outputNode struct{ value expr }
	ifNode     struct {
		tests  []expr // of if and each elif
		bodies [][]node
		orElse []node
	}
	forNode struct {
		targets []string
		in      expr
		filter  expr // nil without if
		body    []node
		orElse  []node
	}
	setNode struct {
		targets []string
		value   expr
	}
)

// expr is an expression, and where it is.
type expr struct {
	node
	at int
}

// Expressions.
type (
	constNode struct{ value any }
	nameNode  struct{ name string }
	listNode  struct{ items []expr }
	tupleNode struct{ items []expr }
	dictNode  struct{ keys, values []expr }
	unaryNode struct {
		op string // - + not
		of expr
	}
	binaryNode struct {
		op   string
		a, b expr
	}
	compareNode struct {
		first expr
		ops   []string
		rest  []expr
	}
	ternaryNode struct{ test, then, orElse expr } // orElse may be nil
	attrNode    struct {
		of   expr
		name string
	}
	itemNode  struct{ of, key expr }
	sliceNode struct{ of, from, to, step expr } // each of from, to, step may be nil
	callNode  struct {                          // of a method, or of range where method is ""
		of     expr
		method string
		args   []expr
	}
	filterNode struct {
		of   expr
		name string
		arguments
	}
	testNode struct {
		of   expr
		name string
		args []expr
		not  bool
	}
)

// arguments of a filter.
type arguments struct {
	args  []expr
	named map[string]expr
}
