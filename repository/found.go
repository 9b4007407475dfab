package repository

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/draft"
	"github.com/ragnos-labs/vault-tuf/internal/keyfile"
	"github.com/ragnos-labs/vault-tuf/internal/keys"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Found is [Init] with keys that others have made, so that nobody ever holds the
// keys of all: see [InitOptions]. If some of them are not at hand, the first root
// and targets become a [Proposal], which is also kept in DIR/proposals. Until it is
// signed and published by [Repository.PublishProposal], the repository has no
// metadata, and everything else fails with the code unsigned.
func Found(ctx context.Context, dir string, o InitOptions) (*Repository, *Proposal, error) {
	r, p, err := initialize(ctx, dir, o)
	return r, p, during("init", err)
}

// given are the files with keys of a role that others have made.
func (o *InitOptions) given(role string) []string {
	switch role {
	case roleRoot:
		return o.RootKeys
	case roleTargets:
		return o.TargetsKeys
	}
	return nil
}

// complete sets how many keys of a role must sign.
func (q *Quorum) complete(role string, given int) error {
	switch {
	case *q == (Quorum{}) && given <= 1:
		*q = Quorum{1, 1}
	case given > 0 && q.Keys != given:
		return &Error{Code: protocol.CodeUsage, Role: role, Msg: fmt.Sprintf("%d keys were given", given),
			Hint: fmt.Sprintf("say how many of them must sign: --%s M/%d", role, given)}
	}
	if q.Threshold < 1 || q.Threshold > q.Keys || q.Keys > maxQuorum {
		return &Error{Code: protocol.CodeUsage, Role: role,
			Msg: fmt.Sprintf("%d of %d keys cannot sign", q.Threshold, q.Keys), Hint: fmt.Sprintf("give a threshold from 1 to the number of keys, of which there may be %d", maxQuorum)}
	}
	return nil
}

// addGiven lets the keys in files sign for a role.
func (r *Repository) addGiven(to *draft.Roles, role string, files []string) error {
	seen := map[keys.Fingerprint]string{}
	for _, path := range files {
		k, err := keyfile.ReadPublic(path)
		if err != nil {
			return err
		}
		if other := seen[k.Fingerprint]; other != "" {
			return &Error{Code: protocol.CodeUsage, Role: role, Path: path, Msg: "the same key as " + other, Hint: "each must be another one"}
		}
		seen[k.Fingerprint] = path
		if err := r.addFirst(to, role, k, nameOf(path)); err != nil {
			return err
		}
	}
	return nil
}

// addFirst lets a key sign for a role of the first root.
func (r *Repository) addFirst(to *draft.Roles, role string, k keyfile.Public, name string) error {
	r.config.KeyNames[k.ID] = name
	r.config.KeysSince[k.ID] = r.clock().UTC().Truncate(time.Second)
	return to.AddKey(role, k.ID, k.Key)
}

// await notes that the repository waits for its first root.
func (r *Repository) await(p *Proposal) error {
	r.config.Founding = p.Repository()
	if err := r.writeConfig(); err != nil {
		return err
	}
	_, err := r.KeepProposal(p)
	return err
}

func (r *Repository) writeConfig() error {
	data, err := r.config.encode()
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(r.dir, configName), data, 0o644)
}

// awaited says whether dir holds a repository that waits for its first root.
func awaited(dir string) bool {
	c, err := readConfig(dir)
	return err == nil && c.Founding != ""
}

func notFounded(dir string) error {
	return &Error{Code: protocol.CodeUnsigned, Path: dir, Msg: "the repository is not founded yet: its first root waits for signatures",
		Hint: "have the proposal signed that init has made, then: local-tuf proposal publish FILE"}
}

// loadToFound is loadToChange for a repository that may have no root yet.
func (r *Repository) loadToFound(ctx context.Context) (*state, error) {
	cfg, err := readConfig(r.dir)
	if err != nil || cfg.Founding == "" {
		return r.loadToChange(ctx)
	}
	return &state{r: r, now: r.clock(), config: cfg, roles: map[string]*loadedRole{}}, nil
}

// belongs refuses a proposal for another repository.
func (p *Proposal) belongs(s *state) error {
	switch {
	case s.root == nil && s.config.Founding == p.Repository():
		return nil
	case s.root != nil && s.roots[0].SHA256 == p.Repository():
		return nil
	case s.root != nil && p.Founds() && bytes.Equal(s.roots[0].Canonical, p.file(roleRoot).plain.Canonical):
		return &Error{Code: protocol.CodeUsage, Role: roleRoot, Msg: "the repository is founded already",
			Hint: "the file of the proposal can be removed; nothing was changed"}
	}
	return &Error{Code: protocol.CodeRootConflict, Msg: "this proposal is for another repository",
		Hint: "name the right one with --dir; nothing was changed"}
}

// stageFirst stages what a repository gets with its first root: the anchor, and a
// configuration that waits for nothing.
func (c *change) stageFirst() error {
	if c.snapshot != nil {
		return nil
	}
	if c.config.Founding != "" {
		cfg, err := c.editConfig()
		if err != nil {
			return err
		}
		cfg.Founding = ""
	}
	_, err := c.stage.add(anchorName, phaseRoot, 0o644, bytes.NewReader(c.sealed[roleRoot].doc.Raw))
	return err
}
