// Package elf loads x86-64 ELF programs into an address space and builds the
// initial stack, as execve(2) of Linux does (fs/binfmt_elf; elf(5), getauxval(3)).
//
// Load maps the program and its interpreter; BuildStack writes arguments,
// environment and auxiliary vector. Both are called by one task on an address
// space that nobody else uses yet; the package has no state and no locks.
package elf

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/mm/usermem"
	"gosv.dev/platform/arch"
	"gosv.dev/vfs"
)

// Image is a loaded program.
type Image struct {
	Entry     uint64 // where execution begins: the interpreter's entry, if there is one
	ProgEntry uint64 // AT_ENTRY
	Phdr      uint64 // AT_PHDR
	Phnum     int    // AT_PHNUM
	Base      uint64 // AT_BASE: where the interpreter is, or 0
	ExecStack bool   // PT_GNU_STACK asks for an executable stack
	StartCode uint64
	EndCode   uint64
	StartData uint64
	EndData   uint64
	BrkStart  uint64 // page aligned end of the program, where the heap may begin
}

// pieBase is where position-independent programs with an interpreter go, two thirds of
// the address space as on Linux, before randomization; in a smaller place, at its beginning.
const pieBase = arch.MaxAddr/3*2&^(arch.PageSize-1) + arch.PageSize

// pieAddr is a random address for such a program.
func pieAddr(as *mm.AddressSpace) uint64 {
	lo, hi := as.Area()
	if lo < pieBase && hi > pieBase+1<<40 {
		return pieBase + randomPages(28)
	}
	return lo + as.Random()<<arch.PageShift%min((hi-lo)/4, 1<<30)
}

// Opener finds the interpreter that a program names, and denies writing to it (vfs.OpenExec).
type Opener func(path string) (*vfs.File, error)

// Load maps the program in f, and the interpreter that it names, into as, which must be
// empty. It returns ENOEXEC for a file that is no program for this machine, the error
// of open or ELIBBAD for the interpreter, ENOMEM where addresses are taken. The
// address space is in an undefined state after an error.
func Load(ctx vfs.Context, as *mm.AddressSpace, f *vfs.File, open Opener) (*Image, error) {
	h, err := parse(fileReader(f))
	if err != nil {
		return nil, err
	}
	var interp *vfs.File
	var ih *header
	if h.interpLen != 0 {
		path := make([]byte, h.interpLen)
		if err := fileReader(f)(path, h.interpOff); err != nil {
			return nil, err
		}
		if path[len(path)-1] != 0 {
			return nil, unix.ENOEXEC
		}
		if interp, err = open(unix.ByteSliceToString(path)); err != nil {
			return nil, err
		}
		defer func() {
			interp.AllowWrite() // only the program itself is protected as long as it runs
			interp.DecRef()
		}()
		if ih, err = parse(fileReader(interp)); err != nil {
			if errors.Is(err, unix.ENOEXEC) {
				err = unix.ELIBBAD
			}
			return nil, err
		}
	}

	where := placeAnywhere
	switch {
	case h.typ == etExec:
		where = placeFixed
	case interp != nil:
		where = placePIE
	}
	bias, err := h.load(ctx, as, f, where)
	if err != nil {
		return nil, err
	}
	img := &Image{
		ProgEntry: h.entry + bias, Phnum: 0, ExecStack: h.execStack,
		BrkStart: h.hi + bias, StartCode: ^uint64(0), StartData: 0,
	}
	if a := h.tableAddr(); a != 0 {
		img.Phdr = a + bias
	}
	img.setBounds(h, bias)
	img.Entry = img.ProgEntry
	if interp != nil {
		ib, err := ih.load(ctx, as, interp, placeAnywhere)
		if err != nil {
			return nil, err
		}
		img.Base, img.Entry = ib+ih.lo, ih.entry+ib
	}
	if img.Entry >= arch.MaxAddr {
		return nil, unix.ENOEXEC
	}
	return img, nil
}

// setBounds finds the code and data ranges that /proc/PID/stat shows.
func (img *Image) setBounds(h *header, bias uint64) {
	img.Phnum = h.phnum
	for _, p := range h.phdrs {
		if p.typ != ptLoad {
			continue
		}
		start, end := p.vaddr+bias, p.vaddr+p.filesz+bias
		img.StartCode = min(img.StartCode, start)
		img.StartData = max(img.StartData, start)
		if p.flags&pfX != 0 {
			img.EndCode = max(img.EndCode, end)
		}
		img.EndData = max(img.EndData, end)
	}
}

func fileReader(f *vfs.File) readerAt {
	return func(p []byte, off uint64) error {
		n, err := f.ReadKernel(p, int64(off))
		if err == nil && n < len(p) || errors.Is(err, io.EOF) {
			return unix.ENOEXEC
		}
		return err
	}
}

// placement says where a file's segments may go.
type placement int

const (
	placeFixed    placement = iota // where the file says, and nothing may be there
	placePIE                       // a random address above pieBase
	placeAnywhere                  // where mmap finds room
)

// load maps all segments and returns what to add to the file's addresses.
func (h *header) load(ctx vfs.Context, as *mm.AddressSpace, f *vfs.File, where placement) (bias uint64, err error) {
	size := h.hi - h.lo
	opts := mm.MMapOpts{
		Length: size + h.align - arch.PageSize,
		Prot:   unix.PROT_NONE,
		Flags:  unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_NORESERVE,
		Keep:   true,
	}
	switch where {
	case placeFixed:
		opts.Addr, opts.Length = usermem.Addr(h.lo), size
		opts.Flags |= unix.MAP_FIXED_NOREPLACE | unix.MAP_FIXED
	case placePIE:
		opts.Addr = usermem.Addr(pieAddr(as))
	}
	if h.typ == etExec && where != placeFixed {
		opts.Addr, opts.Length = usermem.Addr(h.lo), size
		opts.Flags |= unix.MAP_FIXED_NOREPLACE | unix.MAP_FIXED
	}
	// Take the whole range first, so that all segments keep their distances.
	at, err := as.MMap(opts)
	if err != nil {
		return 0, loadError(err)
	}
	start := (uint64(at) + h.align - 1) &^ (h.align - 1)
	if opts.Flags&unix.MAP_FIXED != 0 {
		start = uint64(at)
	}
	bias = start - h.lo
	if err := as.MUnmap(at, opts.Length); err != nil {
		return 0, err
	}
	for _, p := range h.phdrs {
		if p.typ == ptLoad && p.memsz > 0 {
			if err := p.load(ctx, as, f, bias); err != nil {
				return 0, loadError(err)
			}
		}
	}
	as.ShowProgram(h.lo+bias, h.hi+bias)
	as.Settle()
	return bias, nil
}

// loadError is what Linux says when a place is taken.
func loadError(err error) error {
	if errors.Is(err, unix.EEXIST) {
		return unix.ENOMEM
	}
	return err
}

// load maps one segment: pages of the file, the rest of its last page zeroed (to the
// page's end and not to memsz: ld.so uses the tail), and zero pages for what remains.
func (p *phdr) load(ctx vfs.Context, as *mm.AddressSpace, f *vfs.File, bias uint64) error {
	prot := 0
	if p.flags&pfR != 0 {
		prot |= unix.PROT_READ
	}
	if p.flags&pfW != 0 {
		prot |= unix.PROT_WRITE
	}
	if p.flags&pfX != 0 {
		prot |= unix.PROT_EXEC
	}
	start := pageDown(p.vaddr + bias)
	fileEnd := p.vaddr + bias + p.filesz
	end := pageUp(p.vaddr + bias + p.memsz)
	mapped := start
	if p.filesz > 0 {
		opts := mm.MMapOpts{
			Addr: usermem.Addr(start), Length: pageUp(fileEnd) - start,
			Prot: prot, Flags: unix.MAP_PRIVATE | unix.MAP_FIXED, Offset: pageDown(p.off),
		}
		if err := f.MMap(ctx, &opts); err != nil {
			return err
		}
		if _, err := as.MMap(opts); err != nil {
			return err
		}
		mapped = pageUp(fileEnd)
		if tail := mapped - fileEnd; p.memsz > p.filesz && tail > 0 {
			// A tail that is not writable is left as the file has it, as on Linux.
			if _, err := as.CopyOut(usermem.Addr(fileEnd), make([]byte, tail)); err != nil && p.flags&pfW != 0 {
				return err
			}
		}
	}
	if mapped >= end {
		return nil
	}
	_, err := as.MMap(mm.MMapOpts{
		Addr: usermem.Addr(mapped), Length: end - mapped, Prot: prot,
		Flags: unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_FIXED,
	})
	return err
}

// randomPages is a random multiple of the page size below 1<<bits pages.
func randomPages(bits uint) uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.LittleEndian.Uint64(b[:]) & (1<<bits - 1) << arch.PageShift
}
