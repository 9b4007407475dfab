package vault

import "github.com/ragnos-labs/vault-tuf/internal/telemetry"

// finish ends an operation, and the call if it has an error: see fail.
func (v *Vault) finish(op telemetry.Op, call, repository, target string, err error) error {
	if op.On() && target != "" {
		op.Set(telemetry.TargetPath(target))
	}
	op.End(err)
	if err == nil {
		return nil
	}
	return v.fail(call, repository, target, err)
}

// describeSpan notes which plugin an operation was about.
func describeSpan(op telemetry.Op, target, repository, publisher, name, version string) {
	op.Set(telemetry.TargetPath(target), telemetry.Repository.String(repository))
	if name != "" {
		op.Set(telemetry.Publisher.String(publisher), telemetry.PluginName.String(name), telemetry.PluginVersion.String(version))
	}
}
