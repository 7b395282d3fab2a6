package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openTerminal returns the two ends of a pseudo-terminal of 100 columns.
func openTerminal(t *testing.T) (screen, tty *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { screen.Close() })
	n, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	if err := unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	tty, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: 100}); err != nil {
		t.Fatal(err)
	}
	return screen, tty
}

// display is what a terminal would show: it knows line ends, colours (ignored), cursor up and erase below.
func display(t *testing.T, output string) []string {
	t.Helper()
	lines, row := []string{""}, 0
	for len(output) > 0 {
		switch {
		case strings.HasPrefix(output, "\r\n"):
			row++
			if row == len(lines) {
				lines = append(lines, "")
			}
			output = output[2:]
		case strings.HasPrefix(output, "\x1b["):
			end := strings.IndexAny(output, "AJm")
			if end < 0 {
				t.Fatalf("unknown control sequence in %q", output)
			}
			switch n, _ := strconv.Atoi(output[2:end]); output[end] {
			case 'A':
				row -= n
			case 'J':
				lines = lines[:row+1]
				lines[row] = ""
			}
			output = output[end+1:]
		default:
			end := strings.IndexAny(output, "\r\x1b")
			if end < 0 {
				end = len(output)
			}
			if end == 0 {
				t.Fatalf("unknown control character in %q", output[:1])
			}
			lines[row] += output[:end]
			output = output[end:]
		}
	}
	return lines
}

// On a real terminal the bar follows the run, lines scroll above it, and only the lines are left in the end.
func TestConsoleOnATerminal(t *testing.T) {
	screen, tty := openTerminal(t)
	if !IsTerminal(tty) {
		t.Fatal("a terminal is not known as one")
	}
	if null, err := os.Open(os.DevNull); err != nil || IsTerminal(null) {
		t.Fatalf("%s passes for a terminal, error %v", os.DevNull, err)
	}
	seen := make(chan string)
	go func() {
		data, _ := io.ReadAll(screen) // ends with an error when the other side closes
		seen <- string(data)
	}()
	r := New(Options{}, NewConsole(tty, ConsoleOptions{Interactive: true}))
	log := slog.New(r.Handler(slog.LevelInfo))
	r.Begin(Run{Unit: Iteration, Total: 3})
	for i := 1; i <= 3; i++ {
		for done := range int64(50) {
			r.Progress(Progress{Task: "rollout", Unit: "responses", Done: done, Total: 50, Tokens: 10 * done})
			time.Sleep(4 * time.Millisecond)
		}
		log.Warn(fmt.Sprintf("warning %d", i))
		r.Step(i, Metrics{}, 0)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	tty.Close()
	output := <-seen
	if !strings.Contains(output, "━") || !strings.Contains(output, "iteration 2/3  rollout ") || !strings.Contains(output, "/50 responses") {
		t.Errorf("no bar in %q", output)
	}
	lines := display(t, output)
	var left []string
	for _, l := range lines {
		if l != "" {
			left = append(left, l)
		}
	}
	if len(left) != 6 {
		t.Fatalf("%d lines are left, want 6: %q", len(left), left)
	}
	for i := range 3 {
		warning, step := left[2*i], left[2*i+1]
		if !strings.Contains(warning, fmt.Sprintf("warning %d", i+1)) || !strings.HasPrefix(step, fmt.Sprintf("iteration %d/3", i+1)) {
			t.Errorf("lines of iteration %d: %q, %q", i+1, warning, step)
		}
	}
}
