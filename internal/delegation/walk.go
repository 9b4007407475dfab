package delegation

import (
	"slices"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Load returns the metadata of a role as verified for its delegator.
type Load func(role, delegator string) (*admission.Doc, error)

// edge is a delegation still to be visited.
type edge struct{ role, delegator string }

// Find searches the role that lists a target path: pre-order, depth first, in
// the order of the delegations, from the top-level targets role (5.6.7). It
// returns the role and the delegator that led to it, or "" if no role does. A role is visited once; beside the top-level one
// at most maxRoles roles are, more is the verdict too_many. An error of load
// ends the search.
func Find(path string, maxRoles int, load Load) (role, delegator string, err error) {
	stack := []edge{{string(admission.KindTargets), string(admission.KindRoot)}}
	visited := map[string]bool{}
	for len(stack) > 0 {
		next := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if visited[next.role] {
			continue
		}
		if len(visited) > maxRoles {
			return "", "", tooMany(maxRoles)
		}
		doc, err := load(next.role, next.delegator)
		if err != nil {
			return "", "", err
		}
		if doc.Targets.Has(path) {
			return next.role, next.delegator, nil
		}
		visited[next.role] = true
		children, terminating := childrenFor(doc, next.role, path)
		if terminating {
			stack = stack[:0]
		}
		stack = append(stack, children...)
	}
	return "", "", nil
}

// childrenFor returns the delegations that a search for path visits next, last
// one first, and whether one of them is terminating.
func childrenFor(doc *admission.Doc, role, path string) ([]edge, bool) {
	if doc.Delegations == nil {
		return nil, false
	}
	if s := doc.Delegations.Succinct; s != nil {
		return []edge{{s.RoleFor(path), role}}, true
	}
	var children []edge
	terminating := false
	for i := range doc.Delegations.Roles {
		r := &doc.Delegations.Roles[i]
		if !Trusts(r, path) {
			continue
		}
		children = append(children, edge{r.Name, role})
		if terminating = r.Terminating; terminating {
			break
		}
	}
	slices.Reverse(children)
	return children, terminating
}

// Reach loads every role that any search could visit, each once for every
// delegator, pre-order. Beside the top-level role at most maxRoles roles are
// loaded; more is the verdict too_many.
func Reach(maxRoles int, load Load) error {
	stack := []edge{{string(admission.KindTargets), string(admission.KindRoot)}}
	visited := map[edge]bool{}
	for len(stack) > 0 {
		next := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if visited[next] {
			continue
		}
		if len(visited) > maxRoles {
			return tooMany(maxRoles)
		}
		doc, err := load(next.role, next.delegator)
		if err != nil {
			return err
		}
		visited[next] = true
		if doc.Delegations == nil {
			continue
		}
		if s := doc.Delegations.Succinct; s != nil {
			if s.Bins() > int64(maxRoles) {
				return tooMany(maxRoles)
			}
			for n := s.Bins() - 1; n >= 0; n-- {
				stack = append(stack, edge{s.BinName(n), next.role})
			}
		}
		for _, r := range slices.Backward(doc.Delegations.Roles) {
			stack = append(stack, edge{r.Name, next.role})
		}
	}
	return nil
}

func tooMany(max int) error {
	e := tuferr.New(protocol.CodeTooMany, "more than %d delegated roles would have to be visited", max)
	e.Spec, e.Engine = "5.6.7.1", "host"
	e.Hint = "raise the limit of delegated roles if this repository is meant to be so large"
	return e
}
