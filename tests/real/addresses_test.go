package real

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gosv.dev/tests/harness"
)

// Programs that are particular about addresses: they have tables of all memory at fixed places, look where the host puts them, were built for one
// address, or run the text of another program by reading it.

const counting = `#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
static void *count(void *arg) {
	long *sum = malloc(100 * sizeof *sum);
	for (int i = 0; i < 100; i++)
		sum[i] = i ? sum[i - 1] + i : 0;
	long r = sum[99];
	free(sum);
	return (void *)r;
}
int main(int argc, char **argv) {
	pthread_t t[8];
	long sum = 0;
	for (int i = 0; i < 8; i++)
		pthread_create(&t[i], NULL, count, NULL);
	for (int i = 0; i < 8; i++) {
		void *r;
		pthread_join(t[i], &r);
		sum += (long)r;
	}
	char *p = malloc(8);
	if (argc > 1)
		p[8] = 1;
	free(p);
	printf("%ld\n", sum);
	return 0;
}
`

// countingIn writes the program to a directory.
func countingIn(t *testing.T, uid int) func(dir string) {
	return func(dir string) {
		write(t, dir+"/counting.c", counting)
		own(dir, uid)
	}
}

func TestSanitizers(t *testing.T) {
	harness.Tool(t, "gcc")
	script := `
for s in address thread undefined leak; do
	gcc -g -fsanitize=$s -pthread counting.c -o $s
	./$s
done
./address x 2>&1 | grep -o 'heap-buffer-overflow on' || true
./thread & ./thread
wait`
	each(t, func(t *testing.T, uid int) {
		harness.SameAsNative(t, harness.Command{Args: shell(script), UID: uid, Timeout: 2 * time.Minute}, countingIn(t, uid))
	})
}

func TestValgrind(t *testing.T) {
	harness.Tool(t, "valgrind")
	// Twice, and after a compiler, so that where programs call is known; each time valgrind reads all of it.
	script := `
gcc -g -pthread counting.c -o counting
for i in 1 2; do valgrind -q ./counting; done
valgrind -q --error-exitcode=7 ./counting x 2>errors || echo $?
grep -c 'Invalid write of size 1' errors
valgrind -q --tool=none sh -c 'ls / >/dev/null && echo shell | cat'`
	each(t, func(t *testing.T, uid int) {
		harness.SameAsNative(t, harness.Command{Args: shell(script), UID: uid, Timeout: 3 * time.Minute}, countingIn(t, uid))
	})
}

func TestSBCL(t *testing.T) {
	sbcl := harness.Tool(t, "sbcl")
	script := `(defun fib (n) (if (< n 2) n (+ (fib (- n 1)) (fib (- n 2)))))
(format t "~a~%" (fib 22))
(gc :full t)
(format t "~a~%" (length (loop for i below 100000 collect i)))
(handler-case (error "x") (error () (format t "an error~%")))
`
	each(t, func(t *testing.T, uid int) {
		// Two at a time want the same addresses.
		harness.SameAsNative(t, harness.Command{Args: shell(strings.ReplaceAll("SBCL --script p.lisp >1 & SBCL --script p.lisp >2; wait; cat 1 2", "SBCL", sbcl)), UID: uid, Timeout: 2 * time.Minute}, func(dir string) {
			write(t, dir+"/p.lisp", script)
			own(dir, uid)
		})
	})
}

func TestGoRace(t *testing.T) {
	goTool := harness.Tool(t, "go")
	dir := harness.Out(t, "race")
	write(t, dir+"/go.mod", "module race\n\ngo 1.24\n")
	write(t, dir+"/main.go", `package main

import (
	"fmt"
	"os"
	"sync"
)

func main() {
	var wg sync.WaitGroup
	var mu sync.Mutex
	n := 0
	for range 10 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 1000 {
				mu.Lock()
				n++
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	fmt.Println(n)
	if len(os.Args) > 1 {
		done := make(chan bool)
		go func() { n++; done <- true }()
		n++
		<-done
	}
}
`)
	bin := filepath.Join(dir, "race")
	cmd := exec.Command(goTool, "build", "-race", "-o", bin, ".")
	cmd.Dir = dir
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build -race: %v\n%s", err, msg)
	}
	// A program with AddressSanitizer has the first 16 TiB, where the race detector must have the heap.
	address := filepath.Join(harness.Out(t, "race-beside"), "address")
	write(t, address+".c", "#include <unistd.h>\nint main(void) { return pause(); }\n")
	if msg, err := exec.Command(harness.Tool(t, "gcc"), "-fsanitize=address", "-o", address, address+".c").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, msg)
	}
	script := strings.NewReplacer("BIN", bin, "ADDRESS", address).Replace(`BIN & BIN
wait
ADDRESS & sleep 0.5; BIN
kill $! ; wait || true
BIN x 2>races || echo $?
grep -c 'DATA RACE' races`)
	each(t, func(t *testing.T, uid int) {
		harness.SameAsNative(t, harness.Command{Args: shell(script), UID: uid, Timeout: 2 * time.Minute}, nil)
	})
}
