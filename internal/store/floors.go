package store

import (
	"maps"
	"reflect"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/verify"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

const (
	metaSuffix   = ".json"
	snapshotFile = "snapshot" + metaSuffix
	targetsFile  = "targets" + metaSuffix
)

// Floors are the lowest versions that may still be accepted. They outlive the
// files: a damaged or deleted file opens no way back. Floors are a value; their
// map is shared and must not be changed.
type Floors struct {
	// Root is the newest root version ever trusted, and the one under which the
	// other floors were set. It never goes down.
	Root int64 `json:"root"`
	// Timestamp and Snapshot are versions, 0 if none was trusted yet.
	Timestamp int64 `json:"timestamp"`
	Snapshot  int64 `json:"snapshot"`
	// Roles holds the version of every file that the last snapshot lists, by the
	// name it has there, such as "targets.json".
	Roles map[string]int64 `json:"roles,omitempty"`
}

// After returns the floors that hold once the last root of the chain is trusted.
// The chain is in the order of versions without a gap. If one of its steps above
// f.Root removes a timestamp or snapshot key, all floors except root's are
// dropped (specification, 5.3.11).
func (f Floors) After(chain ...*admission.Doc) Floors {
	for i, root := range chain {
		if root.Version <= f.Root {
			continue
		}
		if i > 0 && verify.Rotated(chain[i-1], root) {
			f = Floors{}
		}
		f.Root = root.Version
	}
	return f
}

// CheckRoot refuses a final root below the floor (5.3.5).
func (f Floors) CheckRoot(root *admission.Doc) error {
	return check("root", "5.3.5", "", f.Root, root.Version, root)
}

// CheckTimestamp refuses a timestamp that is older than its floor, or that
// announces a snapshot older than the snapshot's (5.4.3).
func (f Floors) CheckTimestamp(ts *admission.Doc) error {
	if err := check("timestamp", "5.4.3.1", "", f.Timestamp, ts.Version, ts); err != nil {
		return err
	}
	return check("timestamp", "5.4.3.2", snapshotFile, f.Snapshot, ts.Meta[snapshotFile].Version, ts)
}

// CheckSnapshot refuses a snapshot that is older than its floor, or that lists
// any role with an older version than before, or not at all (5.5.5).
func (f Floors) CheckSnapshot(snap *admission.Doc) error {
	if err := check("snapshot", "5.5.5", "", f.Snapshot, snap.Version, snap); err != nil {
		return err
	}
	for file, floor := range f.Roles {
		if err := check("snapshot", "5.5.5", file, floor, snap.Meta[file].Version, snap); err != nil {
			return err
		}
	}
	return nil
}

// CheckTargets refuses the metadata of a targets role that is older than its
// floor (5.5.5).
func (f Floors) CheckTargets(role string, doc *admission.Doc) error {
	return check(role, "5.5.5", "", f.Roles[role+metaSuffix], doc.Version, doc)
}

// check compares a version with its floor. listed names the file concerned if it
// is not the document itself but one that the document lists.
func check(role, spec, listed string, floor, version int64, doc *admission.Doc) error {
	if version >= floor {
		return nil
	}
	var e *tuferr.Error
	switch {
	case listed == "":
		e = tuferr.New(protocol.CodeRollback, "version %d is older than the trusted version %d", version, floor)
	case version == 0:
		e = tuferr.New(protocol.CodeRollback, "no longer lists %s, which was trusted at version %d", listed, floor)
	default:
		e = tuferr.New(protocol.CodeRollback, "lists %s at version %d, older than the trusted version %d", listed, version, floor)
	}
	e.Role, e.Spec, e.Engine = role, spec, "host"
	e.Trusted, e.Received, e.Digest = floor, version, doc.SHA256
	e.Hint = "the repository serves old metadata; if its owner had to go back, they must rotate the timestamp or snapshot key"
	return e
}

// withTimestamp raises the floors to a trusted timestamp. The snapshot it
// announces is a floor already, as the specification compares announcements.
func (f Floors) withTimestamp(ts *admission.Doc) Floors {
	f.Timestamp = max(f.Timestamp, ts.Version)
	f.Snapshot = max(f.Snapshot, ts.Meta[snapshotFile].Version)
	return f
}

// withSnapshot raises the floors to a trusted snapshot, which has passed
// CheckSnapshot and so lists at least what the floors do.
func (f Floors) withSnapshot(snap *admission.Doc) Floors {
	f.Snapshot = max(f.Snapshot, snap.Version)
	f.Roles = make(map[string]int64, len(snap.Meta))
	for file, meta := range snap.Meta {
		f.Roles[file] = meta.Version
	}
	return f
}

func (f Floors) equal(g Floors) bool {
	return f.Root == g.Root && f.Timestamp == g.Timestamp && f.Snapshot == g.Snapshot && (f.sharesRoles(g) || maps.Equal(f.Roles, g.Roles))
}

// sharesRoles reports whether both hold the very same map, which may be large.
func (f Floors) sharesRoles(g Floors) bool {
	return reflect.ValueOf(f.Roles).UnsafePointer() == reflect.ValueOf(g.Roles).UnsafePointer()
}
