package store

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
)

// file is a file to write, and what its content means.
type file struct {
	path, role string
	data       []byte
	value      any
}

func rootFile(path string, root *admission.Doc) file {
	return file{path: path, role: "root", data: root.Raw, value: root}
}

// plan is what is written, in the order of its fields.
type plan struct {
	history []file
	// rotatedBy is the root that rotated keys, nil if none did.
	rotatedBy *admission.Doc
	// records are anchor, floors and clock.
	records []file
	// parents are directories to sync with history and records, beside their own.
	parents []string
	// exports is what can be fetched or written again.
	exports []file
	// refused is the rollback that ended the plan early.
	refused error
}

func (p *plan) empty() bool { return len(p.history)+len(p.records)+len(p.exports) == 0 }

// apply writes a plan. First come temporaries, then the renames in order; before
// the first of the exports, history and records are forced to the disk.
//
// A temporary outlives that moment: where one is found, a process may have died
// before it, and [session.secure] does what it did not come to.
func (x *session) apply(p *plan) error {
	if p.empty() {
		return nil
	}
	x.last = nil
	lasting := slices.Concat(p.history, p.records)
	all := slices.Concat(lasting, p.exports)
	if len(p.exports) == 0 {
		all = append(all, file{}) // only so that there is a temporary
	}
	staged, err := x.stage(all)
	if err != nil {
		return err
	}
	// What replaces a file must be whole when it does; what replaces none is synced
	// together with its directory.
	var fresh, replacing []string
	for i, f := range lasting {
		if exists(f.path) {
			replacing = append(replacing, staged[i].path)
		} else {
			fresh = append(fresh, f.path)
		}
	}
	if err := x.disk.sync(replacing...); err != nil {
		return err
	}
	if err := x.publish(p.history, staged); err != nil {
		return err
	}
	if p.rotatedBy != nil {
		if err := x.forget(p.rotatedBy); err != nil {
			return err
		}
	}
	if err := x.publish(p.records, staged[len(p.history):]); err != nil {
		return err
	}
	if len(lasting) > 0 {
		if err := x.disk.sync(union(fresh, dirs(lasting), p.parents)...); err != nil {
			return err
		}
	}
	if len(p.exports) == 0 {
		return x.disk.remove(staged[len(lasting)].path)
	}
	return x.publish(p.exports, staged[len(lasting):])
}

// dirs returns the directories of files.
func dirs(files []file) (all []string) {
	for _, f := range files {
		all = append(all, filepath.Dir(f.path))
	}
	return all
}

// union returns each of the paths once.
func union(lists ...[]string) []string {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return slices.Compact(all)
}

// stage writes a temporary for each file. After an error none is left.
func (x *session) stage(files []file) (staged []sight, err error) {
	for i, f := range files {
		tmp := sight{path: filepath.Join(x.tmpDir(), strconv.Itoa(i))}
		staged = append(staged, tmp)
		if staged[i].info, err = x.disk.write(tmp.path, f.data); err != nil {
			for _, tmp := range staged {
				_ = os.Remove(tmp.path) // the next session sweeps what stays
			}
			return nil, err
		}
	}
	return staged, nil
}

// publish renames temporaries to their places, in order.
func (x *session) publish(files []file, staged []sight) error {
	for i, f := range files {
		if err := x.clear(f.path, f.role); err != nil {
			return err
		}
		if err := x.disk.rename(staged[i].path, f.path); err != nil {
			return err
		}
		seen := sight{path: f.path, info: staged[i].info, at: time.Now()}
		x.sights[f.path] = seen
		x.remember(remembered{sight: seen, raw: f.data, value: f.value})
	}
	return nil
}
