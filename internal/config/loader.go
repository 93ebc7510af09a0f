package config

import (
	"slices"

	"github.com/spf13/pflag"
)

// Loader makes a Config out of flags, environment, file and defaults. Use it
// for one Load or Resolve.
type Loader struct {
	fs   *pflag.FlagSet
	cfg  *Config
	list []*setting
	all  bool
}

// NewLoader adds the named settings to fs as flags, or, where no names are
// given, every setting. The names must exist. With names, the Loader takes
// these settings only from flags and environment too, and leaves the others at
// the file's values and the defaults: for commands that need a few of them.
func NewLoader(fs *pflag.FlagSet, names ...string) *Loader {
	l := &Loader{fs: fs, cfg: &Config{sources: map[string]Source{}}, all: len(names) == 0}
	for i := range registry {
		s := &registry[i]
		v := s.bind(l.cfg)
		if s.Default != "" {
			if err := v.Set(s.Default); err != nil {
				panic("config: default of " + s.Name + ": " + err.Error())
			}
		}
		if !l.all && !slices.Contains(names, s.Name) {
			continue
		}
		l.list = append(l.list, s)
		usage := s.Help
		if s.DevDefault != "" {
			usage += " (with --dev: " + s.DevDefault + ")"
		}
		flag := fs.VarPF(v, s.Name, "", usage)
		if v.Type() == "bool" {
			flag.NoOptDefVal = "true"
		}
	}
	if !l.all && len(l.list) != len(names) {
		panic("config: unknown names of settings")
	}
	return l
}

// Load completes the flags, which must be parsed already, with the environment
// (in the form of os.Environ), the file and the defaults, and checks how the
// values fit together. The warnings are for people and concern nothing that
// has to stop the start. Every error is an *Error.
func (l *Loader) Load(environ []string) (cfg *Config, warnings []string, err error) {
	cfg, warnings, err = l.Resolve(environ)
	if err != nil {
		return nil, nil, err
	}
	more, err := cfg.check()
	if err != nil {
		return nil, nil, err
	}
	return cfg, append(warnings, more...), nil
}

// Resolve is Load without the checks of how the values fit together.
func (l *Loader) Resolve(environ []string) (cfg *Config, warnings []string, err error) {
	for _, s := range l.list {
		if l.fs.Changed(s.Name) {
			l.cfg.sources[s.Name] = Source{Origin: FromFlag, Name: "--" + s.Name}
		}
	}
	env := newEnvironment(environ)
	for _, s := range l.list {
		if text := env[s.Env]; text != "" {
			if err := l.set(s, text, Source{Origin: FromEnvironment, Name: s.Env}); err != nil {
				return nil, nil, err
			}
		}
	}
	if l.all {
		warnings = env.unknown()
	}
	if l.cfg.ConfigFile != "" {
		more, err := l.readFile()
		if err != nil {
			return nil, nil, err
		}
		warnings = append(warnings, more...)
	}
	if l.cfg.Dev {
		l.cfg.applyDev()
	}
	l.cfg.OpsAddrSet = l.cfg.Source(nameOpsAddr).Origin != FromDefault
	return l.cfg, warnings, nil
}

func (l *Loader) readFile() (warnings []string, err error) {
	f, err := openFile(l.cfg.ConfigFile, l.cfg.Source(nameConfig))
	if err != nil {
		return nil, err
	}
	for _, e := range f.settings {
		if err := l.set(e.setting, e.text, e.source); err != nil {
			return nil, err
		}
	}
	l.cfg.Channels, l.cfg.policySources, l.cfg.channelsSet = f.policies, f.policySources, f.channelsSet
	return f.warnings, nil
}

// set checks the text and keeps it unless something before decides: a wrong
// value is an error also where it is overridden, because it would be a trap on
// the day it is not.
func (l *Loader) set(s *setting, text string, source Source) error {
	target := l.cfg
	_, decided := l.cfg.sources[s.Name]
	if decided {
		target = &Config{}
	}
	v := s.bind(target)
	if err := v.Set(text); err != nil {
		return wrongValue(source.of(s.YAML), v, text, err)
	}
	if !decided {
		l.cfg.sources[s.Name] = source
	}
	return nil
}
