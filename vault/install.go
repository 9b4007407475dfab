package vault

import (
	"context"
	"fmt"
	"time"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/plugin"
	"github.com/ragnos-labs/vault-tuf/internal/records"
	"github.com/ragnos-labs/vault-tuf/internal/targets"
	"github.com/ragnos-labs/vault-tuf/internal/telemetry"
	"github.com/ragnos-labs/vault-tuf/internal/transport"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// PluginMetadata returns what verified metadata says about a target, without
// fetching it, and whether the policy would allow it: [Plugin.Denied]. The error is
// of the family ErrNotFound if no repository that answers for it lists it.
func (v *Vault) PluginMetadata(ctx context.Context, target string) (*Plugin, error) {
	ctx, leave, err := v.begin(ctx)
	defer leave()
	ctx, op := v.tel.Begin(ctx, telemetry.VaultLookup)
	var p *Plugin
	if err == nil {
		p, err = v.metadata(ctx, target)
	}
	if err == nil {
		err = v.weigh(ctx, p, InstallOptions{})
	}
	if p != nil && op.On() {
		describeSpan(op, target, p.Repository, p.Publisher, p.Name, p.Version)
	}
	if err = v.finish(op, "lookup", "", target, err); err != nil {
		return nil, err
	}
	return p, nil
}

// metadata returns what the repositories agree on, and no word of the policy.
func (v *Vault) metadata(ctx context.Context, target string) (*Plugin, error) {
	if err := transport.CheckTargetPath(target); err != nil {
		return nil, err
	}
	look := func(ctx context.Context, r *repo) *answer {
		info, err := r.client.Lookup(ctx, target)
		return &answer{info: info, err: err}
	}
	agreed, err := v.search(ctx, target, look, look)
	if err != nil {
		return nil, err
	}
	return merged(agreed), nil
}

// weigh notes what the policy says of a plugin.
func (v *Vault) weigh(ctx context.Context, p *Plugin, o InstallOptions) error {
	installed, err := v.highest(ctx, p)
	if err == nil {
		v.learn(ctx, p)
		p.Denied = p.denied(&v.opts.Policy, installed, o)
	}
	return err
}

// highest is the version that no other may go below, "" if there is none. What has
// no manifest is held against the plugin whose path it has.
func (v *Vault) highest(ctx context.Context, p *Plugin) (string, error) {
	if p.Name != "" {
		return v.book.Highest(ctx, p.Publisher, p.Name)
	}
	for publisher, name := range plugin.Identities(p.Target) {
		if version, err := v.book.Highest(ctx, publisher, name); err != nil || version != "" {
			return version, err
		}
	}
	return "", nil
}

// VerifyAndDownloadPlugin brings a plugin that the policy allows: verified against
// the metadata of as many repositories as must agree, in the cache, and recorded as
// installed. On error nothing is left under its name, and nothing recorded.
//
// Everything is decided on verified metadata before a byte is fetched: first what
// the path alone tells, then the expected hash, then the whole policy.
func (v *Vault) VerifyAndDownloadPlugin(ctx context.Context, target string, o InstallOptions) (*Result, error) {
	ctx, leave, err := v.begin(ctx)
	defer leave()
	ctx, op := v.tel.Begin(ctx, telemetry.VaultInstall)
	i := &installation{Vault: v, target: target, options: o}
	var r *Result
	if err == nil {
		if r, err = i.run(ctx); err != nil && o.BreakGlass != nil {
			v.emit(o.BreakGlass.tried(i.repository, target, err))
		}
	}
	if r != nil && op.On() {
		op.Set(telemetry.FromCache.Bool(r.FromCache))
		describeSpan(op, target, r.Repository, r.Publisher, r.Name, r.Version)
	}
	if err = v.finish(op, "download", i.repository, target, err); err != nil {
		return nil, err
	}
	return r, nil
}

// Uninstall forgets that a plugin is installed: it is not opened any more. Its bytes
// stay in the cache, and no version below the highest one takes its place unasked.
// The error is of the family ErrNotFound if it is not installed.
func (v *Vault) Uninstall(ctx context.Context, target string) error {
	ctx, leave, err := v.begin(ctx)
	defer leave()
	removed := false
	if err == nil {
		err = transport.CheckTargetPath(target)
	}
	if err == nil {
		removed, err = v.book.Remove(ctx, target)
	}
	if err == nil && !removed {
		err = notInstalled()
	}
	if err != nil {
		return v.fail("uninstall", "", target, err)
	}
	return nil
}

func notInstalled() error {
	e := tuferr.New(protocol.CodeNotFound, "the plugin is not installed")
	e.Hint = "install it first: VerifyAndDownloadPlugin"
	return e
}

// fail ends a call with an error: it says what was being done, and raises the
// event that nobody has raised yet.
func (v *Vault) fail(op, repository, target string, err error) error {
	e := tuferr.As(err)
	if e == nil {
		e = tuferr.New(protocol.CodeInternal, "%w", err)
	}
	copied := *e
	copied.Op = op
	v.withTarget(target, &copied)
	v.emit(eventOf(repository, target, &copied))
	return tuferr.Tell(&copied)
}

// installation is one call of VerifyAndDownloadPlugin.
type installation struct {
	*Vault
	target  string
	options InstallOptions
	// repository is whose answer was decided on last.
	repository string
	// installed is the highest version that was installed before.
	installed string
	// overrode is the denial that a break-glass overrode.
	overrode error
}

func (i *installation) run(ctx context.Context) (*Result, error) {
	o := &i.options
	_, digest, err := targets.ParseHash(o.ExpectedHash)
	if err != nil {
		return nil, err
	}
	if err := transport.CheckTargetPath(i.target); err != nil {
		return nil, err
	}
	if o.BreakGlass == nil {
		if d := i.opts.Policy.DecideTarget(i.target); d != nil {
			return nil, refusal(d)
		}
	} else if err := o.BreakGlass.check(i.target, digest, i.opts.Now()); err != nil {
		return nil, err
	}
	agreed, err := i.search(ctx, i.target, i.bring, i.look)
	if err != nil {
		return nil, err
	}
	p, result := merged(agreed), agreed[0].result
	if result == nil {
		if result, err = i.fetch(ctx, agreed, p); err != nil {
			return nil, err
		}
	}
	mark := i.trail.mark()
	i.told(p)
	// Nothing that is not on record is installed, unless that was asked for.
	if err := i.trail.keep(ctx, mark); err != nil && !i.opts.AuditBestEffort {
		return nil, unaudited(err)
	}
	if err := i.record(ctx, p); err != nil {
		return nil, err
	}
	return &Result{Plugin: *p, Path: result.Path, FromCache: result.FromCache, Fallback: result.Fallback}, nil
}

// asked is what is asked of a repository: the caller's hash, or that of a break-glass
// with what it overrides of expiry.
func (i *installation) asked() hybrid.DownloadOptions {
	o := hybrid.DownloadOptions{ExpectedHash: i.options.ExpectedHash, Progress: i.options.Progress}
	if b := i.options.BreakGlass; b != nil {
		o.ExpectedHash, o.UnsafeExpiryGrace = b.SHA256, b.ExpiryGrace
	}
	return o
}

// look asks a repository that has to agree with others.
func (i *installation) look(ctx context.Context, r *repo) *answer {
	info, err := r.client.UnsafeLookup(ctx, i.target, i.asked().UnsafeExpiryGrace)
	return &answer{info: info, err: err}
}

// bring looks the target up, decides and fetches in one operation, of one state of
// the repository.
func (i *installation) bring(ctx context.Context, r *repo) *answer {
	a := &answer{}
	o := i.asked()
	o.Decide = func(info *hybrid.TargetInfo) error {
		a.info = info
		return i.decide(ctx, describe(r.name, info))
	}
	a.result, a.err = r.client.VerifyAndDownloadPlugin(ctx, i.target, o)
	return a
}

// fetch brings a target that several repositories agree on from the first one that
// has it.
func (i *installation) fetch(ctx context.Context, agreed []*answer, p *Plugin) (*hybrid.Result, error) {
	if err := i.expected(p); err != nil {
		return nil, err
	}
	if err := i.decide(ctx, p); err != nil {
		return nil, err
	}
	var failed []*answer
	for _, a := range agreed {
		o := i.asked()
		o.Decide = func(info *hybrid.TargetInfo) error {
			if !agree(a.info, info) {
				return denied(ruleThreshold, "the repository "+a.repo.name+" has just signed other bytes", "ask again")
			}
			return i.decide(ctx, describe(a.repo.name, info)) // It may have said something else meanwhile.
		}
		var result *hybrid.Result
		got := i.put(ctx, a.repo, i.target, func(ctx context.Context, r *repo) *answer {
			var err error
			result, err = r.client.VerifyAndDownloadPlugin(ctx, i.target, o)
			return &answer{info: a.info, err: err}
		})
		if got.err == nil {
			return result, nil
		}
		if failed = append(failed, got); tuferr.ClassOf(got.err) != protocol.ClassTransport {
			break
		}
	}
	return nil, i.unanswered(i.target, failed)
}

// expected compares what the caller expects with what was agreed on.
func (i *installation) expected(p *Plugin) error {
	algorithm, digest, err := targets.ParseHash(i.asked().ExpectedHash)
	if err != nil || digest == "" || p.Hashes[algorithm] == digest {
		return err
	}
	e := tuferr.New(protocol.CodeExpectedHash, "expected %s %s, the publisher signed %s", algorithm, digest, digestOf(p.Hashes))
	e.Role, e.Engine = p.Role, "host"
	e.Hint = "nothing was fetched; the expectation is wrong, or the publisher signed something else than you were told"
	return e
}

// decide is the policy's word, or what a break-glass puts in its place.
func (i *installation) decide(ctx context.Context, p *Plugin) error {
	i.repository = p.Repository
	if l := i.options.locked; l != nil && !p.isLocked(l) {
		e := tuferr.New(protocol.CodeExpectedHash, "the lock file says another length or hash than the publisher signed")
		e.Role, e.Engine, e.Hint = p.Role, "host", "nothing was fetched; lock it anew"
		return e
	}
	var err error
	if i.installed, err = i.highest(ctx, p); err != nil {
		return err
	}
	i.learn(ctx, p)
	d := p.denied(&i.opts.Policy, i.installed, i.options)
	switch {
	case d == nil:
		return nil
	case i.options.BreakGlass == nil:
		return refusal(d)
	}
	i.overrode = d
	return nil
}

// record notes that a plugin is installed now.
func (i *installation) record(ctx context.Context, p *Plugin) error {
	r := records.Record{
		Target: p.Target, Publisher: p.Publisher, Name: p.Name, Version: p.Version, Channel: p.Channel,
		EntryPoint: p.EntryPoint, Length: p.Length, Hashes: p.Hashes, Repository: p.Repository, At: i.opts.Now(),
	}
	// A break-glass ends; that it was withdrawn is known then, too.
	r.TakenBack = takenBack(p, r, nil)
	if b := i.options.BreakGlass; b != nil && i.overrode != nil {
		r.Until = b.Until.UTC().Truncate(time.Second)
	}
	if i.options.BreakGlass != nil && !i.options.AllowDowngrade {
		return i.book.AddBeside(ctx, r) // It is for this one alone.
	}
	err := i.book.Add(ctx, r, i.options.AllowDowngrade)
	if e := tuferr.As(err); e != nil && e.Code == protocol.CodeRollback {
		// Another call has installed a newer one since this was decided.
		return denied(ruleDowngrade, e.Msg, e.Hint)
	}
	return err
}

// ruleDowngrade is the policy's rule about versions older than the installed one.
const ruleDowngrade = "downgrade"

// told raises the events of a plugin that is handed out.
func (i *installation) told(p *Plugin) {
	by := "is allowed"
	if i.overrode != nil {
		by = "is let through by a break-glass"
	}
	e := Event{Severity: hybrid.SeverityInfo, Code: EventAllowed, Repository: p.Repository, Target: p.Target,
		Message:  fmt.Sprintf("%s was verified by %s and %s", p.Target, p.Engine, by),
		Evidence: Evidence{Engine: p.Engine, Role: p.Role, Digest: p.Hashes["sha256"], To: p.Version}}
	i.emit(e)
	if i.installed != "" && plugin.Compare(p.Version, i.installed) < 0 {
		e.Code, e.Severity, e.Evidence.From = EventDowngrade, hybrid.SeverityWarning, i.installed
		e.Message = fmt.Sprintf("%s takes the place of version %s, as was asked", p.Target, i.installed)
		i.emit(e)
	}
	if b := i.options.BreakGlass; b != nil {
		e.Code, e.Severity = EventBreakGlass, hybrid.SeverityCritical
		e.Message, e.Evidence = b.words(p, i.overrode), Evidence{Digest: b.SHA256, By: b.By, Reason: b.Reason, Rule: ruleOf(i.overrode), To: p.Version}
		i.emit(e)
	}
}
