package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/keyfile"
	"github.com/ragnos-labs/vault-tuf/internal/keys"
	"github.com/ragnos-labs/vault-tuf/internal/lint"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// AdoptOptions are the options of [Adopt].
type AdoptOptions struct {
	// Options.Keys.Dirs are the directories with the private keys.
	Options
	// Metadata and Targets are the directories of the repository that is there.
	Metadata, Targets string
	// Lifetimes of the roles from now on; a zero field means that of DefaultLifetimes.
	Lifetimes Lifetimes
}

// Adoption is what [Adopt] has found.
type Adoption struct {
	// Roles and Targets were verified, Bytes of targets copied.
	Roles   int   `json:"roles"`
	Targets int   `json:"targets"`
	Bytes   int64 `json:"bytes"`
	// Keys are the keys that were found.
	Keys []AdoptedKey `json:"keys"`
	// Missing are the roles that the keys found cannot sign for.
	Missing []string `json:"missing"`
	// Findings is what clients could read differently in the metadata as it is.
	Findings []Finding `json:"findings"`
}

// AdoptedKey is a key that signs for roles of an adopted repository.
type AdoptedKey struct {
	Name  string   `json:"name"`
	Path  string   `json:"path"`
	Roles []string `json:"roles"`
	// Copied says that it lies in DIR/keys now. A key of root alone stays where it
	// is.
	Copied bool `json:"copied"`
}

// Adopt makes a repository in dir, which must be missing or empty, of one that
// another tool has made. All of it is verified, from 1.root.json to the hash of
// every target, and copied: all of it or nothing. The signed files stay as they
// are, byte for byte, and so does the repository that is there.
//
// What is copied are all versions of root, and the files that clients are told of
// now. Earlier versions of other roles, and targets that only those list, stay
// behind: nobody has verified them. No symbolic link in the two directories is
// followed.
//
// It is refused, with an error that names the file, if anything is unsigned,
// damaged or missing, or if root does not say consistent_snapshot. Metadata that
// has expired is adopted, and what clients could read differently is named. It
// blocks until done or ctx ends.
func Adopt(ctx context.Context, dir string, o AdoptOptions) (*Repository, Adoption, error) {
	a := &adopting{o: o, result: Adoption{Keys: []AdoptedKey{}, Missing: []string{}, Findings: []Finding{}}}
	lifetimes, err := o.Lifetimes.complete()
	if err != nil {
		return nil, a.result, during("adopt", err)
	}
	c := config{Lifetimes: lifetimes, KeyNames: map[string]string{}, Rotation: DefaultRotation, KeysSince: map[string]time.Time{}}
	r, err := create(ctx, dir, c, o.Options, func(r *Repository) error { return a.run(ctx, r) })
	return r, a.result, during("adopt", err)
}

type adopting struct {
	o      AdoptOptions
	r      *Repository
	result Adoption
	// made are the files and directories to be forced to the disk.
	made []string
}

func (a *adopting) run(ctx context.Context, r *Repository) error {
	a.r = r
	for name, perm := range map[string]fs.FileMode{keysName: 0o700, targetsName: 0o755, metadataName: 0o755} {
		if err := r.disk.mkdir(filepath.Join(r.dir, name), perm); err != nil {
			return err
		}
		a.made = append(a.made, filepath.Join(r.dir, name))
	}
	data, err := r.config.encode()
	if err != nil {
		return err
	}
	if err := a.write(configName, 0o644, bytes.NewReader(data)); err != nil {
		return err
	}
	source := *r
	source.source = a.o.Metadata
	s, err := source.load(ctx)
	if err == nil {
		err = s.all(ctx)
	}
	if err != nil {
		return a.atSource(err)
	}
	if err := a.accept(s); err != nil {
		return err
	}
	if err := a.writeMetadata(s); err != nil {
		return err
	}
	if err := a.copyTargets(ctx, s); err != nil {
		return err
	}
	if err := a.copyKeys(ctx, s); err != nil {
		return err
	}
	// How old the keys are is not known: they are taken for new.
	for id := range keysInForce(s) {
		r.config.KeysSince[id] = s.now.UTC().Truncate(time.Second)
	}
	// Written again, with the names of the keys.
	if data, err = r.config.encode(); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(r.dir, configName), data, 0o644); err != nil {
		return err
	}
	if err := a.write(anchorName, 0o644, bytes.NewReader(s.roots[0].Raw)); err != nil {
		return err
	}
	return r.disk.sync(a.made...)
}

// write makes a file of the new repository.
func (a *adopting) write(name string, perm fs.FileMode, from io.Reader) error {
	to := filepath.Join(a.r.dir, filepath.FromSlash(name))
	a.made = append(a.made, to)
	return a.r.disk.write(to, perm, from)
}

// atSource says what to do about a file that is missing.
func (a *adopting) atSource(err error) error {
	e := tuferr.As(err)
	if e == nil || !errors.Is(e.Err, fs.ErrNotExist) {
		return err
	}
	missing := &Error{Code: e.Code, Role: e.Role, Path: e.Path, Msg: "the file is missing", Err: fs.ErrNotExist,
		Hint: "name the directory that clients see as /metadata with --metadata; nothing was adopted"}
	if filepath.Base(e.Path) == "1.root.json" {
		missing.Msg = "there is no 1.root.json"
		missing.Hint = "name the directory that clients see as /metadata with --metadata; all versions of root must be there"
	}
	return missing
}

// openSource opens a regular file below dir, a directory of somebody else. No link
// is followed: it could lead to anything that the user of this process can read,
// and what is adopted is served.
func openSource(dir, name string) (*os.File, error) {
	at := filepath.Join(dir, filepath.FromSlash(name))
	f, err := openBelow(dir, name)
	if errors.Is(err, errNoDirectory) {
		_, err = os.ReadDir(dir)
		err = errors.Join(errNoDirectory, err)
	}
	if err == nil {
		var info fs.FileInfo
		if info, err = f.Stat(); err == nil && info.Mode().IsRegular() {
			return f, nil
		}
		_ = f.Close()
		err = errors.Join(err, errNotServed)
	}
	if errors.Is(err, errNotServed) {
		return nil, &Error{Code: protocol.CodeUsage, Path: at, Msg: "not a regular file, or behind a symbolic link",
			Hint: "put a copy of the file there; nothing was adopted"}
	}
	return nil, ioError(at, err)
}

// readSource reads a metadata file of a repository that is to be adopted. A root
// that is called root.json counts as the first, if there is no 1.root.json.
func readSource(dir, name string, limit int64) ([]byte, error) {
	f, err := openSource(dir, name)
	if errors.Is(err, fs.ErrNotExist) && name == "1.root.json" {
		f, err = openSource(dir, "root.json")
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readLimited(f, filepath.Join(dir, name), limit)
}

// writeMetadata writes the files that have been verified, and no others: neither
// earlier versions, of which nothing is known, nor versions that are not published,
// whose numbers the next change would use again.
func (a *adopting) writeMetadata(s *state) error {
	files := map[string]*admission.Doc{"timestamp.json": s.timestamp, versioned(roleSnapshot, s.snapshot.Version): s.snapshot}
	for _, doc := range s.roots {
		files[versioned(roleRoot, doc.Version)] = doc
	}
	for name, loaded := range s.roles {
		files[versioned(name, loaded.doc.Version)] = loaded.doc
	}
	for _, name := range sortedKeys(files) {
		if err := a.write(path.Join(metadataName, name), 0o644, bytes.NewReader(files[name].Raw)); err != nil {
			return err
		}
	}
	return nil
}

// accept refuses a repository that cannot be served, and notes what clients could
// read differently.
func (a *adopting) accept(s *state) error {
	if first := s.roots[0].Version; first != 1 {
		return &Error{Code: protocol.CodeUsage, Role: roleRoot, Path: filepath.Join(a.o.Metadata, "1.root.json"),
			Msg: fmt.Sprintf("the first root has version %d", first), Hint: "all versions of root must be there, from 1.root.json on; nothing was adopted"}
	}
	if !s.root.Root.ConsistentSnapshot {
		return &Error{Code: protocol.CodeUsage, Role: roleRoot, Path: filepath.Join(a.o.Metadata, versioned(roleRoot, s.root.Version)),
			Msg: "the repository has no consistent snapshots (consistent_snapshot is not true), and this tool makes no other",
			Hint: "with the tool that made it, sign a root with consistent_snapshot: true, and write the files " +
				"VERSION.ROLE.json and HASH.TARGET; then try again"}
	}
	look := func(role string, doc *admission.Doc) {
		a.result.Roles++
		a.result.Findings = append(a.result.Findings, lint.File(role, doc)...)
	}
	look(roleRoot, s.root)
	look(roleSnapshot, s.snapshot)
	look(roleTimestamp, s.timestamp)
	for _, name := range sortedKeys(s.roles) {
		if url.PathEscape(name) != name {
			return &Error{Code: protocol.CodeUsage, Role: name, Msg: "a role whose name is another one in a URL: clients would not find its file",
				Hint: "give it a name of letters, digits and . _ - with the tool that made the repository"}
		}
		look(name, s.roles[name].doc)
	}
	return nil
}

// maxNamed bounds the missing targets that an error names.
const maxNamed = 10

// copyTargets copies and verifies every target that a role lists.
func (a *adopting) copyTargets(ctx context.Context, s *state) error {
	var bad []error
	done := map[string]bool{}
	for _, role := range sortedKeys(s.roles) {
		doc := s.roles[role].doc
		for p := range doc.Targets.Paths() {
			t := doc.Targets.Find(p)
			a.result.Targets++
			for _, algorithm := range sortedKeys(t.Hashes) {
				to := hashedPath(p, t.Hashes[algorithm])
				if done[to] {
					continue
				}
				done[to] = true
				switch err := a.copyTarget(ctx, p, to, t); {
				case ctx.Err() != nil:
					return ioError(a.o.Targets, ctx.Err())
				case err == nil:
				case len(bad) == maxNamed:
					return firstOf(bad, a.o.Targets)
				default:
					bad = append(bad, err)
				}
			}
		}
	}
	return firstOf(bad, a.o.Targets)
}

// firstOf makes one error of several.
func firstOf(bad []error, dir string) error {
	if len(bad) < 2 {
		return errors.Join(bad...)
	}
	first := during("adopt", bad[0]).(*Error)
	return &Error{Code: first.Code, Path: dir, Err: errors.Join(bad...),
		Msg: fmt.Sprintf("%d targets cannot be adopted", len(bad)), Hint: first.Hint}
}

// copyTarget copies a target from where clients get it, or else from its plain
// path, where tools keep it too.
func (a *adopting) copyTarget(ctx context.Context, target, to string, t *admission.Target) error {
	if !fs.ValidPath(target) || !allPublic(strings.Split(to, "/")) {
		return &Error{Code: protocol.CodeUsage, Target: target, Msg: "a target path that cannot be served as a file", Hint: "take it out with the tool that made the repository"}
	}
	for algorithm := range t.Hashes {
		if newSums()[algorithm] == nil {
			return &Error{Code: protocol.CodeUsage, Target: target, Msg: fmt.Sprintf("a hash that nobody verifies: %.32q", algorithm), Hint: "use sha256"}
		}
	}
	found := to
	from, err := openSource(a.o.Targets, found)
	if errors.Is(err, fs.ErrNotExist) {
		found = target
		from, err = openSource(a.o.Targets, found)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return &Error{Code: protocol.CodeLocalIO, Target: target, Path: filepath.Join(a.o.Targets, filepath.FromSlash(to)), Err: err,
			Msg: "the file of a target is missing", Hint: "name the directory that clients see as /targets with --targets; nothing was adopted"}
	}
	if err != nil {
		return err
	}
	defer from.Close()
	dirs, err := a.r.disk.makeDirs(filepath.Join(a.r.dir, targetsName), filepath.Dir(filepath.FromSlash(to)))
	if err != nil {
		return err
	}
	a.made = append(a.made, dirs...)
	sums := newSums()
	count := &countingReader{r: io.TeeReader(contextReader{ctx, io.LimitReader(from, t.Length+1)}, sums)}
	if err := a.write(path.Join(targetsName, to), 0o644, count); err != nil {
		return err
	}
	a.result.Bytes += count.n
	if count.n != t.Length || !sums.match(t.Hashes) {
		return &Error{Code: protocol.CodeMismatch, Target: target, Path: filepath.Join(a.o.Targets, filepath.FromSlash(found)), Msg: "not the bytes that were signed",
			Hint: "restore the file from a backup; nothing was adopted"}
	}
	return nil
}

// copyKeys finds the private keys by what they verify, and copies those that sign
// for other roles than root.
func (a *adopting) copyKeys(ctx context.Context, s *state) error {
	var files []*keyfile.Key
	var unusable error
	for _, dir := range a.o.Keys.Dirs {
		list, err := keyfile.List(dir)
		unusable = errors.Join(unusable, err)
		files = append(files, list...)
	}
	roles := map[keys.Fingerprint][]string{}
	ids := map[keys.Fingerprint][]string{}
	err := s.eachDelegation(ctx, func(by delegator, role delegatedRole) error {
		listed, r, _ := by.doc.Delegated(role.ask)
		here := 0
		for _, id := range r.KeyIDs {
			public, err := keys.Decode(listed[id])
			if err != nil {
				continue
			}
			roles[public.Fingerprint] = append(roles[public.Fingerprint], role.name)
			ids[public.Fingerprint] = append(ids[public.Fingerprint], id)
			if fileOf(files, public.Fingerprint) != nil {
				here++
			}
		}
		if here < r.Threshold {
			a.result.Missing = append(a.result.Missing, role.name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(a.result.Missing) > 0 && unusable != nil {
		return unusable
	}
	taken := map[string]bool{}
	for _, k := range files {
		print := k.Public.Fingerprint
		if roles[print] == nil {
			continue
		}
		if err := a.copyKey(k, roles[print], ids[print], taken); err != nil {
			return err
		}
		delete(roles, print) // Once is enough.
	}
	return nil
}

// writeKey writes a half of a key. Where modes have no effect the directory, or
// else the file, is everybody's: then all that was made is removed again.
func (a *adopting) writeKey(name string, perm fs.FileMode, data []byte) error {
	if err := keyfile.CheckPrivate(filepath.Join(a.r.dir, keysName)); err != nil {
		return err
	}
	err := a.write(path.Join(keysName, name), perm, bytes.NewReader(data))
	if err == nil && perm&0o077 == 0 {
		err = keyfile.CheckPrivate(filepath.Join(a.r.dir, keysName, name))
	}
	return err
}

// keysInForce returns the keyids of all keys that sign for a role.
func keysInForce(s *state) map[string]bool {
	all := keysOfDoc(s.root)
	for _, role := range s.roles {
		maps.Copy(all, keysOfDoc(role.doc))
	}
	return all
}

func (a *adopting) copyKey(k *keyfile.Key, roles, ids []string, taken map[string]bool) error {
	name := k.Name
	for n := 2; taken[name]; n++ {
		name = fmt.Sprintf("%s-%d", k.Name, n)
	}
	taken[name] = true
	for _, id := range ids {
		a.r.config.KeyNames[id] = name
	}
	slices.Sort(roles)
	found := AdoptedKey{Name: name, Path: k.Path, Roles: slices.Compact(roles)}
	if found.Copied = !slices.Equal(found.Roles, []string{roleRoot}); found.Copied {
		stem := strings.TrimSuffix(k.Path, filepath.Ext(k.Path))
		for source, to := range map[string]string{k.Path: name + ".key", stem + ".pub": name + ".pub"} {
			data, err := readFile(source, 1<<20)
			if errors.Is(err, fs.ErrNotExist) {
				continue // The key holds its public half.
			}
			perm := fs.FileMode(0o600)
			if source != k.Path {
				perm = 0o644
			}
			if err == nil {
				err = a.writeKey(to, perm, data)
			}
			clear(data)
			if err != nil {
				return err
			}
		}
	}
	a.result.Keys = append(a.result.Keys, found)
	return nil
}
