package vault

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/plugin"
	"github.com/ragnos-labs/vault-tuf/internal/telemetry"
	"github.com/ragnos-labs/vault-tuf/internal/transport"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
	"github.com/ragnos-labs/vault-tuf/vault/policy"
)

// ListOptions narrow a listing. The zero value lists every version of every plugin
// that the policy allows.
type ListOptions struct {
	// Denied lists what the policy denies, too, with the rule in [Plugin.Denied].
	Denied bool
	// Publisher and Channel, if not empty, are the only ones that are listed.
	Publisher, Channel string
	// Latest lists of each plugin the highest version that is left alone.
	Latest bool
}

// Listing is what the repositories offer.
type Listing struct {
	// Plugins are sorted by publisher, name and falling version; what has no
	// manifest comes last, by target path.
	Plugins []Plugin `json:"plugins"`
	// Missing are the repositories that could not say what they list.
	Missing []Missing `json:"missing,omitempty"`
	// rest asks those of Missing, too, that were left alone; nil if none were.
	rest func() (*Listing, error)
}

// Missing is a repository that a listing is without.
type Missing struct {
	Repository string `json:"repository"`
	Reason     string `json:"reason"`
	Err        error  `json:"-"`
}

// List returns what verified metadata of all repositories offers, delegated roles
// included, each target as a download would find it: from the repositories that
// answer for it, as many as must agree. Repositories that cannot be listed are
// named in the answer; the error is theirs if none can be.
func (v *Vault) List(ctx context.Context, o ListOptions) (*Listing, error) {
	return v.list(ctx, "list", o, func(*Plugin) bool { return true })
}

// Search is List of what has all words of the query in its publisher, name,
// description, target path or repository, in upper or lower case.
func (v *Vault) Search(ctx context.Context, query string, o ListOptions) (*Listing, error) {
	words := strings.Fields(strings.ToLower(query))
	return v.list(ctx, "search", o, func(p *Plugin) bool {
		all := strings.ToLower(strings.Join([]string{p.Publisher, p.Name, p.Description, p.Target, p.Repository}, "\n"))
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(all, w) })
	})
}

// ResolveOptions narrow what may be chosen.
type ResolveOptions struct {
	// Channel is "stable", or "beta" for both; "" leaves it to the policy.
	Channel string
	// AllowDowngrade is that of [InstallOptions]: without it no version is chosen
	// that is older than the one installed.
	AllowDowngrade bool
}

// Resolve returns the highest version of a plugin, "publisher/name", that a
// constraint such as "^1.2", "1.2.3" or ">=1.2, <2" and the policy allow. "" and
// "latest" stand for every version. Pre-releases count where the constraint names
// one, and where beta is followed. Repositories that cannot be listed do not count
// while another one has a version; an event names them.
//
// If no version is left the error is of the family ErrNotFound, or ErrPolicyDenied
// with the rule that refuses the highest one that matches.
func (v *Vault) Resolve(ctx context.Context, id, constraint string, o ResolveOptions) (*Plugin, error) {
	ctx, leave, err := v.begin(ctx)
	defer leave()
	ctx, op := v.tel.Begin(ctx, telemetry.VaultResolve)
	var p *Plugin
	if err == nil {
		p, err = v.choose(ctx, id, constraint, o, func() (*Listing, error) { return v.offered(ctx, v.concerned(id)) })
	}
	if p != nil && op.On() {
		describeSpan(op, p.Target, p.Repository, p.Publisher, p.Name, p.Version)
	}
	if err = v.finish(op, "resolve", "", "", err); err != nil {
		return nil, err
	}
	return p, nil
}

// choose is Resolve among what offered returns.
func (v *Vault) choose(
	ctx context.Context, id, constraint string, o ResolveOptions, offered func() (*Listing, error),
) (*Plugin, error) {
	matches, err := v.constraint(id, constraint, o.Channel)
	if err != nil {
		return nil, err
	}
	publisher, name, ok := strings.Cut(id, "/")
	if !ok || publisher == "" || name == "" || strings.Contains(name, "/") {
		e := tuferr.New(protocol.CodeUsage, "%.100q is not the name of a plugin", id)
		e.Hint = "give it as publisher/name"
		return nil, e
	}
	listing, err := offered()
	if err != nil {
		return nil, err
	}
	p, err := v.highestOf(ctx, listing, id, constraint, matches, o)
	if err != nil && tuferr.CodeOf(err) != protocol.CodePolicyDenied && listing.rest != nil {
		// It may be where nobody has asked.
		if listing, err = listing.rest(); err == nil {
			p, err = v.highestOf(ctx, listing, id, constraint, matches, o)
		}
	}
	return p, err
}

// highestOf returns the highest version of a plugin that a listing has and that
// matches.
func (v *Vault) highestOf(
	ctx context.Context, listing *Listing, id, constraint string, matches func(version string) bool, o ResolveOptions,
) (*Plugin, error) {
	var versions []string
	var refused *Plugin
	for _, listed := range listing.Plugins {
		p := &listed
		if p.ID() != id {
			continue
		}
		versions = append(versions, p.Version)
		if !matches(p.Version) || !inChannel(p, o.Channel) {
			continue
		}
		if p.Denied == nil { // Too few may agree on it.
			if err := v.weigh(ctx, p, InstallOptions{AllowDowngrade: o.AllowDowngrade}); err != nil {
				return nil, err
			}
		}
		if p.Denied == nil {
			return p, nil
		}
		if refused == nil {
			refused = p
		}
	}
	return nil, v.noVersion(id, constraint, versions, refused, listing.Missing)
}

// elsewhere is the error where a plugin may be in a repository that cannot be asked.
func elsewhere(id string, missing []Missing) error {
	e := *tuferr.As(missing[0].Err)
	e.Msg, e.Role = fmt.Sprintf("%s cannot be looked for everywhere: %s", id, e.Msg), ""
	return &e
}

// noVersion is the error where no version of a plugin is left.
func (v *Vault) noVersion(id, constraint string, versions []string, refused *Plugin, missing []Missing) error {
	if refused != nil && !refused.unsure {
		e := refusal(refused.Denied)
		e.Target = refused.Target
		return e
	}
	if len(missing) > 0 {
		return elsewhere(id, missing)
	}
	e := tuferr.New(protocol.CodeNotFound, "no repository that answers for it lists %s", id)
	e.Hint = "check the name; search shows what there is"
	if len(versions) > 0 {
		e = tuferr.New(protocol.CodeNotFound, "no version of %s matches %s", id, cmp.Or(constraint, "latest"))
		e.Hint = fmt.Sprintf("there is: %s", strings.Join(versions[:min(len(versions), 10)], ", "))
	}
	return e
}

// constraint returns what tells whether a version of a plugin matches, for who follows
// a channel.
func (v *Vault) constraint(id, text, channel string) (func(version string) bool, error) {
	publisher, name, _ := strings.Cut(id, "/")
	return parseConstraint(text, channel == string(plugin.Beta) || v.opts.Policy.FollowsBeta(publisher, name))
}

// parseConstraint returns what tells whether a version matches.
func parseConstraint(constraint string, prereleases bool) (func(version string) bool, error) {
	text := strings.TrimSpace(constraint)
	if text == "" || text == "latest" {
		return func(version string) bool { return prereleases || !plugin.IsPrerelease(version) }, nil
	}
	r, err := policy.ParseRange(text)
	if err != nil {
		e := tuferr.New(protocol.CodeUsage, "%w", err)
		e.Hint = "give a version such as 1.2.3, a range such as ^1.2 or >=1.2, <2, or latest"
		return nil, e
	}
	return func(version string) bool { return r.Admits(version, prereleases) }, nil
}

// inChannel says whether who follows a channel is offered the plugin. What has no
// manifest counts as stable, as for the policy.
func inChannel(p *Plugin, channel string) bool {
	own := p.Channel
	if p.Publisher == "" {
		own = string(plugin.Stable)
	}
	return channel == "" || channel == string(plugin.Beta) || own == channel
}

func (v *Vault) list(ctx context.Context, op string, o ListOptions, wanted func(*Plugin) bool) (*Listing, error) {
	ctx, leave, err := v.begin(ctx)
	defer leave()
	ctx, span := v.tel.Begin(ctx, telemetry.VaultList)
	var listing *Listing
	if err == nil {
		listing, err = v.selected(ctx, o, wanted)
	}
	if listing != nil && span.On() {
		span.Set(telemetry.Count.Int(len(listing.Plugins)))
	}
	if err = v.finish(span, op, "", "", err); err != nil {
		return nil, err
	}
	return listing, nil
}

// selected lists what is wanted of what all repositories offer.
func (v *Vault) selected(ctx context.Context, o ListOptions, wanted func(*Plugin) bool) (*Listing, error) {
	listing, err := v.offered(ctx, v.repos)
	if err != nil {
		return nil, err
	}
	all := listing.Plugins
	listing.Plugins, listing.rest = []Plugin{}, nil // It is the caller's, and keeps nothing alive.
	var last *Plugin
	for i := range all {
		p := &all[i]
		if o.Publisher != "" && p.Publisher != o.Publisher || !inChannel(p, o.Channel) || !wanted(p) {
			continue
		}
		if p.Denied == nil {
			if err := v.weigh(ctx, p, InstallOptions{}); err != nil {
				return nil, err
			}
		}
		if p.Denied != nil && !o.Denied || o.Latest && last != nil && p.Name != "" && last.ID() == p.ID() {
			continue
		}
		last = p
		listing.Plugins = append(listing.Plugins, *p)
	}
	return listing, nil
}

// concerned are the repositories that may answer for plugins, "publisher/name" each:
// no other one is asked, or can hold up who looks for them.
func (v *Vault) concerned(ids ...string) []*repo {
	may := map[*repo]bool{}
	for _, id := range ids {
		publisher, name, _ := strings.Cut(id, "/")
		for i := range v.routes {
			r := &v.routes[i]
			could, must := r.matchesPlugin(publisher, name)
			for _, repo := range r.repos {
				may[repo] = may[repo] || could
			}
			if must && r.terminating {
				break
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(v.repos), func(r *repo) bool { return !may[r] })
}

// offered lists repositories at the same time, and returns what they offer together,
// before the policy. Those that could not be reached a moment ago are asked when
// nobody else answers.
func (v *Vault) offered(ctx context.Context, repos []*repo) (*Listing, error) {
	lists := make([]offer, len(repos))
	var order, later []*offer
	for i, r := range repos {
		l := &lists[i]
		l.repo = r
		if err := r.absent.why(); err != nil {
			l.take(nil, tuferr.Tell(err))
			later = append(later, l)
		} else {
			order = append(order, l)
		}
	}
	if !fill(ctx, order) {
		fill(ctx, later)
		later = nil
	}
	listing, err := v.gathered(lists)
	if len(later) > 0 {
		listing.rest = sync.OnceValues(func() (*Listing, error) {
			fill(ctx, later)
			return v.gathered(lists)
		})
	}
	return listing, err
}

// gathered is what repositories offer together. It tells of those that cannot say.
func (v *Vault) gathered(lists []offer) (*Listing, error) {
	listing := &Listing{}
	var failed []*answer
	for i := range lists {
		l := &lists[i]
		if l.err == nil {
			continue
		}
		if !wholeCalls(l.err) {
			v.emit(eventOf(l.repo.name, "", l.err))
			l.err = tuferr.Tell(l.err)
		}
		failed = append(failed, &answer{repo: l.repo, err: l.err})
		err := v.named(l.repo.name, l.err)
		listing.Missing = append(listing.Missing, Missing{Repository: l.repo.name, Reason: err.Error(), Err: err})
	}
	if len(failed) > 0 && len(failed) == len(lists) {
		return nil, v.unanswered("", failed)
	}
	listing.Plugins = v.together(lists)
	return listing, nil
}

// offer is what one repository lists.
type offer struct {
	repo  *repo
	infos map[string]*hybrid.TargetInfo
	err   error
}

func (l *offer) take(list []hybrid.TargetInfo, err error) {
	l.err, l.infos = err, make(map[string]*hybrid.TargetInfo, len(list))
	for i := range list {
		l.infos[list[i].Name] = &list[i]
	}
}

// fill lists repositories at the same time, and tells whether one could be.
func fill(ctx context.Context, offers []*offer) bool {
	var wait sync.WaitGroup
	for _, l := range offers {
		wait.Go(func() {
			list, err := l.repo.client.List(ctx)
			l.take(list, err)
			l.repo.absent.note(err)
		})
	}
	wait.Wait()
	return slices.ContainsFunc(offers, func(l *offer) bool { return l.err == nil })
}

// together merges what repositories list as a search would find it, sorted.
func (v *Vault) together(lists []offer) []Plugin {
	byRepo := make(map[*repo]*offer, len(v.repos))
	for _, r := range v.repos {
		byRepo[r] = &offer{} // of who was not asked
	}
	targets := map[string]bool{}
	for i := range lists {
		byRepo[lists[i].repo] = &lists[i]
		for name := range lists[i].infos {
			if transport.CheckTargetPath(name) == nil { // No download would take it.
				targets[name] = true
			}
		}
	}
	all := make([]Plugin, 0, len(targets))
	for target := range targets {
		if p := v.pick(target, byRepo); p != nil {
			all = append(all, *p)
		}
	}
	slices.SortFunc(all, func(a, b Plugin) int {
		return cmp.Or(cmp.Compare(unnamed(&a), unnamed(&b)), cmp.Compare(a.Publisher, b.Publisher), cmp.Compare(a.Name, b.Name),
			-plugin.Compare(a.Version, b.Version), cmp.Compare(a.Target, b.Target))
	})
	return all
}

// unnamed is 1 for what has no manifest, else 0.
func unnamed(p *Plugin) int {
	if p.Name == "" {
		return 1
	}
	return 0
}

// pick finds a target in what has been listed, mapping by mapping, as search does
// by asking. It is nil where no repository that answers for it lists it.
func (v *Vault) pick(target string, lists map[*repo]*offer) *Plugin {
	var unmet *Plugin
	for i := range v.routes {
		r := &v.routes[i]
		if !r.matches(target) {
			continue
		}
		var groups [][]*answer
		var first *answer
		for _, repo := range r.repos {
			info := lists[repo].infos[target]
			if info == nil {
				continue
			}
			a := &answer{repo: repo, info: info}
			if r.threshold == 1 {
				return merged([]*answer{a})
			}
			if groups = join(groups, a); first == nil {
				first = a
			}
		}
		if g := largest(groups); first != nil && len(g) >= r.threshold {
			return merged(g)
		}
		if first != nil && unmet == nil {
			unmet = describe(first.repo.name, first.info)
			unmet.unsure = len(groups) == 1 && slices.ContainsFunc(r.repos, func(repo *repo) bool { return lists[repo].err != nil })
			unmet.Denied = &policy.Denial{Rule: ruleThreshold, Message: fmt.Sprintf("%d repositories must agree on it", r.threshold),
				Hint: "tell those who run the repositories"}
		}
		if r.terminating {
			break
		}
	}
	return unmet
}
