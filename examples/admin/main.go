// Command admin is the service of the admin example: it says who may watch which
// project, and publishes what happens in it.
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"io"
	"log"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"realtime-gateway/examples/shared/backend"
)

// answerTTL is how many seconds the gateway may keep an answer about a right,
// and so how long one outlives its end.
const answerTTL = 2

// projectName is a segment of a channel's name, too.
var projectName = regexp.MustCompile(`^[a-z0-9-]{1,30}$`)

type service struct {
	redis    *redis.Client
	webhooks *standardwebhooks.Webhook

	mu     sync.Mutex
	admins map[string][]string // by project
}

func main() {
	db, err := backend.OpenRedis()
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := standardwebhooks.NewWebhookRaw([]byte(os.Getenv("WEBHOOK_SECRET")))
	if err != nil {
		log.Fatal(err)
	}
	s := &service{redis: db, webhooks: verifier, admins: map[string][]string{"shop": {"alice", "bob"}, "blog": {"alice"}}}
	err = backend.Serve(map[string]backend.Handler{
		"POST /gateway/may":                            s.may,
		"POST /api/token":                              s.token,
		"GET /api/projects":                            s.list,
		"POST /api/projects":                           s.create,
		"DELETE /api/projects/{project}/admins/{user}": s.dismiss,
		"POST /api/projects/{project}/notifications":   s.notify,
		"POST /api/projects/{project}/deployments":     s.deploy,
		"POST /api/banner":                             s.banner,
	})
	if err != nil {
		log.Fatal(err)
	}
}

// may answers the gateway's question about a subscription. Only the gateway can
// sign one.
func (s *service) may(r *http.Request) (any, error) {
	body, err := io.ReadAll(r.Body)
	var q struct{ User, Channel, Action string }
	if err != nil || s.webhooks.Verify(body, r.Header) != nil || json.Unmarshal(body, &q) != nil {
		return nil, backend.Problem(http.StatusUnauthorized, "that is no question of the gateway")
	}
	project, _, _ := strings.Cut(strings.TrimPrefix(q.Channel, "project:"), ":")
	if !s.isAdmin(q.User, project) {
		return map[string]any{"allow": false, "ttl": answerTTL, "reason": q.User + " is no admin of " + project}, nil
	}
	return map[string]any{"allow": true, "ttl": answerTTL}, nil
}

func (s *service) isAdmin(user, project string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.admins[project], user)
}

// token signs in by name alone; an application would ask for more. It names no
// channels: these are asked about one by one.
func (s *service) token(r *http.Request) (any, error) {
	var in struct{ User string }
	if json.NewDecoder(r.Body).Decode(&in) != nil || in.User == "" {
		return nil, backend.Problem(http.StatusBadRequest, "Say who you are.")
	}
	token, err := backend.Sign(in.User)
	return map[string]string{"token": token}, err
}

func (s *service) list(*http.Request) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.admins)), nil
}

// create makes a project. Its channels are there with the first who subscribes
// or publishes.
func (s *service) create(r *http.Request) (any, error) {
	user, err := backend.User(r)
	if err != nil {
		return nil, err
	}
	var in struct{ Name string }
	if json.NewDecoder(r.Body).Decode(&in) != nil || !projectName.MatchString(in.Name) {
		return nil, backend.Problem(http.StatusBadRequest, "A project is called by a-z, 0-9 and -.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.admins[in.Name] != nil {
		return nil, backend.Problem(http.StatusConflict, "There is a project of that name.")
	}
	s.admins[in.Name] = []string{user}
	return in.Name, nil
}

// dismiss takes a project from an admin. Open streams lose its channels when the
// gateway asks again.
func (s *service) dismiss(r *http.Request) (any, error) {
	project, err := s.open(r)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.admins[project] = slices.DeleteFunc(s.admins[project], func(user string) bool { return user == r.PathValue("user") })
	return nil, nil
}

// notify publishes what no admin may miss.
func (s *service) notify(r *http.Request) (any, error) {
	project, err := s.open(r)
	if err != nil {
		return nil, err
	}
	return s.publish(r, "project:"+project+":notifications", "notification")
}

// banner publishes what the visitors of the website see.
func (s *service) banner(r *http.Request) (any, error) {
	if _, err := backend.User(r); err != nil {
		return nil, err
	}
	return s.publish(r, "site:banner", "banner")
}

func (s *service) publish(r *http.Request, channel, kind string) (any, error) {
	var in struct{ Text string }
	if json.NewDecoder(r.Body).Decode(&in) != nil || in.Text == "" {
		return nil, backend.Problem(http.StatusBadRequest, "Say something.")
	}
	event := map[string]any{"type": kind, "data": map[string]string{"text": in.Text}}
	return backend.Publish(r.Context(), s.redis, channel, rand.Text(), event)
}

// deploy has the shell script publish, as a job of a CI would.
func (s *service) deploy(r *http.Request) (any, error) {
	project, err := s.open(r)
	if err != nil {
		return nil, err
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(r.Context(), "./deploy.sh", project, "v"+rand.Text()[:4])
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		log.Printf("deploy.sh: %v: %s", err, said.String())
		return nil, backend.Problem(http.StatusServiceUnavailable, "deploy.sh failed; it needs redis-cli.")
	}
	return nil, nil
}

// open returns the request's project, if its user is an admin of it.
func (s *service) open(r *http.Request) (string, error) {
	user, err := backend.User(r)
	if err != nil {
		return "", err
	}
	project := r.PathValue("project")
	if !s.isAdmin(user, project) {
		return "", backend.Problem(http.StatusForbidden, user+" is no admin of "+project+".")
	}
	return project, nil
}
