package config

import (
	"errors"
	"net/netip"
)

// checkProxies checks an element of trusted-proxies.
func checkProxies(s string) error {
	_, err := parseProxies(s)
	return err
}

// parseProxies reads an address, as the network of it alone, or a network.
func parseProxies(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	switch p, err := netip.ParsePrefix(s); {
	case err != nil:
		return p, errors.New("is neither")
	case p.Addr().Is4In6():
		return p, errors.New("is an IPv4 network written as IPv6")
	case p.Bits() == 0:
		// Then every client could say that it is anybody.
		return p, errors.New("is everybody")
	default:
		return p.Masked(), nil
	}
}

// ProxyNetworks returns TrustedProxies as networks.
func (c *Config) ProxyNetworks() []netip.Prefix {
	var list []netip.Prefix
	for _, s := range c.TrustedProxies {
		p, err := parseProxies(s)
		if err != nil {
			panic("config: trusted-proxies was not checked: " + err.Error())
		}
		list = append(list, p)
	}
	return list
}
