package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestOutputReplacesOnlyFiles: a pipe and a link stay what they are.
func TestOutputReplacesOnlyFiles(t *testing.T) {
	dir := t.TempDir()
	pipe, link, target := filepath.Join(dir, "pipe"), filepath.Join(dir, "link"), write(t, filepath.Join(dir, "target"), "old")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip("no named pipes here:", err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	a := &app{}
	got := make(chan string)
	go func() {
		text, _ := os.ReadFile(pipe)
		got <- string(text)
	}()
	for _, path := range []string{pipe, link, os.DevNull} {
		o, err := a.openOutput(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.Write([]byte("new")); err != nil {
			t.Fatal(err)
		}
		if err := o.commit(); err != nil {
			t.Fatal(err)
		}
		o.abort()
	}
	if text := <-got; text != "new" {
		t.Errorf("the pipe carried %q", text)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 || read(t, target) != "new" {
		t.Errorf("the link is now %v, its target holds %q", info.Mode(), read(t, target))
	}
	if info, err := os.Lstat(os.DevNull); err != nil || info.Mode().IsRegular() {
		t.Errorf("%s is now %v", os.DevNull, info.Mode())
	}
}

// TestOutputAppearsWhole: what is there before stays until the new results are complete.
func TestOutputAppearsWhole(t *testing.T) {
	dir := t.TempDir()
	path := write(t, filepath.Join(dir, "out"), "old")
	a := &app{}
	o, err := a.openOutput(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	if err := o.flush(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); got != "old" {
		t.Errorf("before the end it holds %q", got)
	}
	o.abort()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || read(t, path) != "old" {
		t.Errorf("after a failure there are %v", entries)
	}
}
