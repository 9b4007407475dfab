package repository

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/keyfile"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// ahead opens the repository again with a clock that far ahead.
func ahead(t *testing.T, r *Repository, by time.Duration) *Repository {
	t.Helper()
	again, err := Open(r.Dir(), Options{Keys: r.keys, Clock: func() time.Time { return time.Now().Add(by) }})
	require.NoError(t, err)
	return again
}

func dueNow(t *testing.T, r *Repository) *DueReport {
	t.Helper()
	report, err := r.RotateDue(t.Context(), false)
	require.NoError(t, err)
	return report
}

func states(r *DueReport) map[string]DueState {
	all := map[string]DueState{}
	for _, d := range r.Due {
		what := d.Role
		if d.Key != nil {
			what += " key"
		}
		all[what] = d.State
	}
	return all
}

func TestWhatIsDueIsDoneOnce(t *testing.T) {
	r := newFast(t, InitOptions{})
	delegate(t, r)
	require.Empty(t, dueNow(t, r).Due)

	later := ahead(t, r, 91*day)
	dry, err := later.RotateDue(t.Context(), true)
	require.NoError(t, err)
	want := map[string]DueState{"snapshot key": DueNow, "timestamp key": DueNow, "targets": DueNow, "acme": DueNow, "snapshot": DueNow, "timestamp": DueNow}
	got := states(dry)
	for what := range got {
		require.Contains(t, want, what)
	}
	require.Len(t, listFiles(t, filepath.Join(r.Dir(), keysName)), 11, "a dry run makes no keys")

	report := dueNow(t, later)
	require.NoError(t, report.Err())
	for what, state := range states(report) {
		require.Equal(t, DueDone, state, what)
	}
	require.Contains(t, states(report), "timestamp key")
	require.Contains(t, states(report), "acme")
	require.Empty(t, report.Made)
	require.Empty(t, dueNow(t, later).Due, "a second run finds nothing")

	later = ahead(t, r, 366*day)
	report = dueNow(t, later)
	require.NoError(t, report.Err())
	require.Contains(t, states(report), "root key")
	require.Contains(t, states(report), "acme key")
	require.Empty(t, dueNow(t, later).Due)
	_, _, err = later.Publish(t.Context(), helloArchive, writeManifest(t, "acme", "tool", "3.0.0"), PublishOptions{})
	require.NoError(t, err)
}

func TestWhatNeedsPeopleIsProposedOnce(t *testing.T) {
	c := newCeremony(t)
	later := ahead(t, c.r, 300*day)
	report := dueNow(t, later)
	requireCode(t, report.Err(), protocol.CodeUnsigned)
	require.Equal(t, map[string]DueState{
		"root": DueWaits, "snapshot key": DueWaits, "timestamp key": DueWaits,
		"targets": DueWaits, "snapshot": DueDone,
	}, states(report))
	require.Len(t, report.Made, 2)
	files := listFiles(t, c.r.Dir())

	again := dueNow(t, later)
	requireCode(t, again.Err(), protocol.CodeUnsigned)
	require.Empty(t, again.Made)
	require.Equal(t, map[string]DueState{"root": DueWaits, "snapshot key": DueWaits, "timestamp key": DueWaits, "targets": DueWaits}, states(again))
	require.Equal(t, files, listFiles(t, c.r.Dir()), "the second run makes no key and no proposal")

	for _, path := range report.Made {
		p, err := ReadProposal(path)
		require.NoError(t, err)
		c.sign(p, "root-1", "root-2", "targets")
		require.NoError(t, later.PublishProposal(t.Context(), p))
	}
	require.Empty(t, dueNow(t, later).Due)

	later = ahead(t, c.r, 370*day)
	report = dueNow(t, later)
	requireCode(t, report.Err(), protocol.CodeUnsigned)
	require.Equal(t, DuePeople, states(report)["root key"], "only its owner can make a new key")
	require.Equal(t, DuePeople, states(report)["targets key"])
}

func TestKeysWithoutAKnownBeginningBeginNow(t *testing.T) {
	r := newFast(t, InitOptions{})
	path := filepath.Join(r.Dir(), configName)
	cfg, err := readConfig(r.Dir())
	require.NoError(t, err)
	cfg.KeysSince = nil
	cfg.Rotation = Lifetimes{Timestamp: day}
	data, err := cfg.encode()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, data, 0o600))
	require.Empty(t, dueNow(t, r).Due)
	report := dueNow(t, ahead(t, r, 25*time.Hour))
	require.Equal(t, DueDone, states(report)["timestamp key"])
	require.NotContains(t, states(report), "snapshot key", "0 means never")
}

func TestALockedKeyIsForPeople(t *testing.T) {
	r := newFast(t, InitOptions{})
	secret := func(pass string) Passphrase {
		t.Setenv("SECRET", pass)
		return keyfile.FromEnv("SECRET")
	}
	r.keys.Passphrase = secret("a passphrase")
	_, p, err := r.RotateKeys(t.Context(), Rotate{Role: "root"})
	require.NoError(t, err)
	require.Nil(t, p)
	lose(t, keyPath(r.Dir(), "root"))
	list, err := r.Keys(t.Context())
	require.NoError(t, err)
	require.True(t, list.Roles[0].Keys[0].Encrypted)

	r.keys.Passphrase = nil
	report := dueNow(t, ahead(t, r, 370*day))
	requireCode(t, report.Err(), protocol.CodeUnsigned)
	require.Equal(t, DuePeople, states(report)["root key"], "nobody is there to say a passphrase for a new one")
	require.Equal(t, DueWaits, states(report)["timestamp key"], "root's key is here, but nobody opens it")
	require.Equal(t, DueDone, states(report)["snapshot"])
}

// TestALockedKeyIsNotProposed: a proposal without its successor would keep it from
// being replaced, were the passphrase there the next time.
func TestALockedKeyIsNotProposed(t *testing.T) {
	r := newFast(t, InitOptions{})
	t.Setenv("SECRET", "a passphrase")
	r.keys.Passphrase = keyfile.FromEnv("SECRET")
	_, _, err := r.RotateKeys(t.Context(), Rotate{Role: "timestamp"})
	require.NoError(t, err)
	cfg, err := readConfig(r.Dir())
	require.NoError(t, err)
	cfg.Rotation = Lifetimes{Timestamp: day}
	data, err := cfg.encode()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(r.Dir(), configName), data, 0o600))

	later := ahead(t, r, 25*time.Hour)
	later.keys.Passphrase = nil
	report := dueNow(t, later)
	requireCode(t, report.Err(), protocol.CodeUnsigned)
	require.Equal(t, DuePeople, states(report)["timestamp key"])
	require.NotEmpty(t, report.Due[0].Error)
	require.Empty(t, report.Made)
	later.keys.Passphrase = keyfile.FromEnv("SECRET")
	require.Equal(t, DueDone, states(dueNow(t, later))["timestamp key"])
}

// TestWhatIsDueIsOfOneState: others add publishers while it is looked for.
func TestWhatIsDueIsOfOneState(t *testing.T) {
	r := newFast(t, InitOptions{})
	again, err := Open(r.Dir(), Options{Keys: r.keys})
	require.NoError(t, err)
	added := 0
	again.clock = func() time.Time {
		if added < 3 { // whenever it looks at the repository
			added++
			addPublisher(t, r, fmt.Sprintf("p%d", added))
		}
		return time.Now()
	}
	list, err := again.due(t.Context())
	require.NoError(t, err)
	require.Empty(t, list)
}

// TestADecidedKeyIsKept: what fails after the decision is completed later, and
// the new keys are in force then.
func TestADecidedKeyIsKept(t *testing.T) {
	r := newFast(t, InitOptions{})
	later := ahead(t, r, 91*day)
	later.disk.before = func(op, path string) error {
		if op == "rename" && filepath.Base(path) == "timestamp.json" {
			return syscall.EROFS
		}
		return nil
	}
	requireCode(t, dueNow(t, later).Err(), protocol.CodeLocalIO)
	require.True(t, later.unfinished())

	later.disk.before = nil
	require.NoError(t, dueNow(t, later).Err())
	list, err := later.Keys(t.Context())
	require.NoError(t, err)
	for _, role := range list.Roles {
		require.NotEmpty(t, role.Keys[0].File, role.Role)
	}
}

// TestTheKeysOfAProposalAreKept, whether or not its file could be written: it may be
// there.
func TestTheKeysOfAProposalAreKept(t *testing.T) {
	r := newFast(t, InitOptions{})
	lose(t, keyPath(r.Dir(), "root"))
	require.NoError(t, os.MkdirAll(filepath.Join(r.Dir(), proposalsName, "root-2.proposal"), 0o700)) // in the way
	report := dueNow(t, ahead(t, r, 91*day))
	require.Equal(t, DueFailed, states(report)["timestamp key"])
	require.FileExists(t, keyPath(r.Dir(), "timestamp-2"))
}

// TestWhatWasNotProposedIsNotSaidToBe: what a proposal needs is written first.
func TestWhatWasNotProposedIsNotSaidToBe(t *testing.T) {
	r := newFast(t, InitOptions{})
	lose(t, keyPath(r.Dir(), "root"))
	r.disk.before = func(op, path string) error {
		if op == "rename" && filepath.Base(path) == configName {
			return syscall.EROFS
		}
		return nil
	}
	_, p, err := r.RotateKeys(t.Context(), Rotate{Role: "timestamp"})
	require.Nil(t, p)
	require.ErrorContains(t, err, "nothing was proposed")
	require.NotContains(t, err.Error(), "will be published")
	require.NoFileExists(t, keyPath(r.Dir(), "timestamp-2"), "nobody will ever trust it")
	r.disk.before = nil
	_, p, err = r.RotateKeys(t.Context(), Rotate{Role: "timestamp"})
	require.NoError(t, err)
	require.NotNil(t, p)
}
