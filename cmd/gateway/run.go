package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/spf13/cobra"

	"realtime-gateway/internal/config"
)

// The exit codes.
const (
	exitOK      = 0
	exitFailure = 1 // something went wrong that may go right another time
	exitUsage   = 2 // the command line or the configuration is wrong
)

// program is what the commands share.
type program struct {
	environ []string
	out     io.Writer // results
	errOut  io.Writer // logs, notices, warnings and the error
}

// run executes the command line args (without the program's name) until it is
// done or ctx is, and returns the exit code.
func run(ctx context.Context, args, environ []string, out, errOut io.Writer) int {
	quietRedisClient(slog.New(slog.DiscardHandler)) // errors are returned, too
	p := &program{environ: environ, out: out, errOut: errOut}
	root := p.command()
	root.SetOut(out)
	root.SetErr(errOut)
	// A nil list would make cobra read os.Args.
	root.SetArgs(append([]string{}, args...))
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(errOut, "gateway: %s\n", oneLine(err.Error()))
	var usage *usageError
	var wrong *config.Error
	if errors.As(err, &usage) || errors.As(err, &wrong) {
		return exitUsage
	}
	return exitFailure
}

// usageError is a command line that cannot mean anything.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// oneLine joins the lines of an error, and leaves out what would move the
// terminal's cursor: some of the text comes from servers.
func oneLine(text string) string {
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' })
	for i, line := range lines {
		lines[i] = strings.TrimSpace(strings.Map(func(r rune) rune {
			if r < ' ' || r >= 0x7f && r < 0xa0 {
				return ' '
			}
			return r
		}, line))
	}
	return strings.Join(lines, "; ")
}

// command is the tree of commands; the root serves.
func (p *program) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "gateway",
		Short: "Fan events out from Redis to browsers over Server-Sent Events",
		Long: "Realtime Gateway fans events out from Redis to browsers over Server-Sent Events.\n\n" +
			"Without a command it serves. Every setting is a flag, an environment variable (--drain-time is\n" +
			"GATEWAY_DRAIN_TIME) and a key of the file of --config (drainTime); the first that is set decides.",
		Example:       "  gateway --dev\n  gateway --redis-url redis://localhost:6379 --config gateway.yaml",
		Args:          noCommand,
		SilenceErrors: true, // run prints the error
		SilenceUsage:  true,
		Version:       readBuild().String(),
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return config.FlagError(err, cmd.Flags())
	})
	loader := config.NewLoader(root.Flags())
	root.Flags().SortFlags = false
	root.RunE = func(cmd *cobra.Command, _ []string) error { return p.serve(cmd.Context(), loader) }
	root.AddCommand(p.publishCommand(), p.tailCommand(), p.pingCommand(), p.tokenCommand(), p.disconnectCommand(), p.checkConfigCommand(),
		p.healthcheckCommand(), p.versionCommand())
	return root
}

// serve loads the configuration and serves until ctx is done.
func (p *program) serve(ctx context.Context, loader *config.Loader) error {
	cfg, warnings, err := loader.Load(p.environ)
	if err != nil {
		return err
	}
	// Before anything is logged or begun: one line says what is wrong.
	if err := checkSecrets(ctx, cfg); err != nil {
		return err
	}
	log := newLogger(cfg, p.errOut)
	quietRedisClient(log.Logger)
	for _, w := range warnings {
		log.Warn("configuration", "warning", w)
	}
	allowed, err := applyLimits(p.env("GOMEMLIMIT"), memlimit.FromCgroup, cfg.LogMemory)
	if err != nil {
		log.Warn("the container's memory limit is unknown; say it by the environment variable GOMEMLIMIT", "error", err)
	}
	allowed.report(log.Logger)
	err = serve(ctx, cfg, allowed, p.out, log)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // it was asked to stop, and did
	}
	return err
}

var plainWord = regexp.MustCompile(`^[a-z-]{1,32}$`)

// noCommand refuses arguments of the root, which can only be a command's name
// misspelt. It shows nothing that may be a flag's lost value.
func noCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if !plainWord.MatchString(args[0]) {
		return usagef("there is an argument beside the flags, and %s takes none", cmd.CommandPath())
	}
	var names []string
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	hint := "see gateway --help"
	if c := config.Closest(args[0], names); c != "" {
		hint = "did you mean " + c + "?"
	}
	return usagef("unknown command %s, %s", args[0], hint)
}

// exactly wants the named arguments; the last may end in "…" for one or more.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		more := len(names) > 0 && strings.HasSuffix(names[len(names)-1], "…")
		switch {
		case len(args) < len(names):
			return usagef("%s needs %s", cmd.CommandPath(), strings.Join(names, " "))
		case len(args) > len(names) && !more:
			if len(names) == 0 {
				return usagef("%s takes no arguments", cmd.CommandPath())
			}
			return usagef("%s takes only %s: is a quote missing?", cmd.CommandPath(), strings.Join(names, " "))
		}
		return nil
	}
}
