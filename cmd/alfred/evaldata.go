package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"alfred/internal/eval/official"
	"alfred/internal/eval/task"
	"alfred/internal/telemetry"
)

func newEvalListCommand(a *app) *cobra.Command {
	var include []string
	var write string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show the tasks, groups and tags that eval knows",
		Long: `Show the tasks, groups and tags that eval knows, and those of --include-path. With --write, put the task files that come with alfred
into a directory: the harness loads them with lm_eval --include_path, in the directory of the prepared data.` + exitHelp(exitUsage, exitData, exitStorage, exitPipe),
		Example: "  alfred eval list\n  alfred eval list --write tasks",
		Args:    cobra.NoArgs,
		RunE:    a.action(func(context.Context) error { return runEvalList(a, include, write) }),
	}
	cmd.Flags().StringArrayVar(&include, "include-path", nil, "`directory` with more task files")
	cmd.Flags().StringVar(&write, "write", "", "new `directory` for the task files that come with alfred")
	return cmd
}

func runEvalList(a *app, include []string, write string) error {
	if write != "" {
		if err := os.CopyFS(write, task.Builtin()); err != nil { // refuses to overwrite
			return fail(exitStorage, err)
		}
		a.log().Info("written", "directory", write)
		return nil
	}
	library, err := task.Open(include...)
	if err != nil {
		return fail(exitData, err)
	}
	tasks, groups, tags := library.Names()
	table := telemetry.Table{Header: []string{"group", "holds"}}
	for _, name := range groups {
		s, err := library.Select([]string{name})
		if err != nil {
			return fail(exitData, err)
		}
		table.Rows = append(table.Rows, []string{name, strings.Join(s.Groups[0].Members(), ", ")})
	}
	text := table.Text(120) + "\nTasks: " + strings.Join(tasks, ", ") + "\n"
	if len(tags) > 0 {
		text += "Tags: " + strings.Join(tags, ", ") + "\n"
	}
	for _, file := range slices.Sorted(maps.Keys(library.Broken)) {
		a.log().Warn("a task file cannot be read", "file", file, "error", library.Broken[file])
	}
	return a.print([]byte(text))
}

func newEvalPrepareCommand(a *app) *cobra.Command {
	var from, to string
	var overwrite bool
	cmd := &cobra.Command{
		Use:   "prepare --from DIR --data DIR",
		Short: "Turn the official files of evaluation sets into JSON lines",
		Long: `Turn the official files of evaluation sets (XML, TSV, lists of labels, text, JSON; also gzip) into JSON lines with the field names of the
Hugging Face hub, as DATASET/CONFIG/SPLIT.jsonl, with a MANIFEST.json of sources and checksums. eval reads either; the harness reads
these. What is odd about single rows is counted by reason.` + exitHelp(exitUsage, exitData, exitStorage, exitPipe),
		Example: "  alfred eval prepare --from downloads --data data/eval",
		RunE:    a.action(func(ctx context.Context) error { return runEvalPrepare(ctx, a, from, to, overwrite) }),
	}
	cmd.Flags().StringVar(&from, "from", "", "`directory` of the official files")
	cmd.Flags().StringVar(&to, "data", "", "`directory` for the JSON lines")
	cmd.Flags().BoolVar(&overwrite, "overwrite", false, "replace files that are there and differ")
	require(cmd, "from", "data")
	cmd.Args = cobra.NoArgs
	return cmd
}

func runEvalPrepare(ctx context.Context, a *app, from, to string, overwrite bool) error {
	if info, err := os.Stat(from); err != nil || !info.IsDir() {
		return failf(exitUsage, "--from %s: no such directory", from)
	}
	summary, err := official.Prepare(ctx, from, to, official.Options{Overwrite: overwrite, Progress: func(o official.Output) {
		a.log().Debug("prepared", "file", o.Path, "rows", o.Report.Rows)
	}})
	if err != nil {
		return fail(exitData, err)
	}
	table := telemetry.Table{Header: []string{"file", "rows", "skipped", "noted"}}
	for _, o := range summary.Outputs {
		table.Rows = append(table.Rows, []string{o.Path, fmt.Sprint(o.Report.Rows), reasons(o.Report.Skipped), reasons(o.Report.Noted)})
	}
	if n := len(summary.Unknown); n > 0 {
		a.log().Warn("files that no data set is known to have", "files", n, "first", summary.Unknown[0])
	}
	a.log().Info("prepared", "files", len(summary.Outputs), "directory", filepath.Clean(to))
	return a.print([]byte(table.Text(140)))
}

// reasons are counts by reason, largest first.
func reasons[R ~string](counts map[R]int) string {
	keys := slices.SortedFunc(maps.Keys(counts), func(a, b R) int {
		return cmp.Or(counts[b]-counts[a], strings.Compare(string(a), string(b)))
	})
	var parts []string
	for _, reason := range keys {
		parts = append(parts, fmt.Sprintf("%d %s", counts[reason], reason))
	}
	return strings.Join(parts, ", ")
}
