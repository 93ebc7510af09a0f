package main

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"realtime-gateway/internal/auth"
	"realtime-gateway/internal/config"
	"realtime-gateway/internal/httpapi"
	"realtime-gateway/internal/origin"
	"realtime-gateway/internal/readiness"
	"realtime-gateway/internal/revocation"
	"realtime-gateway/internal/telemetry"
	"realtime-gateway/internal/tlsfiles"
	"realtime-gateway/internal/webhook"
	"realtime-gateway/pkg/channels"
	"realtime-gateway/pkg/redisbus"
	"realtime-gateway/pkg/sse"
)

// gateway is one replica: all the parts, wired.
type gateway struct {
	cfg     *config.Config
	allowed limits
	log     *slog.Logger
	level   httpapi.LogLevel

	name      string // among the replicas
	telemetry *telemetry.Telemetry
	verifier  *auth.Verifier // nil where no key is configured
	revoked   *revocation.Registry
	webhook   *webhook.Authorizer // nil where none is configured
	bus       *redisbus.Bus
	hub       *channels.Hub
	streams   *sse.Handler
	readiness *readiness.Judge
	dev       *devMode       // nil unless --dev
	tls       *tlsfiles.Pair // nil where the public address is plain HTTP
	public    *http.Server
	ops       *http.Server
	draining  atomic.Bool
}

// What a replica that leaves may take behind its drain time; README.md promises
// the sum of the last two.
const (
	// lastBytes is how long the clients of streams have for what they were written.
	lastBytes = 3 * time.Second
	// leaveTimeout is when, behind the drain time, all that is left is cut: requests
	// other than streams, and what was not handed over to other replicas.
	leaveTimeout = 5 * time.Second
	// flushTimeout is how long a collector has to take the last telemetry.
	flushTimeout = 5 * time.Second
)

// serve runs a replica until ctx ends, and then leaves in order: streams are
// closed spread over the drain time, nothing that was heard stays unrecorded.
func serve(ctx context.Context, cfg *config.Config, allowed limits, out io.Writer, log *logger) error {
	g := &gateway{cfg: cfg, allowed: allowed, log: log.Logger, level: log}
	// The parts outlive ctx: they end after the streams have.
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()

	publicAddr, err := listen(ctx, cfg.Addr)
	if err != nil {
		return listenError("--addr", cfg.Addr, err)
	}
	defer publicAddr.Close()
	opsAddr, err := g.listenOps(ctx)
	if err != nil {
		return err
	}
	defer opsAddr.Close()
	g.name = replicaName(cfg, publicAddr.Addr())
	redisURL := cfg.RedisURL
	if cfg.Dev {
		g.dev, err = startDev(cfg, publicAddr.Addr().String(), opsAddr.Addr().String())
		if err != nil {
			return err
		}
		defer g.dev.close()
		redisURL = g.dev.redisURL
	}
	if err := g.wire(running, redisURL); err != nil {
		return err
	}

	parts := newGroup(running)
	parts.run("redis", func(ctx context.Context) error { return g.bus.Run(ctx, g.hub) })
	parts.run("hub", g.hub.Run)
	parts.run("streams", g.streams.Run)
	parts.run("readiness", g.readiness.Run)
	g.servePublic(parts, publicAddr)
	parts.run("operations", func(context.Context) error { return serving(g.ops.Serve(opsAddr)) })
	log.Info("gateway is listening", "addr", publicAddr.Addr().String(), "ops", opsAddr.Addr().String(), "replica", g.name, "version", readBuild().Version)
	if g.dev != nil {
		g.dev.banner(out)
	}

	select {
	case <-ctx.Done():
		log.Info("leaving", "streams", g.streams.Connections(), "drain", cfg.DrainTime.String())
	case <-parts.failed:
	}
	g.leave()
	stop()
	if g.webhook != nil {
		g.webhook.Close()
	}
	if g.verifier != nil {
		g.verifier.Wait()
	}
	err = parts.wait()
	g.revoked.Close() // behind the parts, which ask it until they have ended
	flushing, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	if lost := g.telemetry.Shutdown(flushing); lost != nil {
		log.Warn("the last telemetry could not be sent", "error", lost)
	}
	return err
}

// wire makes the parts; nothing runs yet.
func (g *gateway) wire(ctx context.Context, redisURL string) error {
	cfg := g.cfg
	var err error
	if g.telemetry, err = openTelemetry(g.name, g.log); err != nil {
		return err
	}
	b := readBuild()
	if err := g.telemetry.RecordBuild(b.Version, b.Commit, b.Go); err != nil {
		return err
	}
	g.telemetry.RecordConnectionLimit(g.maxConnections())
	if err := g.loadCertificate(); err != nil {
		return err
	}
	if cfg.JWTSecret != "" || cfg.JWTPublicKeyFile != "" || cfg.JWKSURL != "" {
		g.verifier, err = auth.New(ctx, auth.Options{
			Secret: cfg.JWTSecret, PublicKeyFile: cfg.JWTPublicKeyFile, JWKSURL: cfg.JWKSURL,
			Issuer: cfg.JWTIssuer, Audience: cfg.JWTAudience, Logger: g.log,
		})
		if err != nil {
			return err
		}
	}
	if cfg.JWKSURL != "" {
		if err := g.telemetry.ObserveKeySet(g.verifier.KeySetLoaded); err != nil {
			return err
		}
	}
	if g.webhook, err = openWebhook(cfg, g.telemetry.Webhook(), g.log); err != nil {
		return err
	}
	// The bus tells the registry of revocations and keeps them; events and they
	// age by the same clock.
	g.revoked = revocation.New(revocation.Options{Hooks: g.telemetry.Revocation(), Logger: g.log, Now: func() time.Time { return g.bus.Now() }})
	g.bus, err = redisbus.Open(redisbus.Options{
		URL: redisURL, TLS: redisTLS(cfg), Prefix: cfg.RedisPrefix, Policies: cfg.Channels, MaxPayload: cfg.MaxPayload,
		Replica: g.name, Guard: g.revoked, Links: redisLinks(cfg.RedisLinks), DeafAfter: cfg.RedisDeafAfter, Hooks: g.telemetry.Redis(), Logger: g.log,
	})
	if err != nil {
		return err
	}
	g.revoked.Use(g.bus)
	linger := cfg.Linger
	if linger == 0 {
		linger = -1 // to the hub, zero means its default
	}
	g.hub = channels.NewHub(channels.Options{
		Broker: g.bus, Policies: cfg.Channels, Encode: sse.EncodeEvent,
		Linger: linger, CheckInterval: cfg.CheckInterval, LogBytes: g.allowed.logs, Hooks: g.telemetry.Channels(), Logger: g.log, Now: g.bus.Now,
	})
	g.streams, err = sse.New(sse.Options{
		Hub: g.hub, Replica: g.name, Heartbeat: cfg.Heartbeat, WriteTimeout: cfg.WriteTimeout,
		MaxConnections: g.maxConnections(), MaxAge: cfg.MaxConnectionAge, Loops: loops(cfg.StreamPath), Hooks: g.telemetry.Streams(), Logger: g.log,
	})
	if err != nil {
		return err
	}
	g.readiness = readiness.New(readiness.Options{Own: g.own, Redis: g.bus.State, Reach: g.bus.Reach, Grace: cfg.ReadyGrace, Logger: g.log})
	if err := g.telemetry.Observe(telemetry.Sources{
		Connections: g.streams.Connections, LoopConnections: g.streams.LoopConnections, Subscriptions: g.hub.Subscriptions,
		Channels: g.hub.Channels, Lag: g.hub.Lag, LogBytes: g.hub.LogBytes,
		Ready: func() bool { return g.readiness.Report().Status != readiness.NotReady },
	}); err != nil {
		return err
	}
	join := make([]channels.Template, len(cfg.AutoSubscribe))
	for i, text := range cfg.AutoSubscribe {
		if join[i], err = channels.ParseTemplate(text); err != nil {
			return err
		}
	}
	options := httpapi.Options{
		Hub: g.hub, Streams: g.streams, Publisher: g.bus.Publisher(), Verifier: g.verifier, Revoked: g.revoked,
		TokenCookie: cfg.TokenCookie, CookieSameSite: sameSite[cfg.CookieSameSite], MaxChannels: cfg.MaxChannels, AutoSubscribe: join, MaxPayload: cfg.MaxPayload, Logger: g.log,
		Limits: httpapi.Limits{
			ConnectionsPerUser: perUser(cfg.MaxConnectionsPerUser, g.maxConnections()), ConnectionsPerAddress: cfg.MaxConnectionsPerAddress,
			SubscribeRatePerUser: cfg.MaxSubscribeRatePerUser, SubscribeRatePerAddress: cfg.MaxSubscribeRatePerAddress,
			PublishRatePerUser: cfg.MaxPublishRatePerUser, PublishRatePerAddress: cfg.MaxPublishRatePerAddress,
		},
		Limited: g.telemetry.Limited(), Authenticated: g.telemetry.Authenticated(), Tracer: g.telemetry.Tracer(), TrustedProxies: cfg.ProxyNetworks(),
	}
	if g.webhook != nil {
		options.Authorizer = g.webhook
	}
	if options.AllowedOrigins, err = origin.ParseList(cfg.AllowedOrigins); err != nil {
		return err
	}
	if g.dev != nil {
		if err := g.dev.attach(g.bus); err != nil {
			return err
		}
		options.Open, options.Dev = !cfg.DevRights, g.dev.routes(g.bus)
	}
	g.public = g.server(httpapi.New(options))
	g.ops = g.server(httpapi.NewOps(httpapi.OpsOptions{
		Ready: g.readiness.Report, Metrics: g.telemetry.Handler(), Connections: g.connections, LogLevel: g.level, Pprof: cfg.Pprof, Dev: g.dev != nil,
	}))
	return nil
}

// maxConnections is the setting, or what the open files allow where they are
// limited.
func (g *gateway) maxConnections() int {
	if n := g.cfg.MaxConnections; n > 0 {
		return n
	}
	return int(min(g.allowed.streams(), math.MaxInt32))
}

// perUser is the setting, or half of what the replica may have, so that no user
// takes all of it. Where that is little, one client that measures would be
// stopped by it, so it is not less than 20,000.
func perUser(n, all int) int {
	switch {
	case n > 0:
		return n
	case all == 0:
		return 0
	}
	return max(all/2, 20_000)
}

// redisTLS is the files for a Redis with TLS.
func redisTLS(cfg *config.Config) redisbus.TLS {
	return redisbus.TLS{CAFile: cfg.RedisCAFile, CertFile: cfg.RedisCertFile, KeyFile: cfg.RedisKeyFile}
}

// redisLinks is the setting, or what keeps one connection to Redis from being
// the bottleneck: a core reads about 200,000 announcements a second.
func redisLinks(n int) int {
	if n > 0 {
		return n
	}
	return min(max(runtime.GOMAXPROCS(0)/4, 1), 4)
}

// loops is how many loops write to streams. One processor is left to what else
// there is.
func loops(path string) int {
	if path == config.PathGoroutine {
		return 0
	}
	return max(1, runtime.GOMAXPROCS(0)-1)
}

// openTelemetry reads where to send what from the standard variables.
func openTelemetry(replica string, log *slog.Logger) (*telemetry.Telemetry, error) {
	t, err := telemetry.New(telemetry.Options{Version: readBuild().Version, Replica: replica, Logger: log})
	return t, telemetryError(err)
}

// telemetryError says of a wrong variable that it is one.
func telemetryError(err error) error {
	var wrong *telemetry.SettingError
	if errors.As(err, &wrong) {
		return usagef("the environment variable %v", wrong)
	}
	return err
}

// openWebhook returns nil where no webhook is configured.
func openWebhook(cfg *config.Config, hooks webhook.Hooks, log *slog.Logger) (*webhook.Authorizer, error) {
	if cfg.WebhookURL == "" {
		return nil, nil
	}
	a, err := webhook.New(webhook.Options{URL: cfg.WebhookURL, Secret: cfg.WebhookSecret, Timeout: cfg.WebhookTimeout, Logger: log, Hooks: hooks})
	var wrong *webhook.SettingError
	if errors.As(err, &wrong) {
		name := "webhook-" + strings.ToLower(wrong.Setting)
		return nil, usagef("config: %s (%v): %v", name, cfg.Source(name), wrong.Err)
	}
	return a, err
}

// connections lists what is open, by user and by channel where they are named.
func (g *gateway) connections(ctx context.Context, user, channel string, limit int) ([]sse.Info, int, error) {
	f := sse.Filter{Channel: channel}
	if user != "" {
		f.Holders = g.revoked.Visits(user)
	}
	return g.streams.List(ctx, f, limit)
}

// own tells per part whether this replica by itself can serve.
func (g *gateway) own() map[string]error {
	parts := map[string]error{"streams": nil}
	if g.draining.Load() {
		parts["streams"] = errors.New("draining")
	}
	if g.verifier != nil {
		parts["tokens"] = g.verifier.Ready()
	}
	return parts
}

// leave ends the streams over the drain time and then the servers. Newcomers are
// answered until then, so that none is refused a connection: also where no stream
// is open any more, since load balancers send them until their checks have failed.
// To a replica that is not ready they send none.
func (g *gateway) leave() {
	var answering time.Duration
	if g.readiness.Report().Status != readiness.NotReady {
		answering = g.cfg.DrainTime
	}
	answered := time.After(answering)
	g.draining.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), g.cfg.DrainTime+leaveTimeout)
	defer cancel()
	var ends sync.WaitGroup
	defer ends.Wait()
	if g.bus.Ready() {
		ends.Go(func() {
			if err := g.bus.Leave(ctx); err != nil {
				g.log.Warn("could not hand over the recording of plain PUBLISH at once; others take over within seconds", "error", err)
			}
		})
	}
	streams, cancelStreams := context.WithTimeout(ctx, g.cfg.DrainTime+lastBytes)
	defer cancelStreams()
	if g.streams.Drain(streams, g.cfg.DrainTime) != nil {
		// They do not read, so they would not hear of it either.
		g.log.Warn("some clients took no bytes until the end; their connections are cut", "streams", g.streams.Connections())
	}
	<-answered
	for _, s := range []*http.Server{g.public, g.ops} {
		ends.Go(func() {
			if s.Shutdown(ctx) != nil {
				_ = s.Close()
			}
		})
	}
}

// listenOps listens for operators. In development, where nobody chose the
// address, a second gateway takes a free port.
func (g *gateway) listenOps(ctx context.Context) (net.Listener, error) {
	l, err := listen(ctx, g.cfg.OpsAddr)
	if err != nil && g.cfg.Dev && !g.cfg.OpsAddrSet {
		l, err = listen(ctx, "127.0.0.1:0")
	}
	if err != nil {
		return nil, listenError("--ops-addr", g.cfg.OpsAddr, err)
	}
	return l, nil
}

// replicaName tells replicas apart. In development it is the address, by which
// the demo page finds the others.
func replicaName(cfg *config.Config, addr net.Addr) string {
	if cfg.Dev {
		return addr.String()
	}
	host := cfg.ReplicaName
	if host == "" {
		var err error
		if host, err = os.Hostname(); err != nil {
			host = "gateway"
		}
	}
	return host + "-" + rand.Text()[:6]
}
