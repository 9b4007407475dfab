package records

import (
	"cmp"
	"errors"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/ragnos-labs/vault-tuf/internal/plugin"
	"github.com/ragnos-labs/vault-tuf/internal/targetpath"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// format is the version of the file's format.
const format = 1

// Bounds of one record.
const (
	maxTarget     = 1024 // bytes
	maxRepository = 64   // characters
	maxHashes     = 8
	maxWhy        = 500 // characters
	maxSafe       = 1<<53 - 1
)

var (
	algorithmPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)
	digestPattern    = regexp.MustCompile(`^([0-9a-f]{2}){16,128}$`)
	digestChars      = map[string]int{"sha256": 64, "sha512": 128}
)

// Check returns the error usage, or invalid_name, for a record that cannot be: a path
// that is not safe, a publisher, name and version that are not those of the path, a
// hash that is not lower-case hex, an entry point that no manifest may name, a
// repository without a printable name of at most 64 characters, an unknown channel, a
// length that is negative or beyond 2^53.
func (r Record) Check() error {
	if err := targetpath.Check(r.Target); err != nil {
		return err
	}
	if why := r.problem(); why != "" {
		e := tuferr.New(protocol.CodeUsage, "what is said of it cannot be: %s", why)
		e.Target = r.Target
		return e
	}
	return nil
}

func (r Record) problem() string {
	switch {
	case len(r.Target) > maxTarget:
		return "the path is too long"
	case r.Length < 0 || r.Length > maxSafe:
		return "the length is negative or too large"
	case !printable(r.Repository, maxRepository):
		return "the repository has no printable name"
	case r.At.Year() < 0 || r.At.Year() > 9999:
		return "the time is out of range"
	case r.TakenBack != "" && !printable(r.TakenBack, maxWhy):
		return "why it was taken back is too long, or not printable"
	}
	if why := badHashes(r.Hashes); why != "" {
		return why
	}
	if _, err := plugin.ParseChannel(r.Channel); r.Channel != "" && err != nil {
		return "there is no such channel"
	}
	if r.Publisher == "" && r.Name == "" && r.Version == "" && r.EntryPoint == "" {
		return ""
	}
	var e *plugin.ManifestError
	if errors.As(plugin.CheckIdentity(r.Publisher, r.Name, r.Version), &e) {
		return "the " + e.Field + " " + e.Problem
	}
	if r.EntryPoint != "" && errors.As(plugin.CheckEntryPoint(r.EntryPoint), &e) {
		return "the entry point " + e.Problem
	}
	if r.Target != plugin.Path(r.Publisher, r.Name, r.Version) {
		return "the path is not that of its publisher, name and version"
	}
	return ""
}

func badHashes(hashes map[string]string) string {
	if len(hashes) == 0 || len(hashes) > maxHashes {
		return "it has no hash, or too many"
	}
	for algorithm, digest := range hashes {
		n, known := digestChars[algorithm]
		if !algorithmPattern.MatchString(algorithm) || !digestPattern.MatchString(digest) || known && len(digest) != n {
			return "a hash is not a digest in lower-case hex"
		}
	}
	return ""
}

// printable tells whether s has from 1 to limit characters, all of them visible.
func printable(s string, limit int) bool {
	return s != "" && utf8.ValidString(s) && utf8.RuneCountInString(s) <= limit &&
		!strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// wire is the file.
type wire struct {
	Version   int      `json:"version"`
	Installed []Record `json:"installed"`
	Highest   []mark   `json:"highest"`
}

type mark struct {
	Publisher string `json:"publisher"`
	Name      string `json:"name"`
	Version   string `json:"version"`
}

func (c *content) encode() ([]byte, error) {
	w := wire{Version: format, Installed: c.sorted(), Highest: []mark{}}
	if w.Installed == nil {
		w.Installed = []Record{}
	}
	for who, version := range c.highest {
		w.Highest = append(w.Highest, mark{who.publisher, who.name, version})
	}
	slices.SortFunc(w.Highest, func(a, b mark) int {
		return cmp.Or(cmp.Compare(a.Publisher, b.Publisher), cmp.Compare(a.Name, b.Name))
	})
	raw, err := json.Marshal(w, json.Deterministic(true), jsontext.WithIndent(" "))
	if err != nil {
		return nil, tuferr.New(protocol.CodeInternal, "cannot write the record of installed plugins: %w", err)
	}
	return append(raw, '\n'), nil
}

// parse reads what encode made. Every error is a local_io with a hint.
func parse(raw []byte) (*content, error) {
	var head struct {
		Version *int `json:"version"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return nil, damaged(err)
	}
	if head.Version == nil || *head.Version < 1 {
		return nil, damaged(errors.New("it has no version"))
	}
	if *head.Version > format {
		return nil, newer("format %d is not known to this release", *head.Version)
	}
	var w wire
	err := json.Unmarshal(raw, &w, json.RejectUnknownMembers(true))
	if errors.Is(err, json.ErrUnknownName) {
		return nil, newer("%w", err)
	}
	if err == nil && (w.Installed == nil || w.Highest == nil) {
		err = errors.New("a part is missing")
	}
	c := newContent()
	if err == nil {
		err = c.fill(w)
	}
	if err != nil {
		return nil, damaged(err)
	}
	return c, nil
}

// fill takes what stands in a file, unless it cannot have been written here.
func (c *content) fill(w wire) error {
	for _, m := range w.Highest {
		who := id{m.Publisher, m.Name}
		if err := plugin.CheckIdentity(m.Publisher, m.Name, m.Version); err != nil {
			return err
		}
		if _, twice := c.highest[who]; twice {
			return errors.New(m.Publisher + "/" + m.Name + " has two marks")
		}
		c.highest[who] = m.Version
	}
	for _, r := range w.Installed {
		if err := r.Check(); err != nil {
			return err
		}
		if _, twice := c.installed[r.Target]; twice {
			return errors.New(r.Target + " is listed twice")
		}
		if _, ok := c.highest[id{r.Publisher, r.Name}]; r.Name != "" && !ok {
			return errors.New(r.Publisher + "/" + r.Name + " has no mark")
		}
		c.installed[r.Target] = r
	}
	return nil
}

// damaged hides the code of its cause, which is not about the caller's request.
func damaged(cause error) error {
	e := tuferr.New(protocol.CodeLocalIO, "the record of installed plugins is damaged: %v", cause)
	e.Hint = "restore it from a backup; if you delete it, nothing on this machine keeps older versions out any more"
	return e
}

func newer(format string, args ...any) error {
	e := tuferr.New(protocol.CodeLocalIO, "the record of installed plugins: "+format, args...)
	e.Hint = "it was made by a newer version: use that one, or another directory"
	return e
}
