package vault

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/audit"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

func audited(w *world) func(*Options) {
	return func(o *Options) { o.AuditDir = filepath.Join(w.dir, "audit") }
}

// record reads the audit log, which must be sound, and tells it as code:target.
func (w *world) record() []string {
	w.t.Helper()
	dir := filepath.Join(w.dir, "audit")
	report, err := audit.Verify(w.t.Context(), dir, audit.VerifyOptions{})
	require.NoError(w.t, err)
	require.True(w.t, report.OK(), "%+v", report.Problems)
	var all []string
	for e, err := range audit.Entries(w.t.Context(), dir) {
		require.NoError(w.t, err)
		var x entry
		require.NoError(w.t, json.Unmarshal(e.Event, &x))
		all = append(all, string(x.Code)+":"+filepath.Base(x.Target))
	}
	return all
}

func TestEveryDecisionIsOnRecord(t *testing.T) {
	w := newWorld(t, "one")
	yanked := tool("1.1.0")
	yanked.yanked = "it bites"
	w.publish("one", tool("1.0.0"), tool("2.0.0"), yanked)
	v := w.vault(audited(w), func(o *Options) { o.Repositories[0].HTTP.BearerToken = "s3cret" })
	w.install(v, tool("1.0.0"), InstallOptions{})
	w.refused(v, yanked, InstallOptions{}, hybrid.ErrPolicyDenied)
	w.refused(v, tool("9.0.0"), InstallOptions{}, hybrid.ErrNotFound)
	w.install(v, tool("2.0.0"), InstallOptions{})
	w.opened(v, tool("1.0.0"))
	w.install(v, tool("1.0.0"), InstallOptions{AllowDowngrade: true})
	w.install(v, yanked, glass(w, yanked))
	w.repos["one"].PublishRoot()
	w.repos["one"].Timestamp.Signers = tuftest.Keys(99, 1)
	w.repos["one"].Publish("targets")
	_, err := v.VerifyAndDownloadPlugin(t.Context(), tool("2.0.0").path(), InstallOptions{})
	require.ErrorIs(t, err, hybrid.ErrUnsigned)
	lost := w.vault(audited(w), rootless, func(o *Options) { o.MetadataDir = filepath.Join(w.dir, "other") })
	w.refusedAgain(lost, tool("2.0.0"), hybrid.ErrLocal)
	require.Contains(t, w.told(EventLocal).Evidence.Path, w.dir)
	got := w.record()
	require.Equal(t, []string{"allowed:tool.1.0.0.tar.gz", "policy_denied:tool.1.1.0.tar.gz", "not_found:tool.9.0.0.tar.gz",
		"allowed:tool.2.0.0.tar.gz", "opened:tool.1.0.0.tar.gz", "allowed:tool.1.0.0.tar.gz", "downgrade:tool.1.0.0.tar.gz",
		"allowed:tool.1.1.0.tar.gz", "break_glass:tool.1.1.0.tar.gz"}, got[:9])
	require.Contains(t, got[9:], "root_changed:.")
	require.Contains(t, strings.Join(got[9:], " "), "refused:")

	require.NoError(t, v.Shutdown(t.Context()))
	raw, err := os.ReadFile(filepath.Join(w.dir, "audit", "audit-000001.ndjson"))
	require.NoError(t, err)
	require.NotContains(t, string(raw), "s3cret")
	require.NotContains(t, string(raw), w.dir, "no local path")
	require.Contains(t, string(raw), `"by":"dana"`)
	checkpoints, err := os.ReadFile(filepath.Join(w.dir, "audit", audit.CheckpointsName))
	require.NoError(t, err)
	require.NotEmpty(t, checkpoints, "a vault that ends signs what it has done")
}

// Nothing is installed that is not on record, unless that was asked for.
func TestNothingIsInstalledWithoutARecord(t *testing.T) {
	w := newWorld(t, "one")
	w.publish("one", tool("1.0.0"))
	blocked := filepath.Join(w.dir, "audit")
	require.NoError(t, os.WriteFile(blocked, nil, 0o600))
	v := w.vault(audited(w)) // It is mended before the vault ends.
	_, err := v.VerifyAndDownloadPlugin(t.Context(), tool("1.0.0").path(), InstallOptions{})
	require.ErrorIs(t, err, hybrid.ErrLocal)
	require.ErrorContains(t, err, "nothing is installed without it")
	require.Equal(t, hybrid.SeverityCritical, w.told(EventAudit).Severity)
	_, err = v.Open(t.Context(), tool("1.0.0").path())
	require.ErrorIs(t, err, hybrid.ErrNotFound)
	s, err := v.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, HealthDown, s.Health)
	require.Contains(t, s.Reasons[0], "the audit log cannot be written")
	require.NotContains(t, askHealth(v.HealthHandler(), "GET", HealthPath).Body.String(), w.dir)

	lax := w.vaultThatCannotEnd(audited(w), func(o *Options) { o.AuditBestEffort = true })
	w.install(lax, tool("1.0.0"), InstallOptions{})
	w.opened(v, tool("1.0.0"))

	// What could not be written is, once that is possible.
	require.NoError(t, os.Remove(blocked))
	s, err = v.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, HealthOK, s.Health, "%v", s.Reasons)
	w.install(v, tool("1.0.0"), InstallOptions{})
	require.Equal(t, []string{"allowed:tool.1.0.0.tar.gz", "local:tool.1.0.0.tar.gz"}, w.record()[:2], "decided, and not installed")
	require.NoError(t, lax.Shutdown(t.Context()))
}

// Whoever writes the log and never comes back keeps everybody from installing, and the
// health says so.
func TestHealthSaysThatTheAuditLogHangs(t *testing.T) {
	w := newWorld(t, "one")
	w.publish("one", tool("1.0.0"))
	v := w.vault(audited(w))
	w.install(v, tool("1.0.0"), InstallOptions{})
	v.trail.turn <- struct{}{}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
	defer cancel()
	_, err := v.VerifyAndDownloadPlugin(ctx, tool("1.0.0").path(), InstallOptions{})
	require.ErrorIs(t, err, hybrid.ErrCancelled)
	require.Equal(t, HealthDown, w.status(v).Health)
	<-v.trail.turn
	require.Equal(t, HealthOK, w.status(v).Health)
}

// Nothing begins a log once the vault has ended.
func TestABreakGlassAfterTheEndLeavesTheLogAlone(t *testing.T) {
	w := newWorld(t, "one")
	w.publish("one", tool("1.0.0"))
	v := w.vault(audited(w))
	require.NoError(t, v.Shutdown(t.Context()))
	_, err := v.VerifyAndDownloadPlugin(t.Context(), tool("1.0.0").path(), glass(w, tool("1.0.0")))
	require.ErrorIs(t, err, hybrid.ErrUsage)
	require.NoDirExists(t, filepath.Join(w.dir, "audit"))
}

// A status asked for after the end writes nothing any more.
func TestStatusAfterTheEndLeavesTheLogAlone(t *testing.T) {
	w := newWorld(t, "one")
	w.publish("one", tool("1.0.0"))
	blocked := filepath.Join(w.dir, "audit")
	require.NoError(t, os.WriteFile(blocked, nil, 0o600))
	v := w.vaultThatCannotEnd(audited(w))
	_, err := v.VerifyAndDownloadPlugin(t.Context(), tool("1.0.0").path(), InstallOptions{})
	require.ErrorIs(t, err, hybrid.ErrLocal)
	require.Error(t, v.Shutdown(t.Context()))
	require.NoError(t, os.Remove(blocked))
	_, err = v.Status(t.Context())
	require.NoError(t, err)
	require.NoDirExists(t, blocked)
}

// vaultThatCannotEnd makes a vault whose shutdown may fail, with its audit log.
func (w *world) vaultThatCannotEnd(edit ...func(*Options)) *Vault {
	w.t.Helper()
	o := w.options()
	for _, f := range edit {
		f(&o)
	}
	v, err := New(o)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = v.Shutdown(context.Background()) })
	return v
}

func TestWhatCannotBeSignedAtTheEndIsTold(t *testing.T) {
	w := newWorld(t, "one")
	w.publish("one", tool("1.0.0"))
	v := w.vaultThatCannotEnd(audited(w))
	w.install(v, tool("1.0.0"), InstallOptions{})
	require.NoError(t, os.Mkdir(filepath.Join(w.dir, "audit", audit.CheckpointsName), 0o700))
	require.ErrorIs(t, v.Shutdown(t.Context()), hybrid.ErrLocal)
	require.Equal(t, hybrid.SeverityCritical, w.told(EventAudit).Severity)
}

// Many at a time share the disk, and nothing is lost or out of order.
func TestManyAreOnRecordTogether(t *testing.T) {
	w := newWorld(t, "one")
	w.publish("one", tool("1.0.0"))
	a := w.vault(audited(w), func(o *Options) { o.RefreshInterval = time.Minute })
	b := w.vault(audited(w), func(o *Options) { o.RefreshInterval = time.Minute })
	var wait sync.WaitGroup
	for i := range 40 {
		wait.Go(func() {
			_, err := []*Vault{a, b}[i%2].VerifyAndDownloadPlugin(context.Background(), tool("1.0.0").path(), InstallOptions{})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	require.Len(t, w.record(), 40)
}

// What is on this machine alone, and what errors say, is not for others to read.
func TestNoLocalPathIsOnRecord(t *testing.T) {
	tr := newTrail(t.TempDir(), time.Now, func(error) {})
	for url, want := range map[string]string{"file:///srv/secret": "", "https://example.com/x": "https://example.com/x"} {
		tr.add(Event{Code: EventLocal, Severity: hybrid.SeverityWarning, Message: "in /srv/secret", Evidence: Evidence{URL: url, Path: "/srv/secret"}})
		require.Equal(t, entry{Code: EventLocal, Severity: hybrid.SeverityWarning, Evidence: Evidence{URL: want}}, tr.waiting[len(tr.waiting)-1])
	}
}

// No text that somebody else chose keeps what comes after it out of the log.
func TestLongTextsFitIntoALine(t *testing.T) {
	w := newWorld(t, "one")
	w.publish("one", tool("1.0.0"))
	v := w.vault(audited(w))
	long := "plugins/" + strings.Repeat("<", 100_000)
	_, err := v.PluginMetadata(t.Context(), long)
	require.ErrorIs(t, err, hybrid.ErrNotFound)
	require.ErrorIs(t, v.Uninstall(t.Context(), long), hybrid.ErrNotFound)
	require.ErrorIs(t, v.Uninstall(t.Context(), "/srv/secret"), hybrid.ErrUsage, "a path of this machine is no plugin")
	all := strings.Repeat("\x01", 5_000)
	v.emit(Event{Code: EventRefused, Repository: all, Target: all, Evidence: Evidence{
		Code: protocol.Code(all), Class: protocol.Class(all), Role: all, Engine: all, Digest: all, Spec: all,
		URL: "https://" + all, Rule: all, From: all, To: all, Store: all, By: all, Reason: all,
	}})
	w.install(v, tool("1.0.0"), InstallOptions{})
	got := w.record()
	require.Len(t, got, 4)
	require.True(t, strings.HasPrefix(got[0], "not_found:<<<") && strings.HasSuffix(got[0], "…"), got[0][:20])
	require.Equal(t, "allowed:tool.1.0.0.tar.gz", got[3])
}

// What waits for a log that cannot be written is bounded, and what was dropped is
// counted in it.
func TestATrailIsBounded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	require.NoError(t, os.WriteFile(dir, nil, 0o600))
	tr := newTrail(dir, time.Now, func(error) {})
	for i := range maxUnwritten + 10 {
		tr.add(Event{Code: EventAllowed, Target: fmt.Sprint(i)})
	}
	require.Error(t, tr.flush(t.Context()))
	require.Len(t, tr.waiting, maxUnwritten)
	require.NoError(t, os.Remove(dir))
	require.NoError(t, tr.flush(t.Context()))
	require.Empty(t, tr.waiting)
	require.NoError(t, tr.close(t.Context()))
	first := true
	for e, err := range audit.Entries(t.Context(), dir) {
		require.NoError(t, err)
		if first {
			require.JSONEq(t, `{"code":"audit","severity":"critical","count":10}`, string(e.Event))
		}
		first = false
	}
}

// What is written while more comes in is not said to be lost, and what is dropped then
// is counted next time.
func TestWhatIsWrittenIsNotCountedAsLost(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	var tr *trail
	busy := 10
	tr = newTrail(dir, func() time.Time {
		for ; busy > 0; busy-- {
			tr.add(Event{Code: EventAllowed})
		}
		return time.Now()
	}, func(error) {})
	for range maxUnwritten {
		tr.add(Event{Code: EventAllowed})
	}
	require.NoError(t, tr.flush(t.Context()))
	require.Zero(t, tr.skipped)
	require.Len(t, tr.waiting, 10)
	busy = maxUnwritten + 5
	require.NoError(t, tr.flush(t.Context()))
	require.Equal(t, 5, tr.skipped)
	require.Len(t, tr.waiting, maxUnwritten)
	require.NoError(t, tr.close(t.Context()))
}

// A call waits for another process as long as it may, and no longer.
func TestALockedLogIsNotWaitedForBeyondTheCall(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	require.NoError(t, os.Mkdir(dir, 0o700))
	lock := flock.New(filepath.Join(dir, "lock"))
	require.NoError(t, lock.Lock())
	tr := newTrail(dir, time.Now, func(error) {})
	tr.add(Event{Code: EventAllowed})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	began := time.Now()
	require.ErrorIs(t, tr.flush(ctx), hybrid.ErrLocal)
	require.Less(t, time.Since(began), 20*time.Second)
	require.NoError(t, lock.Unlock())

	// A shutdown that may not wait leaves the log to those who are still in flight.
	require.Error(t, tr.close(ctx))
	require.NoError(t, tr.flush(t.Context()))
	require.Error(t, tr.close(ctx))
	tr.add(Event{Code: EventOpened})
	require.NoError(t, tr.flush(t.Context()))
	require.NoError(t, tr.close(t.Context()))
}

// An installation whose line was dropped while it waited for the log is none.
func TestNothingIsInstalledWhoseRecordWasDropped(t *testing.T) {
	w := newWorld(t, "one")
	w.publish("one", tool("1.0.0"))
	v := w.vault(audited(w))
	v.trail.turn <- struct{}{} // The disk is slow, and much happens meanwhile.
	before := v.trail.mark()
	failed := make(chan error)
	go func() {
		_, err := v.VerifyAndDownloadPlugin(context.Background(), tool("1.0.0").path(), InstallOptions{})
		failed <- err
	}()
	require.Eventually(t, func() bool { return v.trail.mark() > before }, time.Minute, time.Millisecond)
	for range maxUnwritten {
		v.trail.add(Event{Code: EventNotFound})
	}
	<-v.trail.turn
	require.ErrorContains(t, <-failed, "nothing is installed without it")
	_, err := v.Open(t.Context(), tool("1.0.0").path())
	require.ErrorIs(t, err, hybrid.ErrNotFound)
	w.install(v, tool("1.0.0"), InstallOptions{})
	got := w.record()
	require.Equal(t, "audit:.", got[0])
	require.Equal(t, "allowed:tool.1.0.0.tar.gz", got[len(got)-1])
}
