package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"alfred/internal/param"
)

func example() *Manifest {
	sum := fmt.Sprintf("%x", sha256.Sum256(nil))
	return &Manifest{
		Format: Format, Step: 20, Stage: "ppo", ConfigHash: "<abc>", Layout: Layout{2, 1, 3},
		Models: []Contents{
			{Name: "policy", DType: "bfloat16", Tensors: []TensorEntry{{"a.weight", []int{3, 4}}, {`{"name":`, []int{3}}},
				Optimizer: &StateEntry{Steps: 5, DType: "float32", Kinds: []string{"exp_avg", "exp_avg_sq"}}},
			{Name: "value", DType: "float32", Tensors: []TensorEntry{{"b", []int{}}}},
		},
		Files: []FileEntry{{"policy/model.safetensors", 0, sum}, {"state.json", 0, sum}},
	}
}

// sealed is any text with a right checksum.
func sealed(text string) []byte {
	body := strings.TrimSuffix(text, "}")
	return fmt.Appendf(nil, "%s%s%x%s", body, checksumHead, sha256.Sum256([]byte(body)), checksumTail)
}

func TestManifestRoundTrip(t *testing.T) {
	text, err := example().encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseManifest(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if !reflect.DeepEqual(got, example()) {
		t.Errorf("got %+v, want %+v", got, example())
	}
	if lines := bytes.Count(text, []byte("\n")); lines < 7 {
		t.Errorf("%d lines: not one for each model, tensor and file:\n%s", lines, text)
	}
}

// TestEveryBitOfTheManifest flips each of them, cuts the text at every byte, and adds to it.
func TestEveryBitOfTheManifest(t *testing.T) {
	good, err := example().encode()
	if err != nil {
		t.Fatal(err)
	}
	for at := range 8 * len(good) {
		bad := slices.Clone(good)
		bad[at/8] ^= 1 << (at % 8)
		if _, err := parseManifest(bad); err == nil {
			t.Fatalf("bit %d of byte %d (%q) is flipped and nobody sees it", at%8, at/8, good[at/8])
		}
		if _, err := parseManifest(good[:at/8]); err == nil {
			t.Fatalf("cut at byte %d and nobody sees it", at/8)
		}
	}
	for _, more := range []string{" ", "\n", "{}", "x"} {
		if _, err := parseManifest(append(slices.Clone(good), more...)); err == nil {
			t.Errorf("%q added and nobody sees it", more)
		}
	}
}

func TestManifestRefusals(t *testing.T) {
	change := func(f func(m *Manifest)) []byte {
		m := example()
		f(m)
		text, err := m.encode()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	file := func(name string) []byte { return change(func(m *Manifest) { m.Files[0].Name = name }) }
	for name, c := range map[string]struct {
		text []byte
		want string
	}{
		"empty":              {nil, "damaged"},
		"other JSON":         {[]byte(`{"step":3}`), `"format" is missing`},
		"no checksum":        {[]byte(`{"format":1}`), "checksum"},
		"newer format":       {[]byte(`{"format":2,"what":"ever"}`), "has format 2; this version of alfred reads up to 1"},
		"format 0":           {sealed(`{"format":0}`), "format 0"},
		"unknown key":        {sealed(`{"format":1,"surprise":1}`), "surprise"},
		"wrong type":         {sealed(`{"format":1,"step":"x"}`), "step"},
		"no layout":          {sealed(`{"format":1}`), "layout"},
		"negative step":      {change(func(m *Manifest) { m.Step = -1 }), "step -1"},
		"model twice":        {change(func(m *Manifest) { m.Models[1].Name = "policy" }), `model "policy"`},
		"model outside":      {change(func(m *Manifest) { m.Models[1].Name = "../x" }), `model "../x"`},
		"model optimizer":    {change(func(m *Manifest) { m.Models[1].Name = "optimizer" }), `model "optimizer"`},
		"no tensors":         {change(func(m *Manifest) { m.Models[1].Tensors = nil }), "no tensors"},
		"tensor twice":       {change(func(m *Manifest) { m.Models[0].Tensors[1].Name = "a.weight" }), `"a.weight"`},
		"negative dimension": {change(func(m *Manifest) { m.Models[0].Tensors[1].Shape = []int{-1} }), "[-1]"},
		"overflow":           {change(func(m *Manifest) { m.Models[0].Tensors[1].Shape = []int{1 << 40, 1 << 40} }), "shape"},
		"kind outside":       {change(func(m *Manifest) { m.Models[0].Optimizer.Kinds[0] = "/etc/passwd" }), "/etc/passwd"},
		"kind twice":         {change(func(m *Manifest) { m.Models[0].Optimizer.Kinds[0] = "exp_avg_sq" }), "exp_avg_sq"},
		"negative updates":   {change(func(m *Manifest) { m.Models[0].Optimizer.Steps = -5 }), "-5 updates"},
		"path up":            {file("../state.json"), `"../state.json"`},
		"absolute path":      {file("/etc/passwd"), "/etc/passwd"},
		"unclean path":       {file("a//b"), "a//b"},
		"empty path":         {file(""), `""`},
		"the manifest":       {file("manifest.json"), "manifest.json"},
		"file twice":         {file("state.json"), "twice"},
		"negative size":      {change(func(m *Manifest) { m.Files[0].Size = -1 }), "size -1"},
		"short hash":         {change(func(m *Manifest) { m.Files[0].SHA256 = "abcd" }), "abcd"},
		"no hash":            {change(func(m *Manifest) { m.Files[0].SHA256 = strings.Repeat("x", 64) }), "xxxx"},
	} {
		_, err := parseManifest(c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error that says %q", name, err, c.want)
		}
	}
	_, err := parseManifest(change(func(m *Manifest) { m.Step, m.Files[0].Name, m.Models[0].Tensors[0].Name = -1, "..", "" }))
	for _, want := range []string{"step -1", `".."`, `tensor ""`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("three problems: %v does not say %q", err, want)
		}
	}
}

func TestSegmentRefusals(t *testing.T) {
	shapes := map[string][]int{"m": {3, 4}, "v": {3}}
	shapeOf := func(name string) ([]int, bool) { s, ok := shapes[name]; return s, ok }
	good := `{"m":{"shape":[9,4],"dim":0,"runs":[[0,2],[5,1]]},"v":{"shape":[5],"dim":0,"runs":[[2,3]]}}`
	cuts, err := parseSegments(good, shapeOf)
	if err != nil || len(cuts) != 2 || cuts["m"].whole() || !slices.Equal(cuts["m"].Runs, [][2]int{{0, 2}, {5, 1}}) {
		t.Fatalf("%+v, %v", cuts, err)
	}
	for name, text := range map[string]string{
		"no JSON":          `{`,
		"no such tensor":   `{"x":{"shape":[9,4],"dim":0,"runs":[[0,3]]}}`,
		"outside":          `{"m":{"shape":[9,4],"dim":0,"runs":[[7,3]]}}`,
		"negative":         `{"m":{"shape":[9,4],"dim":0,"runs":[[-1,3]]}}`,
		"empty run":        `{"m":{"shape":[9,4],"dim":0,"runs":[[0,3],[4,0]]}}`,
		"overflow":         `{"m":{"shape":[9,4],"dim":0,"runs":[[9223372036854775807,3]]}}`,
		"more than is":     `{"m":{"shape":[3,4],"dim":0,"runs":[[0,3],[0,3]]}}`,
		"wrong count":      `{"m":{"shape":[9,4],"dim":0,"runs":[[0,2]]}}`,
		"wrong columns":    `{"m":{"shape":[9,5],"dim":0,"runs":[[0,3]]}}`,
		"no runs":          `{"m":{"shape":[9,4],"dim":0,"runs":[]}}`,
		"dimension 2":      `{"m":{"shape":[3,4,5],"dim":2,"runs":[[0,3]]}}`,
		"dimension -1":     `{"m":{"shape":[3,4],"dim":-1,"runs":[[0,3]]}}`,
		"columns of three": `{"m":{"shape":[3,4,5],"dim":1,"runs":[[0,4]]}}`,
		"columns of one":   `{"v":{"shape":[3],"dim":1,"runs":[[0,3]]}}`,
		"negative shape":   `{"m":{"shape":[3,-4],"dim":0,"runs":[[0,3]]}}`,
	} {
		if cuts, err := parseSegments(text, shapeOf); err == nil {
			t.Errorf("%s: accepted as %+v", name, cuts)
		}
	}
}

func TestCovers(t *testing.T) {
	for name, c := range map[string]struct {
		spans []span
		want  string
	}{
		"exact":          {[]span{{4, 9, "b"}, {0, 4, "a"}}, ""},
		"hole":           {[]span{{5, 9, "b"}, {0, 4, "a"}}, "4 to 5 are in no file"},
		"overlap":        {[]span{{0, 5, "a"}, {4, 9, "b"}}, "4 to 5 are both in a and in b"},
		"twice":          {[]span{{0, 9, "a"}, {0, 9, "b"}}, "0 to 9 are both in a and in b"},
		"end missing":    {[]span{{0, 4, "a"}}, "4 to 9 are in no file"},
		"nothing":        {nil, "0 to 9 are in no file"},
		"start missing":  {[]span{{1, 9, "a"}}, "0 to 1 are in no file"},
		"inside another": {[]span{{0, 9, "a"}, {2, 3, "b"}}, "2 to 3 are both in a and in b"},
	} {
		err := covers(c.spans, 9)
		if (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// TestOwnedPieces: replicated rows are written by their owner only.
func TestOwnedPieces(t *testing.T) {
	p := &param.Param{Name: "qkv", Shape: []int{12, 3}, Local: []int{6, 3}, Segments: []param.Segment{
		{Global: 0, Local: 0, Count: 2, Owner: true}, {Global: 4, Local: 2, Count: 1}, {Global: 8, Local: 3, Count: 3, Owner: true}}}
	pieces := owned(param.NewStore([]*param.Param{param.Replicated("norm", []int{3}, 0, false), p}))
	if len(pieces) != 1 || pieces[0].index != 1 || pieces[0].count != 5 {
		t.Fatalf("pieces %+v", pieces)
	}
	if c := pieces[0].cut(); !slices.Equal(c.Runs, [][2]int{{0, 2}, {8, 3}}) || c.check(pieces[0].spec("F32").Shape) != nil {
		t.Errorf("cut %+v of %v", c, pieces[0].spec("F32"))
	}
}

func FuzzManifest(f *testing.F) {
	good, _ := example().encode()
	f.Add(good)
	f.Add([]byte(`{"format":2}`))
	f.Add(sealed(`{"format":1,"files":[{"name":"x","size":-1}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, text := range [][]byte{text, sealed(string(text))} {
			m, err := parseManifest(text)
			if err != nil {
				continue
			}
			again, err := m.encode()
			if err != nil {
				t.Fatal(err)
			}
			twin, err := parseManifest(again)
			if err != nil {
				t.Fatalf("accepted %q, wrote %q, refused that: %v", text, again, err)
			}
			if third, _ := twin.encode(); !bytes.Equal(again, third) {
				t.Fatalf("%q read again is %q", again, third)
			}
		}
	})
}

func FuzzSegments(f *testing.F) {
	f.Add(`{"m":{"shape":[9,4],"dim":0,"runs":[[0,2],[5,1]]}}`, 3, 4)
	f.Add(`{"m":{"shape":[3,9],"dim":1,"runs":[[5,4]]}}`, 3, 4)
	f.Fuzz(func(t *testing.T, text string, rows, cols int) {
		cuts, err := parseSegments(text, func(name string) ([]int, bool) { return []int{rows, cols}, true })
		if err != nil {
			return
		}
		for name, c := range cuts {
			count := 0
			for _, run := range c.Runs {
				if run[0] < 0 || run[1] < 1 || run[0]+run[1] > c.Shape[c.Dim] {
					t.Fatalf("%s: accepted %+v", name, c)
				}
				count += run[1]
			}
			if count != []int{rows, cols}[c.Dim] {
				t.Fatalf("%s: accepted %+v for a tensor of %d x %d", name, c, rows, cols)
			}
		}
	})
}

// TestTensorFiles: a manifest may list anything beside the files of a set of tensors, also what has its very name.
func TestTensorFiles(t *testing.T) {
	c := &Checkpoint{Dir: "dir", Manifest: &Manifest{}}
	for _, name := range []string{
		"policy/model", "policy/model.safetensors", "policy/model-00001-of-00002.safetensors", "policy/models.safetensors", "policy/model.json",
		"policy/modelsafetensors", "value/model.safetensors",
	} {
		c.Manifest.Files = append(c.Manifest.Files, FileEntry{Name: name})
	}
	want := []string{filepath.Join("dir", "policy", "model.safetensors"), filepath.Join("dir", "policy", "model-00001-of-00002.safetensors")}
	if got := c.tensorFiles("policy/model"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
