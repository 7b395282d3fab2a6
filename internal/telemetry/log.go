package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"slices"
	"time"

	"github.com/lmittmann/tint"
)

// LogFormat is how a console writes: lines for people or JSON objects for programs.
type LogFormat string

const (
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

// ParseLogFormat reads "text" or "json".
func ParseLogFormat(s string) (LogFormat, error) {
	if f := LogFormat(s); f == LogText || f == LogJSON {
		return f, nil
	}
	return "", fmt.Errorf("log format %q: want text or json", s)
}

// NewLogHandler returns a handler that writes log records straight to w, for commands that need no Recorder.
func NewLogHandler(w io.Writer, format LogFormat, level slog.Leveler, color bool) slog.Handler {
	if format == LogJSON {
		return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})
	}
	return tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: !color})
}

// Handler returns a handler that turns log records of a level and above into messages of the recorder, so that they
// appear in order with everything else, with the recorder's time, and above a live bar.
func (r *Recorder) Handler(level slog.Leveler) slog.Handler {
	return messageHandler{recorder: r, level: level}
}

type messageHandler struct {
	recorder *Recorder
	level    slog.Leveler
	prefix   string // of open groups, with a dot after each
	attrs    []Attr
}

func (h messageHandler) Enabled(_ context.Context, level slog.Level) bool {
	return h.recorder != nil && level >= h.level.Level()
}

func (h messageHandler) Handle(_ context.Context, rec slog.Record) error {
	attrs := slices.Clone(h.attrs)
	rec.Attrs(func(a slog.Attr) bool {
		attrs = appendAttr(attrs, h.prefix, a)
		return true
	})
	h.recorder.Message(Message{Level: rec.Level, Text: rec.Message, Attrs: attrs})
	return nil
}

func (h messageHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.attrs = slices.Clone(h.attrs)
	for _, a := range attrs {
		h.attrs = appendAttr(h.attrs, h.prefix, a)
	}
	return h
}

func (h messageHandler) WithGroup(name string) slog.Handler {
	if name != "" {
		h.prefix += name + "."
	}
	return h
}

func appendAttr(attrs []Attr, prefix string, a slog.Attr) []Attr {
	value := a.Value.Resolve()
	if value.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, inner := range value.Group() {
			attrs = appendAttr(attrs, prefix, inner)
		}
		return attrs
	}
	if a.Equal(slog.Attr{}) {
		return attrs
	}
	return append(attrs, Attr{Key: prefix + a.Key, Value: plain(value)})
}

// plain turns a value into one that JSON brings back unchanged.
func plain(v slog.Value) any {
	switch v.Kind() {
	case slog.KindBool:
		return v.Bool()
	case slog.KindInt64:
		return v.Int64()
	case slog.KindUint64:
		if v.Uint64() <= math.MaxInt64 {
			return int64(v.Uint64())
		}
	case slog.KindFloat64:
		if finite(v.Float64()) {
			return v.Float64()
		}
	case slog.KindTime:
		return v.Time().Format(time.RFC3339Nano)
	}
	return v.String()
}

// logRecord turns a message back into a log record.
func logRecord(at time.Time, m *Message) slog.Record {
	rec := slog.NewRecord(at, m.Level, m.Text, 0)
	for _, a := range m.Attrs {
		rec.AddAttrs(slog.Any(a.Key, a.Value))
	}
	return rec
}
