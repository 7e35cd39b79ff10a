// Command count says how many tests ran, from files that gotestsum --jsonfile wrote. A test that was run again counts once, by
// how it ended.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
)

func main() {
	ends := map[string]string{} // package and test: pass, fail or skip
	for _, name := range os.Args[1:] {
		if err := read(name, ends); err != nil {
			fmt.Fprintln(os.Stderr, "count:", err)
			os.Exit(1)
		}
	}
	n := map[string]int{}
	for _, how := range ends {
		n[how]++
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", n["pass"], n["fail"], n["skip"])
}

func read(name string, ends map[string]string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	for d := json.NewDecoder(f); ; {
		var e struct{ Action, Package, Test string }
		if err := d.Decode(&e); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		switch e.Action {
		case "pass", "fail", "skip":
			if e.Test != "" {
				ends[e.Package+" "+e.Test] = e.Action
			}
		}
	}
}
