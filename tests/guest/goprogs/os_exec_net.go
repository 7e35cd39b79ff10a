//go:build ignore

// os/exec with pipes and contexts, the unix network, file system walks and temporary files, from Go.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

func must[T any](v T, err error) T {
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	return v
}

func main() {
	out := must(exec.Command("sh", "-c", "echo $0 $1; exit 0", "a", "b").Output())
	fmt.Printf("%q\n", out)
	err := exec.Command("sh", "-c", "exit 3").Run()
	fmt.Println(err)
	fmt.Println(exec.Command("no-such-command").Run())
	cat := exec.Command("tr", "a-z", "A-Z")
	cat.Stdin = strings.NewReader("from a reader")
	fmt.Printf("%s\n", must(cat.CombinedOutput()))
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	err = exec.CommandContext(ctx, "sleep", "10").Run()
	fmt.Println(err, ctx.Err())
	var wg sync.WaitGroup
	results := make([]string, 10)
	for i := range results {
		wg.Go(func() {
			b, _ := exec.Command("echo", fmt.Sprint(i)).Output()
			results[i] = strings.TrimSpace(string(b))
		})
	}
	wg.Wait()
	fmt.Println(results)

	l := must(net.Listen("unix", "sock"))
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go io.Copy(c, c)
		}
	}()
	for i := range 3 {
		c := must(net.Dial("unix", "sock"))
		fmt.Fprintf(c, "message %d\n", i)
		fmt.Print(must(bufio.NewReader(c).ReadString('\n')))
		c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		_, err := c.Read(make([]byte, 1))
		fmt.Println(errors.Is(err, os.ErrDeadlineExceeded))
		c.Close()
	}
	l.Close()
	_, err = os.Stat("sock")
	fmt.Println("socket removed:", errors.Is(err, fs.ErrNotExist))
	a := must(net.ListenPacket("unixgram", "gram"))
	b := must(net.DialUnix("unixgram", nil, &net.UnixAddr{Name: "gram", Net: "unixgram"}))
	b.Write([]byte("datagram"))
	buf := make([]byte, 32)
	n, _, err := a.ReadFrom(buf)
	fmt.Println(string(buf[:n]), err)

	for i := range 20 {
		os.MkdirAll(fmt.Sprintf("tree/%d/%d", i%4, i), 0o755)
		os.WriteFile(fmt.Sprintf("tree/%d/%d/file", i%4, i), []byte(fmt.Sprint(i)), 0o600)
	}
	files, dirs := 0, 0
	filepath.WalkDir("tree", func(p string, d fs.DirEntry, err error) error {
		if d.IsDir() {
			dirs++
		} else {
			files++
		}
		return err
	})
	fmt.Println("files", files, "directories", dirs)
	fmt.Println(os.RemoveAll("tree"), must(os.ReadDir(".")))
	r, w := must2(os.Pipe())
	go func() { time.Sleep(10 * time.Millisecond); w.Write([]byte("x")); w.Close() }()
	data := must(io.ReadAll(r))
	fmt.Println(string(data))
	root := must(os.OpenRoot("."))
	_, err = root.Open("../etc/passwd")
	fmt.Println("escape refused:", err != nil)
	p := must(os.StartProcess("/bin/sh", []string{"sh", "-c", "kill -9 $$"}, &os.ProcAttr{}))
	st := must(p.Wait())
	fmt.Println(st)
	os.Exit(42)
}

func must2(r, w *os.File, err error) (*os.File, *os.File) {
	must(0, err)
	return r, w
}
