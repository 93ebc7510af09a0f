package config

import (
	"errors"
	"regexp"
	"strings"

	"github.com/spf13/pflag"
)

// FlagError rewrites an error of pflag's parser as an *Error. The original
// quotes the command line, secrets included. known is for hints, and may be
// nil.
func FlagError(err error, known *pflag.FlagSet) error {
	var (
		value    *pflag.InvalidValueError
		missing  *pflag.ValueRequiredError
		notExist *pflag.NotExistError
		syntax   *pflag.InvalidSyntaxError
	)
	switch {
	case errors.As(err, &value):
		f := value.GetFlag()
		return wrongValue("flag --"+f.Name, f.Value, value.GetValue(), value.Unwrap())
	case errors.As(err, &missing):
		return errorf("flag --"+missing.GetFlag().Name, "needs a value")
	case errors.As(err, &notExist):
		return unknownFlag(notExist, known)
	case errors.As(err, &syntax):
		return errorf("", "a flag on the command line is malformed (it is not shown): allowed is --name value or --name=value")
	}
	return err
}

var plainFlag = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{0,63}$`)

func unknownFlag(err *pflag.NotExistError, known *pflag.FlagSet) error {
	var names []string
	if known != nil {
		known.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	}
	hint := func(name string) string {
		return strings.Replace(didYouMean(name, names), "did you mean ", "did you mean --", 1)
	}
	if cluster := err.GetSpecifiedShortnames(); cluster != "" {
		// "-redis-url=…" reads as a cluster of letters, "-asecret" as well:
		// only the letter is shown, and the rest where it is a flag's name.
		name, _, _ := strings.Cut(cluster, "=")
		return errorf("flag -"+err.GetSpecifiedName(), "is unknown%s", hint(name))
	}
	name := err.GetSpecifiedName()
	if !plainFlag.MatchString(name) {
		return errorf("", "a flag on the command line is unknown (it is not shown, as it is not a name)")
	}
	return errorf("flag --"+name, "is unknown%s", hint(name))
}
