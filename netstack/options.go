package netstack

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/vfs"
)

// Buffer sizes, as Linux has them by default.
const (
	DefaultBuffer = 212992 // net.core.{r,w}mem_{default,max}
	minSendBuffer = 4608
	minRecvBuffer = 2304
	// maxForced bounds SO_SNDBUFFORCE and SO_RCVBUFFORCE, which Linux does not: what is
	// buffered is the sentry's memory.
	maxForced = 32 << 20
)

// Options that package unix does not name.
const (
	soPeerPIDFD = 77
	soPassPIDFD = 76
)

// Options are the options of level SOL_SOCKET that every family has. Embed it, set the
// kind with Init, and call Get and Set for what the family does not do itself.
type Options struct {
	SendBuffer, RecvBuffer atomic.Int64
	RecvTimeout            atomic.Int64 // ns, negative: none
	SendTimeout            atomic.Int64
	PassCred, PassPIDFD    atomic.Bool
	Timestamp              atomic.Int32 // 0, or the SO_TIMESTAMP* option that is on
	LowWater               atomic.Int32 // SO_RCVLOWAT
	Broadcast, ReuseAddr   atomic.Bool
	ReusePort, KeepAlive   atomic.Bool

	family, typ, protocol int // immutable

	// mu protects what follows.
	mu     sync.Mutex
	linger unix.Linger
	ints   map[int]int32 // options that are only kept
	device string        // SO_BINDTODEVICE
}

// Init sets the defaults.
func (o *Options) Init(family, typ, protocol int) {
	o.family, o.typ, o.protocol = family, typ, protocol
	o.SendBuffer.Store(DefaultBuffer)
	o.RecvBuffer.Store(DefaultBuffer)
	o.RecvTimeout.Store(-1)
	o.SendTimeout.Store(-1)
	o.LowWater.Store(1)
}

// Kind implements Socket.
func (o *Options) Kind() (family, typ, protocol int) { return o.family, o.typ, o.protocol }

// QuietEPIPE implements vfs.QuietWriter: only streams send SIGPIPE.
func (o *Options) QuietEPIPE() bool { return o.typ != unix.SOCK_STREAM }

// Timeouts implements Socket.
func (o *Options) Timeouts() (recv, send time.Duration) {
	return time.Duration(o.RecvTimeout.Load()), time.Duration(o.SendTimeout.Load())
}

// Linger is SO_LINGER.
func (o *Options) Linger() unix.Linger {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.linger
}

// CopyFrom takes over another's options: those of an accepted socket from the listener.
func (o *Options) CopyFrom(from *Options) {
	o.SendBuffer.Store(from.SendBuffer.Load())
	o.RecvBuffer.Store(from.RecvBuffer.Load())
	o.PassCred.Store(from.PassCred.Load())
	o.PassPIDFD.Store(from.PassPIDFD.Load())
}

// Int is the int that an option's bytes are.
func Int(b []byte) int32 {
	if len(b) < 4 {
		return 0
	}
	return int32(binary.NativeEndian.Uint32(b))
}

// IntBytes is an int as an option's bytes.
func IntBytes(v int32) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(v)) }

func boolBytes(b bool) []byte {
	if b {
		return IntBytes(1)
	}
	return IntBytes(0)
}

// kept are options that have a value and no effect here. The value says whether it is a
// truth value.
var kept = map[int]bool{
	unix.SO_DEBUG: true, unix.SO_DONTROUTE: true, unix.SO_OOBINLINE: true, unix.SO_NO_CHECK: true,
	unix.SO_PRIORITY: false, unix.SO_MARK: false, unix.SO_RXQ_OVFL: true, unix.SO_BUSY_POLL: false,
	unix.SO_WIFI_STATUS: true, unix.SO_INCOMING_CPU: false, unix.SO_MAX_PACING_RATE: false,
	unix.SO_PASSSEC: true, unix.SO_PREFER_BUSY_POLL: true, unix.SO_BUF_LOCK: false,
}

// Set is setsockopt(2) at SOL_SOCKET; ENOPROTOOPT for unknown options.
func (o *Options) Set(ctx vfs.Context, name int, val []byte) error {
	switch name {
	case unix.SO_LINGER:
		if len(val) < 8 {
			return unix.EINVAL
		}
		o.mu.Lock()
		o.linger = unix.Linger{Onoff: Int(val), Linger: Int(val[4:])}
		if o.linger.Onoff != 0 {
			o.linger.Onoff = 1
		} else {
			o.linger.Linger = 0
		}
		o.mu.Unlock()
		return nil
	case unix.SO_RCVTIMEO, unix.SO_SNDTIMEO, unix.SO_RCVTIMEO_NEW, unix.SO_SNDTIMEO_NEW:
		return o.setTimeout(name, val)
	case unix.SO_BINDTODEVICE:
		o.mu.Lock()
		o.device = cString(val)
		o.mu.Unlock()
		return nil
	case unix.SO_ATTACH_FILTER, unix.SO_ATTACH_BPF, unix.SO_ATTACH_REUSEPORT_CBPF, unix.SO_ATTACH_REUSEPORT_EBPF:
		return unix.EOPNOTSUPP // packets are not filtered here
	case unix.SO_DETACH_FILTER:
		return unix.ENOENT
	}
	if len(val) < 4 {
		return unix.EINVAL
	}
	v := Int(val)
	switch name {
	case unix.SO_TYPE, unix.SO_PROTOCOL, unix.SO_DOMAIN, unix.SO_ERROR, unix.SO_ACCEPTCONN, unix.SO_PEERCRED:
		return unix.ENOPROTOOPT
	case unix.SO_SNDBUF, unix.SO_RCVBUF:
		o.setBuffer(name == unix.SO_SNDBUF, min(max(int64(v), 0), DefaultBuffer))
	case unix.SO_SNDBUFFORCE, unix.SO_RCVBUFFORCE:
		if !ctx.Cred().Has(unix.CAP_NET_ADMIN) {
			return unix.EPERM
		}
		o.setBuffer(name == unix.SO_SNDBUFFORCE, min(max(int64(v), 0), maxForced))
	case unix.SO_PASSCRED:
		o.PassCred.Store(v != 0)
	case soPassPIDFD:
		o.PassPIDFD.Store(v != 0)
	case unix.SO_BROADCAST:
		o.Broadcast.Store(v != 0)
	case unix.SO_REUSEADDR:
		o.ReuseAddr.Store(v != 0)
	case unix.SO_REUSEPORT:
		o.ReusePort.Store(v != 0)
	case unix.SO_KEEPALIVE:
		o.KeepAlive.Store(v != 0)
	case unix.SO_RCVLOWAT:
		if v < 0 {
			v = 1<<31 - 1
		}
		o.LowWater.Store(max(v, 1))
	case unix.SO_TIMESTAMP, unix.SO_TIMESTAMPNS, unix.SO_TIMESTAMP_NEW, unix.SO_TIMESTAMPNS_NEW:
		if v == 0 {
			name = 0
		}
		o.Timestamp.Store(int32(name))
	default:
		isBool, ok := kept[name]
		if !ok {
			return unix.ENOPROTOOPT
		}
		if name == unix.SO_MARK || name == unix.SO_PRIORITY && (v < 0 || v > 6) {
			if !ctx.Cred().Has(unix.CAP_NET_ADMIN) && !(name == unix.SO_MARK && ctx.Cred().Has(unix.CAP_NET_RAW)) {
				return unix.EPERM
			}
		}
		if isBool && v != 0 {
			v = 1
		}
		o.mu.Lock()
		if o.ints == nil {
			o.ints = make(map[int]int32)
		}
		o.ints[name] = v
		o.mu.Unlock()
	}
	return nil
}

func (o *Options) setBuffer(send bool, n int64) {
	// Twice what is asked for: overhead is counted too.
	if send {
		o.SendBuffer.Store(max(2*n, minSendBuffer))
	} else {
		o.RecvBuffer.Store(max(2*n, minRecvBuffer))
	}
}

func (o *Options) setTimeout(name int, val []byte) error {
	if len(val) < 16 {
		return unix.EINVAL
	}
	sec := int64(binary.NativeEndian.Uint64(val))
	usec := int64(binary.NativeEndian.Uint64(val[8:]))
	if usec < 0 || usec >= 1e6 {
		return unix.EDOM
	}
	d := int64(-1)
	switch {
	case sec < 0:
		d = 0
	case sec == 0 && usec == 0, sec > 1<<32:
	default:
		d = sec*1e9 + usec*1e3
	}
	if name == unix.SO_RCVTIMEO || name == unix.SO_RCVTIMEO_NEW {
		o.RecvTimeout.Store(d)
	} else {
		o.SendTimeout.Store(d)
	}
	return nil
}

// Get is getsockopt(2) at SOL_SOCKET for what does not depend on the socket's state;
// ENOPROTOOPT for unknown options.
func (o *Options) Get(ctx vfs.Context, name int) ([]byte, error) {
	switch name {
	case unix.SO_TYPE:
		return IntBytes(int32(o.typ)), nil
	case unix.SO_DOMAIN:
		return IntBytes(int32(o.family)), nil
	case unix.SO_PROTOCOL:
		return IntBytes(int32(o.protocol)), nil
	case unix.SO_SNDBUF:
		return IntBytes(int32(o.SendBuffer.Load())), nil
	case unix.SO_RCVBUF:
		return IntBytes(int32(o.RecvBuffer.Load())), nil
	case unix.SO_PASSCRED:
		return boolBytes(o.PassCred.Load()), nil
	case soPassPIDFD:
		return boolBytes(o.PassPIDFD.Load()), nil
	case unix.SO_BROADCAST:
		return boolBytes(o.Broadcast.Load()), nil
	case unix.SO_REUSEADDR:
		return boolBytes(o.ReuseAddr.Load()), nil
	case unix.SO_REUSEPORT:
		return boolBytes(o.ReusePort.Load()), nil
	case unix.SO_KEEPALIVE:
		return boolBytes(o.KeepAlive.Load()), nil
	case unix.SO_RCVLOWAT:
		return IntBytes(o.LowWater.Load()), nil
	case unix.SO_SNDLOWAT:
		return IntBytes(1), nil
	case unix.SO_TIMESTAMP, unix.SO_TIMESTAMPNS, unix.SO_TIMESTAMP_NEW, unix.SO_TIMESTAMPNS_NEW:
		return boolBytes(o.Timestamp.Load() == int32(name)), nil
	case unix.SO_LINGER:
		l := o.Linger()
		return append(IntBytes(l.Onoff), IntBytes(l.Linger)...), nil
	case unix.SO_RCVTIMEO, unix.SO_RCVTIMEO_NEW:
		return timeoutBytes(o.RecvTimeout.Load()), nil
	case unix.SO_SNDTIMEO, unix.SO_SNDTIMEO_NEW:
		return timeoutBytes(o.SendTimeout.Load()), nil
	case unix.SO_BINDTODEVICE:
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.device == "" {
			return nil, nil
		}
		return append([]byte(o.device), 0), nil
	case unix.SO_ATTACH_FILTER: // SO_GET_FILTER: there is none
		return nil, nil
	}
	if _, ok := kept[name]; ok {
		o.mu.Lock()
		defer o.mu.Unlock()
		v, ok := o.ints[name]
		if !ok && name == unix.SO_INCOMING_CPU {
			v = -1
		}
		return IntBytes(v), nil
	}
	return nil, unix.ENOPROTOOPT
}

func timeoutBytes(d int64) []byte {
	if d < 0 {
		d = 0
	}
	b := binary.NativeEndian.AppendUint64(nil, uint64(d/1e9))
	return binary.NativeEndian.AppendUint64(b, uint64(d%1e9/1e3))
}

func cString(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
