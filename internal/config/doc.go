// Package config is the gateway's configuration: every setting that an operator
// can make, where its value came from, and whether the values fit together.
//
// A setting is declared once, in the table of registry.go, and is thereby a
// flag (--drain-time), an environment variable (GATEWAY_DRAIN_TIME), a key of
// the YAML file (drainTime), a line of "gateway check-config" and a row of the
// reference that Settings is the source of. The first of flag, environment,
// file and default that has a value decides; an empty environment variable
// counts as not set, because that is what templates leave behind. Channel
// policies are in the file only.
//
//	loader := config.NewLoader(cmd.Flags())
//	// … parse the flags …
//	cfg, warnings, err := loader.Load(os.Environ())
//
// Every value is checked, also one that something else overrides. What is
// wrong is an *Error of one line, which names the setting, where it came from
// and what is allowed. Secrets and the password inside the Redis URL appear in
// no error, no warning and no rendering of a Config.
//
// A Loader serves one Load and is not safe for concurrent use. A Config is
// plain data which nobody changes after Load.
//
// Known limits: the file is read once, at the start, and has one YAML document
// of at most 1 MiB. Anchors and aliases work; the merge key << works for
// channel policies, one mapping deep.
package config
