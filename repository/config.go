package repository

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/keyfile"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Lifetimes says how long newly signed metadata of each role is valid.
type Lifetimes struct {
	Root, Targets, Snapshot, Timestamp time.Duration
	// Publishers is that of the delegated roles.
	Publishers time.Duration
}

// DefaultLifetimes are long for roles that people sign and short for those
// that a server signs by itself.
var DefaultLifetimes = Lifetimes{
	Root:       365 * 24 * time.Hour,
	Targets:    90 * 24 * time.Hour,
	Snapshot:   7 * 24 * time.Hour,
	Timestamp:  24 * time.Hour,
	Publishers: 90 * 24 * time.Hour,
}

// MinLifetime is the shortest lifetime of a role: metadata has whole seconds.
const MinLifetime = 2 * time.Second

// publishersName is what the configuration calls the delegated roles.
const publishersName = "publishers"

// byRole gives access to the field of each role.
func (l *Lifetimes) byRole() map[string]*time.Duration {
	return map[string]*time.Duration{
		roleRoot: &l.Root, roleTargets: &l.Targets, roleSnapshot: &l.Snapshot, roleTimestamp: &l.Timestamp,
		publishersName: &l.Publishers,
	}
}

// complete fills in defaults and refuses lifetimes that cannot work.
func (l Lifetimes) complete() (Lifetimes, error) {
	defaults := DefaultLifetimes.byRole()
	for role, d := range l.byRole() {
		if *d == 0 {
			*d = *defaults[role]
		}
		if *d < MinLifetime {
			return l, &Error{Code: protocol.CodeUsage, Role: role,
				Msg: fmt.Sprintf("a lifetime of %s is too short", *d), Hint: "give at least " + MinLifetime.String()}
		}
	}
	return l, nil
}

func (l Lifetimes) of(role string) time.Duration {
	if d := l.byRole()[role]; d != nil {
		return *d
	}
	return l.Publishers
}

// DefaultRotation is how old a key of each role may grow, if the configuration
// says nothing else.
var DefaultRotation = Lifetimes{
	Root:       365 * 24 * time.Hour,
	Targets:    365 * 24 * time.Hour,
	Snapshot:   90 * 24 * time.Hour,
	Timestamp:  90 * 24 * time.Hour,
	Publishers: 365 * 24 * time.Hour,
}

// config is what DIR/repository.json says: what is not secret, not signed, and
// decides nothing about trust.
type config struct {
	Lifetimes Lifetimes
	// Algorithm is that of new keys.
	Algorithm keyfile.Algorithm
	// KeyNames says what people call a key, by its keyid.
	KeyNames map[string]string
	// Rotation is the age at which a key of each role is due to be replaced, 0
	// for never.
	Rotation Lifetimes
	// KeysSince says since when keys sign for the repository, by keyid.
	KeysSince map[string]time.Time
	// Founding is what [Proposal.Repository] says of the first root that the
	// repository waits for, "" if it has one.
	Founding string
}

type configFile struct {
	Format    int               `json:"format"`
	Lifetimes map[string]string `json:"lifetimes"`
	Algorithm string            `json:"algorithm,omitempty"`
	KeyNames  map[string]string `json:"key_names,omitempty"`
	// Rotation is nil in a file that has none: then the default applies.
	Rotation  map[string]string    `json:"rotation,omitzero"`
	KeysSince map[string]time.Time `json:"keys_since,omitempty"`
	Founding  string               `json:"founding,omitempty"`
}

const configFormat = 1

func (c *config) encode() ([]byte, error) {
	f := configFile{Format: configFormat, Lifetimes: map[string]string{}, Algorithm: string(c.Algorithm), KeyNames: c.KeyNames,
		Rotation: map[string]string{}, KeysSince: c.KeysSince, Founding: c.Founding}
	for role, d := range c.Lifetimes.byRole() {
		f.Lifetimes[role] = formatDuration(*d)
	}
	for role, d := range c.Rotation.byRole() {
		if *d > 0 {
			f.Rotation[role] = formatDuration(*d)
		}
	}
	data, err := json.MarshalIndent(f, "", "  ")
	return append(data, '\n'), err
}

func readConfig(dir string) (config, error) {
	path := filepath.Join(dir, configName)
	data, err := readFile(path, 1<<20)
	if _, half := os.Stat(filepath.Join(dir, metadataName)); errors.Is(err, fs.ErrNotExist) && half == nil {
		return config{}, &Error{Code: protocol.CodeLocalIO, Path: path, Msg: "half a repository: its configuration is missing", Err: fs.ErrNotExist,
			Hint: `restore it from a backup, or write {"format":1} into it, which means the defaults`}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return config{}, &Error{Code: protocol.CodeUsage, Path: dir, Msg: "there is no repository", Err: fs.ErrNotExist,
			Hint: "make one with: local-tuf init --dir " + dir}
	}
	if err != nil {
		return config{}, err
	}
	c, err := parseConfig(data)
	if err != nil {
		return config{}, &Error{Code: protocol.CodeLocalIO, Path: path, Msg: "not a configuration of this version", Err: err,
			Hint: "mend the file, or restore it from a backup"}
	}
	return c, nil
}

func parseConfig(data []byte) (config, error) {
	var f configFile
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return config{}, err
	}
	if f.Format != configFormat {
		return config{}, fmt.Errorf("format is %d, not %d", f.Format, configFormat)
	}
	c := config{KeyNames: f.KeyNames, KeysSince: f.KeysSince, Founding: f.Founding}
	if c.KeyNames == nil {
		c.KeyNames = map[string]string{}
	}
	if c.KeysSince == nil {
		c.KeysSince = map[string]time.Time{}
	}
	if f.Rotation == nil {
		c.Rotation = DefaultRotation
	}
	var err error
	if c.Algorithm, err = keyfile.ParseAlgorithm(f.Algorithm); err != nil {
		return config{}, err
	}
	if err := errors.Join(parseDurations("lifetime", f.Lifetimes, &c.Lifetimes), parseDurations("rotation", f.Rotation, &c.Rotation)); err != nil {
		return config{}, err
	}
	c.Lifetimes, err = c.Lifetimes.complete()
	return c, err
}

func parseDurations(what string, texts map[string]string, into *Lifetimes) error {
	fields := into.byRole()
	for role, text := range texts {
		if fields[role] == nil {
			return fmt.Errorf("%s of %q: there is no such role", what, role)
		}
		d, err := parseDuration(text)
		if err != nil || d < 0 {
			return fmt.Errorf("%s of %s: %.32q is not a duration: write it as 90d, 36h or 10m", what, role, text)
		}
		*fields[role] = d
	}
	return nil
}

const day = 24 * time.Hour

// maxDays keeps a duration far from the end of time.Duration.
const maxDays = 36500

// parseDuration takes days too.
func parseDuration(text string) (time.Duration, error) {
	days, ok := strings.CutSuffix(text, "d")
	if !ok {
		return time.ParseDuration(text)
	}
	n, err := strconv.ParseUint(days, 10, 16)
	if err == nil && n > maxDays {
		err = strconv.ErrRange
	}
	return time.Duration(n) * day, err
}

func formatDuration(d time.Duration) string {
	if d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	return d.String()
}
