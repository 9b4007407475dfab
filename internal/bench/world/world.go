// Package world makes the repositories that the benchmark measures over, as
// files that any HTTP server can serve. They are the same at every run, so they
// are made once and kept.
package world

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
)

// version names the directory of the repositories: raise it with every change
// of what they hold.
const version = "v1"

// PluginBytes is the length of an ordinary target.
const PluginBytes = 10_000

// Releases is how many releases the repositories of that name have in store; see
// package loop.
const Releases = 24

// Repo is a repository on disk.
type Repo struct {
	// Name is the directory below the served one, Dir the whole path.
	Name, Dir string `json:"-"`
	// Target is the target to download, with its length in bytes and SHA-256.
	Target string `json:"target"`
	Length int64  `json:"length"`
	SHA256 string `json:"sha256"`
}

// Root is the file with the first version of the root: what an application ships.
func (r *Repo) Root() string { return filepath.Join(r.Dir, "metadata", "1.root.json") }

// Timestamp is the file that a new release replaces.
func (r *Repo) Timestamp() string { return filepath.Join(r.Dir, "metadata", "timestamp.json") }

// makers fill a new directory, by the name of the repository.
var makers = map[string]func(dir string) (*Repo, error){
	"small":        small,
	"roots":        roots,
	"delegated":    delegated,
	"odd":          odd,
	"index-100k":   index,
	"succinct":     func(dir string) (*Repo, error) { return bins(dir, 100_000, 8, succinct) },
	"succinct-1m":  func(dir string) (*Repo, error) { return bins(dir, 1_000_000, 12, succinct) },
	"prefixes-1m":  func(dir string) (*Repo, error) { return bins(dir, 1_000_000, 12, prefixes) },
	"big-256":      func(dir string) (*Repo, error) { return big(dir, 256<<20) },
	"big-1024":     func(dir string) (*Repo, error) { return big(dir, 1<<30) },
	"releases":     func(dir string) (*Repo, error) { return releases(dir, nil) },
	"releases-odd": func(dir string) (*Repo, error) { return releases(dir, oddSignature) },
}

// Root returns the directory below cache that holds the repositories.
func Root(cache string) string { return filepath.Join(cache, "repositories-"+version) }

// Open returns a repository, which is made first if need be.
func Open(cache, name string) (*Repo, error) {
	maker, ok := makers[name]
	if !ok {
		return nil, fmt.Errorf("no such repository: %s", name)
	}
	dir := filepath.Join(Root(cache), name)
	repo, err := read(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err = build(dir, maker); err == nil {
			repo, err = read(dir)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("repository %s: %w", name, err)
	}
	repo.Name, repo.Dir = name, dir
	return repo, nil
}

func read(dir string) (*Repo, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "repo.json"))
	if err != nil {
		return nil, err
	}
	repo := &Repo{}
	return repo, json.Unmarshal(raw, repo)
}

// build fills a directory beside dir, which takes its name when it is complete.
func build(dir string, maker func(string) (*Repo, error)) (err error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	temporary, err := os.MkdirTemp(filepath.Dir(dir), ".making-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temporary)) }()
	repo, err := maker(temporary)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(repo)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(temporary, "repo.json"), raw, 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, dir)
}

// store writes what a repository serves.
func store(dir string, r *tuftest.Repo) error {
	for name, raw := range r.Files() {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, raw, 0o644); err != nil {
			return err
		}
	}
	return nil
}
