// Package real runs real programs natively and in the sandbox, as root and as an ordinary user, and asks for equal
// output: shells, interpreters, compilers, archivers, databases and virtual machines.
package real

import (
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gosv.dev/tests/harness"
)

const nobody = 65534

func TestMain(m *testing.M) { harness.Main(m) }

// testdata is where everyone can read the scripts.
func testdata(t *testing.T) string {
	dir := harness.Out(t, "real-testdata")
	entries, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join("testdata", e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, e.Name())
		if old, err := os.ReadFile(to); err == nil && string(old) == string(data) {
			continue
		}
		temp := fmt.Sprintf("%s.%d", to, os.Getpid())
		if err := os.WriteFile(temp, data, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(temp, to); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// each runs a test as root and as an ordinary user, or as the only user that there is.
func each(t *testing.T, f func(t *testing.T, uid int)) {
	if os.Getuid() != 0 {
		f(t, os.Getuid())
		return
	}
	t.Run("root", func(t *testing.T) { f(t, 0) })
	t.Run("nobody", func(t *testing.T) { f(t, nobody) })
}

// own gives what prepare made to the user.
func own(dir string, uid int) {
	if uid == 0 || uid == os.Getuid() {
		return
	}
	filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err == nil {
			os.Lchown(path, uid, uid)
		}
		return nil
	})
}

// write makes a file, and the directories it lies in.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// shell is a command that runs a script with sh -e.
func shell(script string) []string { return []string{"/bin/sh", "-ec", script} }

func TestBash(t *testing.T) {
	bash := harness.Tool(t, "bash")
	data := testdata(t)
	each(t, func(t *testing.T, uid int) {
		harness.SameAsNative(t, harness.Command{Args: []string{bash, data + "/script.sh"}, UID: uid, Timeout: 60 * time.Second}, nil)
	})
}

func TestPython(t *testing.T) {
	harness.Tool(t, "/usr/bin/python3")
	data := testdata(t)
	each(t, func(t *testing.T, uid int) {
		harness.SameAsNative(t, harness.Command{Args: []string{"/usr/bin/python3", data + "/script.py"}, UID: uid, Timeout: 90 * time.Second}, nil)
	})
}

func TestPerl(t *testing.T) {
	perl := harness.Tool(t, "perl")
	data := testdata(t)
	each(t, func(t *testing.T, uid int) {
		harness.SameAsNative(t, harness.Command{Args: []string{perl, data + "/script.pl"}, UID: uid, Timeout: 60 * time.Second}, nil)
	})
}

func TestNode(t *testing.T) {
	node := harness.Tool(t, "node")
	data := testdata(t)
	each(t, func(t *testing.T, uid int) {
		harness.SameAsNative(t, harness.Command{Args: []string{node, data + "/script.js", "x"}, UID: uid, Timeout: 90 * time.Second}, nil)
	})
}

func TestJava(t *testing.T) {
	java := harness.Tool(t, "java")
	data := testdata(t)
	classes := filepath.Join(data, "classes")
	if _, err := os.Stat(filepath.Join(classes, "Hello.class")); err != nil {
		if msg, err := exec.Command(harness.Tool(t, "javac"), "-d", classes, filepath.Join(data, "Hello.java")).CombinedOutput(); err != nil {
			t.Fatalf("javac: %v\n%s", err, msg)
		}
	}
	each(t, func(t *testing.T, uid int) {
		harness.SameAsNative(t, harness.Command{Args: []string{java, "-XX:-UsePerfData", "-cp", classes, "Hello", "a", "b"}, UID: uid, Timeout: 90 * time.Second}, nil)
	})
}

func TestBusybox(t *testing.T) {
	busybox := harness.Tool(t, "busybox")
	script := `
bb=` + busybox + `
$bb uname -s; $bb id -u; $bb pwd | $bb wc -l
$bb seq 1 20 | $bb grep 1 | $bb sed 's/^/x/' | $bb sort -r | $bb head -n 4
$bb mkdir -p a/b/c; $bb touch a/1 a/b/2; $bb find a | $bb sort
$bb printf '%s\n' one two three | $bb awk '{ print NR, $1 }'
$bb dd if=/dev/zero of=z bs=1024 count=100 2>/dev/null; $bb ls -l z | $bb awk '{ print $5 }'; $bb md5sum z
$bb tar cf t.tar a; $bb tar tf t.tar | $bb sort; $bb gzip -c t.tar | $bb gunzip -c | $bb cmp - t.tar && echo same
$bb ash -c 'trap "echo trapped" TERM; kill $$; for i in 1 2; do echo $i; done | (read a; echo $a)'
$bb sleep 0.1 & wait $!; echo $?
$bb ps >/dev/null && $bb free >/dev/null && $bb df . >/dev/null && echo readable
$bb vi -h >/dev/null 2>&1; $bb cp -r a d; $bb diff -r a d && echo equal; $bb rm -r a d; $bb ls
$bb expr 6 \* 7; $bb date -u -d @0 +%Y; $bb stat -c %a z; $bb chmod 600 z; $bb stat -c %a z
$bb timeout 1 $bb sleep 5; echo $?
exec $bb sh -c 'exit 19'`
	each(t, func(t *testing.T, uid int) {
		harness.SameAsNative(t, harness.Command{Args: []string{busybox, "sh", "-c", script}, UID: uid}, nil)
	})
}

func TestGCC(t *testing.T) {
	harness.Tool(t, "gcc")
	each(t, func(t *testing.T, uid int) {
		harness.SameAsNative(t, harness.Command{
			Args: shell(`
gcc -O2 -Wall -c a.c && gcc -O2 -Wall -c b.c && gcc a.o b.o -o prog -lm -pthread
./prog
gcc -shared -fPIC -o libb.so b.c && gcc a.c -L. -lb -lm -pthread -Wl,-rpath,. -o dyn && ./dyn
gcc -static a.c b.c -o st -lm && ./st
gcc -S -O1 a.c -o - | grep -c main
gcc broken.c 2>&1 | grep -c error || true
sha256sum a.o b.o | cut -c1-16`),
			UID: uid, Timeout: 120 * time.Second,
		}, func(dir string) {
			write(t, dir+"/a.c", "#include <math.h>\n#include <stdio.h>\nint b(int);\nint main(void) { printf(\"%d %.3f\\n\", b(20), sqrt(2)); return 0; }\n")
			write(t, dir+"/b.c", "int b(int n) { return n < 2 ? n : b(n - 1) + b(n - 2); }\n")
			write(t, dir+"/broken.c", "int main(void) { return undeclared; }\n")
			own(dir, uid)
		})
	})
}

func TestMake(t *testing.T) {
	harness.Tool(t, "make")
	harness.Tool(t, "gcc")
	const files = 50
	each(t, func(t *testing.T, uid int) {
		harness.SameAsNative(t, harness.Command{
			Args: shell("make -j4 >log 2>&1 || { cat log; exit 1; }\nsort log\n./prog\nmake -j4\ntouch f7.c\nmake -j4 | sort\nmake clean | wc -w\nls"),
			UID:  uid, Timeout: 180 * time.Second,
		}, func(dir string) {
			var decl, sum strings.Builder
			for i := range files {
				write(t, fmt.Sprintf("%s/f%d.c", dir, i), fmt.Sprintf("#include \"all.h\"\nint f%d(int x)\n{\n\tfor (int i = 0; i < %d; i++)\n\t\tx = x * 31 + i;\n\treturn x;\n}\n", i, i+1))
				fmt.Fprintf(&decl, "int f%d(int);\n", i)
				fmt.Fprintf(&sum, "\tx ^= f%d(x);\n", i)
			}
			write(t, dir+"/all.h", decl.String())
			write(t, dir+"/main.c", "#include \"all.h\"\n#include <stdio.h>\nint main(void)\n{\n\tint x = 1;\n"+sum.String()+"\tprintf(\"%d\\n\", x);\n\treturn 0;\n}\n")
			write(t, dir+"/Makefile", "OBJ := $(patsubst %.c,%.o,$(wildcard *.c))\nprog: $(OBJ)\n\t$(CC) -o $@ $(sort $^)\n%.o: %.c all.h\n\t$(CC) -O1 -c $<\nclean:\n\trm -f prog $(OBJ)\n")
			// Sources older than what is built of them, whatever the clock's granularity.
			past := time.Now().Add(-time.Hour)
			all, _ := os.ReadDir(dir)
			for _, e := range all {
				os.Chtimes(filepath.Join(dir, e.Name()), past, past)
			}
			own(dir, uid)
		})
	})
}

// tree fills a directory with n small files of text, the same every time.
func tree(t *testing.T, dir string, n int) {
	t.Helper()
	r := rand.New(rand.NewSource(1))
	words := []string{"alpha", "beta", "gamma", "delta", "epsilon", "zeta"}
	for i := range n {
		var b strings.Builder
		for range 3 + r.Intn(20) {
			b.WriteString(words[r.Intn(len(words))])
			b.WriteByte(" \n"[r.Intn(2)])
		}
		write(t, fmt.Sprintf("%s/%02d/%d.txt", dir, i%100, i), b.String())
	}
}

func TestGit(t *testing.T) {
	harness.Tool(t, "git")
	script := `
git init -q -b main repo && cd repo
git config user.name Tester; git config user.email t@example.com; git config pack.threads 1; git config gc.auto 0; git config core.fsync none
cp -r ../src/. .
git add -A && git commit -q -m "first of $(git ls-files | wc -l) files"
for i in 1 2 3; do echo "change $i" >>00/0.txt; GIT_COMMITTER_DATE="$((1700000000 + i)) +0000" git commit -q -am "change $i"; done
git checkout -q -b side HEAD~2 && git rm -q -r 01 && git commit -q -m "removal"
git checkout -q main && git merge -q -m merged side
git log --graph --format='%h %s' | cat
git diff --stat HEAD~1 | tail -1
git gc -q --prune=now
git fsck --no-progress && git count-objects -v | grep -E '^(count|in-pack|packs)'
git status --short | wc -l
cd .. && git clone -q repo copy && git -C copy rev-parse HEAD
git -C repo bundle create -q ../b.bundle main && git -C copy bundle verify -q ../b.bundle && git -C copy grep -c zeta | wc -l
git -C copy stash list; git -C repo archive main | tar tf - | wc -l`
	each(t, func(t *testing.T, uid int) {
		command := harness.Command{
			Args: shell(script), UID: uid, Timeout: 240 * time.Second,
			Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C", "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "GIT_PAGER=cat",
				"GIT_AUTHOR_DATE=1700000000 +0000", "GIT_COMMITTER_DATE=1700000000 +0000"},
		}
		harness.SameAsNative(t, command, func(dir string) {
			tree(t, dir+"/src", 1000)
			own(dir, uid)
		})
	})
}

func TestArchives(t *testing.T) {
	for _, tool := range []string{"tar", "gzip", "find", "sort"} {
		harness.Tool(t, tool)
	}
	script := `
export LC_ALL=C
find src -type f | wc -l
find src -type f -name '*7.txt' | sort | sha256sum
tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf - src | gzip -n >a.tgz
gzip -dc a.tgz | sha256sum
mkdir x && tar -xzf a.tgz -C x
diff -r src x/src && echo same
find x -type f -print0 | xargs -0 -P 4 -n 500 cat | tr ' ' '\n' | sort | uniq -c | sort -rn
find x -name '*3.txt' -delete; find x -type f | wc -l
find src -type f -size +100c | sort | sort -t/ -k3 -n | tail -3
du --apparent-size -s x/src/00 >/dev/null && ls -1 x/src | wc -l
rm -r x && ls`
	files := 10000
	each(t, func(t *testing.T, uid int) {
		harness.SameAsNative(t, harness.Command{Args: shell(script), UID: uid, Timeout: 300 * time.Second}, func(dir string) {
			tree(t, dir+"/src", files)
			own(dir, uid)
		})
	})
}

func TestSQLite(t *testing.T) {
	sqlite := harness.Tool(t, "sqlite3")
	script := `
db() { ` + sqlite + ` -cmd ".timeout 20000" test.db "$1"; }
db "pragma journal_mode=wal; create table t(id integer primary key, who text, v int); create index i on t(v);"
db "with recursive n(x) as (select 1 union all select x + 1 from n where x < 5000) insert into t(who, v) select 'bulk', x * 7 % 1009 from n;"
for who in a b c; do (for k in 1 2 3 4 5 6 7 8; do db "insert into t(who, v) values ('$who', $k);"; done) & done
wait
db "select who, count(*), sum(v) from t group by who order by who; pragma integrity_check;"
db "begin; delete from t where v % 2; select count(*) from t; rollback; select count(*) from t;"
db "pragma wal_checkpoint(truncate); vacuum; select 'vacuumed';"
db "select v, count(*) from t group by v order by 2 desc, 1 limit 3; explain query plan select * from t where v = 5;"
db "select who, v from t order by 1, 2" | sha256sum
db "pragma journal_mode=delete;"
ls`
	each(t, func(t *testing.T, uid int) {
		harness.SameAsNative(t, harness.Command{Args: shell(script), UID: uid, Timeout: 90 * time.Second}, nil)
	})
}

func TestGoBuild(t *testing.T) {
	goTool := harness.Tool(t, "go")
	root, err := exec.Command(goTool, "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	goTool = filepath.Join(strings.TrimSpace(string(root)), "bin", "go")
	source := "package main\n\nimport (\n\t\"fmt\"\n\t\"os\"\n)\n\nfunc main() {\n\tfmt.Println(\"hello from go\", len(os.Args))\n\tos.Exit(23)\n}\n"
	each(t, func(t *testing.T, uid int) {
		// The standard library is built once, natively, so that the test is about a program and not about the library.
		cache := harness.Out(t, fmt.Sprintf("gocache-%d", uid))
		own(cache, uid)
		env := []string{"PATH=/usr/local/bin:/usr/bin:/bin", "GOCACHE=" + cache, "GOPATH=/nonexistent", "GOTOOLCHAIN=local", "CGO_ENABLED=0", "GOFLAGS=-mod=mod", "HOME=/nonexistent", "GOTELEMETRY=off"}
		files := func(dir string) {
			write(t, dir+"/go.mod", "module hello\n\ngo 1.24\n")
			write(t, dir+"/main.go", source)
			own(dir, uid)
		}
		warm := harness.Dir(t, uid)
		files(warm)
		if r := (harness.Command{Args: []string{goTool, "build", "-o", "warm", "."}, Dir: warm, UID: uid, Env: env, Timeout: 5 * time.Minute}).Run(t); r.Status != 0 {
			t.Fatalf("go build: %s%s", r, r.Stderr)
		}
		source = strings.Replace(source, "hello", "hello again", 1)
		harness.SameAsNative(t, harness.Command{
			Args: shell(goTool + " build -o hello . && " + goTool + " vet . && ./hello a b"),
			UID:  uid, Env: env, Timeout: 5 * time.Minute,
		}, files)
	})
}

func TestDebuggers(t *testing.T) {
	harness.Tool(t, "strace")
	harness.Tool(t, "gdb")
	script := `
gcc -g -O0 p.c -o p
strace -f -e trace=write,getppid -o trace ./p && grep -c 'write(1' trace && grep -c getppid trace && grep -c 'exited with 3' trace
gdb -nx -batch -ex 'break mark' -ex run -ex bt -ex 'print value' -ex 'set var value = 5' -ex finish -ex continue ./p 2>/dev/null | grep -E 'mark|\$|exited|value is' | sed 's/0x[0-9a-f]*/ADDR/g; s/process [0-9]*/process N/'`
	each(t, func(t *testing.T, uid int) {
		harness.SameAsNative(t, harness.Command{Args: shell(script), UID: uid, Timeout: 90 * time.Second}, func(dir string) {
			write(t, dir+"/p.c", `#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
int value = 42;
int mark(int x) { return x + value; }
int main(void) {
	getppid();
	int r = mark(1);
	printf("value is %d\n", r);
	fflush(stdout);
	if (fork() == 0) {
		puts("child");
		fflush(stdout);
		_exit(3);
	}
	wait(NULL);
	return 0;
}
`)
			own(dir, uid)
		})
	})
}
