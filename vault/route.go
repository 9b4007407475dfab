package vault

import (
	"path"
	"slices"

	"github.com/ragnos-labs/vault-tuf/internal/delegation"
	"github.com/ragnos-labs/vault-tuf/internal/plugin"
)

// route is a [Mapping] with the repositories that it names.
type route struct {
	paths       []string
	repos       []*repo
	threshold   int
	terminating bool
}

// newRoutes turns the mappings, which have been checked, into routes.
func (v *Vault) newRoutes() []route {
	if len(v.opts.Mappings) == 0 {
		return []route{{paths: []string{everyPath}, repos: v.repos, threshold: 1}}
	}
	var routes []route
	for _, m := range v.opts.Mappings {
		r := route{paths: m.Paths, threshold: max(1, m.Threshold), terminating: m.Terminating}
		for _, name := range m.Repositories {
			r.repos = append(r.repos, v.byName[name])
		}
		routes = append(routes, r)
	}
	return routes
}

// everyPath is the pattern that matches every target path, also one of several
// parts (TAP 4).
const everyPath = "*"

func (r *route) matches(target string) bool {
	for _, pattern := range r.paths {
		if pattern == everyPath || delegation.Match(pattern, target) {
			return true
		}
	}
	return false
}

// mayAnswer tells whether a repository may be asked for a target.
func (v *Vault) mayAnswer(repo *repo, target string) bool {
	return slices.ContainsFunc(v.routes, func(r route) bool { return r.matches(target) && slices.Contains(r.repos, repo) })
}

// matchesPlugin tells whether it could match a version of a plugin, and whether it
// matches all of them.
func (r *route) matchesPlugin(publisher, name string) (could, must bool) {
	for _, pattern := range r.paths {
		dir, file := path.Split(pattern)
		if pattern == everyPath {
			return true, true
		}
		if delegation.Match(dir+"x", path.Dir(plugin.Path(publisher, name, "0.0.0"))+"/x") {
			could, must = true, must || file == "*"
		}
	}
	return could, must
}

// present are the repositories to ask first, and those that could not be reached a
// moment ago.
func (r *route) present() (first, later []*repo) {
	for _, repo := range r.repos {
		if repo.absent.why() != nil {
			later = append(later, repo)
		} else {
			first = append(first, repo)
		}
	}
	return first, later
}

// sorted puts answers in the order of the mapping.
func (r *route) sorted(all []*answer) []*answer {
	slices.SortStableFunc(all, func(a, b *answer) int { return slices.Index(r.repos, a.repo) - slices.Index(r.repos, b.repo) })
	return all
}
