# Threads, subprocesses, multiprocessing, asyncio, memory maps, signals and files, from Python.
import asyncio, concurrent.futures, ctypes, hashlib, json, mmap, multiprocessing as mp, os, pickle, queue, resource
import select, shutil, signal, socket, sqlite3, struct, subprocess, sys, tempfile, threading, time, zlib


def square(x):
    return x * x


def worker(q, out, lock, total):
    while True:
        v = q.get()
        if v is None:
            break
        with lock:
            total.value += v
        out.put(v * 2)


def threads():
    counts, lock, q = [0], threading.Lock(), queue.Queue()

    def add():
        for _ in range(2000):
            with lock:
                counts[0] += 1
        q.put(threading.current_thread().name)

    ts = [threading.Thread(target=add, name=f"t{i}") for i in range(8)]
    for t in ts:
        t.start()
    for t in ts:
        t.join()
    print("threads", counts[0], sorted(q.get() for _ in ts))
    e = threading.Event()
    print("event", e.wait(0.02))
    t = threading.Timer(0.02, e.set)
    t.start()
    print("event", e.wait(5))
    with concurrent.futures.ThreadPoolExecutor(4) as ex:
        print("pool", sum(ex.map(square, range(100))))


def subprocesses():
    print(subprocess.run(["sh", "-c", "echo out; echo err >&2; exit 3"], capture_output=True, text=True))
    p = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    print(p.communicate(b"x" * 300000)[0] == b"x" * 300000, p.returncode)
    try:
        subprocess.run(["sleep", "10"], timeout=0.1)
    except subprocess.TimeoutExpired as e:
        print("timed out", e.cmd)
    try:
        subprocess.run(["/no/such/thing"])
    except FileNotFoundError as e:
        print(e)
    p = subprocess.Popen(["sleep", "10"], start_new_session=True)
    p.send_signal(signal.SIGTERM)
    print("status", p.wait())
    print(subprocess.check_output("echo $A | tr a-z A-Z", shell=True, env={"A": "env", "PATH": os.environ["PATH"]}))


def processes():
    with mp.Pool(3) as pool:
        print("pool", pool.map(square, range(10)))
    q, out, lock, total = mp.Queue(), mp.Queue(), mp.Lock(), mp.Value("i", 0)
    ps = [mp.Process(target=worker, args=(q, out, lock, total)) for _ in range(3)]
    for p in ps:
        p.start()
    for i in range(30):
        q.put(i)
    for _ in ps:
        q.put(None)
    got = sorted(out.get() for _ in range(30))
    for p in ps:
        p.join()
    print("queue", sum(got), total.value, [p.exitcode for p in ps])
    a, b = mp.Pipe()
    p = mp.Process(target=lambda c: c.send({"pid differs": os.getpid() != os.getppid()}), args=(b,))
    p.start()
    print(a.recv())
    p.join()
    ctx = mp.get_context("spawn")
    with ctx.Pool(1) as pool:
        print("spawned", pool.apply(square, (12,)))


async def aio():
    async def tick(n):
        await asyncio.sleep(n / 100)
        return n

    print("gather", await asyncio.gather(*(tick(n) for n in (3, 1, 2))))
    p = await asyncio.create_subprocess_exec("sort", "-r", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    print("sorted", (await p.communicate(b"a\nb\nc\n"))[0])

    async def serve(r, w):
        while line := await r.readline():
            w.write(line.upper())
            await w.drain()
        w.close()

    server = await asyncio.start_unix_server(serve, "asock")

    async def client(i):
        r, w = await asyncio.open_unix_connection("asock")
        w.write(f"client {i}\n".encode())
        line = await r.readline()
        w.close()
        return line.decode().strip()

    print(sorted(await asyncio.gather(*(client(i) for i in range(10)))))
    server.close()
    try:
        await asyncio.wait_for(asyncio.sleep(10), 0.05)
    except asyncio.TimeoutError:
        print("timeout")
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, done.set)
    os.kill(os.getpid(), signal.SIGUSR1)
    await done.wait()
    print("in a thread", await loop.run_in_executor(None, square, 7))


def files():
    with open("f", "wb+") as f:
        f.write(b"0123456789" * 1000)
        f.flush()
        m = mmap.mmap(f.fileno(), 0)
        m[5:10] = b"HELLO"
        m.flush()
        f.seek(0)
        print(f.read(12), m.find(b"HELLO"), len(m))
        m.close()
    m = mmap.mmap(-1, 8192)
    if os.fork() == 0:
        m[0:5] = b"child"
        os._exit(0)
    os.wait()
    print(m[0:5])
    d = tempfile.mkdtemp(dir=".")
    for i in range(100):
        with open(f"{d}/{i}", "w") as f:
            f.write(str(i))
    print(len(os.listdir(d)), sum(int(open(f"{d}/{i}").read()) for i in range(100)))
    shutil.copytree(d, "copy")
    shutil.rmtree(d)
    print(sorted(e.name for e in os.scandir("copy"))[:3], os.path.exists(d))
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(w, b"from fork")
        os._exit(9)
    print(os.read(r, 100), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    a, b = socket.socketpair()
    socket.send_fds(a, [b"fd"], [r])
    print(socket.recv_fds(b, 10, 1)[0])
    p = select.poll()
    p.register(b, select.POLLIN)
    a.send(b"x")
    print(p.poll(1000)[0][1])
    os.makedirs("x/y/z")
    print([t[1] for t in os.walk("x")])
    os.symlink("y", "x/l")
    print(os.path.realpath("x/l/z") == os.path.realpath("x/y/z"), os.stat("x/y").st_nlink >= 1)


def misc():
    got = []
    signal.signal(signal.SIGALRM, lambda s, f: got.append(s))
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    while len(got) < 3:
        time.sleep(0.5)
    signal.setitimer(signal.ITIMER_REAL, 0)
    print("alarms", got[0])
    print(hashlib.sha256(b"x" * 10**6).hexdigest()[:16], zlib.crc32(b"hello"))
    db = sqlite3.connect("db")
    db.execute("create table t(a, b)")
    db.executemany("insert into t values (?, ?)", ((i, str(i)) for i in range(1000)))
    db.commit()
    print(db.execute("select sum(a), max(b) from t").fetchone())
    libc = ctypes.CDLL(None, use_errno=True)
    print(libc.getpid() == os.getpid(), libc.close(-1), os.strerror(ctypes.get_errno()))
    print(json.dumps({"b": [1, 2.5, None], "a": pickle.loads(pickle.dumps((1, "two")))}, sort_keys=True))
    print(struct.unpack("<IH", b"\1\0\0\0\2\0"), len(os.urandom(16)), os.cpu_count() > 0)
    t = time.monotonic()
    time.sleep(0.03)
    print(time.monotonic() - t >= 0.03, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 1000)
    big = bytearray(64 << 20)
    big[::4096] = b"\1" * (len(big) // 4096)
    print(sum(big[::1 << 20]))


if __name__ == "__main__":
    sys.setswitchinterval(0.0005)
    mp.set_start_method("fork")
    threads()
    subprocesses()
    processes()
    asyncio.run(aio())
    files()
    misc()
    sys.stdout.flush()
    sys.exit(17)
