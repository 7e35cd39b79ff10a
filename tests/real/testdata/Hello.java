import java.util.*;
import java.util.concurrent.*;
public class Hello {
    public static void main(String[] a) throws Exception {
        System.out.println("hello from java " + String.join(",", a));
        ExecutorService e = Executors.newFixedThreadPool(4);
        List<Future<Long>> l = new ArrayList<>();
        for (int i = 0; i < 8; i++) {
            final int k = i;
            l.add(e.submit(new Callable<Long>() { public Long call() { long s = 0; for (int j = 0; j < 200000; j++) s += j % (k + 1); return s; } }));
        }
        long t = 0;
        for (Future<Long> f : l) t += f.get();
        e.shutdown();
        System.out.println(t);
        try { Object o = null; o.hashCode(); } catch (NullPointerException x) { System.out.println("null pointer caught"); }
        byte[][] b = new byte[100][];
        for (int i = 0; i < 1000; i++) b[i % 100] = new byte[100000];
        System.gc();
        Process p = new ProcessBuilder("echo", "from a child").redirectErrorStream(true).start();
        System.out.println(new Scanner(p.getInputStream()).nextLine() + " " + p.waitFor());
        System.exit(7);
    }
}
