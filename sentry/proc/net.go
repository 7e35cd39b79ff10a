package proc

import (
	"bytes"
	"fmt"

	"golang.org/x/sys/unix"

	"gosv.dev/netstack"
	"gosv.dev/sentry"
	"gosv.dev/vfs"
	"gosv.dev/vfs/kernfs"
)

// netFiles are the files of /proc/net with what they contain in a network namespace that has nothing but a
// loopback interface. A family of sockets that has more to tell implements netTeller.
var netFiles = []struct{ name, empty string }{
	{"unix", "Num       RefCount Protocol Flags    Type St Inode Path\n"},
	{"tcp", "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode                                                     \n"},
	{"udp", udpHead}, {"udplite", udpHead}, {"raw", rawHead}, {"icmp", rawHead},
	{"tcp6", "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"},
	{"udp6", udp6Head}, {"udplite6", udp6Head}, {"raw6", udp6Head}, {"icmp6", udp6Head},
	{"packet", "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n"},
	{"netlink", "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n"},
	{"dev", "Inter-|   Receive                                                |  Transmit\n" +
		" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n" +
		"    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0\n"},
	{"dev_mcast", ""},
	{"route", routeHead},
	{"rt_cache", "Iface\tDestination\tGateway \tFlags\t\tRefCnt\tUse\tMetric\tSource\t\tMTU\tWindow\tIRTT\tTOS\tHHRef\tHHUptod\tSpecDst\n"},
	{"arp", "IP address       HW type     Flags       HW address            Mask     Device\n"},
	{"if_inet6", "00000000000000000000000000000001 01 80 10 80       lo\n"},
	{"ipv6_route", "00000000000000000000000000000001 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000001 00000000 80200001       lo\n" +
		"00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n"},
	{"igmp", "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n"},
	{"igmp6", ""}, {"anycast6", ""}, {"mcfilter", ""}, {"mcfilter6", ""}, {"wireless", ""},
	{"snmp", "Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards InDelivers OutRequests OutDiscards OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs ReasmFails FragOKs FragFails FragCreates OutTransmits\n" +
		"Ip: 2 64 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n" +
		"Icmp: InMsgs InErrors InCsumErrors InDestUnreachs InTimeExcds InParmProbs InSrcQuenchs InRedirects InEchos InEchoReps InTimestamps InTimestampReps InAddrMasks InAddrMaskReps OutMsgs OutErrors OutRateLimitGlobal OutRateLimitHost OutDestUnreachs OutTimeExcds OutParmProbs OutSrcQuenchs OutRedirects OutEchos OutEchoReps OutTimestamps OutTimestampReps OutAddrMasks OutAddrMaskReps\n" +
		"Icmp: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n" +
		"Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors\n" +
		"Tcp: 1 200 120000 -1 0 0 0 0 0 0 0 0 0 0 0\n" +
		"Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors\n" +
		"Udp: 0 0 0 0 0 0 0 0 0\n" +
		"UdpLite: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors\n" +
		"UdpLite: 0 0 0 0 0 0 0 0 0\n"},
	{"netstat", "TcpExt: SyncookiesSent SyncookiesRecv SyncookiesFailed EmbryonicRsts PruneCalled RcvPruned OfoPruned OutOfWindowIcmps LockDroppedIcmps ArpFilter TW TWRecycled TWKilled\n" +
		"TcpExt: 0 0 0 0 0 0 0 0 0 0 0 0 0\n" +
		"IpExt: InNoRoutes InTruncatedPkts InMcastPkts OutMcastPkts InBcastPkts OutBcastPkts InOctets OutOctets InMcastOctets OutMcastOctets InBcastOctets OutBcastOctets InCsumErrors InNoECTPkts InECT1Pkts InECT0Pkts InCEPkts ReasmOverlaps\n" +
		"IpExt: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"},
	{"sockstat", "sockets: used 0\nTCP: inuse 0 orphan 0 tw 0 alloc 0 mem 0\nUDP: inuse 0 mem 0\nUDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n"},
	{"sockstat6", "TCP6: inuse 0\nUDP6: inuse 0\nUDPLITE6: inuse 0\nRAW6: inuse 0\nFRAG6: inuse 0 memory 0\n"},
	{"protocols", "protocol  size sockets  memory press maxhdr  slab module     cl co di ac io in de sh ss gs se re bi br ha uh gp em\n"},
	{"ptype", "Type Device      Function\n0800          ip_rcv\n86dd          ipv6_rcv\n"},
	{"psched", "000003e8 00000040 000f4240 3b9aca00\n"},
	{"snmp6", ""},
	{"fib_trie", "Main:\n  +-- 127.0.0.0/8 2 0 2\n     +-- 127.0.0.0/31 1 0 0\n        |-- 127.0.0.0\n           /8 host LOCAL\n        |-- 127.0.0.1\n           /32 host LOCAL\n     |-- 127.255.255.255\n        /32 link BROADCAST\n" +
		"Local:\n  +-- 127.0.0.0/8 2 0 2\n     +-- 127.0.0.0/31 1 0 0\n        |-- 127.0.0.0\n           /8 host LOCAL\n        |-- 127.0.0.1\n           /32 host LOCAL\n     |-- 127.255.255.255\n        /32 link BROADCAST\n"},
	{"softnet_stat", ""},
	{"ip_tables_names", ""}, {"ip6_tables_names", ""},
}

const (
	udpHead   = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops            \n"
	rawHead   = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n"
	udp6Head  = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n"
	routeHead = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT                                                       \n"
)

// netTeller may be implemented by a netstack.Family that knows the content of a file in /proc/net. The result
// is all of the file; nil leaves it as it is.
type netTeller interface {
	ProcNet(name string) []byte
}

// netDir is /proc/PID/net: the network namespace of the process.
func (e *entry) netDir() *kernfs.Dir {
	d := kernfs.NewDir()
	valid := func() bool { return !e.gone() }
	d.Lookup = func(_ vfs.Context, name string) (kernfs.Node, error) {
		for _, f := range netFiles {
			if f.name == name {
				n := e.file(0o444, func(_ vfs.Context, b *bytes.Buffer) error {
					ns := e.task().GetNamespaces()
					if ns == nil {
						return unix.EINVAL
					}
					defer ns.DecRef()
					b.Write(netFile(e.k, ns.Net, f.name, f.empty))
					return nil
				})
				n.Owner = nil
				n.Valid = valid
				return n, nil
			}
		}
		if name == "stat" || name == "netfilter" {
			n := kernfs.NewDir()
			n.Valid = valid
			return n, nil
		}
		return nil, unix.ENOENT
	}
	d.List = func(vfs.Context) ([]kernfs.Entry, error) {
		list := make([]kernfs.Entry, 0, len(netFiles)+2)
		for _, f := range netFiles {
			list = append(list, kernfs.Entry{Name: f.name, Type: unix.DT_REG})
		}
		return append(list, kernfs.Entry{Name: "stat", Type: unix.DT_DIR}, kernfs.Entry{Name: "netfilter", Type: unix.DT_DIR}), nil
	}
	return d
}

func netFile(k *sentry.Kernel, ns *sentry.NetNamespace, name, empty string) []byte {
	if name == "softnet_stat" {
		var b bytes.Buffer
		for i := range k.CPUs() {
			fmt.Fprintf(&b, "00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 %08x 00000000 00000000\n", i)
		}
		return b.Bytes()
	}
	s, err := ns.Stack()
	if err != nil {
		return []byte(empty)
	}
	r, ok := s.(*netstack.Registry)
	if !ok {
		return []byte(empty)
	}
	for _, af := range []int{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_PACKET, unix.AF_NETLINK} {
		switch f := r.Family(af).(type) {
		case netTeller:
			if text := f.ProcNet(name); text != nil {
				return text
			}
		case interface{ ProcNetUnix() []byte }:
			if name == "unix" {
				return f.ProcNetUnix()
			}
		}
	}
	return []byte(empty)
}
