package ptrace

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gosv.dev/platform/arch"
)

func TestUseOf(t *testing.T) {
	const at = 0x7000
	for _, c := range []struct {
		name string
		code []byte
		want use
	}{
		{"mov (%rax),%ebx", []byte{0x8b, 0x18}, reads},
		{"mov %ebx,(%rax)", []byte{0x89, 0x18}, writes},
		{"movzbl (%rax),%ebx", []byte{0x0f, 0xb6, 0x18}, reads},
		{"add (%rax),%ebx", []byte{0x03, 0x18}, reads},
		{"add %ebx,(%rax)", []byte{0x01, 0x18}, writes},
		{"cmp %ebx,(%rax)", []byte{0x39, 0x18}, reads},
		{"cmpl $0,(%rax)", []byte{0x83, 0x38, 0}, reads},
		{"test %ebx,(%rax)", []byte{0x85, 0x18}, reads},
		{"lock cmpxchg %ebx,(%rax)", []byte{0xf0, 0x0f, 0xb1, 0x18}, writes},
		{"xchg %ebx,(%rax)", []byte{0x87, 0x18}, writes},
		{"jmp *(%rax)", []byte{0xff, 0x20}, reads},
		{"call *(%rax)", []byte{0xff, 0x10}, reads},
		{"push (%rax)", []byte{0xff, 0x30}, reads},
		{"pop (%rax)", []byte{0x8f, 0x00}, writes},
		{"movs to another address", []byte{0xf3, 0xa4}, reads},
		{"movdqu (%rax),%xmm0", []byte{0xf3, 0x0f, 0x6f, 0x00}, reads},
		{"movdqu %xmm0,(%rax)", []byte{0xf3, 0x0f, 0x7f, 0x00}, writes},
		{"vmovdqu (%rax),%ymm0", []byte{0xc5, 0xfe, 0x6f, 0x00}, reads},
		{"vmovdqu %ymm0,(%rax)", []byte{0xc5, 0xfe, 0x7f, 0x00}, writes},
		{"vmovdqu64 (%rax),%ymm16", []byte{0x62, 0xe1, 0xfe, 0x28, 0x6f, 0x00}, reads},
		{"vmovdqu64 %ymm16,(%rax)", []byte{0x62, 0xe1, 0xfe, 0x28, 0x7f, 0x00}, writes},
		{"vmaskmovps %ymm0,%ymm1,(%rax)", []byte{0xc4, 0xe2, 0x75, 0x2e, 0x00}, unknown},
		{"maskmovdqu %xmm1,%xmm0", []byte{0x66, 0x0f, 0xf7, 0xc1}, unknown},
		{"ret", []byte{0xc3}, reads},
		{"nothing", nil, unknown},
	} {
		code := c.code
		if code != nil {
			code = append(append([]byte{}, code...), make([]byte, 16)...)
		}
		st := &arch.State{}
		st.Rax, st.Rsp, st.Rdi, st.Rsi = at, 0x9000, 0x1000, at
		require.Equal(t, c.want, useOf(code, st, at), c.name)
	}
	// The same instruction at its other address.
	st := &arch.State{}
	st.Rdi, st.Rsp = at, at+8
	code := make([]byte, 16)
	code[0], code[1] = 0xf3, 0xa4
	require.Equal(t, writes, useOf(code, st, at), "movs to this address")
	code[0], code[1] = 0xff, 0x30
	require.Equal(t, writes, useOf(code, st, at), "push to this address")
}
