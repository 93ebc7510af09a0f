package redisbus

import (
	"bufio"
	"crypto/tls"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
)

// answering serves connections by line until the test ends: it answers each with
// answer, closes the connection for "", and says nothing at all for "-".
func answering(t *testing.T, answer string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			running.Go(func() {
				defer c.Close()
				if answer == "" {
					return
				}
				in := bufio.NewScanner(c)
				for in.Scan() {
					// The last line of a command is its last word.
					if word := strings.ToUpper(in.Text()); answer != "-" && (word == "INFO" || word == "2") {
						if _, err := c.Write([]byte(answer + "\r\n")); err != nil {
							return
						}
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return l.Addr().String()
}

// What takes a connection and answers is there; who refuses it, closes it, or says
// that it does not serve at the moment, is away. Silence is told apart.
func TestReach(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusing := l.Addr().String()
	l.Close()
	for name, test := range map[string]struct {
		addr   string
		secure bool
		away   bool
		silent bool
	}{
		"answers":              {addr: answering(t, "$-1")},
		"wants a password":     {addr: answering(t, "-NOAUTH Authentication required."), away: true},
		"has another password": {addr: answering(t, "-WRONGPASS invalid username-password pair or user is disabled."), away: true},
		"denies":               {addr: answering(t, "-NOPERM this user has no permissions to run the 'hget' command")},
		"is not the owner":     {addr: answering(t, "-MOVED 1234 127.0.0.1:1")},
		"says nothing":         {addr: answering(t, "-"), away: true, silent: true},
		"does not shake hands": {addr: answering(t, "-"), secure: true, away: true, silent: true},
		"refuses":              {addr: refusing, away: true},
		"closes":               {addr: answering(t, ""), away: true},
		"closes, with TLS":     {addr: answering(t, ""), secure: true, away: true},
		"loads":                {addr: answering(t, "-LOADING Redis is loading the dataset in memory"), away: true},
		"has lost its master":  {addr: answering(t, "-MASTERDOWN Link with MASTER is down"), away: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := &redis.Options{Addr: test.addr}
			if test.secure {
				o.TLSConfig = &tls.Config{}
			}
			err := reach(t.Context(), o, keys{DefaultPrefix})
			if (err != nil) != test.away || errors.Is(err, errSilent) != test.silent || err != nil && !strings.Contains(err.Error(), test.addr) {
				t.Errorf("away: %v, want %t, and its address", err, test.away)
			}
		})
	}
}

// Whoever says nothing is away only where others of the same Redis answer: then it
// is not this replica's network that keeps the answers.
func TestReachOfSilence(t *testing.T) {
	silent, answers := answering(t, "-"), answering(t, "$-1")
	cluster, err := Open(Options{URL: "redis+cluster://" + answers, Policies: testPolicies(t)})
	if err != nil {
		t.Fatal(err)
	}
	single, err := Open(Options{URL: "redis://" + silent, Policies: testPolicies(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.client.Close()
	defer single.client.Close()
	if err := single.Reach(t.Context()); err != nil {
		t.Errorf("a single server that is silent is away: %v", err)
	}
	of := func(addrs ...string) *topology {
		topo := &topology{masters: make(map[string]*master)}
		for i, addr := range addrs {
			m := &master{id: strconv.Itoa(i), addr: addr, slots: 1}
			topo.masters[m.id] = m
			for slot := range topo.owner {
				topo.owner[slot] = m
			}
		}
		return topo
	}
	if err := cluster.reachMasters(t.Context(), of(silent, silent)); err != nil {
		t.Errorf("a Cluster whose masters are all silent is away: %v", err)
	}
	if err := cluster.reachMasters(t.Context(), of(silent, answers)); !errors.Is(err, errSilent) {
		t.Errorf("a Cluster with one silent master is away: %v, want for its silence", err)
	}
	if err := cluster.reachMasters(t.Context(), of(answers, answers)); err != nil {
		t.Errorf("a Cluster whose masters answer is away: %v", err)
	}
	if err := cluster.reachMasters(t.Context(), of()); err == nil {
		t.Error("a Cluster without masters is there")
	}
}
