// Command kanban is the service of the kanban example: it keeps the boards,
// decides who is in which project, and publishes what has changed.
package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"

	"realtime-gateway/examples/shared/backend"
)

// members says who may work on which project; carol is in none.
var members = map[string][]string{"42": {"alice", "bob"}, "7": {"bob"}}

// task is one card. Rev grows with each change of it, by which a page knows
// which of two states is the later one.
type task struct {
	ID       int    `json:"id"`
	Rev      int    `json:"rev"`
	Title    string `json:"title"`
	Status   string `json:"status"`
	Assignee string `json:"assignee"`
}

// board is the tasks of a project, in memory as this is an example. A change is
// published first and then made, so that nobody reads what is never told. With a
// database: docs/publishing.md, "Transactions".
type board struct {
	mu       sync.Mutex
	last     int
	tasks    map[int]task
	answered map[string]task // by the ids of events
}

type service struct {
	redis  *redis.Client
	boards map[string]*board
}

func main() {
	db, err := backend.OpenRedis()
	if err != nil {
		log.Fatal(err)
	}
	s := &service{redis: db, boards: map[string]*board{}}
	for project := range members {
		s.boards[project] = &board{tasks: map[int]task{}, answered: map[string]task{}}
	}
	s.boards["42"].last = 3
	for i, t := range []task{{Title: "Sketch the board", Status: "done", Assignee: "bob"}, {Title: "Publish what changes", Status: "doing", Assignee: "alice"}, {Title: "Show it to somebody", Status: "todo"}} {
		t.ID, t.Rev = i+1, 1
		s.boards["42"].tasks[t.ID] = t
	}
	err = backend.Serve(map[string]backend.Handler{
		"POST /api/token":                           s.token,
		"GET /api/projects/{project}/tasks":         s.list,
		"POST /api/projects/{project}/tasks":        s.create,
		"PATCH /api/projects/{project}/tasks/{id}":  s.change,
		"DELETE /api/projects/{project}/tasks/{id}": s.remove,
	})
	if err != nil {
		log.Fatal(err)
	}
}

// token signs in by name alone; an application would ask for more.
func (s *service) token(r *http.Request) (any, error) {
	var in struct{ User string }
	if json.NewDecoder(r.Body).Decode(&in) != nil || in.User == "" {
		return nil, backend.Problem(http.StatusBadRequest, "say who you are")
	}
	var may []string
	for project, users := range members {
		if slices.Contains(users, in.User) {
			may = append(may, "project:"+project+":tasks")
		}
	}
	token, err := backend.Sign(in.User, may...)
	return map[string]string{"token": token}, err
}

// open returns the board of the request's project, if its user is in it.
func (s *service) open(r *http.Request) (*board, error) {
	user, err := backend.User(r)
	if err != nil {
		return nil, err
	}
	project := r.PathValue("project")
	if !slices.Contains(members[project], user) {
		return nil, backend.Problem(http.StatusForbidden, user+" is not in project "+project)
	}
	return s.boards[project], nil
}

func (s *service) list(r *http.Request) (any, error) {
	b, err := s.open(r)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	tasks := make([]task, 0, len(b.tasks))
	for _, t := range b.tasks {
		tasks = append(tasks, t)
	}
	slices.SortFunc(tasks, func(a, b task) int { return cmp.Compare(a.ID, b.ID) })
	return map[string]any{"tasks": tasks}, nil
}

func (s *service) create(r *http.Request) (any, error) {
	return s.write(r, func(b *board) (string, task, error) {
		t := task{ID: b.last + 1, Rev: 1, Status: "todo"}
		if json.NewDecoder(r.Body).Decode(&struct{ Title *string }{&t.Title}) != nil || t.Title == "" {
			return "", t, backend.Problem(http.StatusBadRequest, "A task needs a title.")
		}
		return "task_created", t, nil
	})
}

// change takes any of title, status and assignee, and says by the type of its
// event what it was.
func (s *service) change(r *http.Request) (any, error) {
	return s.write(r, func(b *board) (string, task, error) {
		old, err := b.find(r)
		if err != nil {
			return "", old, err
		}
		t := old
		if json.NewDecoder(r.Body).Decode(&struct{ Title, Status, Assignee *string }{&t.Title, &t.Status, &t.Assignee}) != nil {
			return "", t, backend.Problem(http.StatusBadRequest, "That is no change of a task.")
		}
		t.Rev++
		switch {
		case t.Title == "" || !slices.Contains([]string{"todo", "doing", "done"}, t.Status):
			return "", t, backend.Problem(http.StatusBadRequest, "A task has a title, and is todo, doing or done.")
		case t.Status == "done" && t.Assignee == "":
			return "", t, backend.Problem(http.StatusConflict, "A task is somebody's before it is done: assign it first.")
		case t.Status != old.Status:
			return "task_status_changed", t, nil
		case t.Assignee != old.Assignee:
			return "task_assigned", t, nil
		}
		return "task_updated", t, nil
	})
}

func (s *service) remove(r *http.Request) (any, error) {
	return s.write(r, func(b *board) (string, task, error) {
		t, err := b.find(r)
		t.Rev++
		return "task_deleted", t, err
	})
}

// write makes one change: decided, told to all boards, done. The id of the event is the
// page's, which by it knows its own change when it comes back; a request that
// is repeated with it gets the first answer.
func (s *service) write(r *http.Request, decide func(*board) (kind string, t task, err error)) (any, error) {
	b, err := s.open(r)
	if err != nil {
		return nil, err
	}
	id := r.Header.Get("Event-Id")
	if id == "" {
		return nil, backend.Problem(http.StatusBadRequest, "the header Event-Id is missing")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if t, ok := b.answered[id]; ok {
		return t, nil
	}
	kind, t, err := decide(b)
	if err != nil {
		return nil, err
	}
	channel := "project:" + r.PathValue("project") + ":tasks"
	if _, err := backend.Publish(r.Context(), s.redis, channel, id, map[string]any{"type": kind, "data": t}); err != nil {
		return nil, err
	}
	if kind == "task_deleted" {
		delete(b.tasks, t.ID)
	} else {
		b.tasks[t.ID] = t
	}
	b.last, b.answered[id] = max(b.last, t.ID), t
	return t, nil
}

// find returns the request's task. The caller holds b.mu.
func (b *board) find(r *http.Request) (task, error) {
	for _, t := range b.tasks {
		if fmt.Sprint(t.ID) == r.PathValue("id") {
			return t, nil
		}
	}
	return task{}, backend.Problem(http.StatusNotFound, "The task is gone.")
}
