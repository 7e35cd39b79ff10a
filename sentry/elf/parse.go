package elf

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"gosv.dev/platform/arch"
)

// Sizes and limits of the file format (elf(5)).
const (
	ehdrSize    = 64
	phdrSize    = 56
	maxPhdrSize = 65536 // Linux reads no larger program header table
	maxInterp   = unix.PathMax
)

// Types of program headers and of files.
const (
	ptLoad     = 1
	ptDynamic  = 2
	ptInterp   = 3
	ptPhdr     = 6
	ptGNUStack = 0x6474e551

	etExec = 2
	etDyn  = 3

	emX86_64 = 62

	pfX = 1
	pfW = 2
	pfR = 4
)

// phdr is one program header, Elf64_Phdr.
type phdr struct {
	typ, flags          uint32
	off, vaddr          uint64
	filesz, memsz, algn uint64
}

// header is what the loader needs of a file: the ELF header, the program headers
// and the range of addresses that the loadable segments take.
type header struct {
	typ       uint16
	entry     uint64
	phoff     uint64
	phnum     int
	phdrs     []phdr
	lo, hi    uint64 // page aligned range of all PT_LOAD segments
	align     uint64 // largest alignment of a segment, a power of two >= a page
	execStack bool
	interpOff uint64
	interpLen uint64 // 0: none
}

// readerAt reads all of p at off or fails.
type readerAt func(p []byte, off uint64) error

// parse reads and checks a header. All that is wrong with a file gives ENOEXEC.
func parse(read readerAt) (*header, error) {
	var b [ehdrSize]byte
	if err := read(b[:], 0); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	if string(b[:4]) != "\x7fELF" || b[4] != 2 || b[5] != 1 || le.Uint16(b[18:]) != emX86_64 {
		return nil, unix.ENOEXEC
	}
	h := &header{typ: le.Uint16(b[16:]), entry: le.Uint64(b[24:]), phoff: le.Uint64(b[32:]), phnum: int(le.Uint16(b[56:])), align: arch.PageSize}
	if h.typ != etExec && h.typ != etDyn {
		return nil, unix.ENOEXEC
	}
	n := h.phnum
	if le.Uint16(b[54:]) != phdrSize || n == 0 || n*phdrSize > maxPhdrSize || h.phoff > 1<<62 {
		return nil, unix.ENOEXEC
	}
	table := make([]byte, n*phdrSize)
	if err := read(table, h.phoff); err != nil {
		return nil, err
	}
	h.lo = ^uint64(0)
	// Without PT_GNU_STACK the stack is not executable on x86-64 (Linux 5.8).
	for i := 0; i < n; i++ {
		e := table[i*phdrSize:]
		p := phdr{
			typ: le.Uint32(e), flags: le.Uint32(e[4:]), off: le.Uint64(e[8:]), vaddr: le.Uint64(e[16:]),
			filesz: le.Uint64(e[32:]), memsz: le.Uint64(e[40:]), algn: le.Uint64(e[48:]),
		}
		if err := h.add(p); err != nil {
			return nil, err
		}
	}
	if h.hi == 0 {
		return nil, unix.ENOEXEC
	}
	return h, nil
}

// add checks one program header and takes what it says into h.
func (h *header) add(p phdr) error {
	switch p.typ {
	case ptInterp:
		if h.interpLen != 0 {
			break // the first one counts
		}
		if p.filesz < 2 || p.filesz > maxInterp {
			return unix.ENOEXEC
		}
		h.interpOff, h.interpLen = p.off, p.filesz
	case ptGNUStack:
		h.execStack = p.flags&pfX != 0
	case ptLoad:
		if p.memsz == 0 {
			break
		}
		end := p.vaddr + p.memsz
		if p.filesz > p.memsz || end < p.vaddr || end > arch.MaxAddr || p.off+p.filesz < p.off ||
			p.off > 1<<62 || p.vaddr%arch.PageSize != p.off%arch.PageSize && p.filesz > 0 {
			return unix.ENOEXEC
		}
		h.lo = min(h.lo, pageDown(p.vaddr))
		h.hi = max(h.hi, pageUp(end))
		if a := p.algn; a&(a-1) == 0 && a > h.align && a <= 1<<30 {
			h.align = a
		}
	default:
		return nil
	}
	h.phdrs = append(h.phdrs, p)
	return nil
}

// tableAddr is the address of the program header table in the program's own
// numbering: where a segment has it, or 0.
func (h *header) tableAddr() uint64 {
	for _, p := range h.phdrs {
		if p.typ == ptLoad && p.off <= h.phoff && h.phoff < p.off+p.filesz {
			return h.phoff - p.off + p.vaddr
		}
	}
	return 0
}

func pageDown(a uint64) uint64 { return a &^ (arch.PageSize - 1) }
func pageUp(a uint64) uint64   { return pageDown(a + arch.PageSize - 1) }
