package telemetry

import (
	"errors"
	"io"
	"sync"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// bar is a live line at the bottom of a terminal. What is written to it appears above that line.
type bar struct {
	w         io.Writer
	container *mpb.Progress
	line      *mpb.Bar // nil until there is something to show

	mu   sync.Mutex // the container draws from its own goroutine
	text string
}

func newBar(w io.Writer) *bar {
	return &bar{w: w, container: mpb.New(mpb.WithOutput(w), mpb.WithAutoRefresh())}
}

// show sets the bar; a total of 0 is unknown and draws the text only.
func (b *bar) show(done, total int64, text string) {
	b.mu.Lock()
	b.text = text
	b.mu.Unlock()
	if text == "" {
		return
	}
	if b.line == nil {
		status := decor.Any(func(decor.Statistics) string {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.text
		})
		style := mpb.BarStyle().Lbound("").Rbound(" ").Filler("━").Tip("━").Padding("─").Build()
		line, err := b.container.Add(0, withoutTotal(style), mpb.AppendDecorators(status), mpb.BarWidth(24), mpb.BarFillerTrim())
		if err != nil {
			return // the terminal is gone: lines will say so
		}
		b.line = line
	}
	b.line.SetTotal(total, false)
	b.line.SetCurrent(done)
}

// withoutTotal draws nothing for an unknown total.
func withoutTotal(filler mpb.BarFiller) mpb.BarFiller {
	return mpb.BarFillerFunc(func(w io.Writer, s decor.Statistics) error {
		if s.Total <= 0 {
			return nil
		}
		return filler.Fill(w, s)
	})
}

// Write writes lines above the bar.
func (b *bar) Write(p []byte) (int, error) {
	n, err := b.container.Write(p)
	if errors.Is(err, mpb.ErrDone) { // closed, or the container gave up
		return b.w.Write(p)
	}
	return n, err
}

// close removes the bar and waits until all lines are written.
func (b *bar) close() {
	if b.line != nil {
		b.line.Abort(true)
	}
	b.container.Wait()
}
