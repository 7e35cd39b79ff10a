package elf

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func bytesReader(b []byte) readerAt {
	return func(p []byte, off uint64) error {
		if off > uint64(len(b)) || copy(p, b[off:]) < len(p) {
			return unix.ENOEXEC
		}
		return nil
	}
}

func TestParseRealProgram(t *testing.T) {
	b, err := os.ReadFile("/bin/sh")
	require.NoError(t, err)
	h, err := parse(bytesReader(b))
	require.NoError(t, err)
	require.Equal(t, uint16(etDyn), h.typ)
	require.NotZero(t, h.interpLen)
	require.NotZero(t, h.tableAddr())
	require.Less(t, h.lo, h.hi)
	require.False(t, h.execStack)
}

func TestParseRefusesDamage(t *testing.T) {
	good, err := os.ReadFile("/bin/sh")
	require.NoError(t, err)
	good = good[:4096]
	change := func(at int, v byte) []byte {
		b := append([]byte(nil), good...)
		b[at] = v
		return b
	}
	for name, b := range map[string][]byte{
		"empty":           nil,
		"only the magic":  good[:4],
		"cut headers":     good[:100],
		"32 bit":          change(4, 1),
		"other machine":   change(18, 3),
		"relocatable":     change(16, 1),
		"no phdrs":        change(56, 0),
		"wrong phentsize": change(54, 32),
	} {
		_, err := parse(bytesReader(b))
		require.ErrorIs(t, err, unix.ENOEXEC, name)
	}
}

func FuzzParse(f *testing.F) {
	if b, err := os.ReadFile("/bin/sh"); err == nil {
		f.Add(b[:1024])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parse(bytesReader(b))
		if err != nil {
			return
		}
		if h.lo >= h.hi || h.hi > 1<<47 || h.align&(h.align-1) != 0 {
			t.Fatalf("impossible layout %+v", h)
		}
	})
}
