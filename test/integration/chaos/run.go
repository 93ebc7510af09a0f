package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// Config says what to run.
type Config struct {
	Binary   string   // the gateway
	Env      []string // its environment, beside what it needs
	Dir      string   // for the files of Redis
	Topology string
	Seed     uint64
	Time     time.Duration
	// Round is the first one, to see one of a long run again.
	Round int
	// Clients, if zero, are 40.
	Clients int
	// Pause is how long it is quiet between two faults of a lane, on average.
	// If zero, 700 ms.
	Pause time.Duration
	// Faults, if not empty, are the only ones to play.
	Faults []string
	// Patience is how long clients may take to reach the end when everything is
	// healed. If zero, 40 s.
	Patience time.Duration
	// Log takes what happens. If nil, nobody wants to know.
	Log func(format string, args ...any)
}

// Bounds of a round. Each has channels of its own and is proven by itself, so
// that a run may take days.
const (
	roundTime    = 20 * time.Second
	minRoundTime = 3 * time.Second
	answerLimit  = 40 * time.Second
	quiet        = 700 * time.Millisecond
)

// Run runs until the time is over, or the first round with violations. The
// error is about the run itself.
func Run(c Config) (*Report, error) {
	if c.Clients == 0 {
		c.Clients = 40
	}
	if c.Pause == 0 {
		c.Pause = 700 * time.Millisecond
	}
	if c.Patience == 0 {
		c.Patience = 40 * time.Second
	}
	if c.Log == nil {
		c.Log = func(string, ...any) {}
	}
	report := newReport(c)
	w, err := build(c)
	end := time.Now().Add(c.Time)
	var before *round
	for n := c.Round; err == nil && len(report.Violations) == 0 && (n == c.Round || time.Until(end) > minRoundTime); n++ {
		r := newRound(c, w, n, min(roundTime, max(time.Until(end), minRoundTime)))
		if err = r.run(report); err == nil && before != nil {
			err = before.forget()
		}
		before = r
	}
	return report, errors.Join(err, w.crashes(), w.close())
}

// round is one go at it, with its own channels and clients.
type round struct {
	config     Config
	world      *world
	number     int
	length     time.Duration
	plan       schedule
	publishers []*publisher
	clients    []*client
	settle     chan struct{}

	mu     sync.Mutex
	played []played
}

func newRound(c Config, w *world, number int, length time.Duration) *round {
	r := &round{config: c, world: w, number: number, length: length, settle: make(chan struct{})}
	// Each has a sequence of its own, so that none depends on when another
	// draws.
	sequence := uint64(number) << 32
	random := func() *rand.Rand { sequence++; return rand.New(rand.NewPCG(c.Seed, sequence)) }

	faults := slices.Clone(w.faults)
	if len(c.Faults) > 0 {
		faults = slices.DeleteFunc(faults, func(f fault) bool { return !slices.Contains(c.Faults, f.name) })
	}
	r.plan = plan(random(), faults, length, c.Pause)
	var channels []string
	for i := range 20 {
		r.publishers = append(r.publishers, r.newPublisher(i, random()))
		channels = append(channels, r.publishers[i].channel)
	}
	w.channels = channels
	for i := range c.Clients {
		r.clients = append(r.clients, r.newClient(i, random()))
	}
	w.burst = func(target, size int) {
		p := r.publishers[target%bursting]
		select {
		case p.bursts <- size:
		default: // the last one has not come through yet
		}
	}
	return r
}

// bursting is how many publishers, the first ones, take bursts.
const bursting = 4

func (r *round) newPublisher(i int, random *rand.Rand) *publisher {
	p := &publisher{world: r.world, random: random, bursts: make(chan int, 1), pace: 80 * time.Millisecond}
	family := "whole"
	switch {
	case i < bursting:
		p.padding = strings.Repeat("x", 1500)
	case i < 9:
		family, p.trimmed = "few", true
	case i < 12:
		p.way = byPublish
	case i < 13:
		p.way = byHTTP
	}
	p.channel = fmt.Sprintf("%s:round-%d:c%d", family, r.number, i)
	return p
}

func (r *round) newClient(i int, random *rand.Rand) *client {
	c := &client{
		name: fmt.Sprintf("client-%d", i), world: r.world, random: random, settle: r.settle,
		steady: i%4 == 0, lazy: i%4 < 2,
		stories: map[string]*story{}, closes: map[string]int{},
	}
	for _, at := range random.Perm(len(r.publishers))[:1+random.IntN(4)] {
		channel := r.publishers[at].channel
		c.channels = append(c.channels, channel)
		c.stories[channel] = &story{client: c.name, channel: channel}
	}
	return c
}

func (r *round) run(report *Report) error {
	r.config.Log("%s, seed %d, round %d, %v, the faults are\n%s", r.config.Topology, r.config.Seed, r.number, r.length.Round(time.Second), r.plan)
	publishing, stopPublishing := context.WithCancel(context.Background())
	defer stopPublishing()
	hard, giveUp := context.WithCancel(context.Background())
	defer giveUp()
	var clients, publishers sync.WaitGroup
	for _, c := range r.clients {
		clients.Go(func() { c.run(hard) })
	}
	for _, p := range r.publishers {
		publishers.Go(func() { p.run(publishing, hard) })
	}
	err := r.play()
	stopPublishing()
	if err == nil {
		err = r.world.ready()
	}
	limit := time.AfterFunc(answerLimit, giveUp)
	publishers.Wait()
	limit.Stop()
	close(r.settle)
	if err == nil && hard.Err() != nil {
		err = fmt.Errorf("a publisher got no answer for %v after everything was healed", answerLimit)
	}
	var found []violation
	if err == nil {
		found, err = r.settled()
	}
	giveUp()
	clients.Wait()
	report.add(r, found)
	return err
}

// forget deletes what the round has left in Redis, a round later, when no
// replica has anything to do with it any more.
func (r *round) forget() error {
	var errs []error
	for _, p := range r.publishers {
		errs = append(errs, r.world.db.Unlink(context.Background(), "gw:"+p.channel).Err())
	}
	return errors.Join(errs...)
}

// play plays the schedule to its end and heals everything.
func (r *round) play() error {
	ctx, cancel := context.WithTimeout(context.Background(), r.length)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, len(r.plan))
	for l, steps := range r.plan {
		wg.Go(func() { errs[l] = r.playLane(ctx, steps) })
	}
	wg.Wait()
	<-ctx.Done()
	return errors.Join(errs...)
}

func (r *round) playLane(ctx context.Context, steps []step) error {
	for _, s := range steps {
		if !sleep(ctx, s.after) {
			return nil
		}
		f := played{name: s.fault.name, loses: s.fault.loses, begin: time.Now()}
		heal, err := s.fault.begin(s.target)
		if heal != nil {
			sleep(ctx, s.lasts)
			err = errors.Join(err, heal())
		}
		f.end = time.Now()
		r.mu.Lock()
		r.played = append(r.played, f)
		r.mu.Unlock()
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}

// sleep reports whether it was not woken up.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// settled proves the round as soon as nothing more is to be expected, and once
// more a moment later, when a late duplicate would have come.
func (r *round) settled() ([]violation, error) {
	mayStillCome := func(v violation) bool {
		return v.kind == unfinished || v.kind == lossUntold || v.kind == lossInexact
	}
	for end := time.Now().Add(r.config.Patience); ; time.Sleep(quiet) {
		found, err := r.prove()
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(found, mayStillCome) && time.Now().Before(end) {
			continue
		}
		time.Sleep(quiet)
		again, err := r.prove()
		if err != nil || len(again) <= len(found) || time.Now().After(end) {
			return again, err
		}
	}
}

func (r *round) prove() ([]violation, error) {
	ctx, cancel := context.WithTimeout(context.Background(), answerLimit)
	defer cancel()
	stories := map[string][]*story{}
	var found []violation
	// First what was seen, then what there is to see.
	for _, c := range r.clients {
		for _, s := range c.copied() {
			stories[s.channel] = append(stories[s.channel], s)
		}
		c.mu.Lock()
		for _, what := range c.refused {
			found = append(found, violation{kind: refused, client: c.name, what: what})
		}
		c.mu.Unlock()
	}
	r.world.mu.Lock()
	faults := slices.Concat(r.played, r.world.unplanned)
	r.world.mu.Unlock()
	for _, p := range r.publishers {
		t, err := p.truth(ctx)
		if err != nil {
			return nil, err
		}
		found = append(found, prove(t, stories[p.channel], faults)...)
	}
	return found, nil
}
