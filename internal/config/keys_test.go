package config

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

// The tests here walk the whole tree of keys, so that a new key is tested the
// day that it is added.

// fullConfigs are configs that together hold every section and union form of a stage.
func fullConfigs(t *testing.T, stage string) []*Config {
	t.Helper()
	text, err := os.ReadFile("testdata/full-" + stage + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	all := []*Config{must(t, string(text))}
	if stage == PPO {
		for _, rule := range []string{"contains, text: a", "regex, pattern: a", "length, target: 3", "json, keys: [a]", "exact, text: a"} {
			all = append(all, must(t, string(text), "model.reward={rule: "+rule+"}"))
		}
	}
	return all
}

// structs lists the struct types below t that are sections of a file.
func structs(t reflect.Type, into map[reflect.Type]bool) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		structs(t.Elem(), into)
	case reflect.Struct:
		if u, ok := reflect.New(t).Interface().(union); ok {
			_, forms := u.forms()
			for _, f := range forms {
				structs(reflect.TypeOf(f), into)
			}
			return
		}
		into[t] = true
		for _, f := range fields(t) {
			structs(f.typ, into)
		}
	}
}

func TestUnknownKeyAtEveryLevel(t *testing.T) {
	unvisited := map[reflect.Type]bool{}
	structs(reflect.TypeFor[Config](), unvisited)
	if len(unvisited) < 16 {
		t.Fatalf("only %d struct types found below Config", len(unvisited))
	}
	for _, stage := range []string{SFT, Reward, PPO} {
		for _, c := range fullConfigs(t, stage) {
			levels := map[string]reflect.Type{"": reflect.TypeFor[Config]()}
			visit(reflect.ValueOf(c).Elem(), stage, "", func(l leaf) {
				if s := section(l.value); s.IsValid() {
					levels[l.path] = s.Type()
				} else if l.typ == reflect.TypeFor[[]Source]() {
					levels[l.path+".0"] = reflect.TypeFor[Source]()
				}
			})
			for path, typ := range levels {
				delete(unvisited, typ)
				text, line, col := withKey(t, c.YAML(), path, "zzzz")
				p := only(t, text)
				if want := (Problem{"c.yaml", line, col, join(path, "zzzz"), "unknown key"}); p != want {
					t.Errorf("stage %s: got %+v, want %+v", stage, p, want)
				}
				delete(unvisited, typ)
			}
		}
	}
	for typ := range unvisited {
		t.Errorf("no test config holds a %v", typ)
	}
}

// withKey puts a key into the mapping at path of a file and says where it stands.
func withKey(t *testing.T, data []byte, path, key string) (text string, line, col int) {
	t.Helper()
	root, problem := parse("", data)
	if problem != nil {
		t.Fatal(problem)
	}
	root, err := put(root, strings.Split(join(path, key), "."), &yaml.Node{Kind: yaml.ScalarNode, Value: "1"})
	if err != nil {
		t.Fatal(err)
	}
	out, err := yaml.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range bytes.Split(out, []byte("\n")) {
		if at := bytes.Index(l, []byte(key+":")); at >= 0 {
			return string(out), i + 1, at + 1
		}
	}
	t.Fatalf("%s is not in\n%s", key, out)
	return
}

// Every key of every stage: another value reaches the Config, a wrong kind of
// value and a slip of the finger are reported.
func TestEveryKey(t *testing.T) {
	for _, stage := range []string{SFT, Reward, PPO} {
		seen := map[string]bool{}
		for _, c := range fullConfigs(t, stage) {
			text := string(c.YAML())
			visit(reflect.ValueOf(c).Elem(), stage, "", func(l leaf) {
				if seen[l.path] {
					return
				}
				seen[l.path] = true
				if l.path != "stage" {
					checkMisspelt(t, text, l.path)
				}
				if !section(l.value).IsValid() && l.typ != reflect.TypeFor[[]Source]() {
					checkWrongKind(t, text, l.path)
					checkReachable(t, text, l)
				}
			})
		}
		if len(seen) < 50 {
			t.Errorf("stage %s: only %d keys seen", stage, len(seen))
		}
	}
}

func checkMisspelt(t *testing.T, text, path string) {
	t.Helper()
	name := path[strings.LastIndexByte(path, '.')+1:]
	wrong := name + "e"
	all := problems(t, text, join(parent(path), wrong)+"=1")
	want := fmt.Sprintf("unknown key; did you mean %q?", name)
	if len(all) != 1 || all[0].Message != want {
		t.Errorf("%s written %s: got\n%v\nwant %s", path, wrong, &Errors{all}, want)
	}
}

func checkWrongKind(t *testing.T, text, path string) {
	t.Helper()
	for _, value := range []string{"{zzzz: 1}", "[[1]]"} {
		all := problems(t, text, path+"="+value)
		if !slices.ContainsFunc(all, func(p Problem) bool { return strings.HasPrefix(p.Key, path) && strings.Contains(p.Message, "expects") }) {
			t.Errorf("%s=%s: got\n%v", path, value, &Errors{all})
		}
	}
}

// companions are settings that let another value of a key pass.
var companions = map[string][]string{
	"trainer.max_steps":                   {"trainer.epochs="},
	"device.backend":                      {"device.threads=0"},
	"model.rm_position":                   {"model.reward=r"},
	"data.0.source":                       {"data.0.shots=0", "data.0.render=chat", "data.0.languages="},
	"data.0.render":                       {"data.0.shots=0"},
	"value_optimizer.learning_rate":       {"value_optimizer.decay=linear", "value_optimizer.final_learning_rate=0"},
	"value_optimizer.final_learning_rate": {"value_optimizer.decay=linear", "value_optimizer.learning_rate=1"},
}

// checkReachable sets a key to another value and looks for it in the Config.
func checkReachable(t *testing.T, text string, l leaf) {
	t.Helper()
	for _, value := range otherValues(l) {
		c, err := Parse("c.yaml", []byte(text), []string{l.path + "=" + value})
		if err != nil {
			c, err = Parse("c.yaml", []byte(text), append(slices.Clone(companions[l.path]), l.path+"="+value))
		}
		if err != nil {
			continue // clashes with another key; the next value may not
		}
		reached := false
		visit(reflect.ValueOf(c).Elem(), c.Stage, "", func(m leaf) {
			if m.path == l.path {
				reached = encodeText(m.value) == value
			}
		})
		if reached {
			return
		}
		t.Errorf("%s=%s is accepted and does not arrive", l.path, value)
		return
	}
	switch {
	case len(l.words) == 1: // there is no other value
	case l.path == "stage", strings.HasSuffix(l.path, ".rule"): // other keys would have to change too
	case l.path == "optimizer.schedule_unit": // iteration is for ppo
	default:
		t.Errorf("%s: none of the values %q is accepted", l.path, otherValues(l))
	}
}

func otherValues(l leaf) []string {
	if l.typ == reflect.TypeFor[time.Duration]() {
		return []string{"7s"}
	}
	switch l.typ.Kind() {
	case reflect.Bool:
		return []string{literal(reflect.ValueOf(!l.value.Bool()))}
	case reflect.Int, reflect.Uint64:
		return []string{"3", "2", "1", "0", "40", "4096"}
	case reflect.Float64:
		return []string{"0.5", "0.125", "0.0", "20000.0"}
	case reflect.Slice:
		return []string{"[a, b]"}
	case reflect.Array:
		return []string{"[0.25, 0.5]"}
	}
	if l.words != nil {
		return slices.DeleteFunc(slices.Clone(l.words), func(w string) bool { return w == l.value.String() })
	}
	return []string{"other", "http://other"}
}

// Keys of other stages are refused in each stage, and the message says whose they are.
func TestEveryKeyOfOtherStages(t *testing.T) {
	count := 0
	var walk func(typ reflect.Type, path, stage string)
	walk = func(typ reflect.Type, path, stage string) {
		for _, f := range fields(typ) {
			at := join(path, f.name)
			if !f.in(stage) {
				count++
				p := only(t, minimal[stage], at+"=1")
				if want := fmt.Sprintf("belongs to stage %s; this is stage %s", strings.Join(f.stages, " or "), stage); p.Key != at || p.Message != want {
					t.Errorf("got %s, want %s", p, want)
				}
			} else if f.typ.Kind() == reflect.Struct && f.typ != reflect.TypeFor[RewardModel]() && f.typ != reflect.TypeFor[MissingEOD]() {
				walk(f.typ, at, stage)
			}
		}
	}
	for _, stage := range []string{SFT, Reward, PPO} {
		walk(reflect.TypeFor[Config](), "", stage)
	}
	if count < 60 {
		t.Errorf("only %d keys of other stages found", count)
	}
}

// The tags are complete and hold together.
func TestTags(t *testing.T) {
	all := map[reflect.Type]bool{}
	structs(reflect.TypeFor[Config](), all)
	for typ := range all {
		for _, f := range fields(typ) {
			where := typ.Name() + "." + typ.Field(f.index).Name
			if f.name == "" || f.doc == "" {
				t.Errorf("%s has no yaml or doc tag", where)
			}
			if strings.HasSuffix(f.doc, ".") || strings.ContainsAny(f.doc, "|\n") {
				t.Errorf("%s: doc ends in a full stop or breaks the table: %s", where, f.doc)
			}
			for _, s := range append(slices.Clone(f.stages), f.required...) {
				if s != "always" && !slices.Contains([]string{SFT, Reward, PPO}, s) {
					t.Errorf("%s: unknown stage %q", where, s)
				}
			}
			for _, w := range f.only {
				if !slices.Contains(fields(typ)[0].words, w) {
					t.Errorf("%s: only names %q, which is no value of the first key", where, w)
				}
			}
			if f.resume != "" && permissions[f.resume] == Refused {
				t.Errorf("%s: resume:%q", where, f.resume)
			}
			if f.typ.Kind() == reflect.Float64 && f.bounds == nil && typ != reflect.TypeFor[penalty]() {
				t.Errorf("%s has no range", where)
			}
			if f.derived != "" && f.defaults != nil {
				t.Errorf("%s has both a default and a derived default", where)
			}
		}
	}
}
