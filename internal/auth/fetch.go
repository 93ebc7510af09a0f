package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	fetchTimeout = 10 * time.Second
	maxSetBytes  = 1 << 20
)

func newClient() *http.Client {
	return &http.Client{
		Timeout: fetchTimeout,
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			TLSHandshakeTimeout: fetchTimeout / 2,
			DisableKeepAlives:   true, // one request in minutes
			ForceAttemptHTTP2:   true,
		},
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			switch {
			case len(via) >= 3:
				return errors.New("redirected too often")
			case via[0].URL.Scheme == "https" && next.URL.Scheme != "https":
				return errors.New("redirected away from https")
			}
			return nil
		},
	}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// fetch gets the key set. The error does not contain the URL, whose query may
// be confidential.
func (r *remoteKeys) fetch(ctx context.Context) (*keySet, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return nil, errors.New("cannot make a request of the URL")
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := r.client.Do(req)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status is %d, want 200", resp.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxSetBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read the key set: %w", err)
	}
	if len(text) > maxSetBytes {
		return nil, fmt.Errorf("key set is longer than %d bytes", maxSetBytes)
	}
	return parseKeySet(text)
}
