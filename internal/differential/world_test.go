package differential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest/plain"
)

// evil marks all bytes that an attacker made.
const evil = "EVIL"

// The two targets of every repository, one in targets and one in team.
const (
	plugin = "plugin.tar.gz"
	tool   = "team/tool.bin"
)

var roles = []string{"root", "timestamp", "snapshot", "targets", "team"}

// targetOf returns the target whose download needs a role.
func targetOf(role string) string {
	if role == "team" {
		return tool
	}
	return plugin
}

// Case is one awkward world and what the specification expects in it.
type Case struct {
	// Spec is the section that decides, Why the reason in a few words.
	Group, Name, Spec, Why string
	// GoCannot and PythonCannot say that the library cannot represent the
	// metadata, so that it refuses in good faith what should be accepted.
	GoCannot, PythonCannot bool
	Config                 tuftest.Config
	// Run plays the case: it changes the world, and steps with the client.
	Run func(w *World)
}

// Deviation is a way to leave the specification.
type Deviation string

// The deviations; the empty one is none.
const (
	WronglyAccepted Deviation = "wrongly accepted"
	WronglyRefused  Deviation = "wrongly refused"
	Hung            Deviation = "hung"
	Crashed         Deviation = "crashed"
	BrokeInvariant  Deviation = "broke an invariant"
)

// World is a repository, its server, and one client with its directories.
type World struct {
	*tuftest.Repo
	Server *tuftest.Server
	// Now is the reference time of the next step.
	Now time.Time
	// Shipped is the root that the application ships: version 1, unless changed.
	Shipped []byte

	client   plain.Client
	strict   bool
	patience time.Duration
	dir      string
	// published is the publisher's content of each target.
	published map[string]string
	revision  int
	// versions are the highest ones seen in the metadata directory.
	versions map[string]int64

	// restarts says that every step is a new run of the application.
	restarts  bool
	step      int
	deviation Deviation
	detail    string
}

func newWorld(dir string, c tuftest.Config, client plain.Client, strict bool) *World {
	w := &World{
		Repo: tuftest.NewRepo(c), client: client, strict: strict, dir: dir, patience: 10 * time.Second,
		Now:       time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC),
		published: map[string]string{}, versions: map[string]int64{},
	}
	if strict {
		w.patience = time.Minute
	}
	w.Shipped = w.RootBytes(1)
	w.Server = tuftest.NewServer(w.Repo)
	w.Delegate("targets", tuftest.Delegation{Name: "team", Paths: []string{"team/*"}})
	w.add("targets", plugin)
	w.add("team", tool)
	w.Publish("targets", "team")
	return w
}

// add gives a target new content in a role.
func (w *World) add(role, target string) { w.addWith(role, target, nil) }

func (w *World) addWith(role, target string, custom any) {
	w.revision++
	content := fmt.Sprintf("content of %s, revision %d\n", target, w.revision)
	w.AddTarget(role, target, []byte(content), custom)
	w.published[target] = content
}

// addEvil lists content of the attacker's for a target, in a role he may hold.
func (w *World) addEvil(role, target string) {
	w.AddTarget(role, target, []byte(evil+" content of "+target), nil)
}

// renew publishes the next version of a role, with news in it.
func (w *World) renew(role string) {
	switch role {
	case "root":
		w.PublishRoot()
	case "team":
		w.add("team", tool)
		w.Publish("team")
	default:
		w.add("targets", plugin)
		w.Publish("targets")
	}
}

// repair mends what the hooks of a role broke: it publishes a good version.
func (w *World) repair(role string) {
	r := w.Role(role)
	r.EditSigned, r.EditSignatures, r.EditRaw = nil, nil, nil
	w.Server.Heal()
	if role == "root" {
		r.SetVersion(r.Version - 1)
	}
	w.renew(role)
}

// restarter is a client that lives longer than a step.
type restarter interface{ Restart() }

// AcceptContent expects these bytes.
func (w *World) AcceptContent(target, content string) {
	w.acceptContent(target, func() string { return content })
}

// acceptContent asks for the content after the step, which may change it.
func (w *World) acceptContent(target string, content func() string) {
	w.play(target, func(got []byte, err error) Deviation {
		switch {
		case err != nil:
			return WronglyRefused
		case string(got) != content():
			return WronglyAccepted
		}
		return ""
	})
}

// Accept downloads a target and expects the publisher's content.
func (w *World) Accept(target string) {
	w.acceptContent(target, func() string { return w.published[target] })
}

// Refuse expects an error.
func (w *World) Refuse(target string) {
	w.play(target, func(_ []byte, err error) Deviation {
		if err == nil {
			return WronglyAccepted
		}
		return ""
	})
}

// NotFound expects the answer that the target is not there.
func (w *World) NotFound(target string) {
	w.play(target, func(_ []byte, err error) Deviation {
		switch {
		case err == nil:
			return WronglyAccepted
		case !errors.Is(err, plain.ErrNotFound):
			return WronglyRefused
		}
		return ""
	})
}

// Either expects an error or the publisher's content.
func (w *World) Either(target string) {
	w.play(target, func(content []byte, err error) Deviation {
		if err == nil && string(content) != w.published[target] {
			return WronglyAccepted
		}
		return ""
	})
}

// Expect is one of the steps above.
type Expect func(w *World, target string)

// The steps as values, for tables.
var (
	accept   Expect = (*World).Accept
	refuse   Expect = (*World).Refuse
	notFound Expect = (*World).NotFound
	either   Expect = (*World).Either
)

// play runs one step of the client, unless an earlier one deviated.
func (w *World) play(target string, judge func([]byte, error) Deviation) {
	if w.deviation != "" {
		return
	}
	if r, ok := w.client.(restarter); ok && w.restarts {
		r.Restart()
	}
	w.step++
	ctx, cancel := context.WithTimeout(context.Background(), w.patience)
	defer cancel()
	content, err := w.client.Run(ctx, plain.Request{
		MetadataURL: w.Server.MetadataURL(), TargetsURL: w.Server.TargetsURL(),
		MetadataDir: w.metadataDir(), TargetsDir: w.cacheDir(),
		Root: w.Shipped, Target: target, Now: w.Now,
	})
	switch {
	case errors.Is(err, plain.ErrCrash):
		w.deviate(Crashed, err.Error())
	case ctx.Err() != nil:
		w.deviate(Hung, "no answer within "+w.patience.String())
	default:
		if d := judge(content, err); d != "" {
			w.deviate(d, fmt.Sprintf("content %.40q, error %v", content, err))
		} else if w.strict {
			w.checkInvariants()
		}
	}
}

func (w *World) deviate(d Deviation, detail string) {
	if w.deviation == "" {
		w.deviation, w.detail = d, fmt.Sprintf("step %d: %s", w.step, detail)
	}
}

func (w *World) metadataDir() string { return filepath.Join(w.dir, "metadata") }
func (w *World) cacheDir() string    { return filepath.Join(w.dir, "cache") }

// localFile is where a client keeps a role's metadata.
func (w *World) localFile(role string) string { return filepath.Join(w.metadataDir(), role+".json") }

// forgetVersions lets versions go back: after a recovery from a fast-forward
// attack, or when the case itself touches a local file.
func (w *World) forgetVersions() { clear(w.versions) }

// checkInvariants looks at the client's directories after a step.
func (w *World) checkInvariants() {
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		w.deviate(BrokeInvariant, err.Error())
	}
	for _, e := range entries {
		if e.Name() != "metadata" && e.Name() != "cache" {
			w.deviate(BrokeInvariant, "a file outside the client's directories: "+e.Name())
		}
	}
	w.checkEvil(w.cacheDir(), func(string) bool { return true })
	w.checkEvil(w.metadataDir(), func(path string) bool {
		return filepath.Dir(path) == w.metadataDir() && strings.HasSuffix(path, ".json")
	})
	w.checkVersions()
}

func (w *World) checkEvil(dir string, trusted func(path string) bool) {
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || !trusted(path) {
			return err
		}
		content, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(content), evil) {
			w.deviate(BrokeInvariant, "the attacker's bytes in "+path)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.deviate(BrokeInvariant, err.Error())
	}
}

func (w *World) checkVersions() {
	files, err := filepath.Glob(filepath.Join(w.metadataDir(), "*.json"))
	if err != nil {
		w.deviate(BrokeInvariant, err.Error())
	}
	for _, file := range files {
		var doc struct {
			Signed struct {
				Version int64 `json:"version"`
			} `json:"signed"`
		}
		raw, err := os.ReadFile(file)
		if err != nil || json.Unmarshal(raw, &doc) != nil {
			continue
		}
		if v := doc.Signed.Version; v < w.versions[file] {
			w.deviate(BrokeInvariant, fmt.Sprintf("%s went back from version %d to %d", filepath.Base(file), w.versions[file], v))
		} else {
			w.versions[file] = v
		}
	}
}
