// Command gosv runs unmodified Linux programs on a kernel of its own.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
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
		Use:           "gosv",
		Short:         "Run Linux programs on a kernel of their own",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(doCommand())
	root.CompletionOptions.HiddenDefaultCmd = true
	if err := root.Execute(); err != nil {
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
