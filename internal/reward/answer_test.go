package reward

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"alfred/internal/config"
)

// TestNumbersArriveExactly: what a service prints with all digits is the number that it had.
func TestNumbersArriveExactly(t *testing.T) {
	want := []float64{0.1, math.Pi, -1e-320, math.MaxFloat64, math.SmallestNonzeroFloat64, math.Copysign(0, -1), 1 << 60, 3}
	text, err := json.Marshal(map[string]any{"scores": want})
	if err != nil {
		t.Fatal(err)
	}
	h, _ := client(t, config.HTTP{URL: serve(t, say(200, string(text))).URL})
	got, err := h.Score(t.Context(), numbered(len(want)))
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if math.Float64bits(got[i]) != math.Float64bits(want[i]) {
			t.Errorf("scores[%d] = %g, want %g", i, got[i], want[i])
		}
	}
}

func TestWhatEndsTheScoring(t *testing.T) {
	long := strings.Repeat("é", 5000)
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    []string
	}{
		"400":             {say(400, "no such model"), []string{`400 Bad Request: received "no such model"`}},
		"401":             {say(401, "who are you"), []string{"401", "who are you"}},
		"404":             {say(404, ""), []string{`404 Not Found: received ""`}},
		"redirect":        {say(307, "there", "Location", "http://127.0.0.2:1/"), []string{`redirected to "http://127.0.0.2:1/"`, "307", "give the service's own address"}},
		"204":             {say(204, ""), []string{"not a JSON object", `received ""`}},
		"not JSON":        {say(200, "<html>"+long), []string{"not a JSON object", `received "<html>éé`, `" and more`}},
		"two values":      {say(200, `{"scores":[1,2]}{}`), []string{"not a JSON object"}},
		"a list":          {say(200, "[1,2]"), []string{"not a JSON object", `received "[1,2]"`}},
		"null":            {say(200, "null"), []string{`no "scores"`}},
		"another name":    {say(200, `{"Scores":[1,2]}`), []string{`no "scores"`}},
		"no list":         {say(200, `{"scores":{"0":1,"1":2}}`), []string{"not a list"}},
		"null list":       {say(200, `{"scores":null}`), []string{"not a list"}},
		"one too few":     {say(200, `{"scores":[1]}`), []string{"1 scores for 2 items", `received "{\"scores\":[1]}"`}},
		"one too many":    {say(200, `{"scores":[1,2,3]}`), []string{"3 scores for 2 items"}},
		"none":            {say(200, `{"scores":[]}`), []string{"0 scores for 2 items"}},
		"null score":      {say(200, `{"scores":[1,null]}`), []string{`scores[1] is "null"`, "NaN and infinity do not exist in JSON"}},
		"NaN":             {say(200, `{"scores":[NaN,1]}`), []string{"NaN and infinity do not exist in JSON", "received"}},
		"infinity":        {say(200, `{"scores":[1,-Infinity]}`), []string{"NaN and infinity do not exist in JSON"}},
		"beyond float64":  {say(200, `{"scores":[1,1e999]}`), []string{`scores[1] is "1e999"`, "finite"}},
		"string":          {say(200, `{"scores":["1",2]}`), []string{`scores[0] is "\"1\""`}},
		"NaN in a string": {say(200, `{"scores":["NaN",2]}`), []string{`scores[0] is "\"NaN\""`, "NaN and infinity"}},
		"boolean":         {say(200, `{"scores":[true,2]}`), []string{`scores[0] is "true"`}},
		"nested":          {say(200, `{"scores":[[1],[2]]}`), []string{`scores[0] is "[1]"`}},
		"control bytes":   {say(200, "\x1b[2J\x00\xff"), []string{`"\x1b[2J\x00\xff"`}},
		"too long":        {say(200, `{"scores":[1,2],"x":"`+strings.Repeat("x", maxAnswer)+`"}`), []string{"longer than"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, c.handler)
			h, pauses := client(t, config.HTTP{URL: s.URL, Retries: 5})
			got, err := h.Score(t.Context(), numbered(2))
			if !errors.Is(err, ErrService) || got != nil || len(*pauses) != 0 || s.asked.Load() != 1 {
				t.Fatalf("%v, %v after %d requests", got, err, s.asked.Load())
			}
			for _, want := range append(c.want, s.URL) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
			if len(err.Error()) > 4*excerptBytes {
				t.Errorf("a message of %d bytes", len(err.Error()))
			}
		})
	}
	t.Run("certificate", func(t *testing.T) {
		s := httptest.NewUnstartedServer(say(200, ""))
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.StartTLS()
		defer s.Close()
		h, pauses := client(t, config.HTTP{URL: s.URL, Retries: 5})
		if _, err := h.Score(t.Context(), numbered(1)); err == nil || !strings.Contains(err.Error(), "certificate") || len(*pauses) != 0 {
			t.Errorf("%v after %v", err, *pauses)
		}
	})
}

// FuzzDecodeScores: an answer either gives one finite number per item, the same that encoding/json reads, or an error.
func FuzzDecodeScores(f *testing.F) {
	for _, text := range []string{`{"scores":[1,-2e3]}`, `{"scores":[null,1]}`, `{"scores":[1e999,0]}`, `{"scores":["NaN",{}]}`, `{"scores":[1,2],"scores":[3,4]}`, `[]`, `{"scores":[ 0.5 , 1 ]} x`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		scores, err := decodeScores(text, 2, excerpt)
		if err != nil {
			if scores != nil || len(excerpt(text)) > 5*excerptBytes {
				t.Fatalf("%v with %v", err, scores)
			}
			return
		}
		var want struct {
			Scores []*float64 `json:"scores"`
		}
		var exact map[string]json.RawMessage // encoding/json would also take "SCORES" for scores
		if err := json.Unmarshal(text, &exact); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(fmt.Appendf(nil, `{"scores":%s}`, exact["scores"]), &want); err != nil || len(want.Scores) != 2 {
			t.Fatalf("%q: %v, but encoding/json says %v", text, scores, err)
		}
		for i, w := range want.Scores {
			if w == nil || *w != scores[i] || math.IsInf(scores[i], 0) || math.IsNaN(scores[i]) {
				t.Fatalf("%q: scores %v", text, scores)
			}
		}
	})
}
