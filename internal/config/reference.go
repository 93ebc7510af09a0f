package config

import (
	"fmt"
	"strings"

	"realtime-gateway/pkg/channels"
)

// sections are the headings of the reference, each with the first setting below
// it. So a new setting stands where it is declared.
var sections = []struct{ first, title string }{
	{nameDev, "Where it listens"},
	{"redis-url", "Redis"},
	{nameConfig, "The process"},
	{nameJWTSecret, "Tokens"},
	{nameWebhookURL, "The webhook"},
	{"cookie-same-site", "Pages and cookies"},
	{nameTLSCert, "TLS and requests"},
	{"heartbeat", "Streams"},
	{"linger", "Channels in a replica"},
	{"max-connections", "Limits"},
	{nameAutoSubscribe, "Channels that are joined by themselves"},
	{"log-memory", "Memory and profiles"},
}

// Reference returns the tables of all settings but the channel policies for
// docs/configuration.md, in Markdown.
func Reference() string {
	var b strings.Builder
	for _, s := range Settings() {
		for _, section := range sections {
			if section.first == s.Name {
				fmt.Fprintf(&b, "\n### %s\n\n| setting | default | allowed | meaning |\n| --- | --- | --- | --- |\n", section.title)
			}
		}
		names := code("--"+s.Name) + "<br>" + code(s.Env)
		if s.YAML != "" {
			names += "<br>" + code(s.YAML)
		}
		def := code(s.Default)
		if s.DevDefault != "" {
			def += "<br>dev " + code(s.DevDefault)
		}
		help := plain.Replace(strings.ReplaceAll(s.Help, "`", "")) + "." // back quotes are for the flag's usage
		if s.Live != "" {
			help += " **Changes without a restart:** " + s.Live + "."
		}
		if s.Secret {
			if _, all := named(s.Name).bind(&Config{}).(secretValue); all {
				help += " **Secret:** logs and listings do not show it."
			} else {
				help += " **May hold a password,** which logs and listings do not show."
			}
		}
		row(&b, names, def, allowed(s), help)
	}
	return b.String()
}

// PolicyReference returns the table of the channel policies' keys for
// docs/configuration.md, in Markdown.
func PolicyReference() string {
	var b strings.Builder
	b.WriteString("| key | default | allowed | meaning |\n| --- | --- | --- | --- |\n")
	for _, s := range ChannelSettings() {
		def := code(s.Default)
		if s.Name == "onFull" {
			def = s.Default // words: it depends on the history
		}
		row(&b, code(s.YAML), def, allowed(s), plain.Replace(s.Help)+".")
		if s.Name == keyConflate {
			both := conflateValue{&channels.Conflate{}}
			row(&b, code(keyConflate+".by"), "", both.by().Allowed(), "where an event has its key.")
			row(&b, code(keyConflate+".window"), "", shortened(both.window().Allowed()), "how long the events of a key wait for a newer one.")
		}
	}
	return b.String()
}

func allowed(s Setting) string { return shortened(s.Allowed) }

// shortened leaves out how durations are written, which the page says once.
func shortened(allowed string) string { return strings.TrimSuffix(allowed, durationForms) }

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}

// plain keeps words from being markup: a bar would end the cell.
var plain = strings.NewReplacer("|", `\|`, "`", "\\`", "*", `\*`, "<", `\<`)

func row(b *strings.Builder, setting, def, allowed, meaning string) {
	fmt.Fprintf(b, "| %s | %s | %s | %s |\n", setting, def, plain.Replace(allowed), meaning)
}
