package limit

import (
	"hash/maphash"
	"net/netip"
)

// Key stands for a user or an address.
type Key uint64

var seed = maphash.MakeSeed()

// User returns the key of a token's subject.
func User(subject string) Key { return Key(maphash.String(seed, subject)) }

// Address returns the key of a client's address. Of IPv6 only the first 64 bits
// count: that is the smallest network there is (RFC 4291, section 2.5.1), and
// one host takes as many addresses in it as it likes (RFC 8981). What is no
// address has a key of its own.
func Address(a netip.Addr) Key { return Key(maphash.Comparable(seed, Network(a))) }

// Network returns the addresses that count as one: an IPv4 address itself,
// also where it is written as IPv6, and the /64 of others.
func Network(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if !a.Is6() {
		return a
	}
	p, err := a.WithZone("").Prefix(64)
	if err != nil {
		panic("limit: " + err.Error()) // 64 is less than 128
	}
	return p.Addr()
}
