package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/api"
	prometheus "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// Prometheus is a Prometheus server that scrapes replicas every second.
type Prometheus struct {
	Log *Log

	api  prometheus.API
	proc *Process
}

// NewPrometheus starts a server with its files in dir, which scrapes the replicas
// as the job gateway and loads a file of rules, and waits until it answers.
func NewPrometheus(dir, rules string, replicas ...*Gateway) (*Prometheus, error) {
	path, err := exec.LookPath("prometheus")
	if err != nil {
		return nil, fmt.Errorf("prometheus is missing, install it: apt-get install prometheus")
	}
	addr, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	if rules, err = filepath.Abs(rules); err != nil {
		return nil, err
	}
	var targets []string
	for _, g := range replicas {
		targets = append(targets, g.OpsAddr)
	}
	// JSON is YAML.
	config, err := json.Marshal(map[string]any{
		"global":     map[string]any{"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
		"rule_files": []string{rules},
		"scrape_configs": []any{
			map[string]any{"job_name": "gateway", "static_configs": []any{map[string]any{"targets": targets}}},
		},
	})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return nil, err
	}
	client, err := api.NewClient(api.Config{Address: "http://" + addr, Client: Client})
	if err != nil {
		return nil, err
	}
	p := &Prometheus{Log: &Log{}, api: prometheus.NewAPI(client)}
	p.proc, err = StartProcess("prometheus", path, []string{
		"--config.file", file, "--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", addr, "--log.level", "warn",
	}, nil, p.Log, p.Log)
	if err != nil {
		return nil, err
	}
	err = Until("prometheus answers", 2*Deadline, func() error {
		select {
		case <-p.proc.Exited():
			return errors.New("it exited")
		default:
		}
		_, err := p.Query("vector(1)")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", errors.Join(err, p.Close()), p.Log)
	}
	return p, nil
}

// Query evaluates an expression now. Scalars have no place in a dashboard and
// are an error.
func (p *Prometheus) Query(expr string) (model.Vector, error) {
	ctx, cancel := context.WithTimeout(context.Background(), Deadline)
	defer cancel()
	value, _, _, err := p.api.Query(ctx, expr, time.Now())
	if err != nil {
		return nil, fmt.Errorf("query %s: %w", expr, err)
	}
	vector, ok := value.(model.Vector)
	if !ok {
		return nil, fmt.Errorf("query %s: answered with a %s", expr, value.Type())
	}
	return vector, nil
}

// QueryRange evaluates an expression twice a second from then until now, so that
// it is evaluated between any two scrapes.
func (p *Prometheus) QueryRange(expr string, then time.Time) (model.Matrix, error) {
	ctx, cancel := context.WithTimeout(context.Background(), Deadline)
	defer cancel()
	value, _, _, err := p.api.QueryRange(ctx, expr, prometheus.Range{Start: then, End: time.Now(), Step: time.Second / 2})
	if err != nil {
		return nil, fmt.Errorf("query %s: %w", expr, err)
	}
	return value.(model.Matrix), nil // which a range always is
}

// Rules returns the alerts that were loaded, with their last evaluation.
func (p *Prometheus) Rules() ([]prometheus.AlertingRule, error) {
	ctx, cancel := context.WithTimeout(context.Background(), Deadline)
	defer cancel()
	found, err := p.api.Rules(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("list rules: %w", err)
	}
	var list []prometheus.AlertingRule
	for _, g := range found.Groups {
		for _, r := range g.Rules {
			if a, ok := r.(prometheus.AlertingRule); ok {
				list = append(list, a)
			}
		}
	}
	return list, nil
}

// WaitFor waits until an expression has a result.
func (p *Prometheus) WaitFor(expr string) error {
	return Until("Prometheus has "+expr, 2*Deadline, func() error {
		v, err := p.Query(expr)
		if err == nil && len(v) == 0 {
			err = errors.New("no result")
		}
		return err
	})
}

// Scraped waits until every replica has been scraped, with or without success,
// after now.
func (p *Prometheus) Scraped() error {
	return p.WaitFor(fmt.Sprintf(`min(timestamp(up{job="gateway"})) > %f`, float64(time.Now().UnixMilli())/1000))
}

// Close ends the server.
func (p *Prometheus) Close() error { return p.proc.Kill() }
