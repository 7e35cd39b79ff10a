package ptrace

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// The template can be forked from the sentry, which has to be copied for that, page by page and while it waits, and then to be taken
// away again. Executing a program is cheaper: the template's is the stub code and nothing else, in a memfd. Hosts may forbid to execute those.

// imageBase is where the program has the stub code at first, for one call: where it belongs there may be the stack.
const imageBase = 0x10000000

// imageCode is where the code is in the file.
const imageCode = 0x1000

// stubImage is the memfd of the program.
func stubImage() (int, error) {
	var b bytes.Buffer
	size := uint64(len(stubCode))
	_ = binary.Write(&b, binary.LittleEndian, elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Entry: imageBase + codePark, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 2,
	})
	_ = binary.Write(&b, binary.LittleEndian, []elf.Prog64{
		{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Off: imageCode, Vaddr: imageBase, Filesz: size, Memsz: size, Align: 4096},
		{Type: uint32(elf.PT_GNU_STACK), Flags: uint32(elf.PF_R | elf.PF_W), Align: 16},
	})
	b.Write(make([]byte, imageCode-b.Len()))
	b.Write(stubCode[:])
	fd, err := unix.MemfdCreate("gosv-stub", unix.MFD_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("memfd_create: %w", err)
	}
	if _, err := unix.Write(fd, b.Bytes()); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// execTemplate makes the template by executing its program. It is traced and has stopped, its code is where it belongs, and so is the vDSO. After
// an error there is none; forkTemplate is another way.
func (s *spawner) execTemplate() (int32, error) {
	image, err := stubImage()
	if err != nil {
		return 0, err
	}
	defer unix.Close(image)
	pid, err := vforkTemplate(uintptr(s.p.memFD), uintptr(s.p.ctlFD), uintptr(image))
	if err != nil {
		return 0, err
	}
	var ws unix.WaitStatus
	if e := wait(pid, &ws); e != 0 {
		return 0, e
	}
	if !ws.Stopped() {
		return 0, fmt.Errorf("status %#x", uint32(ws))
	}
	if err := s.arrange(pid); err != nil {
		unix.Kill(int(pid), unix.SIGKILL)
		reap(pid)
		return 0, err
	}
	return pid, nil
}

// arrange puts what the program has where all stubs have it.
func (s *spawner) arrange(pid int32) error {
	var regs unix.PtraceRegs
	if e := getRegs(pid, &regs); e != 0 {
		return e
	}
	// From here on a stop that nobody expects is an error.
	if e := ptrace(unix.PTRACE_SETOPTIONS, pid, 0, options); e != 0 {
		return e
	}
	code := [6]uint64{stubBase, 4096, unix.PROT_READ | unix.PROT_EXEC, unix.MAP_PRIVATE | unix.MAP_FIXED, stubImageFD, imageCode}
	if _, err := call(pid, unix.SYS_MMAP, code, imageBase+codeOne, imageBase+endOne); err != nil {
		return err
	}
	if _, err := callOne(pid, unix.SYS_CLOSE, [6]uint64{stubImageFD}); err != nil {
		return err
	}
	v := s.p.hostVDSO
	if v == nil {
		return nil
	}
	image, err := auxiliary(pid, regs.Rsp, atSysinfoEhdr)
	if err != nil {
		return err
	}
	return s.moveVDSO(pid, image-(v.image-v.start))
}

const atSysinfoEhdr = 33

// auxiliary is an entry of the auxiliary vector of a program that has just been executed, whose stack pointer is sp.
func auxiliary(pid int32, sp, key uint64) (uint64, error) {
	word := func() (uint64, error) {
		v, e := peek(pid, sp)
		if sp += 8; e != 0 {
			return 0, e
		}
		return v, nil
	}
	n, err := word()
	sp += (n + 1) * 8
	for v := uint64(1); err == nil && v != 0; {
		v, err = word() // the environment
	}
	for err == nil {
		var k, v uint64
		if k, err = word(); err == nil {
			v, err = word()
		}
		switch {
		case err == nil && k == key:
			return v, nil
		case k == 0 && err == nil:
			return 0, unix.ENOENT
		}
	}
	return 0, err
}
