package telemetry

import (
	"context"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/vbauerster/mpb/v8/cwriter"
)

// ConsoleOptions say how a run looks on standard error. The zero ConsoleOptions are complete.
type ConsoleOptions struct {
	Format      LogFormat     // default text
	Level       slog.Leveler  // of messages; default slog.LevelInfo
	Quiet       bool          // messages only, and of those warnings and errors only
	Interactive bool          // a live bar and colours: the writer is a terminal (IsTerminal)
	NoColor     bool          // no colours, on a terminal neither
	Every       int           // steps per line; 0 or 1 shows each, and the last one of a run always appears
	Interval    time.Duration // of progress lines where there is no live bar; default 30 s
	Width       int           // of sample tables, in characters; default 100
}

// Console is the sink that people watch: a line per step, messages, sample tables, and a live bar on a terminal or now
// and then a progress line elsewhere.
type Console struct {
	options ConsoleOptions
	out     io.Writer // lines; above the bar if there is one
	bar     *bar      // nil unless interactive
	log     slog.Handler
	status  status
	spoke   time.Time // when the last line of a step or of progress was written
}

// IsTerminal says whether a file is a terminal.
func IsTerminal(f *os.File) bool { return cwriter.IsTerminal(int(f.Fd())) }

// NewConsole returns a console on w. An interactive one owns w until it is closed: other writers would tear its bar.
func NewConsole(w io.Writer, options ConsoleOptions) *Console {
	if options.Format == "" {
		options.Format = LogText
	}
	if options.Level == nil {
		options.Level = slog.LevelInfo
	}
	if options.Quiet {
		options.Level = max(options.Level.Level(), slog.LevelWarn)
	}
	if options.Interval <= 0 {
		options.Interval = 30 * time.Second
	}
	if options.Width <= 0 {
		options.Width = 100
	}
	c := &Console{options: options, out: w}
	live := options.Interactive && options.Format == LogText
	if live && !options.Quiet {
		c.bar = newBar(w)
		c.out = c.bar
	}
	c.log = NewLogHandler(c.out, options.Format, options.Level, live && !options.NoColor)
	return c
}

// Name is "console".
func (c *Console) Name() string { return "console" }

// Handle shows an event.
func (c *Console) Handle(e Event) error {
	if e.Message != nil {
		if !c.log.Enabled(context.Background(), e.Message.Level) {
			return nil
		}
		m := *e.Message
		if c.options.Format == LogText {
			m.Text = harmless(m.Text) // the handler quotes attributes itself
		}
		return c.log.Handle(context.Background(), logRecord(e.Time, &m))
	}
	if c.options.Quiet {
		return nil
	}
	c.status.observe(e)
	if c.bar != nil {
		c.bar.show(c.status.bar())
	}
	switch {
	case e.Run != nil:
		c.spoke = e.Time
	case e.Record != nil:
		if c.shows(e.Record) {
			c.spoke = e.Time
			return c.record(e)
		}
	case e.Progress != nil:
		if c.spoke.IsZero() {
			c.spoke = e.Time
		}
		if c.bar == nil && e.Time.Sub(c.spoke) >= c.options.Interval {
			c.spoke = e.Time
			return c.progress(e)
		}
	case e.Samples != nil:
		return c.samples(e)
	}
	return nil
}

// shows says whether a step is to have a line.
func (c *Console) shows(r *Record) bool {
	return c.options.Every <= 1 || r.Index%c.options.Every == 0 || r.Index == r.Total
}

func (c *Console) record(e Event) error {
	left, known := c.status.left()
	if c.options.Format == LogJSON {
		attrs := []slog.Attr{slog.Int(string(unitOf(e.Record)), e.Record.Index)}
		if e.Record.Total > 0 {
			attrs = append(attrs, slog.Int("total", e.Record.Total))
		}
		for name, v := range e.Record.Metrics.All() {
			attrs = append(attrs, slog.Attr{Key: string(name), Value: logValue(v)})
		}
		attrs = append(attrs, slog.Float64("seconds", e.Record.Timing.Seconds))
		if rate := e.Record.Timing.TokensPerSecond(); rate > 0 {
			attrs = append(attrs, slog.Float64("tokens_per_second", rate))
		}
		if known {
			attrs = append(attrs, slog.Float64("seconds_left", left.Seconds()))
		}
		return c.object(e.Time, "step", attrs)
	}
	return c.line(recordLine(*e.Record, left, known))
}

func (c *Console) progress(e Event) error {
	if c.options.Format == LogJSON {
		attrs := []slog.Attr{slog.String("task", e.Progress.Task), slog.String("unit", e.Progress.Unit), slog.Int64("done", e.Progress.Done)}
		if e.Progress.Total > 0 {
			attrs = append(attrs, slog.Int64("total", e.Progress.Total))
		}
		if speed := c.status.speed(); speed > 0 {
			attrs = append(attrs, slog.Float64("tokens_per_second", speed))
		}
		if left, known := c.status.left(); known {
			attrs = append(attrs, slog.Float64("seconds_left", left.Seconds()))
		}
		return c.object(e.Time, "progress", attrs)
	}
	return c.line(c.status.text())
}

func (c *Console) samples(e Event) error {
	table := e.Samples.Table
	if c.options.Format == LogJSON {
		return c.object(e.Time, "samples", []slog.Attr{slog.Int("step", e.Samples.Index), slog.Any("table", table)})
	}
	return c.line(strings.TrimRight(table.Text(c.options.Width), "\n"))
}

func (c *Console) object(at time.Time, what string, attrs []slog.Attr) error {
	rec := slog.NewRecord(at, slog.LevelInfo, what, 0)
	rec.AddAttrs(attrs...)
	if !c.log.Enabled(context.Background(), rec.Level) {
		return nil
	}
	return c.log.Handle(context.Background(), rec)
}

func (c *Console) line(s string) error {
	_, err := io.WriteString(c.out, s+"\n")
	return err
}

// logValue is a metric as JSON: what is not finite as a string.
func logValue(v Value) slog.Value {
	switch {
	case v.IsInt():
		return slog.Int64Value(v.integer)
	case finite(v.Scalar()):
		return slog.Float64Value(v.Scalar())
	}
	return slog.StringValue(short(Float(v.Scalar())))
}

// Flush does nothing: there is nothing durable about a console.
func (c *Console) Flush() error { return nil }

// Close writes the lines that wait for the next refresh of the bar, and removes it.
func (c *Console) Close() error {
	if c.bar != nil {
		c.bar.close()
	}
	return nil
}
