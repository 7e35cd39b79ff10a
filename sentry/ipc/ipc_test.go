package ipc

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/mm/usermem"
	"gosv.dev/platform"
	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
)

// space shows nothing: these tests touch memory through mm only.
type space struct{}

func (space) Map(uint64, uint64, uint64, platform.Prot) error { return nil }
func (space) Unmap(uint64, uint64) error                      { return nil }
func (space) Protect(uint64, uint64, platform.Prot) error     { return nil }
func (space) After(f func())                                  { f() }
func (space) Sync() error                                     { return nil }
func (space) Mappings() int                                   { return 0 }
func (space) Release()                                        {}

type noPlatform struct{}

func (noPlatform) Name() string                                    { return "none" }
func (noPlatform) NewAddressSpace() (platform.AddressSpace, error) { return space{}, nil }
func (noPlatform) NewContext() platform.Context                    { return nil }
func (noPlatform) Range() (uint64, uint64)                         { return 0x10000, 0x7ffffffff000 }
func (noPlatform) Close() error                                    { return nil }

// task is a caller. Closing interrupt makes Block fail as a signal does.
type task struct {
	vfs.Context
	cred      *cred.Cred
	pid       int32
	mem       memory
	interrupt chan struct{}
}

func newTask(uid uint32, pid int32) *task {
	return &task{vfs.KernelContext(), cred.New(cred.InitUserNS(), uid, uid, nil), pid, make(memory, 4096), make(chan struct{})}
}

func (t *task) Cred() *cred.Cred       { return t.cred }
func (t *task) TGID() int32            { return t.pid }
func (t *task) Memory() usermem.Memory { return t.mem }
func (t *task) Limit(int) uint64       { return 819200 }

func (t *task) Block(ch <-chan struct{}, d time.Duration) error {
	var timer <-chan time.Time
	if d >= 0 {
		timer = time.After(d)
	}
	select {
	case <-ch:
		return nil
	case <-t.interrupt:
		return vfs.ErrRestartSys
	case <-timer:
		return unix.ETIMEDOUT
	}
}

type memory []byte

func (m memory) CopyIn(a usermem.Addr, b []byte) (int, error)  { return copy(b, m[a:]), nil }
func (m memory) CopyOut(a usermem.Addr, b []byte) (int, error) { return copy(m[a:], b), nil }

func newNS(t *testing.T) (*Namespace, *mm.Memory) {
	mem, err := mm.NewMemory(64 << 20)
	require.NoError(t, err)
	t.Cleanup(func() { mem.Close() })
	return New(cred.InitUserNS(), mem, vfs.NewRegistry()), mem
}

func TestKeysAndIDs(t *testing.T) {
	ns, _ := newNS(t)
	root, bob, eve := newTask(0, 1), newTask(1000, 2), newTask(1001, 3)
	_, err := ns.SemGet(bob, 77, 3, 0600)
	require.Equal(t, unix.ENOENT, err)
	id, err := ns.SemGet(bob, 77, 3, 0600|ipcCreat)
	require.NoError(t, err)
	again, err := ns.SemGet(bob, 77, 2, 0600)
	require.NoError(t, err)
	require.Equal(t, id, again)
	_, err = ns.SemGet(bob, 77, 4, 0600)
	require.Equal(t, unix.EINVAL, err)
	_, err = ns.SemGet(bob, 77, 3, 0600|ipcCreat|ipcExcl)
	require.Equal(t, unix.EEXIST, err)
	_, err = ns.SemGet(eve, 77, 3, 0600)
	require.Equal(t, unix.EACCES, err)
	_, err = ns.SemCtl(eve, id, 0, ipcRmid, 0)
	require.Equal(t, unix.EPERM, err)
	_, err = ns.SemCtl(root, id, 0, ipcRmid, 0)
	require.NoError(t, err)
	_, err = ns.SemCtl(bob, id, 0, semGetVal, 0)
	require.Equal(t, unix.EINVAL, err)
	next, err := ns.SemGet(bob, 77, 3, 0600|ipcCreat)
	require.NoError(t, err)
	require.NotEqual(t, id, next, "an id is not used again at once")
	require.Contains(t, string(ns.ProcSem(bob)), "        77      ")
}

func TestSemaphores(t *testing.T) {
	ns, _ := newNS(t)
	a, b := newTask(0, 1), newTask(0, 2)
	id, err := ns.SemGet(a, ipcPrivate, 2, 0600)
	require.NoError(t, err)
	op := func(c *task, u *UndoList, ops ...Sembuf) error { return ns.SemOp(c, u, id, ops, -1) }
	val := func(n int32) int64 {
		v, err := ns.SemCtl(a, id, n, semGetVal, 0)
		require.NoError(t, err)
		return v
	}
	require.Equal(t, unix.EAGAIN, op(a, nil, Sembuf{0, 1, 0}, Sembuf{1, -1, ipcNowait}))
	require.Zero(t, val(0), "all or nothing")
	require.Equal(t, unix.EFBIG, op(a, nil, Sembuf{2, 1, 0}))
	require.Equal(t, unix.ERANGE, op(a, nil, Sembuf{0, 32767, 0}, Sembuf{0, 1, 0}))
	require.Equal(t, unix.EAGAIN, ns.SemOp(a, nil, id, []Sembuf{{0, -1, 0}}, 5*time.Millisecond))

	done := make(chan error)
	go func() { done <- op(b, nil, Sembuf{0, -2, 0}, Sembuf{1, 3, 0}) }()
	require.Eventually(t, func() bool {
		n, _ := ns.SemCtl(a, id, 0, semGetNcnt, 0)
		return n == 1
	}, time.Second, time.Millisecond)
	require.NoError(t, op(a, nil, Sembuf{0, 1, 0}))
	require.NoError(t, op(a, nil, Sembuf{0, 2, 0}))
	require.NoError(t, <-done)
	require.Equal(t, []int64{1, 3}, []int64{val(0), val(1)})
	pid, _ := ns.SemCtl(a, id, 1, semGetPID, 0)
	require.EqualValues(t, 2, pid)

	// What an exiting process has taken comes back, and wakes.
	u := &UndoList{}
	require.NoError(t, op(b, u, Sembuf{0, -1, semUndo}))
	go func() { done <- op(a, nil, Sembuf{0, -1, 0}) }()
	time.Sleep(5 * time.Millisecond)
	u.Exit(b)
	require.NoError(t, <-done)
	require.Zero(t, val(0))

	go func() { done <- op(b, nil, Sembuf{0, -1, 0}) }()
	time.Sleep(5 * time.Millisecond)
	close(b.interrupt)
	require.Equal(t, unix.EINTR, <-done)
	go func() { done <- op(a, nil, Sembuf{0, -1, 0}) }()
	time.Sleep(5 * time.Millisecond)
	_, err = ns.SemCtl(a, id, 0, ipcRmid, 0)
	require.NoError(t, err)
	require.Equal(t, unix.EIDRM, <-done)
}

func TestMessages(t *testing.T) {
	ns, _ := newNS(t)
	a := newTask(0, 1)
	id, err := ns.MsgGet(a, ipcPrivate, 0600)
	require.NoError(t, err)
	for i, typ := range []int64{3, 1, 2, 1} {
		require.NoError(t, ns.MsgSnd(a, id, typ, []byte{byte(i)}, 0))
	}
	require.Equal(t, unix.EINVAL, ns.MsgSnd(a, id, 0, nil, 0))
	require.Equal(t, unix.EINVAL, ns.MsgSnd(a, id, 1, make([]byte, 8193), 0))
	rcv := func(size uint64, typ int64, flags int32) (int64, byte, error) {
		mt, d, err := ns.MsgRcv(a, id, size, typ, flags|ipcNowait)
		if err != nil || len(d) == 0 {
			return mt, 255, err
		}
		return mt, d[0], nil
	}
	for _, c := range []struct {
		size  uint64
		typ   int64
		flags int32
		mtype int64
		data  byte
		err   error
	}{
		{10, 2, msgCopy, 2, 2, nil},
		{10, 1, msgExcept, 3, 0, nil},
		{10, -2, 0, 1, 1, nil},
		{0, 2, 0, 0, 255, unix.E2BIG},
		{0, 2, msgNoError, 2, 255, nil},
		{10, 7, 0, 0, 255, unix.ENOMSG},
		{10, 0, 0, 1, 3, nil},
		{10, 0, 0, 0, 255, unix.ENOMSG},
	} {
		mt, d, err := rcv(c.size, c.typ, c.flags)
		require.Equal(t, c.err, err)
		if err == nil {
			require.Equal(t, c.mtype, mt)
			require.Equal(t, c.data, d)
		}
	}
	// A full queue makes senders wait.
	for range 2 {
		require.NoError(t, ns.MsgSnd(a, id, 1, make([]byte, 8192), ipcNowait))
	}
	require.Equal(t, unix.EAGAIN, ns.MsgSnd(a, id, 1, []byte("x"), ipcNowait))
	done := make(chan error)
	go func() { done <- ns.MsgSnd(newTask(0, 2), id, 5, []byte("x"), 0) }()
	_, _, err = ns.MsgRcv(a, id, 8192, 0, 0)
	require.NoError(t, err)
	require.NoError(t, <-done)
	_, d, err := ns.MsgRcv(a, id, 10, 5, 0)
	require.NoError(t, err)
	require.Equal(t, "x", string(d))
	go func() {
		_, _, err := ns.MsgRcv(newTask(0, 2), id, 10, 9, 0)
		done <- err
	}()
	time.Sleep(5 * time.Millisecond)
	_, err = ns.MsgCtl(a, id, ipcRmid, 0)
	require.NoError(t, err)
	require.Equal(t, unix.EIDRM, <-done)
}

func TestSharedMemory(t *testing.T) {
	ns, mem := newNS(t)
	a := newTask(0, 1)
	as, err := mm.NewAddressSpace(mem, noPlatform{})
	require.NoError(t, err)
	defer as.DecUsers()
	_, err = ns.ShmGet(a, ipcPrivate, 0, 0600)
	require.Equal(t, unix.EINVAL, err)
	id, err := ns.ShmGet(a, 5, 10000, 0600|ipcCreat)
	require.NoError(t, err)
	x, err := ns.ShmAt(a, as, id, 0, 0)
	require.NoError(t, err)
	y, err := ns.ShmAt(a, as, id, 0, shmReadOnly)
	require.NoError(t, err)
	_, err = as.CopyOut(x+9000, []byte("shared"))
	require.NoError(t, err)
	b := make([]byte, 6)
	_, err = as.CopyIn(y+9000, b)
	require.NoError(t, err)
	require.Equal(t, "shared", string(b))
	_, err = as.CopyOut(y, b)
	require.Equal(t, unix.EFAULT, err)
	_, err = ns.ShmAt(a, as, id, x+1, 0)
	require.Equal(t, unix.EINVAL, err)
	_, err = ns.ShmAt(a, as, id, x+1, shmRound)
	require.Equal(t, unix.EINVAL, err, "taken")

	var d shmDS
	stat := func() error {
		_, err := ns.ShmCtl(a, id, ipcStat, 0)
		copy(usermem.AsBytes(&d), a.mem)
		return err
	}
	require.NoError(t, stat())
	require.EqualValues(t, 2, d.Nattch)
	require.EqualValues(t, 10000, d.Size)
	forked, err := as.Fork()
	require.NoError(t, err)
	require.NoError(t, stat())
	require.EqualValues(t, 4, d.Nattch, "the copies count")
	forked.DecUsers()
	require.NoError(t, stat())
	require.EqualValues(t, 2, d.Nattch)
	require.Equal(t, unix.EINVAL, ns.ShmDt(as, x+4096))
	require.NoError(t, ns.ShmDt(as, x))
	require.Equal(t, unix.EINVAL, ns.ShmDt(as, x))
	_, err = ns.ShmCtl(a, id, ipcRmid, 0)
	require.NoError(t, err)
	require.NoError(t, stat())
	require.EqualValues(t, 0600|shmDest, d.Perm.Mode)
	require.EqualValues(t, 1, d.Nattch)
	_, err = ns.ShmGet(a, 5, 10000, 0600)
	require.Equal(t, unix.ENOENT, err)
	// A hole in the middle does not keep the rest from being detached.
	require.NoError(t, as.MUnmap(y+4096, 4096))
	require.NoError(t, ns.ShmDt(as, y))
	require.Equal(t, unix.EINVAL, stat())
	require.Zero(t, ns.shmPages)
}

func TestMQueue(t *testing.T) {
	ns, _ := newNS(t)
	bob, eve := newTask(1000, 7), newTask(1001, 8)
	_, err := ns.MQOpen(bob, "q", unix.O_RDWR, 0, nil)
	require.Equal(t, unix.ENOENT, err)
	for _, bad := range []MQAttr{{}, {MaxMsg: 11, MsgSize: 1}, {MaxMsg: 1, MsgSize: 8193}} {
		_, err = ns.MQOpen(bob, "q", unix.O_RDWR|unix.O_CREAT, 0600, &bad)
		require.Equal(t, unix.EINVAL, err)
	}
	f, err := ns.MQOpen(bob, "q", unix.O_RDWR|unix.O_CREAT|unix.O_NONBLOCK, 0600, &MQAttr{MaxMsg: 3, MsgSize: 10})
	require.NoError(t, err)
	_, err = ns.MQOpen(eve, "q", unix.O_RDONLY, 0, nil)
	require.Equal(t, unix.EACCES, err)
	_, err = ns.MQOpen(bob, "a/b", unix.O_RDONLY, 0, nil)
	require.Equal(t, unix.EACCES, err)
	q, err := MQOf(f)
	require.NoError(t, err)

	var told []int32
	n := &MQNotification{Owner: 7, Signo: 10, Deliver: func(pid int32, _ uint32) { told = append(told, pid) }}
	require.NoError(t, q.Notify(bob, n))
	require.Equal(t, unix.EBUSY, q.Notify(eve, n))
	send := func(s string, prio uint32) error { return q.Send(eve, f, []byte(s), prio, time.Time{}) }
	require.NoError(t, send("one", 1))
	require.NoError(t, send("two", 5))
	require.NoError(t, send("three", 1))
	require.Equal(t, []int32{8}, told)
	require.Equal(t, unix.EAGAIN, send("four", 9))
	require.Equal(t, unix.EMSGSIZE, send("longer than ten", 9))
	require.Equal(t, unix.EINVAL, send("", mqPrioMax))
	b := make([]byte, 200)
	v := usermem.Bytes(b)
	k, err := f.Read(bob, &v, 0)
	require.NoError(t, err)
	require.Equal(t, "QSIZE:11         NOTIFY:0     SIGNO:0     NOTIFY_PID:0     \n", string(b[:k]))
	_, _, err = q.Receive(bob, f, 9, time.Time{})
	require.Equal(t, unix.EMSGSIZE, err)
	for _, want := range []string{"two", "one", "three"} {
		d, _, err := q.Receive(bob, f, 10, time.Time{})
		require.NoError(t, err)
		require.Equal(t, want, string(d))
	}
	_, _, err = q.Receive(bob, f, 10, time.Time{})
	require.Equal(t, unix.EAGAIN, err)
	zero := int64(0)
	_, err = q.GetSetAttr(bob, f, &zero)
	require.NoError(t, err)
	_, _, err = q.Receive(bob, f, 10, time.Now().Add(10*time.Millisecond))
	require.Equal(t, unix.ETIMEDOUT, err)
	go func() {
		time.Sleep(5 * time.Millisecond)
		_ = send("late", 0)
	}()
	d, _, err := q.Receive(bob, f, 10, time.Time{})
	require.NoError(t, err)
	require.Equal(t, "late", string(d))

	require.Equal(t, unix.EPERM, ns.MQUnlink(eve, "q"), "the directory is sticky")
	require.NoError(t, ns.MQUnlink(bob, "q"))
	require.Equal(t, unix.ENOENT, ns.MQUnlink(bob, "q"))
	require.NotEmpty(t, ns.mq.bytes)
	f.DecRef()
	require.Empty(t, ns.mq.bytes)
	// Without attributes: the defaults, and no more than RLIMIT_MSGQUEUE allows.
	var files []*vfs.File
	for err = nil; err == nil; {
		f, err = ns.MQOpen(bob, string(rune('a'+len(files))), unix.O_RDWR|unix.O_CREAT, 0600, nil)
		if err == nil {
			files = append(files, f)
		}
	}
	require.Equal(t, unix.EMFILE, err)
	require.Len(t, files, 9)
	for _, f := range files {
		f.DecRef()
	}
	ns.Release()
}

func TestNextID(t *testing.T) {
	ns, _ := newNS(t)
	c := newTask(0, 1)
	require.EqualValues(t, -1, ns.NextID(SharedMemory))
	ns.SetNextID(SharedMemory, 7<<idShift|20)
	require.EqualValues(t, 7<<idShift|20, ns.NextID(SharedMemory))
	require.EqualValues(t, -1, ns.NextID(MessageQueues))
	id, err := ns.ShmGet(c, ipcPrivate, 1, 0600)
	require.NoError(t, err)
	require.EqualValues(t, 7<<idShift|20, id)
	require.EqualValues(t, -1, ns.NextID(SharedMemory), "it counts once")

	// A place that is taken: the next one, with the sequence number that was asked for.
	ns.SetNextID(SharedMemory, 9<<idShift|20)
	id, err = ns.ShmGet(c, ipcPrivate, 1, 0600)
	require.NoError(t, err)
	require.EqualValues(t, 9<<idShift|21, id)
	id, err = ns.ShmGet(c, ipcPrivate, 1, 0600)
	require.NoError(t, err)
	require.EqualValues(t, 0, id, "others are not moved by it")

	ns.SetNextID(Semaphores, 1<<31-1)
	id, err = ns.SemGet(c, ipcPrivate, 1, 0600)
	require.NoError(t, err)
	require.EqualValues(t, 1<<31-1, id)
	ns.SetNextID(Semaphores, 1<<31-1)
	_, err = ns.SemGet(c, ipcPrivate, 1, 0600)
	require.Equal(t, unix.ENOSPC, err)
}
