package flat

import (
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gosv.dev/platform"
	"gosv.dev/platform/arch"
)

// TestOffsets compares what vcpu_amd64.h and switch_amd64.s say of structures with what the compiler makes of them.
func TestOffsets(t *testing.T) {
	names := map[string]string{ // where the field's is another one
		"V_ERR": "errCode", "S_BP": "Rbp", "S_BX": "Rbx", "S_AX": "Rax", "S_CX": "Rcx", "S_DX": "Rdx", "S_SI": "Rsi", "S_DI": "Rdi",
		"S_IP": "Rip", "S_FLAGS": "Eflags", "S_SP": "Rsp", "S_FS": "Fs_base",
	}
	types := map[string]reflect.Type{"V": reflect.TypeFor[vcpu](), "A": reflect.TypeFor[answer](), "S": reflect.TypeFor[arch.State]()}
	seen := 0
	for _, file := range []string{"vcpu_amd64.h", "switch_amd64.s"} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`(?m)^#define ([VAS])_(\w+) +(\d+)$`).FindAllStringSubmatch(string(text), -1) {
			name := names[m[1]+"_"+m[2]]
			if name == "" {
				name = m[2]
			}
			f, ok := types[m[1]].FieldByNameFunc(func(s string) bool { return strings.EqualFold(s, name) })
			require.True(t, ok, m[0])
			want, err := strconv.Atoi(m[3])
			require.NoError(t, err)
			require.EqualValues(t, want, f.Offset, m[0])
			seen++
		}
		for name, value := range map[string]uint64{
			"BLOCKSSIZE": maxBlocks * blockSize, "BLOCKMASK": blockSize - 1, "BLOCKHEAD": blockHead, "BLOCKREST": blockSize - blockHead,
			"MAXBLOCKS": maxBlocks, "OWNED": owned, "FSGS_KNOWN": uint64(fsgsKnown), "FSGS_UNKNOWN": uint64(fsgsUnknown), "FSGS_CALL": uint64(fsgsCall),
			"EVENT_SYSCALL": eventSyscall, "EVENT_SIGNAL": eventSignal, "EVENT_LEFT": eventLeft, "INTERRUPT": interruptSignal,
			"LEAF_PENDING": uint64(platform.LeafPending), "PLACESLO": placesLo, "PLACESSIZE": placesHi - placesLo,
		} {
			if m := regexp.MustCompile(`(?m)^#define ` + name + ` +(\w+)`).FindStringSubmatch(string(text)); m != nil {
				got, err := strconv.ParseUint(m[1], 0, 64)
				require.NoError(t, err)
				require.Equal(t, value, got, name)
				seen++
			}
		}
	}
	require.Greater(t, seen, 50)
}
