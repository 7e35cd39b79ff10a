// Command gosv runs unmodified Linux programs on a kernel of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/urfave/cli/v3"

	"gosv.dev/runsc-like/prefault"
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
	prefault.Heap(384 << 10)
	// Not a library whose flags bring package net, and with it cgo: then the runtime cannot change
	// the capabilities of all threads, as `go run` would find.
	root := &cli.Command{
		Name:                      "gosv",
		Usage:                     "run Linux programs on a kernel of their own",
		Commands:                  []*cli.Command{doCommand(), debugCommand(), versionCommand()},
		HideHelpCommand:           true,
		DisableSliceFlagSeparator: true,
		OnUsageError:              usageError,
		// main prints errors, with the exit statuses of this package.
		ExitErrHandler: func(context.Context, *cli.Command, error) {},
		Action: func(_ context.Context, cmd *cli.Command) error {
			if cmd.Args().Present() {
				return fmt.Errorf("there is no command %q; see `gosv --help`", cmd.Args().First())
			}
			return cli.ShowRootCommandHelp(cmd)
		},
	}
	cli.FlagStringer = flagHelp
	if err := root.Run(context.Background(), os.Args); err != nil {
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

// flagHelp is a flag's line of --help: its names, what its value is (between backquotes in its usage), and its usage.
func flagHelp(f cli.Flag) string {
	var names []string
	for _, n := range f.Names() {
		if len(n) == 1 {
			names = append(names, "-"+n)
		} else {
			names = append(names, "--"+n)
		}
	}
	usage := f.(cli.DocGenerationFlag).GetUsage()
	s := strings.Join(names, ", ")
	if _, rest, ok := strings.Cut(usage, "`"); ok {
		value, _, _ := strings.Cut(rest, "`")
		s += " " + value
	}
	return s + "\t" + strings.ReplaceAll(usage, "`", "")
}

// usageError says where to look.
func usageError(_ context.Context, cmd *cli.Command, err error, isSubcommand bool) error {
	if cmd.Root() == cmd {
		return fmt.Errorf("%w; see `gosv --help`", err)
	}
	return fmt.Errorf("%s: %w; see `gosv %s --help`", cmd.Name, err, cmd.Name)
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print the version of gosv and of the kernel that programs see",
		Action: func(_ context.Context, cmd *cli.Command) error {
			_, err := fmt.Fprintf(cmd.Root().Writer, "gosv %s\nkernel Linux %s\n%s %s/%s\n",
				version(), sentry.DefaultRelease, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
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
