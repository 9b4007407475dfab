package hybrid

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/delegation"
	"github.com/ragnos-labs/vault-tuf/internal/targets"
	"github.com/ragnos-labs/vault-tuf/internal/transport"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// maxListed bounds the delegated roles of one listing.
const maxListed = 4096

// download is VerifyAndDownloadPlugin (specification, 5.7).
func (c *Client) download(ctx context.Context, name string, opts DownloadOptions) (*Result, error) {
	if _, _, err := targets.ParseHash(opts.ExpectedHash); err != nil {
		return nil, err
	}
	if opts.UnsafeExpiryGrace != 0 && opts.ExpectedHash == "" {
		return nil, tuferr.New(protocol.CodeUsage, "an expiry grace needs the hash that is expected")
	}
	f, err := c.findOverdue(ctx, name, opts.UnsafeExpiryGrace)
	if err != nil {
		return nil, err
	}
	if err := f.expects(opts.ExpectedHash); err != nil {
		return nil, c.refused(err)
	}
	if err := f.decided(opts); err != nil {
		return nil, err
	}
	return c.obtain(ctx, f, opts.Progress)
}

// obtain returns the bytes of an answer: the cache's, hashed once more, or else
// the repository's.
func (c *Client) obtain(ctx context.Context, f *find, progress func(done, total int64)) (*Result, error) {
	cache, err := c.openCache()
	if err != nil {
		return nil, err
	}
	path, ok := cache.Find(ctx, f.want)
	c.tel.CacheLookup(ok)
	if ok {
		return f.result(path, true), nil
	}
	if f.v.offline != nil {
		return nil, withTarget(tuferr.New(tuferr.CodeOf(f.v.offline), "the cache does not hold this target: %w", f.v.offline), f.info.Name)
	}
	if path, err = c.fetch(ctx, cache, f, progress); err != nil {
		return nil, c.refused(withTarget(err, f.info.Name))
	}
	return f.result(path, false), nil
}

func (f *find) result(path string, fromCache bool) *Result {
	return &Result{TargetInfo: *f.copied(), Path: path, FromCache: fromCache, Fallback: f.v.fallback}
}

// copied returns what was found for the caller to keep.
func (f *find) copied() *TargetInfo {
	info := *f.info
	info.Hashes = maps.Clone(info.Hashes)
	info.Custom = bytes.Clone(info.Custom)
	return &info
}

// fetch streams the target into the cache, hashing on the way.
func (c *Client) fetch(ctx context.Context, cache *targets.Cache, f *find, progress func(done, total int64)) (string, error) {
	prefix := ""
	if f.v.root.Root.ConsistentSnapshot {
		// One of the hashes names the file; always the same one, if there are two.
		if prefix = f.want.Hashes["sha256"]; prefix == "" {
			prefix = f.want.Hashes["sha512"]
		}
	}
	var last *turn
	path, err := cache.Fetch(ctx, f.want, func(ctx context.Context, sink targets.Sink) error {
		r := c.mirrors.round(f.v.from)
		for m := r.next(); m != nil; m = r.next() {
			turn := c.mirrors.begin(m, partTargets)
			last = &turn
			err := m.stream(ctx, f, prefix, sink)
			if !lost(err) {
				return err // What the cache makes of the bytes decides.
			}
			c.mirrors.note(turn, err)
			r.lose(err)
		}
		return r.err()
	}, progress)
	if last != nil && !lost(err) {
		c.mirrors.note(*last, err)
	}
	return path, err
}

// stream asks one mirror for a target. What another one sent before stays only if
// this one proves to have the same file; all of it is hashed in any case.
func (m *mirror) stream(ctx context.Context, f *find, prefix string, sink targets.Sink) error {
	url, err := transport.TargetURL(m.targetsURL, f.info.Name, prefix)
	if err != nil {
		return err
	}
	_, err = m.remote.Client.Stream(ctx, transport.Request{URL: url, Limit: f.want.Length}, sink)
	return err
}

func (c *Client) openCache() (*targets.Cache, error) {
	if cache := c.cache.Load(); cache != nil {
		return cache, nil
	}
	c.opening.Lock()
	defer c.opening.Unlock()
	if cache := c.cache.Load(); cache != nil {
		return cache, nil
	}
	cache, err := targets.Open(c.opts.CacheDir, c.opts.MaxDownloads, c.opts.HTTP.MaxWaiting)
	if err == nil {
		c.cache.Store(cache)
	}
	return cache, err
}

// Export copies a verified result to dest, which appears there whole and
// verified once more, or not at all. An existing file is replaced.
func (c *Client) Export(ctx context.Context, r *Result, dest string) error {
	return c.call(ctx, "download", func(ctx context.Context) error {
		return targets.Export(ctx, r.Path, targets.Want{Length: r.Length, Hashes: r.Hashes}, dest)
	})
}

// expects compares the hash that the caller expects with the signed one.
func (f *find) expects(hash string) error {
	algorithm, digest, err := targets.ParseHash(hash)
	if err != nil || algorithm == "" || f.want.Hashes[algorithm] == digest {
		return err
	}
	signed := f.want.Hashes[algorithm]
	if signed == "" {
		signed = "none"
	}
	e := tuferr.New(protocol.CodeExpectedHash, "expected %s %s, the publisher signed %s", algorithm, digest, signed)
	e.Target, e.Role, e.Engine = f.info.Name, f.info.Role, "host"
	e.Hint = "nothing was fetched; the expectation is wrong, or the publisher signed something else than you were told"
	return e
}

// decided asks the caller, if it wants to be asked.
func (f *find) decided(opts DownloadOptions) error {
	if opts.Decide == nil {
		return nil
	}
	return opts.Decide(f.copied())
}

// list verifies every role and returns what look-ups would find.
func (c *Client) list(ctx context.Context) ([]TargetInfo, error) {
	s, err := c.fresh(ctx)
	if err != nil {
		return nil, err
	}
	v := s.state()
	if _, ok := v.reached(); !ok {
		if v, err = c.more(ctx, s, request{all: true}); err != nil {
			return nil, err
		}
	}
	names, _ := v.reached()
	list := make([]TargetInfo, 0, len(names))
	for _, name := range names {
		role, doc, err := v.find(name, c.opts.MaxRoles)
		if err != nil {
			return nil, withTarget(err, name)
		}
		if role != "" {
			list = append(list, *v.answer(name, role, doc).copied())
		}
	}
	return list, nil
}

// reached returns the sorted names that any verified role lists; ok is false if
// there are roles that have not been verified.
func (v *verified) reached() (names []string, ok bool) {
	seen := map[string]bool{}
	err := delegation.Reach(maxListed, func(role, delegator string) (*admission.Doc, error) {
		doc := v.out.Find(role, delegator)
		if doc == nil {
			return nil, fmt.Errorf("%s: %w", role, errNotVerified)
		}
		for name := range doc.Targets.Paths() {
			if !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
		return doc, nil
	})
	slices.Sort(names)
	return names, err == nil
}
