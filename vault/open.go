package vault

import (
	"context"
	"fmt"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/records"
	"github.com/ragnos-labs/vault-tuf/internal/sealed"
	"github.com/ragnos-labs/vault-tuf/internal/targets"
	"github.com/ragnos-labs/vault-tuf/internal/telemetry"
	"github.com/ragnos-labs/vault-tuf/internal/transport"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Bytes are the bytes of a plugin that nobody can change any more: on Linux a
// sealed file in memory, elsewhere a private copy, which whoever has this user's
// rights could still change; Sealed tells. They take memory, or disk, until Close.
type Bytes = sealed.File

// Opened is an installed plugin, ready to be run.
type Opened struct {
	*Bytes
	// Target, Publisher, Name, Version, Length, Hashes and Repository are what was
	// verified when it was installed.
	records.Record
	// RunsOn is why its metadata cannot be verified now, nil if it can: it runs on
	// what was verified when it was installed.
	RunsOn error
}

// Open hands out the bytes of a plugin that [Vault.VerifyAndDownloadPlugin] has
// installed: hashed while they are copied to where nobody can change them between
// the check and the use.
//
// It asks whether they may still be used. If metadata cannot be verified now,
// because it has expired, because no repository can be reached or what they serve
// is refused, the plugin runs on, and RunsOn and an event say why. If verified
// metadata withdraws it, lists other bytes or none, or the policy denies it, it is
// not opened; being older than another version that is installed is no reason.
//
// The error is of the family ErrNotFound if it is not installed.
func (v *Vault) Open(ctx context.Context, target string) (*Opened, error) {
	ctx, op := v.tel.Begin(ctx, telemetry.VaultOpen)
	o, err := v.open(ctx, target)
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
		e := tuferr.New(protocol.CodeNotFound, "the plugin is not installed")
		e.Hint = "install it first: VerifyAndDownloadPlugin"
		return nil, e
	}
	p, err := v.metadata(ctx, target)
	var runsOn error
	switch {
	case err == nil:
		err = v.mayOpen(p, rec)
	case mayRunOn(err):
		runsOn, err = err, nil
	}
	if err != nil {
		return nil, err
	}
	bytes, err := v.seal(ctx, rec)
	if err != nil {
		return nil, err
	}
	if runsOn != nil {
		e := eventOf(rec.Repository, target, runsOn)
		e.Code, e.Severity = EventRunsOn, hybrid.SeverityWarning
		e.Message = fmt.Sprintf("%s runs on what was verified on %s: %v", target, rec.At.UTC().Format("2006-01-02"), runsOn)
		v.emit(e)
	}
	return &Opened{bytes, rec, runsOn}, nil
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

// mayOpen says whether verified metadata and the policy let an installed plugin be
// opened.
func (v *Vault) mayOpen(p *Plugin, rec records.Record) error {
	if !agree(&hybrid.TargetInfo{Length: p.Length, Hashes: p.Hashes}, &hybrid.TargetInfo{Length: rec.Length, Hashes: rec.Hashes}) {
		e := tuferr.New(protocol.CodeMismatch, "the publisher signs other bytes now than were installed: %s, not %s", digestOf(p.Hashes), digestOf(rec.Hashes))
		e.Engine, e.Hint = "host", "install it again"
		return e
	}
	if d := v.opts.Policy.Decide(p.candidate("", InstallOptions{})); d != nil {
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
	if !ok {
		e := tuferr.New(protocol.CodeLocalIO, "the cache does not hold the installed plugin any more")
		e.Path, e.Hint = v.opts.CacheDir, "install it again"
		return nil, e
	}
	return sealed.Copy(ctx, path, want, sealed.Options{Name: rec.Target})
}
