package config

import (
	"slices"
	"testing"
)

func TestAllowedOrigins(t *testing.T) {
	want := []string{"https://app.example.com", "http://localhost:3000", "https://*.example.com"}
	for _, o := range []outcome{
		load(t, []string{"--allowed-origins", "https://app.example.com, http://localhost:3000,https://*.example.com"}, withRedis, ""),
		load(t, nil, withRedis, "allowedOrigins:\n- https://app.example.com\n- http://localhost:3000\n- https://*.example.com\n"),
	} {
		if got := o.must(t).AllowedOrigins; !slices.Equal(got, want) {
			t.Errorf("allowed are %q, want %q", got, want)
		}
	}
	load(t, []string{"--allowed-origins", "https://a.example,*"}, withRedis, "").
		wantError(t, "number 2 is a bare *, which would let the pages of every site use the cookies of their visitors")
	load(t, nil, append([]string{"GATEWAY_ALLOWED_ORIGINS=a.example"}, withRedis...), "").wantError(t, "https://")
}

func TestTLSTakesBothFiles(t *testing.T) {
	load(t, []string{"--tls-cert-file", "c.pem"}, withRedis, "").wantError(t, "tls-cert-file is set without tls-key-file")
	load(t, []string{"--tls-key-file", "k.pem"}, withRedis, "").wantError(t, "tls-key-file is set without tls-cert-file")
	load(t, []string{"--dev", "--tls-key-file", "k.pem", "--tls-cert-file", "c.pem"}, nil, "").wantError(t, "plain HTTP on loopback")
	if cfg := load(t, []string{"--tls-key-file", "k.pem", "--tls-cert-file", "c.pem"}, withRedis, "").must(t); cfg.TLSCertFile != "c.pem" || cfg.TLSKeyFile != "k.pem" {
		t.Errorf("got %v", cfg)
	}
}
