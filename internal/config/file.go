package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"realtime-gateway/pkg/channels"
)

// maxFileSize is far beyond any list of policies, and keeps a device or a
// wrong mount from filling the memory.
const maxFileSize = 1 << 20

// keyChannels is the key of the policies; they are no Setting.
const keyChannels = "channels"

// file is what a YAML file says.
type file struct {
	name          string
	settings      []fileSetting
	policies      channels.Policies
	policySources []Source
	channelsSet   bool
	warnings      []string
}

// fileSetting is a setting as it stands in a file, not yet checked.
type fileSetting struct {
	setting *setting
	text    string
	source  Source
}

// openFile reads the file called name; source is who named it.
func openFile(name string, source Source) (*file, error) {
	where := fmt.Sprintf("file %q (%v)", name, source)
	data, err := readAll(name)
	if err != nil {
		// The error's path is the name again, perhaps with a line break in it.
		var pathError *fs.PathError
		if errors.As(err, &pathError) {
			err = pathError.Err
		}
		return nil, errorf(where, "cannot be read: %v", err)
	}
	if len(data) > maxFileSize {
		return nil, errorf(where, "is larger than 1 MiB")
	}
	return parseFile(name, data)
}

func readAll(name string) ([]byte, error) {
	r, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, maxFileSize+1))
}

// parseFile reads the file's text; name is for errors.
func parseFile(name string, data []byte) (*file, error) {
	shown := strconv.Quote(name)
	f := &file{name: shown[1 : len(shown)-1]}
	root, err := f.document(data)
	if err != nil || root == nil {
		return f, err
	}
	if root.Kind != yaml.MappingNode {
		return nil, errorf(f.at(root.Line).String(), "is %s: allowed is settings, each on a line as key: value", kindOf(root))
	}
	entries, err := f.entries(root, false)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.key == keyChannels {
			if err := f.readChannels(e); err != nil {
				return nil, err
			}
			continue
		}
		s := find(func(s *setting) bool { return s.YAML == e.key && s.YAML != "" })
		if s == nil {
			return nil, f.unknownSetting(e)
		}
		text, err := f.text(s, e)
		if err != nil {
			return nil, err
		}
		f.settings = append(f.settings, fileSetting{s, text, f.at(e.line)})
	}
	return f, nil
}

// document returns the root of the only document, or nil for an empty file.
func (f *file) document(data []byte) (*yaml.Node, error) {
	if at := badByte(data); at >= 0 {
		return nil, errorf(f.at(1+bytes.Count(data[:at], []byte("\n"))).String(), "is not YAML: it has a control character or is not UTF-8")
	}
	var doc, second yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	switch err := dec.Decode(&doc); {
	case err == io.EOF:
		return nil, nil
	case err != nil:
		return nil, f.syntaxError(err, data)
	}
	switch err := dec.Decode(&second); {
	case err == io.EOF:
	case err != nil:
		return nil, f.syntaxError(err, data)
	default:
		return nil, errorf(f.at(second.Line).String(), "begins a second document: allowed is one")
	}
	if len(doc.Content) == 0 || isNull(doc.Content[0]) {
		return nil, nil
	}
	return doc.Content[0], nil
}

// badByte finds, as the parser would without telling where, what no YAML text
// contains.
func badByte(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 || r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f {
			return i
		}
		i += size
	}
	return -1
}

var (
	yamlLine      = regexp.MustCompile(`^line (\d+): `)
	flowEnd       = regexp.MustCompile(`^did not find expected ',' or`)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
)

// syntaxError rewrites the parser's error, which names no line where it means
// the first, and may quote a value that begins with "*": perhaps a secret.
func (f *file) syntaxError(err error, data []byte) error {
	reason, line := strings.TrimPrefix(err.Error(), "yaml: "), 1
	if m := yamlLine.FindStringSubmatch(reason); m != nil {
		line, _ = strconv.Atoi(m[1])
		reason = reason[len(m[0]):]
		if flowEnd.MatchString(reason) {
			line++ // of these the parser counts from 0
		}
	}
	if m := unknownAnchor.FindStringSubmatch(reason); m != nil {
		before, _, _ := bytes.Cut(data, []byte("*"+m[1]))
		line = 1 + bytes.Count(before, []byte("\n"))
		reason = "unknown anchor (a value that begins with * takes quotes)"
	}
	if flowEnd.MatchString(reason) {
		reason += " (a value with { } [ ] or a comma in it takes quotes: 'user:{sub}')"
	}
	return errorf(f.at(line).String(), "is not YAML: %s", strings.Join(strings.Fields(reason), " "))
}

func (f *file) at(line int) Source {
	return Source{Origin: FromFile, Name: f.name, Line: max(line, 1)}
}

func (f *file) unknownSetting(e entry) error {
	where := f.at(e.line).String()
	if e.key == nameConfig {
		return errorf(where, "sets config: a file names no other file; allowed are flag --config and environment GATEWAY_CONFIG")
	}
	if findPolicyField(e.key) != nil {
		return errorf(where, "has %s outside of channels: it belongs to an entry of that list", e.key)
	}
	keys := []string{keyChannels}
	for _, s := range registry {
		keys = append(keys, s.YAML)
	}
	return errorf(where, "has the unknown setting %s%s", shownKey(e.key), didYouMean(e.key, keys))
}
