package vault

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/plugin"
	"github.com/ragnos-labs/vault-tuf/internal/records"
	"github.com/ragnos-labs/vault-tuf/internal/sealed"
	"github.com/ragnos-labs/vault-tuf/internal/targets"
	"github.com/ragnos-labs/vault-tuf/internal/telemetry"
	"github.com/ragnos-labs/vault-tuf/internal/transport"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
	"github.com/ragnos-labs/vault-tuf/vault/policy"
)

// Bytes are the bytes of a plugin that nobody can change any more: on Linux a
// sealed file in memory, elsewhere a private copy, which whoever has this user's
// rights could still change; Sealed tells. They take memory, or disk, until Close.
type Bytes = sealed.File

// Opened is an installed plugin, ready to be run.
type Opened struct {
	*Bytes
	// Target, Publisher, Name, Version, Length, Hashes and Repository are what was
	// verified when it was installed; so is EntryPoint, unless verified metadata
	// names another one now.
	records.Record
	// RunsOn is why its metadata cannot be verified now, nil if it can: it runs on
	// what was verified when it was installed.
	RunsOn error

	vault *Vault
}

// Open hands out the bytes of a plugin that [Vault.VerifyAndDownloadPlugin] has
// installed: hashed while they are copied to where nobody can change them between
// the check and the use.
//
// It asks whether they may still be used. If metadata cannot be verified now,
// because it has expired, because no repository can be reached or what they serve
// is refused, the plugin runs on, and RunsOn and an event say why. If verified
// metadata withdraws it, lists other bytes or none, or the policy denies it, it is
// not opened; being older than another version that is installed is no reason. What
// verified metadata has once taken back does not run on: whoever cuts the
// connection would bring it back.
//
// What was installed by break-glass against the policy is opened until that ends.
//
// The error is of the family ErrNotFound if it is not installed.
func (v *Vault) Open(ctx context.Context, target string) (*Opened, error) {
	ctx, leave, err := v.begin(ctx)
	defer leave()
	ctx, op := v.tel.Begin(ctx, telemetry.VaultOpen)
	var o *Opened
	if err == nil {
		o, err = v.open(ctx, target)
	}
	if o != nil && op.On() {
		op.Set(telemetry.RunsOn.Bool(o.RunsOn != nil))
		describeSpan(op, target, o.Repository, o.Publisher, o.Name, o.Version)
	}
	err = v.finish(op, "open", "", target, err)
	if err != nil {
		return nil, err
	}
	return o, nil
}

func (v *Vault) open(ctx context.Context, target string) (*Opened, error) {
	if err := transport.CheckTargetPath(target); err != nil {
		return nil, err
	}
	rec, ok, err := v.book.Find(ctx, target)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, notInstalled()
	}
	p, err := v.metadata(ctx, target)
	var runsOn error
	switch {
	case err == nil:
		v.remember(ctx, rec, takenBack(p, rec, nil))
		err = v.permitted(rec, v.mayOpen(p, rec))
		rec.EntryPoint = p.EntryPoint
	case mayRunOn(err):
		runsOn, err = err, v.permitted(rec, v.mayGoOn(rec))
	case tuferr.ClassOf(err) == protocol.ClassNotFound:
		v.remember(ctx, rec, takenBack(nil, rec, err))
	}
	if err != nil {
		return nil, err
	}
	bytes, err := v.seal(ctx, rec)
	if err != nil {
		return nil, err
	}
	if runsOn != nil {
		// The error may have an event already; this one is of the plugin.
		e := Event{Code: EventRunsOn, Severity: hybrid.SeverityWarning, Repository: rec.Repository, Target: target}
		e.rest(runsOn)
		e.Message = scrub(fmt.Sprintf("%s runs on what was verified on %s: %v", target, rec.At.UTC().Format("2006-01-02"), runsOn))
		v.emit(e)
	}
	v.emit(Event{Code: EventOpened, Severity: hybrid.SeverityInfo, Repository: rec.Repository, Target: target,
		Message: target + " was opened to be run", Evidence: Evidence{Digest: rec.Hashes["sha256"], To: rec.Version}})
	return &Opened{bytes, rec, runsOn, v}, nil
}

// mayRunOn says whether an error means that metadata cannot be verified now, and
// not that it, the policy or the caller says no.
func mayRunOn(err error) bool {
	switch tuferr.CodeOf(err) {
	case protocol.CodePolicyDenied, protocol.CodeExpectedHash:
		return false
	}
	switch tuferr.ClassOf(err) {
	case protocol.ClassVerdict, protocol.ClassFault, protocol.ClassTransport, protocol.ClassLocal:
		return true
	}
	return false
}

// permitted forgives a denial of the policy while the break-glass lasts by which the
// plugin was installed.
func (v *Vault) permitted(rec records.Record, err error) error {
	if tuferr.CodeOf(err) != protocol.CodePolicyDenied || !v.opts.Now().Before(rec.Until) {
		return err
	}
	v.emit(Event{Code: EventBreakGlass, Severity: hybrid.SeverityCritical, Repository: rec.Repository, Target: rec.Target,
		Message:  fmt.Sprintf("%s was opened by break-glass, which lasts until %s: against %v", rec.Target, rec.Until.Format(time.RFC3339), err),
		Evidence: Evidence{Digest: rec.Hashes["sha256"], To: rec.Version, Rule: ruleOf(err)}})
	return nil
}

// mayOpen says whether verified metadata and the policy let an installed plugin be
// opened.
func (v *Vault) mayOpen(p *Plugin, rec records.Record) error {
	if !p.is(rec) {
		e := tuferr.New(protocol.CodeMismatch, "the publisher signs other bytes now than were installed: %s, not %s", digestOf(p.Hashes), digestOf(rec.Hashes))
		e.Engine, e.Hint = "host", "install it again"
		return e
	}
	if d := p.denied(&v.opts.Policy, "", InstallOptions{}); d != nil {
		return refusal(d)
	}
	return nil
}

// ruleTakenBack is the rule by which nothing runs on that verified metadata has
// taken back.
const ruleTakenBack = "taken_back"

// takenBack is why verified metadata takes an installed plugin back: what it says of
// it, or the error of asking it. "" is that it does not.
func takenBack(p *Plugin, rec records.Record, err error) string {
	switch {
	case err != nil:
		return "no repository that answers for it listed it any more"
	case !p.is(rec):
		return "its publisher signed other bytes"
	case p.Yanked != nil:
		return fmt.Sprintf("its publisher withdrew it: %.40q", p.Yanked.Reason)
	}
	return ""
}

// remember notes what verified metadata says of an installed plugin, for as long as
// metadata cannot be verified.
func (v *Vault) remember(ctx context.Context, rec records.Record, why string) {
	if err := v.book.TakeBack(ctx, rec.Target, why); err != nil {
		v.opts.Logger.Warn("it could not be noted whether a plugin was taken back", "target", rec.Target, "error", err)
	}
}

// learn remembers that an installed plugin is withdrawn, whoever asked about it.
func (v *Vault) learn(ctx context.Context, p *Plugin) {
	if p.Yanked == nil {
		return
	}
	if rec, ok, err := v.book.Find(ctx, p.Target); err == nil && ok && p.is(rec) {
		v.remember(ctx, rec, takenBack(p, rec, nil))
	}
}

// is says whether a record is of these bytes.
func (p *Plugin) is(rec records.Record) bool {
	return agree(&hybrid.TargetInfo{Length: p.Length, Hashes: p.Hashes}, &hybrid.TargetInfo{Length: rec.Length, Hashes: rec.Hashes})
}

// mayGoOn says whether an installed plugin may be opened although metadata cannot
// be verified: by what was known of it, and by the policy.
func (v *Vault) mayGoOn(rec records.Record) error {
	if rec.TakenBack != "" {
		return denied(ruleTakenBack, "verified metadata had taken it back: "+rec.TakenBack,
			"see that its metadata can be verified again, or install another version")
	}
	d := v.opts.Policy.Decide(policy.Candidate{
		Target: rec.Target, Publisher: rec.Publisher, Name: rec.Name, Version: rec.Version, Channel: cmp.Or(rec.Channel, string(plugin.Stable)),
		Length: rec.Length, SHA256: rec.Hashes["sha256"],
	})
	if d != nil {
		return refusal(d)
	}
	return nil
}

// seal copies what was installed to where nobody can change it.
func (v *Vault) seal(ctx context.Context, rec records.Record) (*Bytes, error) {
	cache, err := v.openCache()
	if err != nil {
		return nil, err
	}
	want := targets.Want{Length: rec.Length, Hashes: rec.Hashes}
	path, ok := cache.Find(ctx, want)
	if !ok && ctx.Err() != nil {
		return nil, tuferr.Cancelled(ctx)
	}
	if !ok {
		e := tuferr.New(protocol.CodeLocalIO, "the cache does not hold the installed plugin any more")
		e.Path, e.Hint = v.opts.CacheDir, "install it again"
		return nil, e
	}
	return sealed.Copy(ctx, path, want, sealed.Options{Name: rec.Target})
}
