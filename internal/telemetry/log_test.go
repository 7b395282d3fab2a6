package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/slogtest"
	"time"
)

// The recorder's handler keeps the rules of slog; groups become dotted keys, undone here. It breaks one rule on purpose:
// every event has the recorder's time, also that of a record without one.
func TestHandlerFollowsSlog(t *testing.T) {
	var sink *memory
	handler := func(t *testing.T) slog.Handler {
		if strings.HasSuffix(t.Name(), "/zero-time") {
			t.Skip("events always have a time")
		}
		sink = &memory{}
		return New(Options{}, sink).Handler(slog.LevelInfo)
	}
	slogtest.Run(t, handler, func(*testing.T) map[string]any {
		e := sink.events[0]
		out := map[string]any{slog.TimeKey: e.Time, slog.LevelKey: e.Message.Level, slog.MessageKey: e.Message.Text}
		for _, a := range e.Message.Attrs {
			at := out
			path := strings.Split(a.Key, ".")
			for _, group := range path[:len(path)-1] {
				if at[group] == nil {
					at[group] = map[string]any{}
				}
				at = at[group].(map[string]any)
			}
			at[path[len(path)-1]] = a.Value
		}
		return out
	})
}

func TestAttributesSurviveJSON(t *testing.T) {
	sink := &memory{}
	log := slog.New(New(Options{}, sink).Handler(slog.LevelInfo))
	log.With("run", "toy").WithGroup("data").Warn("rows skipped", "count", 3, "share", 0.5, "big", uint64(math.MaxUint64), "nan", math.NaN(),
		"cause", errors.New("bad row"), "took", 3*time.Second, "ok", true, "at", time.Unix(0, 0).UTC(), slog.Group("more", "seed", int64(math.MaxInt64)))
	log.Debug("below the level")
	if len(sink.events) != 1 {
		t.Fatalf("%d messages, want 1", len(sink.events))
	}
	line, err := json.Marshal(sink.events[0])
	if err != nil {
		t.Fatal(err)
	}
	var back Event
	if err := json.Unmarshal(line, &back); err != nil {
		t.Fatal(err)
	}
	want := []Attr{{"run", "toy"}, {"data.count", int64(3)}, {"data.share", 0.5}, {"data.big", "18446744073709551615"}, {"data.nan", "NaN"},
		{"data.cause", "bad row"}, {"data.took", "3s"}, {"data.ok", true}, {"data.at", "1970-01-01T00:00:00Z"}, {"data.more.seed", int64(math.MaxInt64)}}
	if got := back.Message.Attrs; !equalAttrs(got, want) || back.Message.Level != slog.LevelWarn {
		t.Errorf("attributes %v, want %v", got, want)
	}
}

// Two messages of one logger share its attributes but not their memory.
func TestAttributesAreNotShared(t *testing.T) {
	sink := &memory{}
	log := slog.New(New(Options{}, sink).Handler(slog.LevelInfo)).With("a", 1).With("b", 2).With("c", 3)
	log.Info("one", "d", "first")
	log.Info("two", "d", "second")
	log.With("d", "third")
	if got := sink.events[0].Message.Attrs; !equalAttrs(got, []Attr{{"a", int64(1)}, {"b", int64(2)}, {"c", int64(3)}, {"d", "first"}}) {
		t.Errorf("attributes of the first message became %v", got)
	}
}

func equalAttrs(a, b []Attr) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestNewLogHandler(t *testing.T) {
	for _, c := range []struct {
		format LogFormat
		color  bool
		want   string
	}{
		{LogText, false, "WRN rows skipped count=3\n"},
		{LogText, true, "\x1b["},
		{LogJSON, true, `"level":"WARN","msg":"rows skipped","count":3}`},
	} {
		var out bytes.Buffer
		log := slog.New(NewLogHandler(&out, c.format, slog.LevelInfo, c.color))
		log.Debug("unheard")
		log.Warn("rows skipped", "count", 3)
		if !strings.Contains(out.String(), c.want) || strings.Contains(out.String(), "unheard") {
			t.Errorf("%s, color %v: %q does not hold %q", c.format, c.color, out.String(), c.want)
		}
	}
	for _, f := range []string{"text", "json"} {
		if got, err := ParseLogFormat(f); err != nil || string(got) != f {
			t.Errorf("%q parses as %q, %v", f, got, err)
		}
	}
	if _, err := ParseLogFormat("xml"); err == nil {
		t.Error("xml was accepted")
	}
}
