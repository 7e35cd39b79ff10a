// Package hostcpu reads what the host tells of its processors. Guest code runs on them, so guests are told the
// same. CPU is the description of one processor.
//
// It reads files of the host, and so has to do so before the sentry confines itself.
package hostcpu

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// CPU describes the host's first processor; the others are taken to be like it.
type CPU struct {
	// Info are the lines of /proc/cpuinfo, in order. The key has its tabs: "vendor_id\t".
	Info []Line
	// Caches are its caches as sysfs has them.
	Caches []Cache
	// Vulnerabilities are the files of /sys/devices/system/cpu/vulnerabilities.
	Vulnerabilities []Line
	// Speculation are the lines of /proc/PID/status about speculative execution.
	Speculation []Line
	// VDSO is the size of the host's vDSO.
	VDSO uint64
}

// Line is a key and its value.
type Line struct{ Key, Value string }

// Cache is a cache of a processor: the files that describe it but those that name processors.
type Cache struct {
	Files  []Line
	Shared bool // by all processors of the package, not of one core
}

// Read asks the host. What cannot be read is left out.
func Read() *CPU {
	c := &CPU{}
	data := readFile("/proc/cpuinfo")
	for _, l := range strings.Split(string(data), "\n") {
		if l == "" {
			break
		}
		if key, value, ok := strings.Cut(l, ":"); ok {
			c.Info = append(c.Info, Line{key, strings.TrimPrefix(value, " ")})
		}
	}
	if len(c.Info) == 0 {
		c.Info = []Line{{"processor\t", "0"}, {"vendor_id\t", "unknown"}, {"cpu family\t", "6"}, {"model\t\t", "0"},
			{"model name\t", "unknown"}, {"flags\t\t", "fpu tsc cx8 cmov mmx fxsr sse sse2 syscall nx lm"}}
	}
	dirs, _ := filepath.Glob("/sys/devices/system/cpu/cpu0/cache/index*")
	for _, d := range dirs {
		var cache Cache
		for _, l := range readDir(d) {
			switch l.Key {
			case "shared_cpu_list", "shared_cpu_map", "uevent", "id":
			default:
				if l.Key == "level" && l.Value >= "3" {
					cache.Shared = true
				}
				cache.Files = append(cache.Files, l)
			}
		}
		c.Caches = append(c.Caches, cache)
	}
	status := readFile("/proc/self/status")
	for _, l := range strings.Split(string(status), "\n") {
		if key, value, ok := strings.Cut(l, ":\t"); ok && strings.HasPrefix(key, "Speculation") {
			c.Speculation = append(c.Speculation, Line{key, value})
		}
	}
	maps := readFile("/proc/self/maps")
	for _, l := range strings.Split(string(maps), "\n") {
		var lo, hi uint64
		if !strings.HasSuffix(l, "[vdso]") {
			continue
		}
		if _, err := fmt.Sscanf(l, "%x-%x", &lo, &hi); err == nil {
			c.VDSO = hi - lo
		}
	}
	c.Vulnerabilities = readDir("/sys/devices/system/cpu/vulnerabilities")
	return c
}

// readDir reads the small files of a directory.
func readDir(dir string) []Line {
	var list []Line
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		if data := readFile(filepath.Join(dir, e.Name())); data != nil && len(data) < 4096 {
			list = append(list, Line{e.Name(), strings.TrimRight(string(data), "\n")})
		}
	}
	return list
}

// readFile is what is in a file that does not block, nil if it cannot be read. Package os asks the host three times as much.
func readFile(name string) []byte {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	data := make([]byte, 0, 4096)
	for {
		n, err := unix.Read(fd, data[len(data):cap(data)])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil
		case n == 0:
			return data
		default:
			data = slices.Grow(data[:len(data)+n], 512)
		}
	}
}
