//go:build ignore

// Goroutines on many threads, nil dereferences that become panics, signals through os/signal, and timers.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"
)

type node struct {
	pad  [100]byte
	next *node
}

func nilPanics() (n int) {
	for range 100 {
		func() {
			defer func() {
				var re runtime.Error
				if err, ok := recover().(error); ok && errors.As(err, &re) {
					n++
				}
			}()
			var p *node
			fmt.Println(p.next.next)
		}()
	}
	return
}

func main() {
	runtime.GOMAXPROCS(4)
	var wg sync.WaitGroup
	var mu sync.Mutex
	sum := 0
	for i := range 500 {
		wg.Go(func() {
			for range 10 {
				runtime.Gosched()
			}
			mu.Lock()
			sum += i
			mu.Unlock()
		})
	}
	wg.Wait()
	fmt.Println("sum", sum)
	fmt.Println("nil dereferences", nilPanics())

	// Busy goroutines are preempted by signals; the collector stops them all.
	stop := make(chan bool)
	for range 3 {
		go func() {
			x := 1
			for {
				x *= 3
				if x == 0 {
					close(stop)
				}
			}
		}()
	}
	for range 5 {
		runtime.GC()
	}
	fmt.Println("collected")

	c := make(chan os.Signal, 10)
	signal.Notify(c, syscall.SIGUSR1, syscall.SIGHUP)
	syscall.Kill(os.Getpid(), syscall.SIGUSR1)
	fmt.Println("signal", <-c)
	syscall.Kill(os.Getpid(), syscall.SIGHUP)
	fmt.Println("signal", <-c)
	signal.Ignore(syscall.SIGUSR1)
	syscall.Kill(os.Getpid(), syscall.SIGUSR1)
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	syscall.Kill(os.Getpid(), syscall.SIGTERM)
	<-ctx.Done()
	cancel()
	fmt.Println("context", ctx.Err())

	tick := time.NewTicker(5 * time.Millisecond)
	for range 3 {
		<-tick.C
	}
	tick.Stop()
	start := time.Now()
	time.Sleep(20 * time.Millisecond)
	fmt.Println("slept", time.Since(start) >= 20*time.Millisecond)
	select {
	case <-time.After(10 * time.Millisecond):
		fmt.Println("timed out")
	case <-stop:
	}
	defer func() {
		fmt.Println("recovered:", recover())
		var m map[string]int
		m["unrecovered"] = 1 // exit status 2
	}()
	panic("deliberate")
}
