package repository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/delegation"
	"github.com/ragnos-labs/vault-tuf/internal/lint"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Kind says what a [Problem] is about.
type Kind string

// The kinds of problems.
const (
	// KindMissing: a file that metadata lists is not there.
	KindMissing Kind = "missing"
	// KindDamaged: a file is not what was signed.
	KindDamaged Kind = "damaged"
	// KindUnknown: nothing refers to the file, and nothing did.
	KindUnknown Kind = "unknown"
	// KindSecret: a private key is where others can get it.
	KindSecret Kind = "secret"
	// KindPermissions: others can read or write what they should not.
	KindPermissions Kind = "permissions"
	// KindLeftover: what an interrupted command has left behind.
	KindLeftover Kind = "leftover"
	// KindAnchor: DIR/root.json is not what clients can start from.
	KindAnchor Kind = "anchor"
	// KindLint: metadata that clients read differently.
	KindLint Kind = "lint"
	// KindKey: a key that cannot be used, or signs for nothing.
	KindKey Kind = "key"
)

// Problem is what is wrong with a repository on disk.
type Problem struct {
	Kind Kind `json:"kind"`
	// Error is false for what does no harm to clients: a warning.
	Error bool `json:"error"`
	// Path is the file, relative to the repository, or the place in a file.
	Path string `json:"path"`
	Text string `json:"text"`
	// Do says what to do about it.
	Do string `json:"do,omitempty"`
}

// Report is what [Repository.Verify] has found.
type Report struct {
	// Roles and Targets were verified, Bytes of targets hashed.
	Roles   int   `json:"roles"`
	Targets int   `json:"targets"`
	Bytes   int64 `json:"bytes"`
	// Superseded is the number of files of earlier versions. They are kept for
	// clients that are a step behind.
	Superseded int       `json:"superseded"`
	Problems   []Problem `json:"problems"`
	// codes are the codes of metadata files that cannot be used, by path.
	codes map[string]protocol.Code
}

// VerifyOptions are the options of [Repository.Verify].
type VerifyOptions struct {
	// MetadataOnly looks for the targets, but does not hash them.
	MetadataOnly bool
}

// Verify looks at everything on the disk: all metadata, every target's length
// and hash, files that nothing refers to, keys, permissions, and what clients
// could read differently. It changes nothing and takes no lock: what is being
// published meanwhile may be named as unknown. What is wrong with the repository
// stands in the report, were it all the metadata that is missing; an error means
// that there is none, or that ctx ended. It blocks until done.
func (r *Repository) Verify(ctx context.Context, o VerifyOptions) (Report, error) {
	v := &verification{r: r, o: o, expected: map[string]bool{}}
	err := v.run(ctx)
	return v.report, during("verify", err)
}

type verification struct {
	r *Repository
	*state
	o      VerifyOptions
	report Report
	// expected are the files that current metadata refers to, relative to the
	// repository, with slashes.
	expected map[string]bool
	// incomplete: metadata is missing or damaged, so that what is on the disk
	// beside may be listed in it. untold counts such files.
	incomplete bool
	untold     int
}

func (v *verification) found(kind Kind, isError bool, path, text, do string) {
	v.report.Problems = append(v.report.Problems, Problem{kind, isError, path, text, do})
}

func (v *verification) run(ctx context.Context) (err error) {
	v.report.Problems = []Problem{}
	if err := v.gather(ctx); err != nil {
		return err
	}
	v.checkMetadata()
	if err := v.checkTargets(ctx); err != nil {
		return err
	}
	v.checkTargetsDir()
	v.checkAnchor()
	if err := v.checkFiles(ctx); err != nil {
		return err
	}
	v.checkPermissions()
	return v.checkKeys(ctx)
}

// checkMetadata notes the files that are current, and what clients could read
// differently in them.
func (v *verification) checkMetadata() {
	current := func(name, role string, doc *admission.Doc) {
		v.report.Roles++
		v.expected[metadataName+"/"+name] = true
		for _, f := range lint.File(role, doc) {
			v.found(KindLint, f.Level == lint.Refuse, metadataName+"/"+name, fmt.Sprintf("%s at %s: %s (%s)", f.Rule, f.Where, f.What, f.Why), f.Do)
		}
	}
	for _, doc := range v.roots {
		current(versioned(roleRoot, doc.Version), roleRoot, doc)
	}
	if v.timestamp != nil {
		current("timestamp.json", roleTimestamp, v.timestamp)
	}
	if v.snapshot != nil {
		current(versioned(roleSnapshot, v.snapshot.Version), roleSnapshot, v.snapshot)
	}
	for _, name := range sortedKeys(v.roles) {
		doc := v.roles[name].doc
		current(versioned(name, doc.Version), name, doc)
	}
	for _, name := range v.sharedRoles() {
		v.found(KindLint, true, "role "+name, "role-shared: several roles delegate to it (go-tuf verifies it for the first of them only)",
			"give each delegator a role of its own")
	}
}

// sharedRoles are the roles that more than one role delegates to.
func (v *verification) sharedRoles() []string {
	by := map[string]int{}
	for _, loaded := range v.roles {
		if d := loaded.doc.Delegations; d != nil {
			for _, name := range delegatedNames(d) {
				by[name]++
			}
		}
	}
	return slices.DeleteFunc(sortedKeys(by), func(name string) bool { return by[name] < 2 })
}

// checkTargets looks at the file of every target that any role lists, also of
// those that no search finds: clients may find them after the next change.
func (v *verification) checkTargets(ctx context.Context) error {
	for _, role := range sortedKeys(v.roles) {
		doc := v.roles[role].doc
		for p := range doc.Targets.Paths() {
			if err := ctx.Err(); err != nil {
				return ioError(v.r.dir, err)
			}
			t := doc.Targets.Find(p)
			v.report.Targets++
			for _, algorithm := range []string{"sha256", "sha512"} {
				if digest := t.Hashes[algorithm]; digest != "" {
					if err := v.checkTarget(ctx, p, digest, t); err != nil {
						return err
					}
				}
			}
		}
		if err := v.checkPaths(role); err != nil {
			return err
		}
	}
	return nil
}

// checkPaths names the targets of a role that no search finds.
func (v *verification) checkPaths(role string) error {
	if role == roleTargets || v.incomplete {
		return nil
	}
	lost := 0
	first := ""
	for p := range v.roles[role].doc.Targets.Paths() {
		at, _, err := delegation.Find(p, maxRoles, v.role)
		if err != nil {
			return err
		}
		if at != role {
			if lost++; lost == 1 {
				first = p
			}
		}
	}
	if lost > 0 {
		v.found(KindUnknown, false, "role "+role, fmt.Sprintf("%d of its targets are found by no client, such as %s: it is not trusted with them, or another role comes first", lost, first),
			"list them in the role that is trusted with their paths")
	}
	return nil
}

func (v *verification) checkTarget(ctx context.Context, target, digest string, t *admission.Target) error {
	name := hashedPath(target, digest)
	where := path.Join(targetsName, name)
	if v.expected[where] {
		return nil
	}
	v.expected[where] = true
	const restore = "restore the file from a backup; if it is lost, yank the version and publish a new one"
	f, size, err := openPublic(path.Join(v.r.dir, targetsName), name)
	switch {
	case isMissing(err), errors.Is(err, errNoDirectory) && v.gone(targetsName):
		v.found(KindMissing, true, where, "listed as "+target+", but it is not there, or cannot be served", restore)
		return nil
	case err != nil:
		v.found(KindPermissions, true, where, fmt.Sprintf("cannot be read: %v", err), "let the user who serves the repository read it")
		return nil
	}
	defer f.Close()
	if size != t.Length {
		v.found(KindDamaged, true, where, fmt.Sprintf("%d bytes, signed were %d", size, t.Length), restore)
		return nil
	}
	if v.o.MetadataOnly {
		return nil
	}
	sums := newSums()
	n, err := io.Copy(sums, contextReader{ctx, f})
	v.report.Bytes += n
	if ctx.Err() != nil {
		return ioError(v.r.dir, ctx.Err())
	}
	if err != nil {
		v.found(KindDamaged, true, where, fmt.Sprintf("cannot be read: %v", err), restore)
		return nil
	}
	if !sums.match(t.Hashes) {
		v.found(KindDamaged, true, where, "not the bytes that were signed", restore)
	}
	return nil
}

// Err is the error of a report with errors: local_io for missing files, for damaged
// metadata what makes clients refuse it, mismatch for other damaged files, permissions, root_conflict for the anchor, malformed for what
// clients read differently. Warnings are none.
func (p Report) Err() error {
	codes := map[Kind]protocol.Code{
		KindMissing: protocol.CodeLocalIO, KindDamaged: protocol.CodeMismatch, KindSecret: protocol.CodePermissions,
		KindPermissions: protocol.CodePermissions, KindAnchor: protocol.CodeRootConflict, KindLint: protocol.CodeMalformed,
	}
	n := 0
	var e *Error
	for _, problem := range p.Problems {
		if !problem.Error {
			continue
		}
		if n++; e == nil {
			code, ok := p.codes[problem.Path]
			if !ok {
				code, ok = codes[problem.Kind]
			}
			if !ok {
				code = protocol.CodeLocalIO
			}
			e = &Error{Code: code, Op: "verify", Path: problem.Path, Err: errors.New(problem.Text), Hint: problem.Do}
		}
	}
	if e == nil {
		return nil
	}
	e.Msg = "the repository has a problem"
	if n > 1 {
		e.Msg = fmt.Sprintf("the repository has %d problems; the first", n)
	}
	return e
}

// Warning is an error for every problem: what Err says, or stale for warnings. That
// some other clients cannot read the metadata, as with hash bins, is no news.
func (p Report) Warning() error {
	var texts []string
	for _, problem := range p.Problems {
		if problem.Kind != KindLint {
			texts = append(texts, problem.Path+": "+problem.Text)
		}
	}
	if err := p.Err(); err != nil || len(texts) == 0 {
		return err
	}
	return &Error{Code: protocol.CodeStale, Op: "verify", Msg: "somebody should have a look", Err: errors.New(strings.Join(texts, "; "))}
}
