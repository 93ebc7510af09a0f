package config

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"realtime-gateway/pkg/channels"
)

// policyField is one key of a channel policy.
type policyField struct {
	key  string
	def  string // what applies where the key is absent
	help string
	bind func(*channels.Policy) value
}

const (
	keyPattern  = "pattern"
	keyConflate = "conflate"
	keyAccess   = "subscribe"
	keyPublish  = "publish"
)

var policyFields = []policyField{
	{keyPattern, "", "which channels: * is one segment, ** the rest, {claim} a value of that claim of the token, such as {sub}; the first match wins",
		func(p *channels.Policy) value { return patternValue{&p.Pattern} }},
	{"bufferSize", "256", "events a connection may lag behind before onFull acts; 0 means the default",
		func(p *channels.Policy) value { return intValue{&p.BufferSize, 0, channels.MaxBufferSize} }},
	{"onFull", "catch-up with history, otherwise drop-oldest", "what happens when a connection lags further behind: it is given everything from history, late (catch-up), misses the oldest or the newest and is told so, or is closed (disconnect)",
		func(p *channels.Policy) value {
			return choiceOf(&p.OnFull, channels.DropOldest, channels.DropNewest, channels.Disconnect, channels.CatchUp)
		}},
	{"messageTTL", "0s", "an older event is never delivered, live or replayed; 0s means no such age",
		func(p *channels.Policy) value { return policyDuration(&p.MessageTTL) }},
	{"lastN", "0", "past events that a first connection gets, and the most it may ask for",
		func(p *channels.Policy) value { return intValue{&p.LastN, 0, channels.MaxLastN} }},
	{"maxAge", "0s", "age of the oldest past event that a first connection gets, and the most it may ask for",
		func(p *channels.Policy) value { return policyDuration(&p.MaxAge) }},
	{"historySize", "0", "events kept for replay in the stream in Redis; 0 means none, and delivery at most once",
		func(p *channels.Policy) value { return intValue{&p.HistorySize, 0, channels.MaxHistorySize} }},
	{"historyTTL", "1h", "how long an event is kept for replay; the key in Redis outlives it, for a day after its last use at least. 0s means the default",
		func(p *channels.Policy) value { return policyDuration(&p.HistoryTTL) }},
	{"idempotencyWindow", "5m", "how long a repeated EVENTID is recognised, which costs a key in Redis for as long; 0s means the default",
		func(p *channels.Policy) value { return policyDuration(&p.IdempotencyWindow) }},
	{keyConflate, "", "of the events of one key within a window only the newest is delivered live",
		func(p *channels.Policy) value { return conflateValue{&p.Conflate} }},
	{keyAccess, "token", "who may read: whose token's claims say so, anyone with a token, anyone, or whom the webhook allows",
		func(p *channels.Policy) value {
			return choiceOf(&p.Subscribe, channels.AccessToken, channels.AccessAuthenticated, channels.AccessPublic, channels.AccessWebhook)
		}},
	{keyPublish, "token", "who may publish over HTTP: whose token's claims say so, anyone with a token, whom the webhook allows, or nobody",
		func(p *channels.Policy) value {
			return choiceOf(&p.Publish, channels.AccessToken, channels.AccessAuthenticated, channels.AccessWebhook, channels.AccessNone)
		}},
}

func policyDuration(p *time.Duration) value { return durationValue{p, 0, channels.MaxDuration} }

func findPolicyField(key string) *policyField {
	for i := range policyFields {
		if policyFields[i].key == key {
			return &policyFields[i]
		}
	}
	return nil
}

// ChannelSettings returns the keys of an entry of the file's channels list.
// They have neither flag nor environment variable.
func ChannelSettings() []Setting {
	var out []Setting
	for _, field := range policyFields {
		out = append(out, Setting{
			Name: field.key, YAML: field.key, Default: field.def, Help: field.help,
			Allowed: field.bind(&channels.Policy{}).Allowed(),
		})
	}
	return out
}

func (f *file) readChannels(list entry) error {
	f.channelsSet = true
	if isNull(list.value) { // all entries are commented out
		return nil
	}
	if list.value.Kind != yaml.SequenceNode {
		return errorf(f.at(list.line).of(keyChannels), "is %s: allowed is a list of entries, each beginning with - pattern: …", kindOf(list.value))
	}
	for _, item := range list.value.Content {
		if err := f.readPolicy(item); err != nil {
			return err
		}
	}
	return nil
}

func (f *file) readPolicy(item *yaml.Node) error {
	at := f.at(item.Line)
	if item = resolve(item); item.Kind != yaml.MappingNode {
		return errorf(at.of("an entry of channels"), "is %s: allowed is a mapping with pattern and further keys", emptyOr(item))
	}
	entries, err := f.entries(item, true)
	if err != nil {
		return err
	}
	var p channels.Policy
	lines := map[string]int{}
	for _, e := range entries {
		lines[e.key] = e.line
		if err := f.readPolicyField(&p, e, lines); err != nil {
			return err
		}
	}
	if _, ok := lines[keyPattern]; !ok {
		return errorf(at.of("an entry of channels"), "has no pattern: allowed is %s", patternValue{}.Allowed())
	}
	list, err := channels.NewPolicies([]channels.Policy{p})
	if err != nil {
		return f.policyError(err, at.Line, lines, p.Pattern.String())
	}
	f.warnZeros(&p, entries)
	f.policies = append(f.policies, list...)
	f.policySources = append(f.policySources, at)
	return nil
}

func (f *file) readPolicyField(p *channels.Policy, e entry, lines map[string]int) error {
	field := findPolicyField(e.key)
	if field == nil {
		at := f.at(e.line).String()
		if s := find(func(s *setting) bool { return s.YAML == e.key }); s != nil && e.key != "" {
			return errorf(at, "has %s inside of channels: it belongs to the top of the file", e.key)
		}
		var keys []string
		for _, other := range policyFields {
			keys = append(keys, other.key)
		}
		return errorf(at, "has the unknown channel setting %s%s", shownKey(e.key), didYouMean(e.key, keys))
	}
	v := field.bind(p)
	if mapping, ok := v.(conflateValue); ok {
		return f.readConflate(mapping, e, lines)
	}
	return f.readScalar(v, e)
}

// policyError finds the line of what channels.NewPolicies refuses: settings
// that are right by themselves and do not fit together. Its error begins with
// the setting's name.
func (f *file) policyError(err error, line int, lines map[string]int, pattern string) error {
	if inner := errors.Unwrap(err); inner != nil {
		err = inner // without the index, which says less than the line
	}
	key, _, _ := strings.Cut(err.Error(), " ")
	if l, ok := lines[key]; ok {
		line = l
	}
	return &Error{Where: f.at(line).String(), Reason: fmt.Sprintf("(pattern %s): %v", pattern, err)}
}

// warnZeros tells that a zero which looks like "none" means the default.
func (f *file) warnZeros(p *channels.Policy, entries []entry) {
	for _, e := range entries {
		zero := e.key == "bufferSize" && p.BufferSize == 0 ||
			e.key == "historyTTL" && p.HistoryTTL == 0 && p.History() ||
			e.key == "idempotencyWindow" && p.IdempotencyWindow == 0
		if zero {
			f.warnings = append(f.warnings, fmt.Sprintf("%s is 0, which means the default of %s", f.at(e.line).of(e.key), findPolicyField(e.key).def))
		}
	}
}

func emptyOr(n *yaml.Node) string {
	if isNull(n) {
		return "empty"
	}
	return kindOf(n)
}
