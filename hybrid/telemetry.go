package hybrid

import (
	"cmp"
	"net/url"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/store"
	"github.com/ragnos-labs/vault-tuf/internal/telemetry"
)

// looked ends the operation of a caller who asked about a target.
func looked(op telemetry.Op, target string, info *TargetInfo, err error) {
	if op.On() {
		op.Set(about(target, info)...)
	}
	op.End(err)
}

// delivered ends the operation of a caller who asked for a target's bytes.
func delivered(op telemetry.Op, target string, r *Result, err error) {
	if op.On() {
		if r == nil {
			op.Set(telemetry.TargetPath(target))
		} else {
			op.Set(append(about(target, &r.TargetInfo), telemetry.FromCache.Bool(r.FromCache))...)
		}
	}
	op.End(err)
}

// about returns the attributes of an answer, which is nil if there is none.
func about(target string, info *TargetInfo) []attribute.KeyValue {
	if info == nil {
		return []attribute.KeyValue{telemetry.TargetPath(target)}
	}
	return []attribute.KeyValue{
		telemetry.TargetPath(target), telemetry.TargetSize.Int64(info.Length), telemetry.Engine.String(info.Engine),
		telemetry.Offline.Bool(info.Offline), telemetry.Role.String(info.Role), telemetry.RootVersion.Int64(info.Versions.Root),
		telemetry.Timestamp.Int64(info.Versions.Timestamp), telemetry.Snapshot.Int64(info.Versions.Snapshot),
		telemetry.Targets.Int64(info.Versions.Targets),
	}
}

// versions are the attributes of what a trust store holds.
func versions(v *store.View) []attribute.KeyValue {
	attrs := []attribute.KeyValue{telemetry.RootVersion.Int64(v.Root.Version)}
	if v.Timestamp != nil {
		attrs = append(attrs, telemetry.Timestamp.Int64(v.Timestamp.Version))
	}
	if v.Snapshot != nil {
		attrs = append(attrs, telemetry.Snapshot.Int64(v.Snapshot.Version))
	}
	return attrs
}

// host is where a mirror is, "" for a directory.
func (m *mirror) host() string {
	u, err := url.Parse(m.name)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// holding is metadata that is trusted. It does not change.
type holding struct {
	root, timestamp, snapshot *admission.Doc
	targets                   []engine.Verified
}

// sees keeps what the trust store holds for the gauges.
func (c *Client) sees(view *store.View, targets []engine.Verified) {
	if c.tel != nil {
		c.seen.Store(&holding{view.Root, view.Timestamp, view.Snapshot, targets})
	}
}

// maxExpiring bounds the delegated roles whose expiry the gauge tells: those that
// expire first.
const maxExpiring = 64

// whatIsKnown is what the gauges tell: what this client has verified or read last.
// It takes no lock and asks nobody.
func (c *Client) whatIsKnown() telemetry.Known {
	k := telemetry.Known{Left: map[string]time.Duration{}}
	if c.opts.Mode == ModeAuto {
		k.Breaker = *c.brk.told.Load()
	}
	h := c.seen.Load()
	if s := c.latest.Load(); s != nil {
		v := s.state()
		h = &holding{v.root, v.out.Timestamp, v.out.Snapshot, v.out.Targets}
	}
	if h == nil {
		return k
	}
	now := c.opts.Now()
	for _, doc := range []*admission.Doc{h.root, h.timestamp, h.snapshot} {
		if doc != nil {
			k.Left[string(doc.Kind)] = doc.Expires.Sub(now)
		}
	}
	targets := slices.Clone(h.targets)
	slices.SortFunc(targets, func(a, b engine.Verified) int {
		return cmp.Or(-topFirst(a)+topFirst(b), a.Doc.Expires.Compare(b.Doc.Expires))
	})
	for _, t := range targets[:min(len(targets), 1+maxExpiring)] {
		if left := t.Doc.Expires.Sub(now); k.Left[t.Role] == 0 || left < k.Left[t.Role] {
			k.Left[t.Role] = left
		}
	}
	return k
}

// topFirst is 1 for the top-level targets role.
func topFirst(v engine.Verified) int {
	if v.Delegator == string(admission.KindRoot) {
		return 1
	}
	return 0
}
