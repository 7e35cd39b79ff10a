// Timers, files, child processes, worker threads, streams and sockets by path, from Node.
const { execFile, spawn } = require('child_process');
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const crypto = require('crypto');
const fs = require('fs');
const net = require('net');
const zlib = require('zlib');
if (!isMainThread) {
  let n = 0;
  for (let i = 0; i < 100000; i++) n = (n + i * workerData) % 1000003;
  parentPort.postMessage([workerData, n]);
} else {
  (async () => {
    console.log('hello', [1, 2, 3].map(x => x * x), process.argv.slice(2));
    const order = [];
    setTimeout(() => order.push('timeout'), 10);
    setImmediate(() => order.push('immediate'));
    process.nextTick(() => order.push('tick'));
    await new Promise(r => setTimeout(r, 50));
    console.log(order);
    await fs.promises.mkdir('nd/sub', { recursive: true });
    await Promise.all([...Array(50).keys()].map(i => fs.promises.writeFile(`nd/${i}`, String(i))));
    const sum = (await Promise.all([...Array(50).keys()].map(i => fs.promises.readFile(`nd/${i}`, 'utf8')))).reduce((a, b) => a + Number(b), 0);
    console.log((await fs.promises.readdir('nd')).length, sum);
    console.log(await new Promise(r => execFile('sh', ['-c', 'echo child; exit 4'], (e, out) => r([e.code, out]))));
    const cat = spawn('cat');
    cat.stdin.end('x'.repeat(200000));
    let got = 0;
    cat.stdout.on('data', d => got += d.length);
    console.log(await new Promise(r => cat.on('close', c => r([c, got]))));
    const results = await Promise.all([1, 2, 3].map(n => new Promise((r, j) => { const w = new Worker(__filename, { workerData: n }); w.on('message', r); w.on('error', j); })));
    console.log(results);
    const server = net.createServer(s => s.on('data', d => s.write(d.toString().toUpperCase())));
    await new Promise(r => server.listen('nsock', r));
    console.log(await new Promise(r => { const c = net.connect('nsock', () => c.write('by path')); c.on('data', d => { r(d.toString()); c.end(); }); }));
    server.close();
    // Each reserves some gigabytes of addresses.
    const memories = [...Array(40).keys()].map(() => new WebAssembly.Memory({ initial: 1, maximum: 65536 }));
    console.log(memories.length, memories.every(m => m.buffer.byteLength === 65536));
    console.log(zlib.gunzipSync(zlib.gzipSync('z'.repeat(10000))).length, crypto.createHash('sha256').update('abc').digest('hex').slice(0, 16));
    process.on('SIGUSR2', () => { console.log('signal'); process.exit(11); });
    process.kill(process.pid, 'SIGUSR2');
    setTimeout(() => {}, 5000);
  })();
}
