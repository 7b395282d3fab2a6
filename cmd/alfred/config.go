package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"alfred/internal/config"
)

// ConfigOptions name a configuration.
type ConfigOptions struct {
	Path string
	Sets []string
}

// AddFlags adds the flags to a flag set.
func (o *ConfigOptions) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Path, "config", "", "configuration: a YAML `file` (configs/README.md lists the keys)")
	f.StringArrayVar(&o.Sets, "set", nil, "change a key before anything is checked: `KEY=VALUE`, as in trainer.max_steps=10; may be repeated, later ones win")
}

// addTo adds the flags to a command that cannot do without a configuration.
func (o *ConfigOptions) addTo(cmd *cobra.Command) {
	o.AddFlags(cmd.Flags())
	require(cmd, "config")
	cmd.Args = flagInstead("config")
}

// load reads a configuration that is to be run.
func (o *ConfigOptions) load() (*config.Config, error) { return config.LoadRunnable(o.Path, o.Sets) }

// require marks flags that must be given, and not as nothing, which is what becomes of a script's variable that is not set.
func require(cmd *cobra.Command, flags ...string) {
	for _, name := range flags {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // the flag does not exist
		}
	}
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		for _, name := range flags {
			if f := cmd.Flag(name); f.Changed && f.Value.String() == "" {
				placeholder, _ := pflag.UnquoteUsage(f)
				return fmt.Errorf("--%s is empty: name a %s", name, placeholder)
			}
		}
		return nil
	}
}

// flagInstead refuses arguments, of which the first was probably meant for a flag.
func flagInstead(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return nil
		case cmd.Flag(name).Changed:
			return fmt.Errorf("unexpected argument %q", args[0])
		}
		return fmt.Errorf("unexpected argument %q; did you mean --%s %[1]s?", args[0], name)
	}
}

func newConfigCommand(a *app) *cobra.Command {
	return group("config", "Check and show configurations",
		"  alfred config check --config ppo.yaml\n  alfred config show --config ppo.yaml --set trainer.max_steps=10\n  alfred config schema > alfred.schema.json",
		newConfigCheckCommand(a), newConfigShowCommand(a), newConfigSchemaCommand(a))
}

func newConfigCheckCommand(a *app) *cobra.Command {
	var opts ConfigOptions
	cmd := &cobra.Command{
		Use:   "check --config FILE",
		Short: "Report everything that is wrong with a configuration",
		Long: "Report everything that is wrong with a configuration, all at once, as file:line:col: key: problem.\n" +
			"Nothing that the configuration names is opened; 'alfred train --dry-run' does that as well." + exitHelp(exitUsage, exitStorage, exitPipe),
		Example: "  alfred config check --config ppo.yaml\n  alfred config check --config ppo.yaml --set parallel.data=2",
		RunE:    a.action(func(ctx context.Context) error { return runConfigCheck(ctx, a, opts) }),
	}
	opts.addTo(cmd)
	return cmd
}

func runConfigCheck(_ context.Context, a *app, opts ConfigOptions) error {
	cfg, err := opts.load()
	if err != nil {
		return err
	}
	return a.print(fmt.Appendf(nil, "%s: no problems found (stage %s, run directory %s)\n", opts.Path, cfg.Stage, cfg.Run.Dir))
}

func newConfigShowCommand(a *app) *cobra.Command {
	var opts ConfigOptions
	cmd := &cobra.Command{
		Use:   "show --config FILE",
		Short: "Print the effective configuration",
		Long: "Print the effective configuration as YAML: every key of its stage, defaults filled in, --set applied. It need not have data yet." +
			exitHelp(exitUsage, exitStorage, exitPipe),
		Example: "  alfred config show --config ppo.yaml\n  alfred config show --config ppo.yaml --set run.seed=2 > effective.yaml",
		RunE:    a.action(func(ctx context.Context) error { return runConfigShow(ctx, a, opts) }),
	}
	opts.addTo(cmd)
	return cmd
}

func runConfigShow(_ context.Context, a *app, opts ConfigOptions) error {
	cfg, err := config.Load(opts.Path, opts.Sets)
	if err != nil {
		return err
	}
	return a.print(cfg.YAML())
}

func newConfigSchemaCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON schema of configurations",
		Long:    "Print the JSON schema (draft 2020-12) of configurations, for editors and other programs." + exitHelp(exitUsage, exitStorage, exitPipe),
		Example: "  alfred config schema > alfred.schema.json",
		Args:    cobra.NoArgs,
		RunE:    a.action(func(context.Context) error { return a.print(config.Schema()) }),
	}
}
