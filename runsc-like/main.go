// Command gosv runs unmodified Linux programs on a kernel of its own.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"gosv.dev/sentry"
)

// Exit statuses of failures that are gosv's, as env(1), nohup(1) and docker have them.
const (
	exitInternal  = 125 // gosv itself failed
	exitCannotRun = 126 // the program was found and cannot be run
	exitNotFound  = 127
)

func main() {
	// The sentry's process starts without the weight of the command line.
	if len(os.Args) == 2 && os.Args[1] == bootCommand {
		os.Exit(boot())
	}
	root := &cobra.Command{
		Use:   "gosv",
		Short: "Run Linux programs on a kernel of their own",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("there is no command %q; see `gosv --help`", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		// main prints errors, with the exit statuses of this package.
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetHelpCommand(&cobra.Command{Hidden: true})
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if cmd == root {
			return fmt.Errorf("%w; see `gosv --help`", err)
		}
		return fmt.Errorf("%s: %w; see `gosv %s --help`", cmd.Name(), err, cmd.Name())
	})
	root.AddCommand(doCommand(), versionCommand())
	if err := root.Execute(); err != nil {
		status := exitInternal
		var e *exitError
		if errors.As(err, &e) {
			status, err = e.status, e.err
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "gosv: %v\n", err)
		}
		os.Exit(status)
	}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of gosv and of the kernel that programs see",
		Args:  cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			fmt.Fprintf(cmd.OutOrStdout(), "gosv %s\nkernel Linux %s\n%s %s/%s\n",
				version(), sentry.DefaultRelease, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		},
	}
}

// version is what the build knows of its source.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown)"
	}
	v, modified := info.Main.Version, ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && (v == "" || v == "(devel)"):
			v = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = " (modified)"
		}
	}
	if v == "" {
		v = "(devel)"
	}
	return v + modified
}

// exitError is an exit status, with something to say or not.
type exitError struct {
	status int
	err    error
}

func (e *exitError) Error() string { return fmt.Sprint(e.err) }
func (e *exitError) Unwrap() error { return e.err }
