package ipc

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
)

// Constants of the System V interface that package unix does not name.
const (
	ipcPrivate = 0
	ipcCreat   = 01000
	ipcExcl    = 02000
	ipcNowait  = 04000

	ipcRmid = 0
	ipcSet  = 1
	ipcStat = 2
	ipcInfo = 3
	ipc64   = 0x100

	idShift  = 15
	maxIndex = 1 << idShift
	maxSeq   = 1<<(31-idShift) - 1
)

// Limits are the values of /proc/sys/kernel and /proc/sys/fs/mqueue.
type Limits struct {
	ShmMax, ShmAll, ShmMni         atomic.Uint64
	MsgMax, MsgMnb, MsgMni         atomic.Int64
	SemMsl, SemMns, SemOpm, SemMni atomic.Int64

	MQQueues, MQMessages, MQMessageSize     atomic.Int64
	MQMessagesDefault, MQMessageSizeDefault atomic.Int64
}

// Namespace is an IPC namespace.
type Namespace struct {
	UserNS *cred.UserNamespace
	Limits Limits

	mem *mm.Memory
	mq  mqFS

	mu       sync.Mutex
	sems     table[*semSet]
	queues   table[*msgQueue]
	segments table[*segment]
	semCount int64  // semaphores in all sets
	shmPages uint64 // pages of all segments
}

// New returns an empty namespace. Shared memory comes from mem; reg is the sandbox's
// (without it there are no POSIX message queues).
func New(userNS *cred.UserNamespace, mem *mm.Memory, reg *vfs.Registry) *Namespace {
	ns := &Namespace{UserNS: userNS, mem: mem}
	l := &ns.Limits
	l.ShmMax.Store(1<<64 - 1 - 1<<24)
	l.ShmAll.Store(1<<64 - 1 - 1<<24)
	l.ShmMni.Store(4096)
	l.MsgMax.Store(8192)
	l.MsgMnb.Store(16384)
	l.MsgMni.Store(32000)
	l.SemMsl.Store(32000)
	l.SemMns.Store(1024000)
	l.SemOpm.Store(500)
	l.SemMni.Store(32000)
	l.MQQueues.Store(256)
	l.MQMessages.Store(10)
	l.MQMessageSize.Store(8192)
	l.MQMessagesDefault.Store(10)
	l.MQMessageSizeDefault.Store(8192)
	ns.mq.init(ns, reg)
	return ns
}

// Release drops everything: the last task of the namespace has gone. Segments that are
// still mapped last until they are not.
func (ns *Namespace) Release() {
	ns.mu.Lock()
	var sets []*semSet
	ns.sems.each(func(s *semSet) { sets = append(sets, s) })
	var queues []*msgQueue
	ns.queues.each(func(q *msgQueue) { queues = append(queues, q) })
	var segs []*segment
	ns.segments.each(func(s *segment) { segs = append(segs, s) })
	ns.mu.Unlock()
	for _, s := range sets {
		ns.removeSet(s)
	}
	for _, q := range queues {
		ns.removeQueue(q)
	}
	for _, s := range segs {
		ns.removeSegment(s)
	}
	ns.mq.release()
}

// pidMapper is a vfs.Context whose caller may be in a pid namespace of its own.
type pidMapper interface {
	LocalPID(initial int32) int32
}

func localPID(ctx vfs.Context, pid int32) int32 {
	if m, ok := ctx.(pidMapper); ok && pid != 0 {
		return m.LocalPID(pid)
	}
	return pid
}

func now() int64 { return time.Now().Unix() }

// perm is the owner and the rights of an object (Linux: struct kern_ipc_perm). Its fields
// but id are protected by the object's mu; key by the namespace's.
type perm struct {
	id         int32 // immutable
	key        int32
	uid, gid   uint32
	cuid, cgid uint32
	mode       uint32
}

// permDS is struct ipc64_perm.
type permDS struct {
	Key                  int32
	UID, GID, CUID, CGID uint32
	Mode                 uint32
	Seq                  uint16
	_                    uint16
	_                    uint32
	_, _                 uint64
}

func newPerm(ctx vfs.Context, key int32, flags int32) perm {
	c := ctx.Cred()
	return perm{key: key, uid: c.EUID, gid: c.EGID, cuid: c.EUID, cgid: c.EGID, mode: uint32(flags) & 0777}
}

func (p *perm) ds(ctx vfs.Context) permDS {
	ns := ctx.Cred().UserNS
	return permDS{
		Key: p.key, UID: ns.ShowUID(p.uid), GID: ns.ShowGID(p.gid), CUID: ns.ShowUID(p.cuid), CGID: ns.ShowGID(p.cgid),
		Mode: p.mode, Seq: uint16(p.id >> idShift),
	}
}

// check says whether the caller has the rights in want (a mode of which the classes are
// alike). Linux: ipcperms.
func (ns *Namespace) check(ctx vfs.Context, p *perm, want uint32) error {
	c := ctx.Cred()
	want = (want>>6 | want>>3 | want) & 7
	have := p.mode
	switch {
	case c.EUID == p.cuid || c.EUID == p.uid:
		have >>= 6
	case c.InEGroup(p.cgid) || c.InEGroup(p.gid):
		have >>= 3
	}
	if want&^have&7 != 0 && !c.HasIn(ns.UserNS, unix.CAP_IPC_OWNER) {
		return unix.EACCES
	}
	return nil
}

// checkOwner says whether the caller may change or remove the object.
func (ns *Namespace) checkOwner(ctx vfs.Context, p *perm) error {
	c := ctx.Cred()
	if c.EUID == p.cuid || c.EUID == p.uid || c.HasIn(ns.UserNS, unix.CAP_SYS_ADMIN) {
		return nil
	}
	return unix.EPERM
}

// set applies what IPC_SET may change.
func (p *perm) set(ctx vfs.Context, d *permDS) error {
	ns := ctx.Cred().UserNS
	uid, gid := ns.MapUIDToKernel(d.UID), ns.MapGIDToKernel(d.GID)
	if uid == cred.Invalid || gid == cred.Invalid {
		return unix.EINVAL
	}
	p.uid, p.gid = uid, gid
	p.mode = p.mode&^0777 | d.Mode&0777
	return nil
}

// object is what a table holds.
type object interface {
	comparable
	ipcPerm() *perm
}

// table is the objects of one kind. It is protected by Namespace.mu.
type table[T object] struct {
	slots []T
	keys  map[int32]T
	n     int
	seq   int32
	next  int // behind the place given out last
	want  nextID
}

// nextID is the id that the next object is to have, plus 1: 0 for any (/proc/sys/kernel/*_next_id,
// with which a container is restored).
type nextID int64

// add gives an object its id.
func (t *table[T]) add(o T) error {
	var none T
	i, seq, wanted := 0, t.seq, t.want != 0
	if wanted {
		id := int32(t.want - 1)
		i, seq, t.want = int(id&(maxIndex-1)), id>>idShift, 0
	}
	for i < len(t.slots) && t.slots[i] != none {
		i++
	}
	if i == maxIndex {
		return unix.ENOSPC
	}
	for i >= len(t.slots) {
		t.slots = append(t.slots, none)
	}
	if !wanted {
		if i < t.next {
			if seq++; seq > maxSeq {
				seq = 0
			}
		}
		t.seq, t.next = seq, i+1
	}
	p := o.ipcPerm()
	p.id = seq<<idShift | int32(i)
	t.slots[i] = o
	t.n++
	if p.key != ipcPrivate {
		if t.keys == nil {
			t.keys = make(map[int32]T)
		}
		t.keys[p.key] = o
	}
	return nil
}

// Kind is a kind of System V object.
type Kind int

const (
	Semaphores Kind = iota
	MessageQueues
	SharedMemory
)

// wanted is the next id of a kind. ns.mu is held.
func (ns *Namespace) wanted(k Kind) *nextID {
	switch k {
	case Semaphores:
		return &ns.sems.want
	case MessageQueues:
		return &ns.queues.want
	}
	return &ns.segments.want
}

// NextID is the id that the next object of a kind will have if it is free, -1 if nobody said so.
func (ns *Namespace) NextID(k Kind) int32 {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return int32(*ns.wanted(k) - 1)
}

// SetNextID says which id the next object of a kind is to have.
func (ns *Namespace) SetNextID(k Kind, id int32) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	*ns.wanted(k) = nextID(id) + 1
}

// byID finds an object by its id; EINVAL if there is none.
func (t *table[T]) byID(id int32) (o T, err error) {
	if id < 0 {
		return o, unix.EINVAL
	}
	i := int(id & (maxIndex - 1))
	var none T
	if i >= len(t.slots) || t.slots[i] == none {
		return o, unix.EINVAL
	}
	if t.slots[i].ipcPerm().id != id {
		return o, unix.EINVAL // Linux: EIDRM only for who was waiting
	}
	return t.slots[i], nil
}

// byIndex finds an object by its place, for *_STAT.
func (t *table[T]) byIndex(i int32) (o T, err error) {
	var none T
	if i < 0 || int(i&(maxIndex-1)) >= len(t.slots) || t.slots[i&(maxIndex-1)] == none {
		return o, unix.EINVAL
	}
	return t.slots[i&(maxIndex-1)], nil
}

// dropKey makes the key free; the object keeps its id.
func (t *table[T]) dropKey(o T) {
	p := o.ipcPerm()
	if p.key != ipcPrivate && t.keys[p.key] == o {
		delete(t.keys, p.key)
	}
	p.key = ipcPrivate
}

// remove takes an object out; false if it is not there any more.
func (t *table[T]) remove(o T) bool {
	i := int(o.ipcPerm().id & (maxIndex - 1))
	if i >= len(t.slots) || t.slots[i] != o {
		return false
	}
	if p := o.ipcPerm(); p.key != ipcPrivate && t.keys[p.key] == o {
		delete(t.keys, p.key)
	}
	var none T
	t.slots[i] = none
	t.n--
	return true
}

func (t *table[T]) each(f func(T)) {
	var none T
	for _, o := range t.slots {
		if o != none {
			f(o)
		}
	}
}

// maxUsed is the highest place in use; 0 also if there is none, as *_INFO reports.
func (t *table[T]) maxUsed() int {
	var none T
	for i := len(t.slots) - 1; i >= 0; i-- {
		if t.slots[i] != none {
			return i
		}
	}
	return 0
}

// get is the part that semget, msgget and shmget have in common. ns.mu is held.
func get[T object](ctx vfs.Context, ns *Namespace, t *table[T], key, flags int32, fits func(T) error, make func() (T, error)) (int32, error) {
	if key != ipcPrivate {
		if o, ok := t.keys[key]; ok {
			if flags&ipcCreat != 0 && flags&ipcExcl != 0 {
				return 0, unix.EEXIST
			}
			if err := fits(o); err != nil {
				return 0, err
			}
			if err := ns.check(ctx, o.ipcPerm(), uint32(flags)); err != nil {
				return 0, err
			}
			return o.ipcPerm().id, nil
		}
		if flags&ipcCreat == 0 {
			return 0, unix.ENOENT
		}
	}
	o, err := make()
	if err != nil {
		return 0, err
	}
	if err := t.add(o); err != nil {
		return 0, err
	}
	return o.ipcPerm().id, nil
}
