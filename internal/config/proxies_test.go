package config

import (
	"net/netip"
	"slices"
	"testing"
)

func TestTrustedProxies(t *testing.T) {
	cfg := load(t, []string{"--trusted-proxies=10.1.2.3/8, 192.0.2.7,2001:db8::1,::ffff:192.0.2.8"}, withRedis, publicChannels).must(t)
	want := []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32"),
		netip.MustParsePrefix("2001:db8::1/128"), netip.MustParsePrefix("192.0.2.8/32"),
	}
	if got := cfg.ProxyNetworks(); !slices.Equal(got, want) {
		t.Errorf("networks are %v, want %v", got, want)
	}
	if got := load(t, nil, withRedis, publicChannels).must(t).ProxyNetworks(); len(got) != 0 {
		t.Errorf("by default %v are trusted", got)
	}
	for text, want := range map[string]string{
		"proxy.example":          "number 1 is neither",
		"10.0.0.0/8,10.0.0.0/33": "number 2 is neither",
		"fe80::1%eth0":           "number 1 is neither",
		"0.0.0.0/0":              "number 1 is everybody",
		"::/0":                   "number 1 is everybody",
		"::ffff:10.0.0.0/104":    "number 1 is an IPv4 network written as IPv6",
	} {
		load(t, []string{"--trusted-proxies=" + text}, withRedis, publicChannels).wantError(t, want)
	}
}
