package repository

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Bounds of the metadata this package reads back.
const (
	maxMetadata = 256 << 20 // bytes of a file
	maxRoots    = 1024      // versions of root
)

// state is the verified metadata of a repository at one moment.
type state struct {
	now       time.Time
	lifetimes Lifetimes
	root      *metadata.Metadata[metadata.RootType]
	timestamp *metadata.Metadata[metadata.TimestampType]
	snapshot  *metadata.Metadata[metadata.SnapshotType]
	// targets is nil after loadOnline.
	targets *metadata.Metadata[metadata.TargetsType]
}

// newState is the state of a new repository, not signed yet.
func (r *Repository) newState(signers map[string]signature.Signer) (*state, error) {
	s := &state{now: r.clock(), lifetimes: r.lifetimes,
		root: metadata.Root(), timestamp: metadata.Timestamp(),
		snapshot: metadata.Snapshot(), targets: metadata.Targets()}
	s.root.Signed.Expires = s.expiry(metadata.ROOT)
	for role, sig := range signers {
		public, err := sig.PublicKey()
		if err != nil {
			return nil, err
		}
		key, err := metadata.KeyFromPublicKey(public)
		if err != nil {
			return nil, err
		}
		if err := s.root.Signed.AddKey(key, role); err != nil {
			return nil, err
		}
	}
	s.targets.Signed.Version, s.snapshot.Signed.Version, s.timestamp.Signed.Version = 0, 0, 0
	return s, nil
}

// expiry is when metadata of a role signed now expires, in whole seconds.
func (s *state) expiry(role string) time.Time {
	return s.now.Add(s.lifetimes.of(role)).UTC().Truncate(time.Second)
}

// load reads and verifies all top-level metadata (specification, 5.3 to 5.6,
// but for expiry: an expired repository can be renewed).
func (r *Repository) load() (*state, error) {
	s, err := r.loadOnline()
	if err != nil {
		return nil, err
	}
	meta := s.snapshot.Signed.Meta["targets.json"]
	if meta == nil {
		return nil, damaged(metadata.SNAPSHOT, r.metadataPath(""), errors.New("targets.json is not listed"))
	}
	s.targets = &metadata.Metadata[metadata.TargetsType]{}
	return s, readRole(r, s.root, metadata.TARGETS, meta, s.targets, &s.targets.Signed.Version)
}

// loadOnline reads and verifies root, timestamp and snapshot only.
func (r *Repository) loadOnline() (*state, error) {
	s := &state{now: r.clock(), lifetimes: r.lifetimes,
		timestamp: &metadata.Metadata[metadata.TimestampType]{},
		snapshot:  &metadata.Metadata[metadata.SnapshotType]{}}
	var err error
	if s.root, err = r.loadRoot(); err != nil {
		return nil, err
	}
	if err := readRole(r, s.root, metadata.TIMESTAMP, nil, s.timestamp, &s.timestamp.Signed.Version); err != nil {
		return nil, err
	}
	meta := s.timestamp.Signed.Meta["snapshot.json"]
	if meta == nil {
		return nil, damaged(metadata.TIMESTAMP, r.metadataPath("timestamp.json"), errors.New("snapshot.json is not listed"))
	}
	return s, readRole(r, s.root, metadata.SNAPSHOT, meta, s.snapshot, &s.snapshot.Signed.Version)
}

// loadRoot walks the chain of roots from the first (specification, 5.3).
func (r *Repository) loadRoot() (*metadata.Metadata[metadata.RootType], error) {
	var trusted *metadata.Metadata[metadata.RootType]
	for version := int64(1); version <= maxRoots; version++ {
		path := r.metadataPath(fmt.Sprintf("%d.root.json", version))
		data, err := readFile(path, maxMetadata)
		if errors.Is(err, fs.ErrNotExist) && trusted != nil {
			return trusted, nil
		}
		if err != nil {
			return nil, err
		}
		next, err := new(metadata.Metadata[metadata.RootType]).FromBytes(data)
		if err != nil {
			return nil, damaged(metadata.ROOT, path, err)
		}
		if next.Signed.Version != version {
			return nil, damaged(metadata.ROOT, path, fmt.Errorf("it carries version %d", next.Signed.Version))
		}
		err = next.VerifyDelegate(metadata.ROOT, next)
		if err == nil && trusted != nil {
			err = trusted.VerifyDelegate(metadata.ROOT, next)
		}
		if err != nil {
			return nil, unsigned(metadata.ROOT, path, err)
		}
		trusted = next
	}
	return nil, &Error{Code: protocol.CodeTooMany, Role: metadata.ROOT, Msg: fmt.Sprintf("more than %d versions", maxRoots)}
}

// readRole reads the file of a role into m and checks it against what the role
// before it says, and against the keys in root. version points into m.
func readRole[T metadata.Roles](r *Repository, root *metadata.Metadata[metadata.RootType], role string,
	meta *metadata.MetaFiles, m *metadata.Metadata[T], version *int64,
) error {
	name := role + ".json"
	if meta != nil {
		name = fmt.Sprintf("%d.%s", meta.Version, name)
	}
	path := r.metadataPath(name)
	data, err := readFile(path, maxMetadata)
	if err != nil {
		return err
	}
	if meta != nil {
		if err := meta.VerifyLengthHashes(data); err != nil {
			return damaged(role, path, err)
		}
	}
	if _, err := m.FromBytes(data); err != nil {
		return damaged(role, path, err)
	}
	if meta != nil && meta.Version != *version || *version < 1 {
		return damaged(role, path, fmt.Errorf("it carries version %d", *version))
	}
	if err := root.VerifyDelegate(role, m); err != nil {
		return unsigned(role, path, err)
	}
	return nil
}

const restoreHint = "somebody or something changed it; restore it from a backup"

func damaged(role, path string, cause error) error {
	return &Error{Code: protocol.CodeMalformed, Role: role, Path: path, Msg: "the file is damaged", Err: cause, Hint: restoreHint}
}

func unsigned(role, path string, cause error) error {
	return &Error{Code: protocol.CodeUnsigned, Role: role, Path: path, Err: cause, Hint: restoreHint}
}

// signRoot signs the root and returns its bytes.
func (s *state) signRoot(sig signature.Signer) ([]byte, error) {
	return sign(s.root, s.root, metadata.ROOT, sig)
}

// commit signs the next version of targets (if it is loaded), snapshot and
// timestamp, and writes them in that order.
func (r *Repository) commit(s *state, signers map[string]signature.Signer) error {
	files := make([]signedFile, 0, 3)
	if s.targets != nil {
		t := &s.targets.Signed
		t.Version, t.Expires = t.Version+1, s.expiry(metadata.TARGETS)
		f, err := next(s, s.targets, metadata.TARGETS, t.Version, signers)
		if err != nil {
			return err
		}
		s.snapshot.Signed.Meta["targets.json"] = f.describe()
		files = append(files, f)
	}
	if _, ok := signers[metadata.SNAPSHOT]; ok {
		n := &s.snapshot.Signed
		n.Version, n.Expires = n.Version+1, s.expiry(metadata.SNAPSHOT)
		f, err := next(s, s.snapshot, metadata.SNAPSHOT, n.Version, signers)
		if err != nil {
			return err
		}
		s.timestamp.Signed.Meta["snapshot.json"] = f.describe()
		files = append(files, f)
	}
	t := &s.timestamp.Signed
	t.Version, t.Expires = t.Version+1, s.expiry(metadata.TIMESTAMP)
	f, err := next(s, s.timestamp, metadata.TIMESTAMP, t.Version, signers)
	if err != nil {
		return err
	}
	f.name = "timestamp.json"
	for _, f := range append(files, f) {
		if err := writeFile(r.metadataPath(f.name), f.data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// signedFile is a signed metadata file that is not written yet.
type signedFile struct {
	name    string
	version int64
	data    []byte
}

func next[T metadata.Roles](s *state, m *metadata.Metadata[T], role string, version int64,
	signers map[string]signature.Signer,
) (signedFile, error) {
	data, err := sign(s.root, m, role, signers[role])
	return signedFile{name: fmt.Sprintf("%d.%s.json", version, role), version: version, data: data}, err
}

// describe is the entry of the file in the metadata of the role above it.
func (f signedFile) describe() *metadata.MetaFiles {
	sum := sha256.Sum256(f.data)
	return &metadata.MetaFiles{Version: f.version, Length: int64(len(f.data)), Hashes: metadata.Hashes{"sha256": sum[:]}}
}

// sign replaces the signatures of m by one of sig, and makes sure that the
// bytes to be published verify: a key that root does not name would make the
// repository unusable.
func sign[T metadata.Roles](root *metadata.Metadata[metadata.RootType], m *metadata.Metadata[T], role string,
	sig signature.Signer,
) ([]byte, error) {
	m.ClearSignatures()
	if _, err := m.Sign(sig); err != nil {
		return nil, &Error{Code: protocol.CodeInternal, Role: role, Msg: "cannot sign", Err: err}
	}
	data, err := m.ToBytes(false)
	if err != nil {
		return nil, &Error{Code: protocol.CodeInternal, Role: role, Msg: "cannot encode", Err: err}
	}
	again, err := new(metadata.Metadata[T]).FromBytes(data)
	if err == nil {
		err = root.VerifyDelegate(role, again)
	}
	if err != nil {
		return nil, &Error{Code: protocol.CodeUnsigned, Role: role, Err: err,
			Msg: "what was signed does not verify", Hint: "is the key in " + keysName + "/" + role + ".pem the right one? nothing was changed"}
	}
	return data, nil
}

// signersFor loads the keys of the given roles.
func (r *Repository) signersFor(roles ...string) (map[string]signature.Signer, error) {
	signers := make(map[string]signature.Signer, len(roles))
	for _, role := range roles {
		s, err := loadKey(r.dir, role)
		if err != nil {
			return nil, err
		}
		signers[role] = s
	}
	return signers, nil
}
