package vault

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/records"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/vault/policy"
)

// opened opens a plugin and wants its very bytes.
func (w *world) opened(v *Vault, r release) *Opened {
	w.t.Helper()
	o, err := v.Open(w.t.Context(), r.path())
	require.NoError(w.t, err)
	got, err := io.ReadAll(o.Reader())
	require.NoError(w.t, err)
	require.Equal(w.t, string(r.bytes()), string(got))
	require.NoError(w.t, o.Close())
	return o
}

func TestOpenHandsOutWhatWasInstalled(t *testing.T) {
	w := newWorld(t, "one")
	w.publish("one", tool("1.0.0"), tool("2.0.0"))
	v := w.vault()
	require.ErrorIs(t, errOf(v.Open(t.Context(), tool("1.0.0").path())), hybrid.ErrNotFound, "not installed")
	result := w.install(v, tool("1.0.0"), InstallOptions{})
	w.install(v, tool("2.0.0"), InstallOptions{})
	o := w.opened(v, tool("1.0.0"))
	require.NoError(t, o.RunsOn)
	require.Equal(t, "1.0.0", o.Version)

	// Whoever may write to the cache cannot swap what was opened, or is found out.
	held, err := v.Open(t.Context(), tool("1.0.0").path())
	require.NoError(t, err)
	defer held.Close()
	require.NoError(t, os.Chmod(result.Path, 0o600))
	require.NoError(t, os.WriteFile(result.Path, []byte("swapped"), 0o600))
	got, err := io.ReadAll(held.Reader())
	require.NoError(t, err)
	require.Equal(t, string(tool("1.0.0").bytes()), string(got))
	_, err = v.Open(t.Context(), tool("1.0.0").path())
	require.ErrorIs(t, err, hybrid.ErrLocal)
	require.ErrorContains(t, err, "install it again")
	w.install(v, tool("1.0.0"), InstallOptions{AllowDowngrade: true})
	w.opened(v, tool("1.0.0"))
}

// That a call has ended says nothing about the cache.
func TestOpenIsCancelled(t *testing.T) {
	w := newWorld(t, "one")
	w.publish("one", tool("1.0.0"))
	v := w.vault()
	r := w.install(v, tool("1.0.0"), InstallOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := v.seal(ctx, records.Record{Target: r.Target, Length: r.Length, Hashes: r.Hashes})
	require.ErrorIs(t, err, hybrid.ErrCancelled)
}

// Installed plugins go on running, new ones are not installed, and both say why.
func TestRunsOnWhenMetadataCannotBeVerified(t *testing.T) {
	for name, c := range map[string]struct {
		family error
		happen func(w *world)
		now    time.Duration
	}{
		"expired":     {hybrid.ErrExpired, func(*world) {}, 100 * 365 * 24 * time.Hour},
		"unreachable": {hybrid.ErrTransport, func(w *world) { w.servers["one"].Close() }, 48 * time.Hour},
		"forged": {hybrid.ErrUnsigned, func(w *world) {
			w.repos["one"].Timestamp.Signers = tuftest.Keys(99, 1)
			w.repos["one"].Publish("targets")
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "one")
			w.publish("one", tool("1.0.0"))
			w.install(w.vault(), tool("1.0.0"), InstallOptions{})
			w.publish("one", tool("2.0.0"))
			c.happen(w)
			v := w.vault(func(o *Options) { o.Now = func() time.Time { return time.Now().Add(c.now) } })
			o := w.opened(v, tool("1.0.0"))
			require.ErrorIs(t, o.RunsOn, c.family)
			e := w.told(EventRunsOn)
			require.Contains(t, e.Message, "runs on what was verified on ")
			require.Equal(t, []string{"one", tool("1.0.0").path()}, []string{e.Repository, e.Target})
			require.ErrorIs(t, e.Err, c.family)
			require.NotEmpty(t, e.Evidence.Code)
			w.refused(v, tool("2.0.0"), InstallOptions{}, c.family)
		})
	}
}

// What verified metadata or the policy takes back is not opened.
func TestOpenObeysWhatIsVerified(t *testing.T) {
	for name, c := range map[string]struct {
		family error
		happen func(w *world)
		edit   func(o *Options)
	}{
		"withdrawn": {hybrid.ErrPolicyDenied, func(w *world) {
			r := tool("1.0.0")
			r.yanked = "it bites"
			w.publish("one", r)
		}, nil},
		"removed": {hybrid.ErrNotFound, func(w *world) {
			w.repos["one"].Targets.Signed["targets"] = tuftest.Map{}
			w.repos["one"].Publish("targets")
		}, nil},
		"other bytes": {hybrid.ErrMismatch, func(w *world) {
			r := tool("1.0.0")
			r.content = "signed later"
			w.publish("one", r)
		}, nil},
		"denied now": {hybrid.ErrPolicyDenied, func(*world) {}, func(o *Options) { o.Policy = policy.Policy{} }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "one")
			w.publish("one", tool("1.0.0"))
			w.install(w.vault(), tool("1.0.0"), InstallOptions{})
			c.happen(w)
			edit := c.edit
			if edit == nil {
				edit = func(*Options) {}
			}
			v := w.vault(edit)
			_, err := v.Open(t.Context(), tool("1.0.0").path())
			require.ErrorIs(t, err, c.family)

			// Nobody brings it back who has no more than the wire.
			w.servers["one"].On("metadata/timestamp.json", tuftest.Garbage)
			for _, v := range []*Vault{v, w.vault(edit)} {
				_, err = v.Open(t.Context(), tool("1.0.0").path())
				require.ErrorIs(t, err, hybrid.ErrPolicyDenied)
			}
		})
	}
}

// What several had to agree on is not opened when they disagree.
func TestOpenNeedsAgreement(t *testing.T) {
	w := newWorld(t, "one", "two")
	w.publish("one", tool("1.0.0"))
	w.publish("two", tool("1.0.0"))
	v := w.vault(mappings(Mapping{Paths: []string{"*"}, Repositories: w.names, Threshold: 2}))
	w.install(v, tool("1.0.0"), InstallOptions{})
	other := tool("1.0.0")
	other.content = "signed later"
	w.publish("two", other)
	_, err := v.Open(t.Context(), tool("1.0.0").path())
	require.Equal(t, ruleThreshold, rule(t, err))
}

// Who has asked about a plugin knows that it is withdrawn, not only who opens it.
// What is not withdrawn any more runs on again.
func TestWhatWasTakenBackDoesNotRunOn(t *testing.T) {
	for name, ask := range map[string]func(v *Vault) error{
		"installed again": func(v *Vault) error {
			return errOf(v.VerifyAndDownloadPlugin(t.Context(), tool("1.0.0").path(), InstallOptions{}))
		},
		"asked about": func(v *Vault) error { return errOf(v.PluginMetadata(t.Context(), tool("1.0.0").path())) },
		"listed":      func(v *Vault) error { return errOf(v.List(t.Context(), ListOptions{})) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "one")
			w.publish("one", tool("1.0.0"))
			w.install(w.vault(), tool("1.0.0"), InstallOptions{})
			withdrawn := tool("1.0.0")
			withdrawn.yanked = "it bites"
			w.publish("one", withdrawn)
			v := w.vault()
			_ = ask(v)
			w.servers["one"].On("metadata/timestamp.json", tuftest.Garbage)
			_, err := v.Open(t.Context(), withdrawn.path())
			require.Equal(t, ruleTakenBack, rule(t, err))
			require.ErrorContains(t, err, "it bites")
			require.Equal(t, hybrid.SeverityCritical, w.told(EventPolicyDenied).Severity)

			w.servers["one"].Heal()
			w.publish("one", tool("1.0.0"))
			w.opened(v, tool("1.0.0"))
			w.servers["one"].On("metadata/timestamp.json", tuftest.Garbage)
			require.Error(t, w.opened(v, tool("1.0.0")).RunsOn)
		})
	}
}

// The record of what is installed is never silently forgotten: it is what stands
// against a downgrade.
func TestADamagedRecordIsNotForgotten(t *testing.T) {
	w := newWorld(t, "one")
	w.publish("one", tool("1.0.0"), tool("2.0.0"))
	v := w.vault()
	w.install(v, tool("2.0.0"), InstallOptions{})
	files, err := filepath.Glob(filepath.Join(w.dir, "metadata", recordsName, "*.json"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	require.NoError(t, os.WriteFile(files[0], []byte("{"), 0o600))
	e := w.refused(v, tool("1.0.0"), InstallOptions{}, hybrid.ErrLocal)
	require.Equal(t, files[0], e.Path)
}

// What was installed by break-glass can be run, until that ends, and everybody sees
// it.
func TestABreakGlassLastsForOpen(t *testing.T) {
	w := newWorld(t, "one")
	r := tool("1.0.0")
	r.yanked = "it bites"
	w.publish("one", r)
	v := w.vault()
	w.install(v, r, glass(w, r))
	w.opened(v, r)
	require.Contains(t, w.told(EventBreakGlass).Message, "it bites")
	require.Eventually(t, func() bool { return strings.Count(w.codes(), string(EventBreakGlass)) == 2 }, 10*time.Second, time.Millisecond)
	w.repos["one"].Timestamp.Signers = tuftest.Keys(99, 1)
	w.repos["one"].Publish("targets")
	require.ErrorIs(t, w.opened(v, r).RunsOn, hybrid.ErrUnsigned)

	later := w.vault(func(o *Options) { o.Now = func() time.Time { return time.Now().Add(2 * time.Hour) } })
	_, err := later.Open(t.Context(), r.path())
	require.ErrorIs(t, err, hybrid.ErrPolicyDenied)
}

// What the policy denied when it was installed by break-glass does not run on after
// that, whoever cuts the connection.
func TestABreakGlassLeavesNothingDeniedBehind(t *testing.T) {
	t.Run("withdrawn", func(t *testing.T) { leavesNothing(t, ruleTakenBack, func(r *release) { r.yanked = "it bites" }) })
	t.Run("in a channel that is not followed", func(t *testing.T) { leavesNothing(t, "channels", func(r *release) { r.channel = "beta" }) })
}

func leavesNothing(t *testing.T, by string, edit func(*release)) {
	w := newWorld(t, "one")
	stable := func(o *Options) { o.Policy.Channels = nil }
	r := tool("1.0.0")
	edit(&r)
	w.publish("one", r)
	w.install(w.vault(stable), r, glass(w, r))
	w.repos["one"].Timestamp.Signers = tuftest.Keys(99, 1)
	w.repos["one"].Publish("targets")
	require.ErrorIs(t, w.opened(w.vault(stable), r).RunsOn, hybrid.ErrUnsigned)
	later := w.vault(stable, func(o *Options) { o.Now = func() time.Time { return time.Now().Add(2 * time.Hour) } })
	_, err := later.Open(t.Context(), r.path())
	require.Equal(t, by, rule(t, err))
}

func TestUninstall(t *testing.T) {
	w := newWorld(t, "one")
	w.publish("one", tool("1.0.0"), tool("2.0.0"))
	v := w.vault()
	require.ErrorIs(t, v.Uninstall(t.Context(), tool("2.0.0").path()), hybrid.ErrNotFound)
	w.install(v, tool("2.0.0"), InstallOptions{})
	require.NoError(t, v.Uninstall(t.Context(), tool("2.0.0").path()))
	_, err := v.Open(t.Context(), tool("2.0.0").path())
	require.ErrorIs(t, err, hybrid.ErrNotFound)
	_, err = v.VerifyAndDownloadPlugin(t.Context(), tool("1.0.0").path(), InstallOptions{})
	require.Equal(t, "downgrade", rule(t, err), "it stands against a downgrade still")
}
