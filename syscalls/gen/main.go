// Command gen writes docs/syscalls.md from the system call table. Run it in the root of the
// repository: go run ./syscalls/gen
package main

import (
	"fmt"
	"os"

	"gosv.dev/syscalls"
)

func main() {
	if err := os.WriteFile("docs/syscalls.md", []byte(syscalls.Markdown()), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}
