package main

import (
	"cmp"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sort"
	"text/tabwriter"

	"github.com/urfave/cli/v3"

	"gosv.dev/platform/flat/sites"
)

func debugCommand() *cli.Command {
	return &cli.Command{
		Name:            "debug",
		Usage:           "look into what gosv does",
		HideHelpCommand: true,
		OnUsageError:    usageError,
		Commands:        []*cli.Command{debugSitesCommand()},
		Action: func(_ context.Context, cmd *cli.Command) error {
			if cmd.Args().Present() {
				return fmt.Errorf("debug: there is no command %q; see `gosv debug --help`", cmd.Args().First())
			}
			return cli.ShowSubcommandHelp(cmd)
		},
	}
}

func debugSitesCommand() *cli.Command {
	var verbose bool
	return &cli.Command{
		Name:      "sites",
		Usage:     "print how the flat platform rewrites the system calls of a program or library",
		UsageText: "gosv debug sites [-v] FILE...",
		Description: `For each pattern, how many of the file's SYSCALL instructions it takes, and
for those that no pattern takes (they trap each time), why. The call's
number is not known here, as it is when a program runs.`,
		OnUsageError: usageError,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "print every site", Destination: &verbose},
		},
		Action: func(_ context.Context, cmd *cli.Command) error {
			if !cmd.Args().Present() {
				return errors.New("debug sites: which file? see `gosv debug sites --help`")
			}
			for _, name := range cmd.Args().Slice() {
				if err := printSites(cmd.Root().Writer, name, verbose); err != nil {
					return fmt.Errorf("debug sites: %s: %w", name, err)
				}
			}
			return nil
		},
	}
}

// printSites plans all sites of an ELF file, in the order of their addresses, as if it were mapped at the addresses that it names.
func printSites(w io.Writer, name string, verbose bool) error {
	f, err := elf.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if f.Machine != elf.EM_X86_64 {
		return fmt.Errorf("a file for %v, not for x86-64", f.Machine)
	}
	var end uint64
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD {
			end = max(end, p.Vaddr+p.Memsz)
		}
	}
	trampAt := (end + 0xfff) &^ 0xfff
	functions := functionSymbols(f)
	var patterns [sites.NumPatterns]int
	left := map[string]int{}
	total := 0
	for _, p := range f.Progs {
		if p.Type != elf.PT_LOAD || p.Flags&elf.PF_X == 0 {
			continue
		}
		code, err := io.ReadAll(p.Open())
		if err != nil {
			return err
		}
		text := sites.NewText(code, p.Vaddr)
		for site := range text.Scan() {
			total++
			patch, err := text.Plan(site, sites.UnknownNr, trampAt)
			what := patch.Pattern.String()
			if err != nil {
				what = "left: " + err.Error()
				left[err.Error()]++
			} else {
				patterns[patch.Pattern]++
				if patch.Inner {
					what += ", over several instructions"
				}
				patch.Apply(code, p.Vaddr) // its padding is taken
				trampAt += sites.TrampSize
			}
			if verbose {
				fmt.Fprintf(w, "%#x\t%s\t%s\n", site, functionAt(functions, site), what)
			}
		}
	}
	share := func(n int) string { return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(max(total, 1))) }
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintf(t, "%s: %d sites\n", name, total)
	done := 0
	for p, n := range patterns {
		fmt.Fprintf(t, "  %v\t%d\t%s\n", sites.Pattern(p), n, share(n))
		done += n
	}
	fmt.Fprintf(t, "  rewritten\t%d\t%s\n", done, share(done))
	for _, why := range slices.Sorted(maps.Keys(left)) {
		fmt.Fprintf(t, "  left: %s\t%d\t%s\n", why, left[why], share(left[why]))
	}
	return t.Flush()
}

// functionSymbols is the file's functions by address; a stripped file has those that it exports, or none.
func functionSymbols(f *elf.File) []elf.Symbol {
	all, _ := f.Symbols()
	dynamic, _ := f.DynamicSymbols()
	all = slices.DeleteFunc(append(all, dynamic...), func(s elf.Symbol) bool {
		return elf.ST_TYPE(s.Info) != elf.STT_FUNC || s.Section == elf.SHN_UNDEF
	})
	slices.SortStableFunc(all, func(a, b elf.Symbol) int { return cmp.Compare(a.Value, b.Value) })
	return all
}

// functionAt is the function that the address is in, as far as symbols tell.
func functionAt(functions []elf.Symbol, addr uint64) string {
	i := sort.Search(len(functions), func(i int) bool { return functions[i].Value > addr })
	if i == 0 {
		return "?"
	}
	s := functions[i-1]
	if addr-s.Value >= max(s.Size, 1) && s.Size > 0 {
		return "?"
	}
	return fmt.Sprintf("%s+%#x", s.Name, addr-s.Value)
}
