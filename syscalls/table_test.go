package syscalls

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// minFull is how many calls must be fully supported.
const minFull = 270

func TestTable(t *testing.T) {
	full := 0
	names := map[string]int{}
	Entries(func(nr int, e *Entry) {
		if other, ok := names[e.Name]; ok {
			t.Errorf("%s has the numbers %d and %d", e.Name, other, nr)
		}
		names[e.Name] = nr
		switch e.Support {
		case Missing:
			require.Nilf(t, e.Fn, "%s is missing and has a handler", e.Name)
		case Full, Partial:
			require.NotNilf(t, e.Fn, "%s is %v and has no handler", e.Name, e.Support)
		}
		if e.Support == Full {
			full++
			require.Emptyf(t, e.Note, "%s is full but for a note", e.Name)
		}
		if e.Support == Partial {
			require.NotEmptyf(t, e.Note, "%s is partial: what is missing?", e.Name)
		}
		require.LessOrEqualf(t, len(parseArgs(e.Args)), 6, "%s", e.Name)
		for _, a := range parseArgs(e.Args) {
			_, known := kindTypes[a.kind]
			require.Truef(t, known || a.kind == "struct", "%s: argument kind %q is not known", e.Name, a.kind)
			if a.kind == "flags" {
				require.Containsf(t, flagSets, a.sub, "%s", e.Name)
			}
		}
	})
	require.GreaterOrEqual(t, full, minFull)
	nr, ok := Number("openat2")
	require.True(t, ok)
	require.EqualValues(t, 437, nr)
	require.Equal(t, "mseal", Name(462))
	require.Empty(t, Name(400))
	require.Empty(t, Name(1<<40))
}

func TestPageIsUpToDate(t *testing.T) {
	b, err := os.ReadFile("../docs/syscalls.md")
	require.NoError(t, err)
	require.True(t, string(b) == Markdown(), "run: go run ./syscalls/gen")
}
