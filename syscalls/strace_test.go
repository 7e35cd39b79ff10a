package syscalls

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
)

// flatMemory is guest memory that begins at an address.
type flatMemory struct {
	base usermem.Addr
	b    []byte
}

func (m *flatMemory) at(addr usermem.Addr) []byte {
	if addr < m.base || addr >= m.base+usermem.Addr(len(m.b)) {
		return nil
	}
	return m.b[addr-m.base:]
}

func (m *flatMemory) CopyIn(addr usermem.Addr, b []byte) (int, error) {
	n := copy(b, m.at(addr))
	if n < len(b) {
		return n, unix.EFAULT
	}
	return n, nil
}

func (m *flatMemory) CopyOut(addr usermem.Addr, b []byte) (int, error) {
	n := copy(m.at(addr), b)
	if n < len(b) {
		return n, unix.EFAULT
	}
	return n, nil
}

func newDecoder(args string, content []byte, regs ...uint64) *decoder {
	d := &decoder{mem: &flatMemory{0x1000, content}, spec: parseArgs(args)}
	copy(d.args[:], regs)
	return d
}

func TestStraceArguments(t *testing.T) {
	in := append([]byte{unix.AF_INET, 0, 0x1f, 0x90, 127, 0, 0, 1}, make([]byte, 8)...)
	in6 := make([]byte, 28)
	in6[0], in6[3], in6[23] = unix.AF_INET6, 80, 1
	pollfd := binary.LittleEndian.AppendUint32(nil, 3)
	pollfd = binary.LittleEndian.AppendUint32(pollfd, unix.POLLIN|unix.POLLOUT)
	for _, c := range []struct {
		kind    string
		content []byte
		regs    []uint64
		want    string
	}{
		{"fd:fd", nil, []uint64{1<<64 - 1}, "-1"},
		{"dirfd:dirfd", nil, []uint64{^uint64(99)}, "AT_FDCWD"},
		{"path:path", []byte("/etc/pass\"wd\x00"), []uint64{0x1000}, `"/etc/pass\"wd"`},
		{"path:path", nil, []uint64{0}, "NULL"},
		{"path:path", nil, []uint64{0xdead0000}, "0xdead0000"},
		{"buf:buf n:size", []byte("a\n\x01\x012\xff"), []uint64{0x1000, 6}, `"a\n\1\0012\377"`},
		{"buf:buf n:size", make([]byte, 40), []uint64{0x1000, 40},
			`"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"...`},
		{"flags:flags/open", nil, []uint64{unix.O_RDWR | unix.O_CREAT | unix.O_CLOEXEC}, "O_RDWR|O_CREAT|O_CLOEXEC"},
		{"flags:flags/open", nil, []uint64{0}, "O_RDONLY"},
		{"flags:flags/open", nil, []uint64{unix.O_SYNC | unix.O_DIRECTORY}, "O_RDONLY|O_SYNC|O_DIRECTORY"},
		{"prot:flags/prot", nil, []uint64{0}, "PROT_NONE"},
		{"flags:flags/mmap", nil, []uint64{unix.MAP_PRIVATE | unix.MAP_ANONYMOUS}, "MAP_PRIVATE|MAP_ANONYMOUS"},
		{"flags:flags/clone", nil, []uint64{unix.CLONE_VM | 17}, "SIGCHLD|CLONE_VM"},
		{"flags:flags/none", nil, []uint64{16}, "0x10"},
		{"advice:flags/madvise", nil, []uint64{4}, "MADV_DONTNEED"},
		{"mode:mode", nil, []uint64{0o755}, "0755"},
		{"mode:mknodmode", nil, []uint64{unix.S_IFIFO | 0o644}, "S_IFIFO|0644"},
		{"sig:signal", nil, []uint64{9}, "SIGKILL"},
		{"sig:signal", nil, []uint64{34}, "SIGRT_2"},
		{"ts:timespec", binary.LittleEndian.AppendUint64([]byte{1, 0, 0, 0, 0, 0, 0, 0}, 500), []uint64{0x1000}, "{tv_sec=1, tv_nsec=500}"},
		{"set:sigset", []byte{3, 0, 1, 0, 0, 0, 0, 0}, []uint64{0x1000}, "[HUP INT CHLD]"},
		{"set:sigset", []byte{254, 255, 255, 255, 255, 255, 255, 255}, []uint64{0x1000}, "~[HUP]"},
		{"addr:sockaddr n:int", in, []uint64{0x1000, 16}, `{sa_family=AF_INET, sin_port=htons(8080), sin_addr=inet_addr("127.0.0.1")}`},
		{"addr:sockaddr n:int", in6, []uint64{0x1000, 28},
			`{sa_family=AF_INET6, sin6_port=htons(80), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "::1", &sin6_addr), sin6_scope_id=0}`},
		{"addr:sockaddr n:int", []byte("\x01\x00/tmp/x\x00"), []uint64{0x1000, 9}, `{sa_family=AF_UNIX, sun_path="/tmp/x"}`},
		{"addr:sockaddr n:int", []byte("\x01\x00\x00abs"), []uint64{0x1000, 6}, `{sa_family=AF_UNIX, sun_path=@"abs"}`},
		{"fds:pollfds n:uint", pollfd, []uint64{0x1000, 1}, "[{fd=3, events=POLLIN|POLLOUT}]"},
		{"fds:struct/fdpair", []byte{3, 0, 0, 0, 4, 0, 0, 0}, []uint64{0x1000}, "[3, 4]"},
		{"s:statusout", []byte{0, 7, 0, 0}, []uint64{0x1000}, "[{WIFEXITED(s) && WEXITSTATUS(s) == 7}]"},
		{"s:statusout", []byte{11, 0, 0, 0}, []uint64{0x1000}, "[{WIFSIGNALED(s) && WTERMSIG(s) == SIGSEGV}]"},
		{"r:rlimit", append([]byte{0, 0, 128, 0, 0, 0, 0, 0}, 255, 255, 255, 255, 255, 255, 255, 255), []uint64{0x1000},
			"{rlim_cur=8192*1024, rlim_max=RLIM64_INFINITY}"},
	} {
		require.Equal(t, c.want, newDecoder(c.kind, c.content, c.regs...).arg(0), c.kind)
	}
}

func TestStraceResult(t *testing.T) {
	for _, c := range []struct {
		ret  uintptr
		err  error
		want string
	}{
		{3, nil, "3"},
		{0, unix.ENOENT, "-1 ENOENT (No such file or directory)"},
		{0, unix.Errno(512), "? ERESTARTSYS (To be restarted if SA_RESTART is set)"},
	} {
		d := decoder{ret: c.ret, err: c.err}
		require.Equal(t, c.want, d.result(unix.SYS_READ))
	}
	d := decoder{ret: 0x7f0000000000}
	require.Equal(t, "0x7f0000000000", d.result(unix.SYS_MMAP))
}

// FuzzStrace checks that no memory that a guest may have makes the log fail.
func FuzzStrace(f *testing.F) {
	f.Add([]byte{1, 0, 'x', 0}, uint64(0x1000), uint64(4))
	f.Fuzz(func(t *testing.T, content []byte, a, b uint64) {
		Entries(func(nr int, e *Entry) {
			d := newDecoder(e.Args, content, a, b, a, b, a, b)
			d.ret = uintptr(b)
			d.after(d.before())
		})
	})
}
