package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"gosv.dev/sentry"
	"gosv.dev/vfs"
)

// explain says why the program does not run, and what to do, and with which status gosv ends: as a shell's.
func (b *booter) explain(err error) (status int, text string) {
	var nf *sentry.NotFoundError
	if !errors.As(err, &nf) {
		return exitInternal, err.Error()
	}
	name := b.config.Argv[0]
	say := func(status int, format string, args ...any) (int, string) {
		return status, name + ": " + fmt.Sprintf(format, args...)
	}
	head, isDir, exists := b.programHead(nf.Path)
	switch {
	case errors.Is(err, unix.ENOENT) && !exists && !strings.Contains(name, "/"):
		return say(exitNotFound, "command not found")
	case errors.Is(err, unix.ENOENT) && !exists:
		return say(exitNotFound, "no such file")
	case errors.Is(err, unix.ENOENT):
		// The file is there, and what it names is not.
		if i := scriptInterpreter(head); i != "" {
			return say(exitCannotRun, "its interpreter %s does not exist; mend the first line of the script", i)
		}
		if i := elfInterpreter(head); i != "" {
			return say(exitCannotRun, "its interpreter %s does not exist; install the C library that the program was built for", i)
		}
	case errors.Is(err, unix.ENOEXEC):
		if m := elfMachine(head); m != "" {
			return say(exitCannotRun, "a program for %s; gosv runs programs for 64-bit x86 only", m)
		}
		if len(head) == 0 {
			return say(exitCannotRun, "the file is empty")
		}
		return say(exitCannotRun, "not a program for Linux on x86-64, and no script that begins with #!")
	case isDir:
		return say(exitCannotRun, "is a directory")
	case errors.Is(err, unix.EACCES) && exists:
		return say(exitCannotRun, "permission denied; is it executable (chmod +x), and may you read the directories above it?")
	case errors.Is(err, unix.ENOTDIR):
		return say(exitNotFound, "%v", nf.Err)
	}
	return say(exitCannotRun, "%v", nf.Err)
}

// programHead is the beginning of a file of the guest.
func (b *booter) programHead(name string) (head []byte, isDir, exists bool) {
	if b.kernel == nil {
		return nil, false, false
	}
	if !strings.HasPrefix(name, "/") {
		name = b.config.Cwd + "/" + name
	}
	ctx, root := vfs.KernelContext(), b.kernel.RootNamespaces().Mount.Root()
	st, err := vfs.Stat(ctx, root, strings.TrimLeft(name, "/"), vfs.LookupFollow|vfs.LookupInRoot)
	if err != nil {
		return nil, false, err == unix.EACCES
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, st.Mode&unix.S_IFMT == unix.S_IFDIR, true
	}
	f, err := vfs.Open(ctx, root, strings.TrimLeft(name, "/"), unix.OpenHow{Flags: unix.O_RDONLY, Resolve: unix.RESOLVE_IN_ROOT})
	if err != nil {
		return nil, false, true
	}
	defer f.DecRef()
	buf := make([]byte, 4096)
	n, _ := f.ReadKernel(buf, 0)
	return buf[:n], false, true
}

// scriptInterpreter is what the first line of a script names, or "".
func scriptInterpreter(head []byte) string {
	line, ok := bytes.CutPrefix(head, []byte("#!"))
	if !ok {
		return ""
	}
	line, _, _ = bytes.Cut(line, []byte("\n"))
	words := strings.Fields(string(line))
	if len(words) == 0 {
		return ""
	}
	return strings.ReplaceAll(fmt.Sprintf("%q", words[0]), `"`, "")
}

// elfInterpreter is what a program for this machine names as its loader, if that is near the beginning, or "".
func elfInterpreter(head []byte) string {
	if len(head) < 64 || !bytes.HasPrefix(head, []byte("\x7fELF")) {
		return ""
	}
	le := binary.LittleEndian
	off, size, n := le.Uint64(head[32:]), uint64(le.Uint16(head[54:])), uint64(le.Uint16(head[56:]))
	if size < 56 {
		return ""
	}
	for ; n > 0 && off <= uint64(len(head))-56; n-- {
		p := head[off:]
		at, length := le.Uint64(p[8:]), le.Uint64(p[32:])
		const ptInterp = 3
		if le.Uint32(p) == ptInterp && at < uint64(len(head)) && length <= uint64(len(head))-at {
			return unix.ByteSliceToString(head[at : at+length])
		}
		off += size
	}
	return ""
}

// elfMachine names the machine that an ELF file is for, or "" if it is this one, or no ELF file.
func elfMachine(head []byte) string {
	if len(head) < 20 || !bytes.HasPrefix(head, []byte("\x7fELF")) {
		return ""
	}
	order := binary.ByteOrder(binary.LittleEndian)
	if head[5] == 2 {
		order = binary.BigEndian
	}
	bits := "64-bit"
	if head[4] == 1 {
		bits = "32-bit"
	}
	const x86 = 62
	m := order.Uint16(head[18:])
	if m == x86 && bits == "64-bit" {
		return ""
	}
	names := map[uint16]string{3: "x86", x86: "x86 (x32)", 8: "MIPS", 20: "PowerPC", 21: "PowerPC", 22: "s390", 40: "ARM",
		183: "ARM (aarch64)", 243: "RISC-V", 258: "LoongArch"}
	n := names[m]
	if n == "" {
		n = fmt.Sprintf("machine type %d", m)
	}
	return bits + " " + n
}
