package bpf

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func data() *Data {
	d := NewData(59, 0xc000003e, 0x1122334455667788, &[6]uint64{1, 2, 3, 4, 5, 0xffffffff00000006})
	return &d
}

func TestRun(t *testing.T) {
	for _, c := range []struct {
		name string
		code []Instr
		want uint32
	}{
		{"constant", []Instr{{Code: 0x06, K: 7}}, 7},
		{"number", []Instr{{Code: 0x20, K: 0}, {Code: 0x16}}, 59},
		{"architecture", []Instr{{Code: 0x20, K: 4}, {Code: 0x16}}, 0xc000003e},
		{"low half of ip", []Instr{{Code: 0x20, K: 8}, {Code: 0x16}}, 0x55667788},
		{"high half of last argument", []Instr{{Code: 0x20, K: 60}, {Code: 0x16}}, 0xffffffff},
		{"length", []Instr{{Code: 0x80}, {Code: 0x16}}, 64},
		{"equal", []Instr{{Code: 0x20}, {Code: 0x15, JT: 1, K: 59}, {Code: 0x06, K: 1}, {Code: 0x06, K: 2}}, 2},
		{"not equal", []Instr{{Code: 0x20}, {Code: 0x15, JT: 1, K: 60}, {Code: 0x06, K: 1}, {Code: 0x06, K: 2}}, 1},
		{"greater, X", []Instr{{Code: 0x01, K: 58}, {Code: 0x20}, {Code: 0x2d, JF: 1}, {Code: 0x06, K: 1}, {Code: 0x06, K: 2}}, 1},
		{"jump always", []Instr{{Code: 0x05, K: 1}, {Code: 0x06, K: 1}, {Code: 0x06, K: 2}}, 2},
		{"set", []Instr{{Code: 0x00, K: 6}, {Code: 0x45, K: 4, JT: 1}, {Code: 0x06, K: 1}, {Code: 0x06, K: 2}}, 2},
		{"memory", []Instr{{Code: 0x00, K: 5}, {Code: 0x02, K: 3}, {Code: 0x00, K: 0}, {Code: 0x60, K: 3}, {Code: 0x16}}, 5},
		{"X to memory", []Instr{{Code: 0x01, K: 9}, {Code: 0x03, K: 15}, {Code: 0x61, K: 15}, {Code: 0x87}, {Code: 0x16}}, 9},
		{"arithmetic", []Instr{{Code: 0x00, K: 100}, {Code: 0x04, K: 20}, {Code: 0x14, K: 10}, {Code: 0x24, K: 3}, {Code: 0x34, K: 2}, {Code: 0x16}}, 165},
		{"bits", []Instr{{Code: 0x00, K: 0xf0}, {Code: 0x44, K: 0x0f}, {Code: 0x54, K: 0x3c}, {Code: 0xa4, K: 1}, {Code: 0x64, K: 8}, {Code: 0x74, K: 4}, {Code: 0x16}}, 0x3d0},
		{"negative", []Instr{{Code: 0x00, K: 1}, {Code: 0x84}, {Code: 0x16}}, 0xffffffff},
		{"divided by zero", []Instr{{Code: 0x00, K: 1}, {Code: 0x3c}, {Code: 0x06, K: 3}}, 0},
		{"TAX", []Instr{{Code: 0x00, K: 4}, {Code: 0x07}, {Code: 0x0c}, {Code: 0x16}}, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := Compile(c.code)
			require.NoError(t, err)
			require.Equal(t, c.want, p.Run(data()))
		})
	}
}

func TestCompileRefuses(t *testing.T) {
	for name, code := range map[string][]Instr{
		"empty":                 {},
		"no end":                {{Code: 0x20}},
		"jump out":              {{Code: 0x05, K: 1}, {Code: 0x06}},
		"jump far":              {{Code: 0x05, K: 0xffffffff}, {Code: 0x06}},
		"branch out":            {{Code: 0x15, JT: 1}, {Code: 0x06}},
		"unaligned":             {{Code: 0x20, K: 2}, {Code: 0x06}},
		"past the data":         {{Code: 0x20, K: 64}, {Code: 0x06}},
		"byte":                  {{Code: 0x30}, {Code: 0x06}},
		"indirect":              {{Code: 0x40}, {Code: 0x06}},
		"LDX of data":           {{Code: 0x21}, {Code: 0x06}},
		"memory not written":    {{Code: 0x60, K: 1}, {Code: 0x06}},
		"written on one branch": {{Code: 0x15, JT: 1}, {Code: 0x02}, {Code: 0x60}, {Code: 0x06}},
		"memory index":          {{Code: 0x02, K: 16}, {Code: 0x06}},
		"division by zero":      {{Code: 0x34}, {Code: 0x06}},
		"long shift":            {{Code: 0x64, K: 32}, {Code: 0x06}},
		"modulo":                {{Code: 0x94, K: 2}, {Code: 0x06}},
		"return X":              {{Code: 0x0e}},
		"too long":              make([]Instr, MaxInstrs+1),
	} {
		_, err := Compile(code)
		require.Error(t, err, name)
	}
}

// Any program that is accepted must end without a panic.
func FuzzCompile(f *testing.F) {
	f.Add([]byte{0x20, 0, 0, 0, 0, 0, 0, 0, 0x06, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var code []Instr
		for ; len(b) >= 8; b = b[8:] {
			code = append(code, Instr{uint16(b[0]) | uint16(b[1])<<8, b[2], b[3],
				uint32(b[4]) | uint32(b[5])<<8 | uint32(b[6])<<16 | uint32(b[7])<<24})
		}
		if p, err := Compile(code); err == nil {
			p.Run(data())
		}
	})
}
