package elf

import (
	"crypto/rand"
	"encoding/binary"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/mm/usermem"
	"gosv.dev/vfs/cred"
)

// Keys of the auxiliary vector (getauxval(3)).
const (
	atNull            = 0
	atPhdr            = 3
	atPhent           = 4
	atPhnum           = 5
	atPagesz          = 6
	atBase            = 7
	atFlags           = 8
	atEntry           = 9
	atUID             = 11
	atEUID            = 12
	atGID             = 13
	atEGID            = 14
	atPlatform        = 15
	atHwcap           = 16
	atClktck          = 17
	atSecure          = 23
	atRandom          = 25
	atHwcap2          = 26
	atRseqFeatureSize = 27
	atRseqAlign       = 28
	atExecfn          = 31
	atSysinfoEhdr     = 33
	atMinsigstksz     = 51
)

// maxStringLen is the longest argument or environment string, with its NUL.
const maxStringLen = 131072 // MAX_ARG_STRLEN

// Aux is what the auxiliary vector says besides the program itself.
type Aux struct {
	Hwcap, Hwcap2 uint64     // the host's, AT_HWCAP and AT_HWCAP2
	MinSigStack   uint64     // AT_MINSIGSTKSZ
	VDSO          uint64     // AT_SYSINFO_EHDR, 0: none
	Cred          *cred.Cred // after execve
	Secure        bool       // AT_SECURE
	ExecFn        string     // the name that was executed
}

// Stack is the finished initial stack.
type Stack struct {
	SP                                 uint64
	ArgStart, ArgEnd, EnvStart, EnvEnd uint64
	Auxv                               []uint64 // as written, with the terminating pair
}

// CheckArgs returns E2BIG when argv and envv do not fit: a string longer than 128 KiB, or
// all of them with their pointers more than a quarter of the stack limit (at least 128
// KiB, at most 6 MiB; execve(2)).
func CheckArgs(argv, envv []string, stackLimit uint64) error {
	limit := min(max(stackLimit/4, 128<<10), 6<<20)
	total := uint64(0)
	for _, list := range [][]string{argv, envv} {
		for _, s := range list {
			if len(s) >= maxStringLen {
				return unix.E2BIG
			}
			total += uint64(len(s)) + 1 + 8
		}
	}
	if total > limit {
		return unix.E2BIG
	}
	return nil
}

// BuildStack writes the initial stack below top, which must be the end of the stack
// region: strings at the highest addresses, then random bytes, the vectors and argc at the
// stack pointer, 16-byte aligned as the psABI wants it. EFAULT or ENOMEM when the region
// is too small.
func BuildStack(as *mm.AddressSpace, top uint64, img *Image, argv, envv []string, aux *Aux) (*Stack, error) {
	st := &Stack{}
	var b builder
	b.top = top
	b.push(make([]byte, 8)) // Linux leaves a null pointer at the end
	execfn := b.pushString(aux.ExecFn)
	st.EnvEnd = b.at()
	envp := b.pushStrings(envv)
	st.EnvStart = b.at()
	st.ArgEnd = b.at()
	args := b.pushStrings(argv)
	st.ArgStart = b.at()
	platform := b.pushString("x86_64")
	var rnd [16]byte
	rand.Read(rnd[:])
	random := b.push(rnd[:])

	// st_uid and the like are shown in the program's user namespace.
	c := aux.Cred
	uid := func(k uint32) uint64 { return uint64(c.UserNS.ShowUID(k)) }
	gid := func(k uint32) uint64 { return uint64(c.UserNS.ShowGID(k)) }
	secure := uint64(0)
	if aux.Secure {
		secure = 1
	}
	v := make([]uint64, 0, 48)
	if aux.VDSO != 0 {
		v = append(v, atSysinfoEhdr, aux.VDSO)
	}
	if aux.MinSigStack != 0 {
		v = append(v, atMinsigstksz, aux.MinSigStack)
	}
	v = append(v,
		atHwcap, aux.Hwcap, atPagesz, 4096, atClktck, 100,
		atPhdr, img.Phdr, atPhent, phdrSize, atPhnum, uint64(img.Phnum),
		atBase, img.Base, atFlags, 0, atEntry, img.ProgEntry,
		atUID, uid(c.UID), atEUID, uid(c.EUID), atGID, gid(c.GID), atEGID, gid(c.EGID),
		atSecure, secure, atRandom, random, atHwcap2, aux.Hwcap2, atExecfn, execfn,
		atRseqFeatureSize, 28, atRseqAlign, 32,
		atPlatform, platform, atNull, 0)
	st.Auxv = v

	words := make([]uint64, 0, 3+len(args)+len(envp)+len(v))
	words = append(words, uint64(len(args)))
	words = append(append(words, args...), 0)
	words = append(append(words, envp...), 0)
	words = append(words, v...)
	b.align(words)
	st.SP = b.at()
	_, err := as.CopyOut(usermem.Addr(st.SP), b.bytes())
	return st, err
}

// builder collects a stack from the top down; chunks are in order of descending address.
type builder struct {
	top    uint64
	size   uint64
	chunks [][]byte
}

func (b *builder) at() uint64 { return b.top - b.size }

func (b *builder) push(p []byte) uint64 {
	b.chunks = append(b.chunks, p)
	b.size += uint64(len(p))
	return b.at()
}

func (b *builder) pushString(s string) uint64 { return b.push(append([]byte(s), 0)) }

// pushStrings pushes strings so that they stand in order, and returns their addresses.
func (b *builder) pushStrings(list []string) []uint64 {
	addrs := make([]uint64, len(list))
	for i := len(list) - 1; i >= 0; i-- {
		addrs[i] = b.pushString(list[i])
	}
	return addrs
}

// align pushes words so that they begin at a multiple of 16.
func (b *builder) align(words []uint64) {
	n := uint64(len(words)) * 8
	if pad := (b.at() - n) % 16; pad != 0 {
		b.push(make([]byte, pad))
	}
	p := make([]byte, n)
	for i, w := range words {
		binary.LittleEndian.PutUint64(p[i*8:], w)
	}
	b.push(p)
}

func (b *builder) bytes() []byte {
	p := make([]byte, 0, b.size)
	for i := len(b.chunks) - 1; i >= 0; i-- {
		p = append(p, b.chunks[i]...)
	}
	return p
}
