package hybrid

import (
	"context"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/telemetry"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// UnsafeLookup is Lookup for an emergency: if metadata has expired, expiry is
// judged as if it were grace ago. Everything else is verified as always: a replay
// of metadata older than what is trusted is a rollback, and nobody can sign what
// they could not sign then. What it cannot tell is that the publisher has said
// something newer since, so show the answer to a person. It raises the critical
// event "expiry_overridden".
func (c *Client) UnsafeLookup(ctx context.Context, name string, grace time.Duration) (*TargetInfo, error) {
	var info *TargetInfo
	ctx, op := c.tel.Begin(ctx, telemetry.Lookup)
	err := c.call(ctx, "lookup", func(ctx context.Context) error {
		f, err := c.findOverdue(ctx, name, grace)
		if err == nil {
			info = f.copied()
		}
		return err
	})
	looked(op, name, info, err)
	return info, err
}

// findOverdue is find; if that is refused because something has expired, the
// repository is asked once more, and expiry judged as it was grace ago. That
// moves neither the clock floor nor the session that other calls answer from.
func (c *Client) findOverdue(ctx context.Context, name string, grace time.Duration) (*find, error) {
	if grace < 0 {
		return nil, tuferr.New(protocol.CodeUsage, "the expiry grace is negative")
	}
	f, err := c.find(ctx, name)
	if grace == 0 || tuferr.CodeOf(err) != protocol.CodeExpired {
		return f, err
	}
	v, again := c.operate(ctx, request{targets: []string{name}, reference: c.opts.Now().Add(-grace)})
	if again != nil {
		return nil, withTarget(again, name)
	}
	if f, again = v.listed(name, c.opts.MaxRoles); again != nil {
		return nil, again
	}
	c.events.emit(SeverityCritical, "expiry_overridden", "metadata that has expired was accepted for "+name, err)
	return f, nil
}
