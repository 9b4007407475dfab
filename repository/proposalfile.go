package repository

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/gofrs/flock"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/draft"
	"github.com/ragnos-labs/vault-tuf/internal/verify"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// proposalsName is the directory of the proposals that commands make.
const proposalsName = "proposals"

const (
	proposalFormat = "local-tuf proposal 1"
	// maxProposal bounds the file of a proposal in bytes. A role of the size that
	// clients accept fits, as it is before and next, in base64: 128 MiB.
	maxProposal = 160 << 20
)

// proposalJSON is the file. Metadata is in base64: byte for byte what is signed,
// whatever mail programs and editors do to the file.
type proposalJSON struct {
	Format     string            `json:"format"`
	Repository string            `json:"repository"`
	Made       time.Time         `json:"made"`
	KeyNames   map[string]string `json:"key_names"`
	Changes    []changeJSON      `json:"changes"`
	Before     []fileJSON        `json:"before"`
	// Roots is the chain of root files, from the first; empty where that is proposed.
	Roots [][]byte `json:"roots"`
}

type changeJSON struct {
	Role       string          `json:"role"`
	Delegator  string          `json:"delegator"`
	Signatures []signatureJSON `json:"signatures"`
	// Signed is the signed part of the next file.
	Signed []byte `json:"signed"`
}

type signatureJSON struct {
	KeyID string `json:"keyid"`
	Sig   string `json:"sig"`
}

type fileJSON struct {
	Role      string `json:"role"`
	Delegator string `json:"delegator"`
	File      []byte `json:"file"`
}

// WriteProposal writes a proposal to a file in one step, in the place of an
// earlier one.
func WriteProposal(path string, p *Proposal) error {
	data, err := p.encode()
	if err == nil {
		err = writeFile(path, data, 0o644)
	}
	return during("proposal", err)
}

// CreateProposal writes a proposal to a file that is not there yet, in one step.
// Of several calls at once for one path one succeeds; the others, like any call
// for a path that is taken, get an error that wraps [fs.ErrExist].
func CreateProposal(path string, p *Proposal) error {
	data, err := p.encode()
	if err == nil {
		err = createFile(path, data)
	}
	if errors.Is(err, fs.ErrExist) {
		err = &Error{Code: protocol.CodeUsage, Path: path, Msg: "the file is there already", Err: fs.ErrExist, Hint: "choose another name"}
	}
	return during("proposal", err)
}

// AddSignatures adds the signatures of a proposal to the file that it was read
// from, and takes those over that others have put there since: none is lost if
// several people and processes sign one file at once. If the file holds another
// proposal now, or is gone, that is an error, and it is left alone. It waits for
// the others until ctx ends.
func AddSignatures(ctx context.Context, path string, p *Proposal) error {
	release, err := lockBeside(ctx, path)
	if err != nil {
		return during("proposal sign", err)
	}
	defer release()
	there, err := ReadProposal(path)
	if err == nil {
		_, err = p.Merge(there)
	}
	if err == nil {
		err = WriteProposal(path, p)
	}
	return during("proposal sign", err)
}

// lockBeside takes a kernel lock in a hidden file beside path, which is not locked
// itself because it is replaced. What releases the lock removes the hidden file.
func lockBeside(ctx context.Context, path string) (release func(), err error) {
	name := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".lock")
	for {
		l := flock.New(name, flock.SetPermissions(0o644))
		if _, err := l.TryLockContext(ctx, lockPoll); err != nil {
			_ = l.Close()
			return nil, ioError(name, err)
		}
		held, err := l.Stat()
		there, err2 := os.Stat(name)
		if err == nil && err2 == nil && os.SameFile(held, there) {
			return func() { _, _ = os.Remove(name), l.Close() }, nil
		}
		_ = l.Close() // Somebody has removed the file that was waited for.
	}
}

// createFile puts data at path in one step, unless something is there.
func createFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), tempPrefix)
	if err != nil {
		return ioError(path, err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = claim(f.Name(), path, os.Link)
	}
	if err != nil {
		return ioError(path, err)
	}
	return syncDir(filepath.Dir(path))
}

// claim gives a file a name that nothing has.
func claim(temp, path string, link func(from, to string) error) error {
	err := link(temp, path)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	// Media that people carry often have no links.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Close(), os.Rename(temp, path)); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

func (p *Proposal) encode() ([]byte, error) {
	f := proposalJSON{Format: proposalFormat, Repository: p.Repository(), Made: p.made, KeyNames: p.names}
	for _, doc := range p.chain {
		f.Roots = append(f.Roots, doc.Raw)
	}
	for _, b := range p.before {
		f.Before = append(f.Before, fileJSON{b.role, b.delegator, b.doc.Raw})
	}
	for _, n := range p.files {
		c := changeJSON{Role: n.role, Delegator: n.delegator, Signed: n.envelope.Signed}
		for _, s := range n.envelope.Signatures {
			c.Signatures = append(c.Signatures, signatureJSON{s.KeyID, hex.EncodeToString(s.Sig)})
		}
		f.Changes = append(f.Changes, c)
	}
	data, err := json.Marshal(f, json.Deterministic(true), jsontext.WithIndent("  "))
	if err == nil && len(data) >= maxProposal {
		err = &Error{Code: protocol.CodeTooMany, Msg: fmt.Sprintf("the proposal has %d bytes, and nobody would read more than %d", len(data), maxProposal),
			Hint: "change fewer roles at once, or split large ones into hash bins"}
	}
	return append(data, '\n'), err
}

// ReadProposal reads a proposal from a file and checks that it is of one piece:
// the chain of roots, the files before, and what is to follow them. It does not
// check that its first root is the right one: see [Proposal.RestsOn].
func ReadProposal(path string) (*Proposal, error) {
	data, err := readFile(path, maxProposal)
	if err != nil {
		return nil, during("proposal", err)
	}
	p, err := parseProposal(data)
	if err != nil {
		return nil, &Error{Code: protocol.CodeMalformed, Op: "proposal", Path: path, Err: err,
			Msg: "not a proposal that can be used", Hint: "get the file again from where it was made"}
	}
	return p, nil
}

func parseProposal(data []byte) (*Proposal, error) {
	var f proposalJSON
	if err := json.Unmarshal(data, &f, json.RejectUnknownMembers(true)); err != nil {
		// What a later version says cannot be known to be harmless.
		return nil, fmt.Errorf("not a proposal of this version: %w", err)
	}
	if f.Format != proposalFormat {
		return nil, fmt.Errorf("format is %.40q, not %q", f.Format, proposalFormat)
	}
	p := &Proposal{made: f.Made.UTC(), names: f.KeyNames}
	if err := errors.Join(p.readChain(f.Roots), p.readNames()); err != nil {
		return nil, err
	}
	for _, b := range f.Before {
		if err := p.readBefore(b); err != nil {
			return nil, fmt.Errorf("the file before of %.80q: %w", b.Role, err)
		}
	}
	for _, c := range f.Changes {
		if err := p.readChange(c); err != nil {
			return nil, fmt.Errorf("the next file of %.80q: %w", c.Role, err)
		}
	}
	switch {
	case len(p.files) == 0:
		return nil, errors.New("it changes nothing")
	case p.Founds() && (p.file(roleRoot) == nil || p.file(roleTargets) == nil):
		return nil, errors.New("it has no root, and proposes none")
	case p.Repository() != f.Repository:
		return nil, errors.New("the first root is not that of the repository it names")
	}
	return p, nil
}

// readChain verifies the roots from the first on (specification, 5.3).
func (p *Proposal) readChain(roots [][]byte) error {
	if len(roots) > maxRoots {
		return fmt.Errorf("%d roots", len(roots))
	}
	for i, raw := range roots {
		doc, err := admission.Parse(admission.KindRoot, raw, ownLimits)
		switch {
		case err != nil:
		case i == 0:
			if err = verify.SelfSigned(doc); err == nil && doc.Version != 1 {
				err = errors.New("the first root is not of version 1")
			}
		default:
			err = verify.RootStep(p.root(), doc)
		}
		if err != nil {
			return fmt.Errorf("root number %d: %w", i+1, err)
		}
		p.chain = append(p.chain, doc)
	}
	return nil
}

const maxKeyName = 200

func (p *Proposal) readNames() error {
	for id, name := range p.names {
		if len(id)+len(name) > maxKeyName {
			return errors.New("the name of a key is too long")
		}
	}
	return nil
}

// place checks where a role stands below another.
func placed(role, delegator string) error {
	if role == "" || slices.Contains([]string{roleRoot, roleSnapshot, roleTimestamp}, role) || (role == roleTargets) != (delegator == roleRoot) {
		return fmt.Errorf("it cannot be delegated by %.80q", delegator)
	}
	return nil
}

func (p *Proposal) readBefore(f fileJSON) error {
	if err := placed(f.Role, f.Delegator); err != nil {
		return err
	}
	by := p.was(f.Delegator)
	if by == nil || p.was(f.Role) != nil {
		return errors.New("it is out of order")
	}
	doc, err := admission.Parse(admission.KindTargets, f.File, ownLimits)
	if err == nil {
		err = verify.Signed(by, f.Role, doc)
	}
	p.before = append(p.before, &verifiedFile{f.Role, f.Delegator, doc})
	return err
}

func (p *Proposal) readChange(c changeJSON) error {
	if p.file(c.Role) != nil {
		return errors.New("it stands twice")
	}
	e := &draft.Envelope{Kind: admission.KindOf(c.Role), Signed: c.Signed}
	plain, err := admission.Parse(e.Kind, e.Bytes(), ownLimits)
	if err != nil {
		return err
	}
	f := &proposed{c.Role, c.Delegator, e, plain}
	if err := errors.Join(p.follows(f), readSigs(e, c.Signatures)); err != nil {
		return err
	}
	p.files = append(p.files, f)
	return nil
}

// follows checks that a file is the next of its role, for its delegator.
func (p *Proposal) follows(f *proposed) error {
	was := p.was(f.role)
	if f.role == roleRoot {
		if f.delegator != "" || len(p.files) > 0 {
			return errors.New("it is out of order")
		}
	} else {
		if err := placed(f.role, f.delegator); err != nil {
			return err
		}
		by := p.will(f.delegator)
		if by == nil {
			return errors.New("its delegator is missing")
		}
		if _, _, ok := by.Delegated(f.role); !ok {
			return fmt.Errorf("%.80q does not delegate to it", f.delegator)
		}
		if above := p.was(f.delegator); was == nil && above != nil {
			if _, _, had := above.Delegated(f.role); had {
				return errors.New("it replaces a file that is missing")
			}
		}
	}
	next := int64(1)
	if was != nil {
		next = was.Version + 1
	}
	if f.plain.Version != next {
		return fmt.Errorf("version %d where version %d belongs", f.plain.Version, next)
	}
	return nil
}

func readSigs(e *draft.Envelope, list []signatureJSON) error {
	if len(list) > admission.DefaultSignatures {
		return fmt.Errorf("%d signatures", len(list))
	}
	for _, s := range list {
		sig, err := hex.DecodeString(s.Sig)
		if err != nil {
			sig = nil // It counts for nothing, and is named.
		}
		e.Add(admission.Signature{KeyID: s.KeyID, Sig: sig})
	}
	return nil
}

// KeepProposal writes a proposal into DIR/proposals, under a name that says what
// it changes and that no other file has, and returns the path. A copy that is
// there already is left. It is safe for concurrent use, also by several processes.
func (r *Repository) KeepProposal(p *Proposal) (string, error) {
	dir := filepath.Join(r.dir, proposalsName)
	data, err := p.encode()
	if err == nil {
		err = makeDirs(r.dir, proposalsName)
	}
	for n := 1; err == nil; n++ {
		path := filepath.Join(dir, p.fileName(n))
		err = createFile(path, data)
		if err == nil {
			return path, nil
		}
		if errors.Is(err, fs.ErrExist) {
			var same bool
			if same, err = holds(path, data); same {
				return path, nil
			}
		}
	}
	return "", during("proposal", err)
}

// holds says whether a file holds data. One that has gone holds nothing.
func holds(path string, data []byte) (bool, error) {
	there, err := readFile(path, maxProposal)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return bytes.Equal(there, data), err
}

// fileName says what a proposal changes: root-3, or acme-2-and-targets-7.
func (p *Proposal) fileName(n int) string {
	var parts []string
	for _, f := range p.files {
		if len(parts) == 3 {
			parts = append(parts, "more")
			break
		}
		parts = append(parts, fmt.Sprintf("%.40s-%d", fileName(f.role), f.plain.Version))
	}
	name := strings.Join(parts, "-and-")
	if n > 1 {
		name += fmt.Sprintf("-%d", n)
	}
	return name + proposalExt
}

const proposalExt = ".proposal"
