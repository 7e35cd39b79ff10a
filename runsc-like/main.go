// Command gosv runs unmodified Linux programs on a kernel of its own.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/urfave/cli/v3"
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
	root := &cli.Command{
		Name:     "gosv",
		Usage:    "run Linux programs on a kernel of their own",
		Commands: []*cli.Command{doCommand()},
		// main prints errors, with the exit statuses of this package.
		ExitErrHandler: func(context.Context, *cli.Command, error) {},
		OnUsageError:   func(_ context.Context, _ *cli.Command, err error, _ bool) error { return err },
		Action: func(_ context.Context, cmd *cli.Command) error {
			if cmd.Args().Present() {
				return fmt.Errorf("there is no command %q; see `gosv --help`", cmd.Args().First())
			}
			return cli.ShowAppHelp(cmd)
		},
	}
	if err := root.Run(context.Background(), os.Args); err != nil {
		status := exitInternal
		if e, ok := err.(*exitError); ok {
			status = e.status
			err = e.err
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "gosv: %v\n", err)
		}
		os.Exit(status)
	}
}

// exitError is an exit status, with something to say or not.
type exitError struct {
	status int
	err    error
}

func (e *exitError) Error() string { return fmt.Sprint(e.err) }
