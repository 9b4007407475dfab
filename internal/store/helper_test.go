package store

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/verify"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

type object = map[string]any

// farAway is when test metadata expires unless a test says otherwise.
var farAway = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)

// signer is a key made from a name, the same in every process.
type signer struct {
	id      string
	public  object
	private ed25519.PrivateKey
}

func newSigner(name string) signer {
	seed := sha256.Sum256([]byte(name))
	private := ed25519.NewKeyFromSeed(seed[:])
	public := object{"keytype": "ed25519", "scheme": "ed25519",
		"keyval": object{"public": hex.EncodeToString(private.Public().(ed25519.PublicKey))}}
	canonical, err := cjson.EncodeCanonical(public)
	if err != nil {
		panic(err)
	}
	id := sha256.Sum256(canonical)
	return signer{id: hex.EncodeToString(id[:]), public: public, private: private}
}

// maker makes metadata for one repository.
type maker struct {
	name    string
	expires time.Time
	// epoch names the timestamp and snapshot keys, or only those of one role;
	// another one is a rotation.
	epoch, only string
}

func (m maker) key(role string) signer {
	if (role == "timestamp" || role == "snapshot") && (m.only == "" || m.only == role) {
		return newSigner(m.name + role + m.epoch)
	}
	return newSigner(m.name + role)
}

func (m maker) sign(kind string, version int64, body object, by ...signer) *admission.Doc {
	expires := m.expires
	if expires.IsZero() {
		expires = farAway
	}
	signed := object{"_type": kind, "spec_version": "1.0.31", "version": version, "expires": expires.Format(time.RFC3339)}
	for k, v := range body {
		signed[k] = v
	}
	canonical, err := cjson.EncodeCanonical(signed)
	if err != nil {
		panic(err)
	}
	sigs := []any{}
	for _, k := range by {
		sigs = append(sigs, object{"keyid": k.id, "sig": hex.EncodeToString(ed25519.Sign(k.private, canonical))})
	}
	raw, err := json.MarshalIndent(object{"signatures": sigs, "signed": signed}, "", " ")
	if err != nil {
		panic(err)
	}
	doc, err := admission.Parse(admission.Kind(kind), raw, admission.Limits{})
	if err != nil {
		panic(err)
	}
	return doc
}

func (m maker) root(version int64) *admission.Doc {
	keys, roles := object{}, object{}
	for _, role := range []string{"root", "timestamp", "snapshot", "targets"} {
		k := m.key(role)
		keys[k.id] = k.public
		roles[role] = object{"keyids": []any{k.id}, "threshold": 1}
	}
	return m.sign("root", version, object{"consistent_snapshot": true, "keys": keys, "roles": roles}, m.key("root"))
}

func (m maker) timestamp(version, snapshot int64) *admission.Doc {
	return m.sign("timestamp", version, object{"meta": object{"snapshot.json": object{"version": snapshot}}}, m.key("timestamp"))
}

func (m maker) snapshot(version int64, roles map[string]int64) *admission.Doc {
	meta := object{}
	for role, v := range roles {
		meta[role+".json"] = object{"version": v}
	}
	return m.sign("snapshot", version, object{"meta": meta}, m.key("snapshot"))
}

func (m maker) targets(version int64) *admission.Doc {
	return m.sign("targets", version, object{"targets": object{}}, m.key("targets"))
}

// all is the outcome of a full refresh in which everything has one version.
func (m maker) all(version int64, roots ...*admission.Doc) *engine.Outcome {
	return &engine.Outcome{
		Roots: roots, Timestamp: m.timestamp(version, version),
		Snapshot: m.snapshot(version, map[string]int64{"targets": version, "team": version}),
		Targets: []engine.Verified{
			{Role: "targets", Delegator: "root", Doc: m.targets(version)},
			{Role: "team", Delegator: "targets", Doc: m.targets(version)},
		},
	}
}

var acme = maker{name: "acme"}

// noon is a start time for operations.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var complete = CommitInfo{Start: noon, Complete: true}

// events collects what a store reports.
type events struct {
	mu   sync.Mutex
	list []Event
}

func (e *events) add(ev Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, ev)
}

func (e *events) codes() (codes []EventCode) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ev := range e.list {
		codes = append(codes, ev.Code)
	}
	e.list = nil
	return codes
}

func open(t *testing.T, dir string) (*Store, *events) {
	t.Helper()
	seen := &events{}
	s, err := Open(dir, Options{OnEvent: seen.add})
	require.NoError(t, err)
	return s, seen
}

// pinned returns a store of acme at root 1 in a new directory.
func pinned(t *testing.T) (*Store, *events, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "metadata")
	s, seen := open(t, dir)
	require.NoError(t, s.Pin(t.Context(), acme.root(1).Raw, false))
	require.Empty(t, seen.codes())
	return s, seen, dir
}

func view(t *testing.T, s *Store) *View {
	t.Helper()
	v, err := s.View(t.Context())
	require.NoError(t, err)
	return v
}

func tryCommit(ctx context.Context, s *Store, v *View, out *engine.Outcome, info CommitInfo) error {
	_, err := s.Commit(ctx, v, out, info)
	return err
}

func commit(t *testing.T, s *Store, out *engine.Outcome) {
	t.Helper()
	require.NoError(t, tryCommit(t.Context(), s, view(t, s), out, complete))
}

func requireCode(t *testing.T, err error, code protocol.Code) *tuferr.Error {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, code, tuferr.CodeOf(err), "%v", err)
	return tuferr.As(err)
}

func requireFile(t *testing.T, path string, doc *admission.Doc) {
	t.Helper()
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(doc.Raw), string(raw))
}

// fsck checks everything that must hold of a store at rest, and returns the
// versions of its floors and of its files.
func fsck(dir string) (floors, files Floors, err error) {
	s, err := Open(dir, Options{})
	if err != nil {
		return floors, files, err
	}
	v, err := s.View(context.Background())
	if err != nil {
		return floors, files, err
	}
	for _, role := range []string{"targets", "team"} {
		v.Role(role) // damaged ones are healed at the next look
	}
	if v, err = s.View(context.Background()); err != nil {
		return floors, files, err
	}
	files.Roles = map[string]int64{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return floors, files, err
	}
	for _, e := range entries {
		role, isMeta := strings.CutSuffix(e.Name(), ".json")
		if !isMeta {
			if e.Name() != ".ragnos" {
				return floors, files, fmt.Errorf("left behind: %s", e.Name())
			}
			continue
		}
		raw, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return floors, files, err
		}
		doc, err := admission.Parse(admission.KindOf(role), raw, admission.Limits{})
		if err != nil {
			return floors, files, fmt.Errorf("%s: %w", e.Name(), err)
		}
		switch role {
		case "root":
			files.Root = doc.Version
		case "timestamp":
			files.Timestamp = doc.Version
			err = verify.Signed(v.Root, role, doc)
		case "snapshot":
			files.Snapshot = doc.Version
			err = verify.Signed(v.Root, role, doc)
		default:
			files.Roles[e.Name()] = doc.Version
		}
		if err != nil {
			return floors, files, err
		}
	}
	left, err := os.ReadDir(s.tmpDir())
	if err != nil {
		return floors, files, err
	}
	if len(left) > 0 {
		return floors, files, fmt.Errorf("%d temporaries left behind", len(left))
	}
	return v.Floors, files, nil
}

// notBelow checks that no version of low is above that of high.
func notBelow(low, high Floors) error {
	if low.Root > high.Root || low.Timestamp > high.Timestamp || low.Snapshot > high.Snapshot {
		return fmt.Errorf("%+v is above %+v", low, high)
	}
	for name, v := range low.Roles {
		if have, ok := high.Roles[name]; ok && v > have {
			return fmt.Errorf("%s: %d is above %d", name, v, have)
		}
	}
	return nil
}

func roleKind(file string) admission.Kind {
	return admission.KindOf(strings.TrimSuffix(file, ".json"))
}
