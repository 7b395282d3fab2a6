package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"alfred/internal/checkpoint/storage"
)

// alfredProcess prepares alfred as a process of its own, which a minute ends if nothing else does: a test may wait for its output.
func alfredProcess(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), asMain+"=1")
	return cmd
}

// ended waits for a process and returns its exit code; -1 - n if signal n killed it.
func ended(t testing.TB, cmd *exec.Cmd) int {
	t.Helper()
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return -1 - int(status.Signal())
	}
	return cmd.ProcessState.ExitCode()
}

// pipes connects standard input and output.
func pipes(t testing.TB, cmd *exec.Cmd) (io.WriteCloser, *bufio.Reader) {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return in, bufio.NewReader(out)
}

// TestPipeline is a script: a model, its tokens through a pipe, its responses through its own scorer.
func TestPipeline(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "config.json"), tinyConfig)
	tokenizer, err := filepath.Abs(smallTokenizer)
	if err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf(`set -eu
alfred() { %q "$@"; }
alfred init-model --config config.json --tokenizer %q --out model --quiet
printf '{"id":"a","text":"The market"}\r\n{"id":"b","text":"lamp"}' | alfred tokenize --tokenizer model > ids.jsonl
alfred tokenize --tokenizer model --decode < ids.jsonl > texts.jsonl
alfred score --model model --input ids.jsonl --quiet > scores.jsonl
alfred generate --model model --prompts - --output responses.jsonl --max-new-tokens 4 --quiet << 'END'
{"id": "p", "prompt": "Say market."}
END
alfred config show --config none.yaml && exit 99 || echo "code $?"
`, os.Args[0], tokenizer)
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), asMain+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "code 2") {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := read(t, filepath.Join(dir, "texts.jsonl")); got != `{"id":"a","text":"The market"}`+"\n"+`{"id":"b","text":"lamp"}`+"\n" {
		t.Errorf("%q", got)
	}
	if got := lines[scored](t, read(t, filepath.Join(dir, "scores.jsonl"))); len(got) != 2 || got[1].ID != "b" {
		t.Errorf("%+v", got)
	}
	if got := lines[generated](t, read(t, filepath.Join(dir, "responses.jsonl"))); len(got) != 1 || got[0].ID != "p" {
		t.Errorf("%+v", got)
	}
}

// TestTokenizeAnswersLineByLine writes a line and waits for the answer before it writes the next.
func TestTokenizeAnswersLineByLine(t *testing.T) {
	cmd := alfredProcess(t, "tokenize", "--tokenizer", smallTokenizer)
	in, out := pipes(t, cmd)
	for i := range 5 {
		// The second half of a line must not keep the answer to the first line back.
		if _, err := fmt.Fprintf(in, "{\"id\":%d,\"text\":\"market\"}\n{\"id\":\"half\",", i); err != nil {
			t.Fatal(err)
		}
		answer, err := out.ReadString('\n')
		if err != nil || !strings.HasPrefix(answer, fmt.Sprintf(`{"id":%d,"ids":[`, i)) {
			t.Fatalf("%q, %v", answer, err)
		}
		if _, err := io.WriteString(in, "\"text\":\"x\"}\n"); err != nil {
			t.Fatal(err)
		}
		if answer, err := out.ReadString('\n'); err != nil || !strings.HasPrefix(answer, `{"id":"half"`) {
			t.Fatalf("%q, %v", answer, err)
		}
	}
	in.Close()
	if code := ended(t, cmd); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestSignalEndsACommand that waits for its input: the first one is enough.
func TestSignalEndsACommand(t *testing.T) {
	for sig, want := range map[syscall.Signal]int{syscall.SIGHUP: 129, syscall.SIGINT: 130, syscall.SIGTERM: 143} {
		if signal.Ignored(sig) { // by whoever runs the tests, and so by every process that they start
			continue
		}
		cmd := alfredProcess(t, "tokenize", "--tokenizer", smallTokenizer)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		in, out := pipes(t, cmd)
		if _, err := io.WriteString(in, "{\"text\":\"a\"}\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := out.ReadString('\n'); err != nil { // by now it has begun
			t.Fatal(err)
		}
		cmd.Process.Signal(sig)
		if code := ended(t, cmd); code != want || !strings.Contains(errs.String(), "signal") {
			t.Errorf("%v: exit code %d, want %d\n%s", sig, code, want, errs.String())
		}
	}
}

// TestHangUpThatIsIgnored: nohup lets a command live on.
func TestHangUpThatIsIgnored(t *testing.T) {
	cmd := alfredProcess(t, "-c", `trap "" HUP; exec "$0" "$@"`, os.Args[0], "tokenize", "--tokenizer", smallTokenizer)
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Path = sh
	in, out := pipes(t, cmd)
	for range 2 {
		if _, err := io.WriteString(in, "{\"text\":\"a\"}\n"); err != nil {
			t.Fatal(err)
		}
		if answer, err := out.ReadString('\n'); err != nil {
			t.Fatalf("%q, %v", answer, err)
		}
		cmd.Process.Signal(syscall.SIGHUP)
	}
	in.Close()
	if code := ended(t, cmd); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestReaderThatGoesAway closes standard output early: no panic, no complaint, and a code that says so.
func TestReaderThatGoesAway(t *testing.T) {
	cmd := alfredProcess(t, "tokenize", "--tokenizer", smallTokenizer)
	var errs bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(strings.Repeat(`{"text":"The plain market returns no token."}`+"\n", 100_000)), &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	out.Close()
	if code := ended(t, cmd); code != exitPipe || errs.Len() > 0 {
		t.Errorf("exit code %d\n%s", code, errs.String())
	}
}

// TestTrainSurvivesClosedStandardError: a run does not need anybody to listen.
func TestTrainSurvivesClosedStandardError(t *testing.T) {
	f := trained(t)
	run := filepath.Join(t.TempDir(), "deaf")
	cmd := alfredProcess(t, "train", "--config", f.train, "--set", "run.dir="+run)
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	errs.Close()
	if code := ended(t, cmd); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if read(t, filepath.Join(run, "metrics.jsonl")) != read(t, filepath.Join(f.run, "metrics.jsonl")) {
		t.Error("the metrics differ from those of a run that was listened to")
	}
	cmd = exec.Command("sh", "-c", fmt.Sprintf("exec %q train --config %q --set run.dir=%q 2>&- >&-", os.Args[0], f.train, filepath.Join(t.TempDir(), "closed")))
	cmd.Env = append(os.Environ(), asMain+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("standard error and output are closed: %v\n%s", err, out)
	}
}

// longRun starts a training run and waits for its first step.
func longRun(t *testing.T, run string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	f := trained(t)
	cmd := alfredProcess(t, "train", "--config", f.train, "--set", "run.dir="+run, "--set", "trainer.max_steps=100000", "--set", "checkpoint.every=100000")
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	text := bufio.NewScanner(errs)
	for text.Scan() {
		if strings.Contains(text.Text(), "1/100000") {
			return cmd, text
		}
	}
	t.Fatalf("the run ends before its first step, with code %d", ended(t, cmd))
	return nil, nil
}

// rest reads what is left of standard error.
func rest(text *bufio.Scanner) string {
	var b strings.Builder
	for text.Scan() {
		b.WriteString(text.Text() + "\n")
	}
	return b.String()
}

func TestFirstSignalStopsARunInGoodOrder(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP} {
		if signal.Ignored(sig) {
			continue
		}
		run := filepath.Join(t.TempDir(), "run")
		cmd, text := longRun(t, run)
		cmd.Process.Signal(sig)
		said := rest(text)
		if code := ended(t, cmd); code != exitStopped || !strings.Contains(said, "stopping") || !strings.Contains(said, "the same command goes on") {
			t.Fatalf("%v: exit code %d\n%s", sig, code, said)
		}
		if got := must(t, "", "checkpoint", "verify", run); strings.Count(got, ": good: ") != 1 {
			t.Errorf("%v: %s", sig, got)
		}
	}
}

// TestSecondSignalEndsAtOnce, whatever the first one has asked for; a hang-up, which comes twice, does not.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	signals, codes := make(chan os.Signal, 3), make(chan int)
	i := &interrupt{}
	asked := 0
	i.onFirst(func(os.Signal) { asked++ })
	go i.watch(signals, func(code int) { codes <- code })
	signals <- syscall.SIGHUP
	signals <- syscall.SIGHUP
	signals <- os.Interrupt
	if code := <-codes; code != 130 || asked != 1 {
		t.Errorf("code %d, asked %d times", code, asked)
	}
}

// TestInterruptedInitModelLeavesNothing stops the writing of a large model.
func TestInterruptedInitModelLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	config := write(t, filepath.Join(dir, "config.json"), strings.NewReplacer(`"hidden_size": 32`, `"hidden_size": 2048`, `"num_hidden_layers": 2`, `"num_hidden_layers": 60`, `"ffn_hidden_size": 48`, `"ffn_hidden_size": 8192`).Replace(tinyConfig))
	out := filepath.Join(dir, "model")
	cmd := alfredProcess(t, "init-model", "--config", config, "--tokenizer", smallTokenizer, "--out", out)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var temp bool
	for range 1000 {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			temp = temp || storage.IsTemp(e.Name())
		}
		if temp {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	cmd.Process.Signal(os.Interrupt)
	if code := ended(t, cmd); code != 130 || !temp {
		t.Errorf("exit code %d, begun: %v", code, temp)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}
