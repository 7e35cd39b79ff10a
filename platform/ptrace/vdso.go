package ptrace

import (
	"bufio"
	"os"
	"strconv"
	"strings"
)

// VDSO is where the host's kernel has put its vDSO and the pages of data that it reads in this process.
type VDSO struct {
	start, end, image uint64
	parts             []part
}

type part struct{ start, end uint64 }

// FindVDSO looks for it. It needs /proc, so it is called before the sentry confines itself; nil if there is none.
func FindVDSO() *VDSO {
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return nil
	}
	defer f.Close()
	v := &VDSO{}
	for sc := bufio.NewScanner(f); sc.Scan(); {
		fields := strings.Fields(sc.Text())
		if len(fields) < 6 {
			continue
		}
		switch fields[5] {
		case "[vvar]", "[vvar_vclock]", "[vdso]":
		default:
			continue
		}
		lo, hi, _ := strings.Cut(fields[0], "-")
		start, err1 := strconv.ParseUint(lo, 16, 64)
		end, err2 := strconv.ParseUint(hi, 16, 64)
		if err1 != nil || err2 != nil || v.end != 0 && start < v.end {
			return nil
		}
		if v.start == 0 {
			v.start = start
		}
		v.end = end
		if fields[5] == "[vdso]" {
			v.image = start
		}
		v.parts = append(v.parts, part{start, end})
	}
	if v.image == 0 {
		return nil
	}
	return v
}
