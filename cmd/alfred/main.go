// Command alfred trains language models with PPO from human feedback, and does what goes with it: tokenizing, looking at data,
// scoring, generating, and handling models and checkpoints.
//
// Data goes to standard output, everything else to standard error. Each command is a file: its options, its help, and a run
// function that takes the options. Around them stand root.go (what all commands share), exit.go (errors and exit codes),
// interrupt.go (signals), jsonlines.go and output.go (data in and out), model.go (a model in memory) and wire.go (the backends).
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// A closed pipe is an error of the write that meets it: it ends a command that writes data there, and never a training run
	// that only talks to standard error.
	signal.Ignore(syscall.SIGPIPE)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup
		signal.Notify(signals, syscall.SIGHUP)
	}
	os.Exit(process{args: os.Args[1:], stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, signals: signals, exit: os.Exit}.run())
}
