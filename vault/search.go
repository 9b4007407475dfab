package vault

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// answer is what one repository said about a target.
type answer struct {
	repo *repo
	// info is what its verified metadata says; nil if it could not say, or does not
	// list the target.
	info *hybrid.TargetInfo
	// result is there when the target was brought at once.
	result *hybrid.Result
	err    error
}

// final says that no other repository may answer instead: this one lists the
// target and what followed failed, or nobody should be asked.
func (a *answer) final() bool {
	class := tuferr.ClassOf(a.err)
	return a.listed() || class == protocol.ClassUsage || class == protocol.ClassCancelled
}

// listed says that verified metadata lists the target, whatever followed.
func (a *answer) listed() bool {
	return a.err == nil || a.info != nil || tuferr.CodeOf(a.err) == protocol.CodeExpectedHash
}

// ask asks one repository about a target.
type ask func(ctx context.Context, r *repo) *answer

// search asks the repositories that answer for a target, mapping by mapping (TAP
// 4). The answers agree, and are as many as the threshold of their mapping; the
// first one is that of the repository that goes before the others. alone is asked
// where one repository is enough, and may bring the target; several where more
// have to agree.
func (v *Vault) search(ctx context.Context, target string, alone, several ask) ([]*answer, error) {
	var failed []*answer
	var unmet error
	matched := false
	for i := range v.routes {
		r := &v.routes[i]
		if !r.matches(target) {
			continue
		}
		matched = true
		var agreed []*answer
		var err error
		if r.threshold == 1 {
			agreed = v.first(ctx, r, target, alone, &failed)
		} else {
			agreed, err = v.consensus(ctx, r, target, several, &failed)
		}
		if agreed != nil && agreed[0].err != nil {
			return nil, v.withTarget(target, v.named(agreed[0].repo.name, agreed[0].err))
		}
		if agreed != nil {
			return agreed, nil
		}
		if unmet == nil {
			unmet = err
		}
		if r.terminating {
			break
		}
	}
	switch {
	case unmet != nil:
		return nil, unmet
	case matched:
		return nil, v.unanswered(target, failed)
	}
	e := tuferr.New(protocol.CodeNotFound, "no mapping says which repository answers for this target")
	e.Target, e.Hint = target, "check the name, or add a mapping for it"
	return nil, e
}

// first returns the answer of the first repository that lists the target, or that
// must be the last one asked. Those that could not be reached a moment ago are
// asked when nobody else answers.
func (v *Vault) first(ctx context.Context, r *route, target string, alone ask, failed *[]*answer) []*answer {
	order := slices.Clone(r.repos)
	for i := 0; i < len(order); i++ {
		repo := order[i]
		// Whoever is let find out that one is back has to ask it: nobody looks ahead.
		if i < len(r.repos) && repo.absent.why() != nil {
			order = append(order, repo)
			continue
		}
		a := v.put(ctx, repo, target, alone)
		if a.final() {
			return []*answer{a}
		}
		*failed = append(*failed, a)
	}
	return nil
}

// put asks one repository, and notes whether it could be reached. It raises the
// events of what failed there; that nobody lists the target, that the policy
// denies it, or that the caller gave up is the whole call's.
func (v *Vault) put(ctx context.Context, r *repo, target string, ask ask) *answer {
	a := ask(ctx, r)
	a.repo = r
	if a.listed() {
		// Who fails to give a file can be reached: nobody else must take its place.
		r.absent.note(nil)
	} else {
		r.absent.note(a.err)
	}
	if !wholeCalls(a.err) {
		v.emit(eventOf(r.name, target, a.err))
		a.err = tuferr.Tell(a.err)
	}
	return a
}

// wholeCalls says whether an error is the answer to a call, and not one
// repository's trouble.
func wholeCalls(err error) bool {
	class := tuferr.ClassOf(err)
	return class == "" || class == protocol.ClassNotFound || class == protocol.ClassCancelled || tuferr.CodeOf(err) == protocol.CodePolicyDenied
}

// consensusGrace is how long those who have not answered yet are waited for once
// enough agree: whoever can be asked has a say, and nobody can hold up the others.
const consensusGrace = 2 * time.Second

// consensus asks all repositories of a mapping at the same time, and returns as
// many answers as must agree on length and hashes. Those that could not be reached
// a moment ago are asked when the others do not agree. The error says why there are
// no answers, unless nobody lists the target.
func (v *Vault) consensus(ctx context.Context, r *route, target string, several ask, failed *[]*answer) ([]*answer, error) {
	order, later := r.present()
	var all []*answer
	for _, asked := range [][]*repo{order, later} {
		all = r.sorted(append(all, v.putAll(ctx, asked, target, several, all, r.threshold)...))
		for _, a := range all {
			if class := tuferr.ClassOf(a.err); class == protocol.ClassUsage || class == protocol.ClassCancelled && ctx.Err() != nil {
				return []*answer{a}, nil
			}
		}
		if g := largest(grouped(all)); len(g) >= r.threshold {
			v.dissent(target, g, all)
			return g, nil
		}
	}
	groups := grouped(all)
	listed, could := 0, []*answer(nil)
	for _, a := range all {
		switch {
		case a.err == nil:
			listed++
			continue
		case tuferr.ClassOf(a.err) != protocol.ClassNotFound:
			could = append(could, a)
		}
		*failed = append(*failed, a)
	}
	if listed == 0 {
		return nil, nil
	}
	if len(could) > 0 && len(groups) == 1 {
		// Those that could not say might agree.
		return nil, v.unanswered(target, could)
	}
	return nil, v.unmet(target, r, all, len(groups) > 1)
}

// dissent tells of those that sign something else than what enough others agree on.
func (v *Vault) dissent(target string, agreed, all []*answer) {
	for _, a := range all {
		if a.err != nil || slices.Contains(agreed, a) {
			continue
		}
		v.emit(Event{Code: EventConflict, Severity: hybrid.SeverityCritical, Repository: a.repo.name, Target: target,
			Message: fmt.Sprintf("%s signs %s of %s, and %d others agree on %s", a.repo.name, digestOf(a.info.Hashes), target,
				len(agreed), digestOf(agreed[0].info.Hashes)),
			Evidence: Evidence{Digest: a.info.Hashes["sha256"], Role: a.info.Role}})
	}
}

// putAll asks repositories at the same time. Once enough agree, with those who have
// answered before, it waits no longer than a grace for the others.
func (v *Vault) putAll(ctx context.Context, repos []*repo, target string, several ask, before []*answer, enough int) []*answer {
	bounded, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan *answer, len(repos))
	for _, repo := range repos {
		go func() { answers <- v.put(bounded, repo, target, several) }()
	}
	var all []*answer
	for range repos {
		a := <-answers
		if all = append(all, a); tuferr.ClassOf(a.err) == protocol.ClassCancelled && ctx.Err() == nil {
			v.emit(Event{Code: EventUnreachable, Severity: hybrid.SeverityWarning, Repository: a.repo.name, Target: target,
				Message:  a.repo.name + " did not say in time what it signs; enough others agree",
				Evidence: Evidence{Code: protocol.CodeTimeout, Class: protocol.ClassCancelled}})
		}
		if len(largest(grouped(slices.Concat(before, all)))) >= enough {
			defer time.AfterFunc(consensusGrace, cancel).Stop()
			enough = len(repos) + len(before) + 1
		}
	}
	return all
}

// grouped puts answers that agree together; those without one are left out.
func grouped(all []*answer) [][]*answer {
	var groups [][]*answer
	for _, a := range all {
		if a.err == nil {
			groups = join(groups, a)
		}
	}
	return groups
}

func largest(groups [][]*answer) []*answer {
	var most []*answer
	for _, g := range groups {
		if len(g) > len(most) {
			most = g
		}
	}
	return most
}

// join puts an answer into the group that it agrees with.
func join(groups [][]*answer, a *answer) [][]*answer {
	for i, g := range groups {
		if agree(g[0].info, a.info) {
			groups[i] = append(g, a)
			return groups
		}
	}
	return append(groups, []*answer{a})
}

// algorithms are those by which files are verified, the preferred one first. What
// metadata says beside them nobody checks.
var algorithms = []string{"sha256", "sha512"}

// agree says whether two repositories sign the same length and hashes: every
// algorithm that both have, and by which files are verified one at least.
func agree(a, b *hybrid.TargetInfo) bool {
	common := false
	for algorithm, digest := range a.Hashes {
		if other, ok := b.Hashes[algorithm]; ok {
			if other != digest {
				return false
			}
			common = common || slices.Contains(algorithms, algorithm)
		}
	}
	return common && a.Length == b.Length
}

// unmet is the denial where too few repositories agree.
func (v *Vault) unmet(target string, r *route, all []*answer, conflict bool) error {
	var said []string
	for _, a := range all {
		what := "does not list it"
		if a.err == nil {
			what = fmt.Sprintf("signs %d bytes, %s", a.info.Length, digestOf(a.info.Hashes))
		} else if tuferr.ClassOf(a.err) != protocol.ClassNotFound {
			what = "could not be asked"
		}
		said = append(said, a.repo.name+" "+what)
	}
	e := denied(ruleThreshold, fmt.Sprintf("%d repositories must agree on this target: %s", r.threshold, strings.Join(said, "; ")),
		"tell those who run the repositories; nothing was fetched")
	e.Target = target
	if !conflict {
		return e
	}
	ev := eventOf("", target, e)
	ev.Code, ev.Severity = EventConflict, hybrid.SeverityCritical
	v.emit(ev)
	return tuferr.Tell(e)
}

// ruleThreshold is the rule by which too few repositories agree.
const ruleThreshold = "mappings.threshold"

// digestOf is the SHA-256, or another hash by which files are verified.
func digestOf(hashes map[string]string) string {
	for _, algorithm := range algorithms {
		if h, ok := hashes[algorithm]; ok {
			return algorithm + ":" + h
		}
	}
	return "no hash"
}

// gravity orders the classes of errors: the first one is what several
// repositories together failed with.
var gravity = []protocol.Class{
	protocol.ClassVerdict, protocol.ClassFault, protocol.ClassLocal, protocol.ClassTransport, protocol.ClassNotFound,
}

// unanswered is the error where no repository answered: the gravest, with the
// others as its causes.
func (v *Vault) unanswered(target string, failed []*answer) error {
	errs := make([]*hybrid.Error, len(failed))
	for i, a := range failed {
		errs[i] = v.named(a.repo.name, a.err)
	}
	slices.SortStableFunc(errs, func(a, b *hybrid.Error) int {
		return slices.Index(gravity, a.Class()) - slices.Index(gravity, b.Class())
	})
	worst := errs[0]
	worst.Causes = slices.Clip(worst.Causes) // Calls that share a refresh share its error.
	for _, e := range errs[1:] {
		// Who does not list it is no cause, where another might.
		if e.Class() != protocol.ClassNotFound || worst.Class() == protocol.ClassNotFound {
			e.Op, e.Target = "", ""
			worst.Causes = append(worst.Causes, e)
		}
	}
	return v.withTarget(target, worst)
}

func (v *Vault) withTarget(target string, e *hybrid.Error) *hybrid.Error {
	if e.Target == "" {
		e.Target = target
	}
	return e
}
