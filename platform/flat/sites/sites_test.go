package sites

import (
	"bufio"
	"bytes"
	"debug/elf"
	"encoding/hex"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	testAddr  = uint64(0x10000)
	testTramp = uint64(0x20000)
	lead      = 128 // bytes of fwait, which is one byte and never moved, before a snippet and behind it
)

// code is a snippet's bytes; what is in parentheses is for the reader.
func code(t testing.TB, s string) []byte {
	var b []byte
	for i, part := range strings.FieldsFunc(s, func(r rune) bool { return r == '(' || r == ')' }) {
		if i%2 == 1 {
			continue
		}
		h, err := hex.DecodeString(strings.ReplaceAll(part, " ", ""))
		require.NoError(t, err)
		b = append(b, h...)
	}
	return b
}

// snippet is a text with the snippet at a distance from the beginning of a page, and its first site.
func snippet(t testing.TB, s string, at int) (text []byte, site uint64) {
	b := code(t, s)
	text = bytes.Repeat([]byte{0x9b}, at+len(b)+lead)
	copy(text[at:], b)
	return text, testAddr + uint64(at+bytes.Index(b, syscallInst))
}

var plans = []struct {
	name, code string
	nr         uint64
	pattern    Pattern
	failed     Reason
}{
	{"mov", "b8 27 00 00 00 (mov $39,%eax) 0f 05", 39, Mov, ""},
	{"mov, number not seen", "b8 27 00 00 00 (mov $39,%eax) 0f 05", UnknownNr, Mov, ""},
	{"mov to rax", "48 c7 c0 27 00 00 00 (mov $39,%rax) 0f 05", 39, Mov, ""},
	{"rt_sigreturn", "48 c7 c0 0f 00 00 00 (mov $15,%rax) 0f 05 48 3d 01 f0 ff ff", 15, 0, SigReturn},
	{"mov of another number", "b8 28 00 00 00 (mov $40,%eax) 0f 05", 39, 0, NotMovable},
	{"mov of another number, cmp", "b8 28 00 00 00 (mov $40,%eax) 0f 05 48 3d 00 f0 ff ff", 39, Cmp, ""},
	{"mov to r8 only ends like one to eax", "41 b8 27 00 00 00 (mov $39,%r8d) 0f 05", 39, Before, ""},
	{"retry loop", "b8 27 00 00 00 (mov $39,%eax) 0f 05 85 c0 (test) 74 fa (je to syscall)", 39, After, ""},
	{"retry loop that leaves no room", "b8 27 00 00 00 (mov $39,%eax) 0f 05 9b 74 fb (je to syscall)", 39, Mov, ""},
	{"mov further away", "b8 27 00 00 00 (mov $39,%eax) 4c 89 d2 (mov %r10,%rdx) 0f 05", 39, Before, ""},
	{"lea", "48 8d 3d 00 00 00 00 (lea 0[%rip],%rdi) 4c 89 c0 (mov %r8,%rax) 0f 05", 39, Before, ""},
	{"conditional jump between", "48 8d 3d 00 00 00 00 (lea) 85 c0 (test) 74 00 (je) 4c 89 c0 0f 05", 39, Before, ""},
	{"call between", "b8 27 00 00 00 e8 00 00 00 00 (call) 0f 05", 39, 0, NotMovable},
	{"endbr64 stays", "f3 0f 1e fa 0f 05", 39, 0, NotMovable},
	{"cmp", "0f 05 48 3d 01 f0 ff ff (cmp $-4095,%rax)", 39, Cmp, ""},
	{"cmp that is jumped to", "eb 02 (jmp to cmp) 0f 05 48 3d 01 f0 ff ff (cmp $-4095,%rax)", 39, 0, Targeted},
	{"padding", "0f 05 e8 00 00 00 00 (call) c3 cc cc cc cc cc cc", 39, Padding, ""},
	{"padding of no-ops", "0f 05 e8 00 00 00 00 (call) c3 0f 1f 84 00 00 00 00 00", 39, Padding, ""},
	{"no-ops that align nothing", "0f 05 e8 00 00 00 00 (call) c3 0f 1f 80 00 00 00 00", 39, 0, NotMovable},
	{"no-ops that are run through", "0f 05 e8 00 00 00 00 (call) 0f 1f 84 00 00 00 00 00 90", 39, 0, NotMovable},
	{"padding that is jumped to", "0f 05 e8 00 00 00 00 (call) 74 01 c3 cc cc cc cc cc cc", 39, 0, NotMovable},
	{"c3 that is no ret", "0f 05 e8 00 00 00 00 (call) 89 c3 cc cc cc cc cc cc", 39, 0, NotMovable},
	{"after", "0f 05 85 c0 (test) 78 02 (js)", 39, After, ""},
	{"after, ending in a return", "0f 05 f7 d8 (neg) c3", 39, After, ""},
	{"after, ending in a jump", "0f 05 48 89 c3 (mov %rax,%rbx) eb 10", 39, After, ""},
	{"after, which is jumped to", "74 04 (je to test) 9b 9b 0f 05 85 c0 (test) 78 02 (js)", 39, 0, Targeted},
	{"several before", "89 fe (mov) 89 c7 (mov) 4c 89 c0 (mov) 0f 05", 39, Before, ""},
	{"several before, jumped to", "74 05 (je) 9b 89 fe (mov) 89 c7 (mov) 4c 89 c0 (mov) 0f 05", 39, Around, ""},
	{"around", "4c 89 c0 (mov %r8,%rax) 0f 05 e8 00 00 00 00", 39, Around, ""},
	{"around on both sides", "89 f8 (mov) 0f 05 89 c3 (mov) e8 00 00 00 00", 39, Around, ""},
	{"around, site jumped to", "89 f8 (mov) 0f 05 89 c3 (mov) 75 fa (jne to syscall) 9b", 39, After, ""},
	{"jump table", "ff e2 (jmp *%rdx) 9b 4c 89 c0 (mov %r8,%rax) 0f 05", 39, 0, JumpTable},
	{"the middle of an instruction", "48 b8 00 00 00 00 0f 05 00 00 (mov $imm64,%rax)", UnknownNr, 0, Doubtful},
	{"prefixed", "66 0f 05 48 3d 00 f0 ff ff", 39, 0, Doubtful},
}

func TestPlan(t *testing.T) {
	for _, test := range plans {
		t.Run(test.name, func(t *testing.T) {
			text, site := snippet(t, test.code, lead)
			patch, err := NewText(text, testAddr).Plan(site, test.nr, testTramp)
			if test.failed != "" {
				require.Equal(t, test.failed, err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.pattern, patch.Pattern)
			check(t, text, testAddr, patch)
			checkMoved(t, text, test.nr, patch)
		})
	}
}

// checkMoved compares a patch that is moved with what is planned where it is moved to.
func checkMoved(t *testing.T, text []byte, nr uint64, p Patch) {
	const by = 7 * pageSize
	moved, ok := p.Moved(p.Site+by, p.TrampAt+3*TrampSize)
	if p.Pattern == Mov {
		require.True(t, ok)
	}
	if !ok {
		return
	}
	require.False(t, p.Inner)
	want, err := NewText(text, testAddr+by).Plan(p.Site+by, nr, p.TrampAt+3*TrampSize)
	require.NoError(t, err)
	require.Equal(t, want, moved)
	_, ok = p.Moved(p.Site, p.TrampAt+4<<30)
	require.False(t, ok, "out of reach")
}

// TestBuries: a site that is come by with its number loaded and without is not overwritten for those who come without, when those who come
// with it go on behind it.
func TestBuries(t *testing.T) {
	text, site := snippet(t, "b8 6e 00 00 00 (mov $110,%eax) 0f 05 48 89 ca (mov %rcx,%rdx) c3", 256)
	with, err := NewText(text, testAddr).Plan(site, 110, testTramp)
	require.NoError(t, err)
	require.Equal(t, Mov, with.Pattern)
	require.True(t, with.Apply(text, testAddr))
	without, err := NewText(text, testAddr).Plan(site, 102, testTramp+TrampSize)
	require.NoError(t, err)
	require.Equal(t, After, without.Pattern)
	require.True(t, without.Buries(&with))
	require.False(t, with.Buries(&without))
	require.False(t, with.Buries(&with))
}

// TestPageEdge: nothing crosses the end of a page.
func TestPageEdge(t *testing.T) {
	for _, test := range plans {
		if test.failed != "" {
			continue
		}
		for at := pageSize - 20; at <= pageSize; at++ {
			text, site := snippet(t, test.code, at)
			if patch, err := NewText(text, testAddr).Plan(site, test.nr, testTramp); err == nil {
				check(t, text, testAddr, patch)
			}
		}
	}
	text, site := snippet(t, "9b 9b 0f 05 85 c0 78 02", pageSize-6)
	_, err := NewText(text, testAddr).Plan(site, 39, testTramp)
	require.Equal(t, PageEdge, err)
	// SYSCALL itself across the edge, and a jump before it.
	text, site = snippet(t, "b8 27 00 00 00 0f 05", pageSize-6)
	_, err = NewText(text, testAddr).Plan(site, 39, testTramp)
	require.NoError(t, err)
}

func TestOutOfReach(t *testing.T) {
	for _, test := range plans {
		if test.failed == "" {
			text, site := snippet(t, test.code, lead)
			_, err := NewText(text, testAddr).Plan(site, test.nr, testAddr+1<<32)
			require.Error(t, err, test.name)
		}
	}
}

// TestPaddingOnce: two sites do not get the same bytes of filler.
func TestPaddingOnce(t *testing.T) {
	text, _ := snippet(t, "0f 05 e8 00 00 00 00 0f 05 e8 00 00 00 00 c3 cc cc cc cc cc cc cc cc cc cc cc", lead)
	whole := NewText(text, testAddr)
	places := map[uint64]bool{}
	for site := range whole.Scan() {
		patch, err := whole.Plan(site, UnknownNr, testTramp)
		require.NoError(t, err)
		require.Equal(t, Padding, patch.Pattern)
		require.True(t, patch.Apply(text, testAddr))
		require.False(t, patch.Apply(text, testAddr))
		places[patch.Edits[1].At] = true
	}
	require.Len(t, places, 2)
}

// TestFarTarget: a jump from anywhere in the text counts, also one that decoding in order would not find.
func TestFarTarget(t *testing.T) {
	text, site := snippet(t, "0f 05 48 3d 01 f0 ff ff", lead)
	text = append(text, make([]byte, 3*pageSize)...)
	jump := testAddr + uint64(len(text)) + 1
	text = append(text, 0x48)
	b, ok := jumpTo(jump, site+2)
	require.True(t, ok)
	text = append(text, b...)
	_, err := NewText(text, testAddr).Plan(site, 39, testTramp)
	require.Equal(t, Targeted, err)
}

// check looks at what every patch must be.
func check(t testing.TB, text []byte, addr uint64, p Patch) {
	require.LessOrEqual(t, len(p.Tramp), TrampSize)
	require.NotEmpty(t, p.Edits)
	overwritten := func(a uint64) bool {
		return slices.ContainsFunc(p.Edits, func(e Edit) bool { return a > e.At && a < e.At+uint64(len(e.Old)) })
	}
	for _, e := range p.Edits {
		require.Equal(t, p.Page(), e.At&^(pageSize-1))
		require.Equal(t, p.Page(), (e.At+uint64(len(e.New))-1)&^(pageSize-1))
		require.Len(t, e.New, len(e.Old))
		require.Equal(t, text[e.At-addr:][:len(e.Old)], e.Old)
	}
	if !p.Inner {
		require.Contains(t, []Pattern{Mov, Before, Padding}, p.Pattern)
		require.GreaterOrEqual(t, decode(p.Edits[0].Old).len, len(p.Edits[0].Old))
	}
	// The jump arrives.
	long := p.Edits[len(p.Edits)-1]
	i := decode(long.New)
	require.Equal(t, classJmp, i.class)
	require.Equal(t, p.TrampAt, long.At+uint64(i.len)+uint64(i.rel))
	if p.Pattern == Padding {
		i := decode(p.Edits[0].New)
		require.Equal(t, p.Site, p.Edits[0].At)
		require.Equal(t, long.At, p.Site+2+uint64(i.rel))
	}
	// Every boundary of the trampoline has its address in the text, and goes there and back.
	at := p.TrampAt
	for n, m := range p.Moves {
		if p.Pattern == Padding && n == len(p.Moves)-1 {
			require.Equal(t, Move{Text: p.Site, Tramp: long.At}, m)
			break
		}
		require.Equal(t, at, m.Tramp)
		require.Equal(t, m.Text, p.Original(at))
		i := decode(p.Tramp[at-p.TrampAt:])
		require.NotZero(t, i.len)
		at += uint64(i.len)
	}
	require.Equal(t, p.TrampAt+uint64(len(p.Tramp)), at)
	require.NotEqual(t, p.Site, p.Continue(p.Site))
	if p.Resume != p.Site+2 {
		require.Equal(t, p.Resume, p.Continue(p.Site+2))
		require.Equal(t, p.Site+2, p.Original(p.Resume))
	} else {
		require.False(t, overwritten(p.Site+2))
	}
	// Every boundary that was overwritten is known.
	for _, e := range p.Edits {
		if p.Pattern == Padding {
			break
		}
		for a := e.At; a < e.At+uint64(len(e.Old)); {
			require.NotEqual(t, a, p.Continue(a))
			a += uint64(decode(text[a-addr:]).len)
		}
	}
}

// TestAgainstObjdump: in real files, what is overwritten and moved begins where objdump says that instructions begin,
// and every site is found.
func TestAgainstObjdump(t *testing.T) {
	objdump, err := exec.LookPath("objdump")
	if err != nil {
		t.Skip(err)
	}
	for _, name := range []string{"/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2", "/lib/ld-musl-x86_64.so.1", "/bin/busybox"} {
		t.Run(name, func(t *testing.T) {
			f, err := elf.Open(name)
			if err != nil {
				t.Skip(err)
			}
			defer f.Close()
			boundaries, calls := disassembly(t, objdump, name)
			planned := 0
			for _, prog := range f.Progs {
				if prog.Type != elf.PT_LOAD || prog.Flags&elf.PF_X == 0 {
					continue
				}
				text, err := io.ReadAll(prog.Open())
				require.NoError(t, err)
				whole := NewText(text, prog.Vaddr)
				var found []uint64
				for site := range whole.Scan() {
					found = append(found, site)
					patch, err := whole.Plan(site, UnknownNr, prog.Vaddr+1<<24)
					if err != nil {
						t.Logf("%#x: %v", site, err)
						continue
					}
					planned++
					check(t, text, prog.Vaddr, patch)
					moves := patch.Moves
					if patch.Pattern == Padding {
						moves = moves[:len(moves)-1]
					}
					for _, m := range moves {
						require.True(t, boundaries[m.Text], "%#x of site %#x, %v", m.Text, site, patch.Pattern)
					}
					// What is left of a long no-op in which another site's jump is can begin anywhere.
					for _, e := range patch.Edits[:1] {
						require.True(t, boundaries[e.At] && boundaries[e.At+uint64(len(e.Old))], "%#x of site %#x, %v", e.At, site, patch.Pattern)
					}
					require.True(t, patch.Apply(text, prog.Vaddr))
				}
				require.Equal(t, calls, found)
			}
			require.GreaterOrEqual(t, float64(planned), 0.97*float64(len(calls)))
		})
	}
}

// disassembly is where objdump sees instructions, and which are SYSCALL.
func disassembly(t *testing.T, objdump, name string) (boundaries map[uint64]bool, calls []uint64) {
	cmd := exec.Command(objdump, "-d", "-w", "--no-show-raw-insn", name)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	boundaries = map[uint64]bool{}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		at, what, ok := strings.Cut(strings.TrimSpace(lines.Text()), ":\t")
		if !ok {
			continue
		}
		addr, err := strconv.ParseUint(at, 16, 64)
		if err != nil {
			continue
		}
		boundaries[addr] = true
		if strings.TrimSpace(what) == "syscall" {
			calls = append(calls, addr)
		}
	}
	require.NoError(t, cmd.Wait())
	return boundaries, calls
}

// FuzzPlan: whatever the code, no panic, and a patch is what a patch must be.
func FuzzPlan(f *testing.F) {
	for _, test := range plans {
		text, site := snippet(f, test.code, lead)
		f.Add(text, uint16(site-testAddr), uint16(0), test.nr)
	}
	f.Fuzz(func(t *testing.T, text []byte, off, page uint16, nr uint64) {
		if int(off)+2 > len(text) {
			return
		}
		text = bytes.Clone(text)
		copy(text[off:], syscallInst)
		addr := testAddr + uint64(page)
		whole := NewText(text, addr)
		if patch, err := whole.Plan(addr+uint64(off), nr, addr+1<<20); err == nil {
			check(t, text, addr, patch)
		}
		for site := range whole.Scan() {
			if patch, err := whole.Plan(site, UnknownNr, addr+1<<21); err == nil {
				check(t, text, addr, patch)
				patch.Apply(text, addr)
			}
		}
	})
}

// BenchmarkTargets is the search through a large text.
func BenchmarkTargets(b *testing.B) {
	f, err := elf.Open("/lib/x86_64-linux-gnu/libc.so.6")
	if err != nil {
		b.Skip(err)
	}
	defer f.Close()
	text, err := f.Section(".text").Data()
	require.NoError(b, err)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		NewText(text, testAddr).findTargets()
	}
}

func BenchmarkPlan(b *testing.B) {
	text, site := snippet(b, "be 01 00 00 00 4c 89 c0 0f 05", lead)
	for b.Loop() {
		if _, err := NewText(text, testAddr).Plan(site, 39, testTramp); err != nil {
			b.Fatal(err)
		}
	}
}
