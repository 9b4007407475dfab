package main

import (
	"context"
	"os"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/transport"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
	"github.com/ragnos-labs/vault-tuf/vault"
)

// examineConfig checks a configuration, and then each repository of it.
func (d *doctor) examineConfig(ctx context.Context) {
	given, err := d.vaultOptions()
	var o vault.Options
	if err == nil {
		o, err = given.Resolve()
	}
	var v *vault.Vault
	if err == nil {
		v, err = vault.New(given)
	}
	if err != nil {
		d.mistakes(err)
		d.checkPython(ctx, "", "")
		return
	}
	defer func() { _ = v.Shutdown(context.WithoutCancel(ctx)) }() // nothing is running
	st, err := v.Status(ctx)
	if err != nil {
		d.trouble("trust stores", err)
		return
	}
	d.ok("configuration", "%s can be read; repositories: %d", d.config, len(o.Repositories))
	d.checkMode(st.Mode, st.Repositories[0].Client.Engine) // No breaker is open yet.
	d.checkPolicy(o)
	d.checkDirectory("metadata directory", o.MetadataDir, "choose another metadataDir in "+d.config)
	d.checkDirectory("cache directory", o.CacheDir, "choose another cacheDir in "+d.config)
	if st.Err != nil {
		d.trouble("record of what is installed", st.Err)
	}
	if o.AuditDir != "" {
		d.checkDirectory("audit log", o.AuditDir, "choose another auditDir in "+d.config)
	}
	configured := o.Python
	if os.Getenv(hybrid.EnvPython) != "" {
		configured = "" // It goes before the file, and is found by itself.
	}
	d.checkPython(ctx, st.Mode, configured)
	for i := range o.Repositories {
		d.examineRepository(ctx, &o, &o.Repositories[i], &st.Repositories[i])
	}
}

// mistakes makes a problem of each mistake in the options.
func (d *doctor) mistakes(err error) {
	const check = "configuration"
	e := tuferr.As(err)
	if e == nil || len(e.Causes) == 0 {
		d.trouble(check, err)
		return
	}
	for _, mistake := range e.Causes {
		d.trouble(check, mistake)
	}
}

// checkPolicy tells of the zero policy, under which no plugin can be installed.
func (d *doctor) checkPolicy(o vault.Options) {
	allow := o.Policy.Allow
	if len(allow.Publishers) == 0 && len(allow.Names) == 0 {
		d.mend("policy", warning, protocol.CodePolicyDenied, "name publishers or target paths as policy.allow in "+d.config,
			"it allows nothing: nothing can be installed")
		return
	}
	d.ok("policy", "allowed publishers: %d, patterns of target paths: %d", len(allow.Publishers), len(allow.Names))
}

// examineRepository checks one repository; what is found from here on is of it.
func (d *doctor) examineRepository(ctx context.Context, o *vault.Options, r *vault.Repository, st *vault.RepositoryStatus) {
	d.repository = r.Name
	p := &patient{
		Status: st.Client, limits: r.Limits, root: r.Root,
		giveRoot:    "name the root.json that the publisher hands out in " + d.config + ", as root of this repository",
		replaceRoot: "move its trust store away, " + shellQuote(st.Client.MetadataDir),
		checkURL:    "check where this repository is said to be in " + d.config,
	}
	if r.Root != nil {
		p.given = "the root in " + d.config
	}
	if r.MetadataDir != "" && r.MetadataDir != o.MetadataDir {
		d.checkDirectory("metadata directory", r.MetadataDir, "choose another metadataDir of it in "+d.config)
	}
	var statusErr error
	if st.Err != nil {
		statusErr = st.Err
	}
	d.checkTrust(p, statusErr, true)
	hc, err := clientOf(r, doctored(r.HTTP, d.logger()))
	d.checkRepository(ctx, p, hc, err)
}

// clientOf is the transport of a repository, with its credentials.
func clientOf(r *vault.Repository, o hybrid.HTTPOptions) (*transport.Client, error) {
	if r.Dir != "" {
		return transport.NewDir(r.Dir, o)
	}
	return transport.New(o)
}
