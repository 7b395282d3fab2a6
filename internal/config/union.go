package config

// A union is a key whose value is either a word or a mapping. The first key of
// each mapping form tells the forms apart.
type union interface {
	forms() (words []string, mappings []any) // no words: any text; mappings: zero values of the forms
	held() any                               // a string, or a pointer to the mapping form that is held
	hold(any)                                // takes what held returns
}

// MissingEOD is the treatment of a response that was cut by length.
type MissingEOD struct {
	Mode    string  // last_token | zero | mask | penalty
	Penalty float64 // the score, when Mode is penalty
}

type penalty struct {
	Penalty float64 `yaml:"penalty" required:"always" unit:"score" doc:"score of a response without EOD"`
}

func (m *MissingEOD) forms() ([]string, []any) {
	return []string{"last_token", "zero", "mask"}, []any{penalty{}}
}

func (m *MissingEOD) held() any {
	if m.Mode == "penalty" {
		return &penalty{m.Penalty}
	}
	return m.Mode
}

func (m *MissingEOD) hold(x any) {
	switch x := x.(type) {
	case string:
		*m = MissingEOD{Mode: x}
	case *penalty:
		*m = MissingEOD{Mode: "penalty", Penalty: x.Penalty}
	}
}
