// Package usermem is how the sentry reads and writes memory that a guest names
// by address. It has no state: an address is always used together with the
// Memory (package mm's address space) that it belongs to.
package usermem

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"golang.org/x/sys/unix"
)

// Addr is an address in a guest. It is never trusted and never dereferenced.
type Addr uint64

// Add returns a+n, and false on overflow.
func (a Addr) Add(n uint64) (Addr, bool) {
	s := a + Addr(n)
	return s, s >= a
}

// Range is [Start, Start+Len).
type Range struct {
	Start Addr
	Len   uint64
}

// Memory is guest memory. Both methods copy as much as they can and return the
// number of bytes copied, with EFAULT if that is less than len(b). They may be
// called from any goroutine, and take locks of package mm.
type Memory interface {
	CopyIn(addr Addr, b []byte) (int, error)
	CopyOut(addr Addr, b []byte) (int, error)
}

// errShort guards against a CopyIn that returns less without an error.
var errShort error = unix.EFAULT

var chunks = sync.Pool{New: func() any { return new([256]byte) }}

// CopyInString copies a NUL-terminated string of at most max bytes, the NUL not
// counted. A longer one gives ENAMETOOLONG.
func CopyInString(m Memory, addr Addr, max int) (string, error) {
	chunk := chunks.Get().(*[256]byte)
	defer chunks.Put(chunk)
	var s []byte
	for {
		// Never cross into a page that the string may not reach.
		n := len(chunk)
		if rest := int(4096 - uint64(addr)%4096); n > rest {
			n = rest
		}
		got, err := m.CopyIn(addr, chunk[:n])
		if i := bytes.IndexByte(chunk[:got], 0); i >= 0 {
			if len(s)+i > max {
				return "", unix.ENAMETOOLONG
			}
			if s == nil {
				return string(chunk[:i]), nil
			}
			return string(append(s, chunk[:i]...)), nil
		}
		if err != nil {
			return "", err
		}
		s = append(s, chunk[:got]...)
		if len(s) > max {
			return "", unix.ENAMETOOLONG
		}
		addr += Addr(got)
	}
}

// ErrStop may be returned by a function given to IO.Segments to end it without error.
var ErrStop = errors.New("stop")

// IO is the memory side of a read or a write: either a list of guest ranges or a
// slice of the sentry's own. The zero IO has length 0. An IO is a value; Skip and
// Limit return changed ones. It is not safe for concurrent use.
//
// Whether a transfer goes into the IO (read) or out of it (write) is the
// method's to say.
type IO struct {
	mem   Memory
	one   Range   // the only range, when ranges is nil
	more  []Range // the ranges after one
	bytes []byte  // instead of guest ranges
	n     uint64
}

// Guest is an IO on one range of guest memory.
func Guest(m Memory, addr Addr, n uint64) IO {
	return IO{mem: m, one: Range{addr, n}, n: n}
}

// SetGuest makes v what Guest returns.
func (v *IO) SetGuest(m Memory, addr Addr, n uint64) {
	v.mem, v.one.Start, v.one.Len, v.n = m, addr, n, n
	if v.more != nil {
		v.more = nil
	}
	if v.bytes != nil {
		v.bytes = nil
	}
}

// GuestVec is an IO on several ranges. It keeps rs.
func GuestVec(m Memory, rs []Range) IO {
	if len(rs) == 0 {
		return IO{mem: m}
	}
	v := IO{mem: m, one: rs[0], more: rs[1:]}
	for _, r := range rs {
		v.n += r.Len
	}
	return v
}

// Bytes is an IO on a slice of the sentry's.
func Bytes(b []byte) IO { return IO{bytes: b, n: uint64(len(b))} }

// Len is the number of bytes not yet transferred.
func (v *IO) Len() uint64 { return v.n }

// Limit makes v at most n bytes long.
func (v IO) Limit(n uint64) IO {
	if n < v.n {
		v.n = n
	}
	return v
}

// Skip drops the first n bytes (at most Len).
func (v IO) Skip(n uint64) IO {
	v.skip(n)
	return v
}

// skip is Skip in place: transfers are too frequent for copies of an IO.
func (v *IO) skip(n uint64) {
	if n > v.n {
		n = v.n
	}
	v.n -= n
	if v.bytes != nil {
		v.bytes = v.bytes[n:]
		return
	}
	for {
		if n < v.one.Len || len(v.more) == 0 {
			v.one.Start += Addr(n)
			v.one.Len -= n
			return
		}
		n -= v.one.Len
		v.one, v.more = v.more[0], v.more[1:]
	}
}

// Write copies b into the memory that v names and drops what was written from v:
// what read(2) does. It returns EFAULT with the count when memory cannot take
// it, and io.ErrShortWrite when v is full.
func (v *IO) Write(b []byte) (int, error) { return v.transfer(b, true) }

// A Zeroer is a Memory that clears itself faster than by CopyOut of zeros.
type Zeroer interface {
	ZeroOut(addr Addr, n uint64) (uint64, error)
}

// zeros is what a Memory that is no Zeroer is cleared with.
var zeros [64 << 10]byte

// Zero clears the first n bytes (at most Len) and drops what was cleared from v, as Write of so many zeros does.
func (v *IO) Zero(n uint64) (uint64, error) {
	z, ok := v.mem.(Zeroer)
	var done uint64
	for n = min(n, v.n); done < n; {
		if !ok || v.bytes != nil {
			k, err := v.Write(zeros[:min(n-done, uint64(len(zeros)))])
			done += uint64(k)
			if err != nil {
				return done, err
			}
			continue
		}
		if v.one.Len == 0 {
			*v = v.Skip(0) // to the next range
			continue
		}
		want := min(n-done, v.one.Len)
		k, err := z.ZeroOut(v.one.Start, want)
		if err == nil && k < want {
			err = errShort
		}
		*v = v.Skip(k)
		done += k
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// Read copies from the memory that v names into b and drops what was read from
// v: what write(2) does. It returns io.EOF when v is used up.
func (v *IO) Read(b []byte) (int, error) {
	if v.n == 0 && len(b) > 0 {
		return 0, io.EOF
	}
	if uint64(len(b)) > v.n {
		b = b[:v.n]
	}
	return v.transfer(b, false)
}

func (v *IO) transfer(b []byte, out bool) (int, error) {
	done := 0
	for len(b) > 0 {
		if v.n == 0 {
			return done, io.ErrShortWrite
		}
		p := b
		if uint64(len(p)) > v.n {
			p = p[:v.n]
		}
		var n int
		var err error
		switch {
		case v.bytes != nil && out:
			n = copy(v.bytes, p)
		case v.bytes != nil:
			n = copy(p, v.bytes)
		default:
			if uint64(len(p)) > v.one.Len {
				p = p[:v.one.Len]
			}
			if len(p) > 0 {
				if out {
					n, err = v.mem.CopyOut(v.one.Start, p)
				} else {
					n, err = v.mem.CopyIn(v.one.Start, p)
				}
			}
			if err == nil && n < len(p) {
				err = errShort
			}
		}
		v.skip(uint64(n))
		if n == 0 && err == nil && len(p) == 0 {
			v.skip(0) // an empty range: Skip moved to the next
		}
		done += n
		b = b[n:]
		if err != nil {
			return done, err
		}
	}
	return done, nil
}
