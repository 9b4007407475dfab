package repository

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Waiting is a change in DIR/proposals that waits for signatures.
type Waiting struct {
	// Name is the file's.
	Name string `json:"name"`
	// Files are what it changes, such as "root 3".
	Files []string `json:"files,omitempty"`
	// Missing is how many signatures are missing.
	Missing int `json:"missing"`
	// Outdated says that the repository has gone on without it: it cannot be
	// published any more.
	Outdated bool `json:"outdated,omitempty"`
	// Problem is why the file cannot be read, "" if it can.
	Problem string `json:"problem,omitempty"`
}

// Bounds of what a status says of proposals: their number, and the bytes of a
// file that it looks into.
const (
	maxProposals      = 100
	maxProposalLooked = 8 << 20
)

// proposals looks at the changes that wait. A directory that is not there, or
// cannot be read, has none.
func (s *state) proposals() (list []Waiting) {
	dir := filepath.Join(s.r.dir, proposalsName)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || strings.HasPrefix(e.Name(), ".") || len(list) == maxProposals {
			continue
		}
		w := Waiting{Name: e.Name()}
		if info, err := e.Info(); err == nil && info.Size() <= maxProposalLooked {
			s.lookInto(&w, filepath.Join(dir, e.Name()))
		}
		list = append(list, w)
	}
	return list
}

func (s *state) lookInto(w *Waiting, path string) {
	p, err := ReadProposal(path)
	if err != nil {
		w.Problem = err.Error()
		return
	}
	for _, f := range p.files {
		w.Files = append(w.Files, fmt.Sprintf("%s %d", f.role, f.plain.Version))
		if current, known := s.version(f.role); known && current >= f.plain.Version {
			w.Outdated = true
		}
	}
	for _, role := range p.Status().Roles {
		for _, t := range role.Thresholds {
			w.Missing += t.Missing()
		}
	}
}

// String says it in words.
func (w Waiting) String() string {
	switch what := strings.Join(w.Files, ", "); {
	case w.Problem != "":
		return fmt.Sprintf("%s: %s", w.Name, w.Problem)
	case what == "":
		return w.Name + " is too large to be looked into"
	case w.Outdated:
		return fmt.Sprintf("%s (%s): outdated, the repository has gone on without it; remove the file", w.Name, what)
	case w.Missing == 0:
		return fmt.Sprintf("%s (%s): signed, can be published", w.Name, what)
	default:
		return fmt.Sprintf("%s (%s): signatures missing: %d", w.Name, what, w.Missing)
	}
}
