package vault

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"sync"
	"time"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// repo is one repository.
type repo struct {
	name   string
	client *hybrid.Client
	absent absence
}

func (v *Vault) newRepo(r Repository) (*repo, error) {
	dir := r.MetadataDir
	if dir == "" {
		dir = filepath.Join(v.opts.MetadataDir, storeName(r.Name))
	}
	o := v.opts
	client, err := hybrid.New(hybrid.Options{
		RepositoryURL: r.URL, MetadataURL: r.MetadataURL, TargetsURL: r.TargetsURL, RepositoryDir: r.Dir, Mirrors: r.Mirrors,
		MetadataDir: dir, CacheDir: o.CacheDir, Root: r.Root, IgnoreEnvironment: true,
		Mode: o.Mode, Python: o.Python, EngineTimeout: o.EngineTimeout,
		BreakerFailures: o.BreakerFailures, BreakerCoolDown: o.BreakerCoolDown,
		RefreshInterval: o.RefreshInterval, MaxMetadataAge: o.MaxMetadataAge,
		MaxRoots: r.MaxRoots, MaxRoles: r.MaxRoles, MaxDownloads: r.MaxDownloads, Limits: r.Limits, HTTP: r.HTTP,
		Logger: o.Logger.With("repository", r.Name), Now: o.Now,
		TracerProvider: o.TracerProvider, MeterProvider: o.MeterProvider, TelemetryName: r.Name,
		OnEvent: func(e hybrid.Event) { v.emit(translate(r.Name, e)) },
	})
	if err != nil {
		return nil, err
	}
	return &repo{name: r.Name, client: client}, nil
}

// storeName is the directory of a repository's trust store. The name of the
// repository is hashed: no name is a path, and no two differ in case only.
func storeName(repository string) string {
	sum := sha256.Sum256([]byte(repository))
	return "repository-" + hex.EncodeToString(sum[:16])
}

// The pause before a repository that could not be reached is asked again where
// others can answer in its place; it doubles.
const (
	minAbsence = 5 * time.Second
	maxAbsence = 5 * time.Minute
)

// absence remembers that a repository could not be reached, so that not every
// call waits for it.
type absence struct {
	mu    sync.Mutex
	err   error
	until time.Time
	pause time.Duration
}

// why returns the error of the last attempt while the pause lasts. After it one
// caller gets nil, to find out; the others go on without for another pause.
func (a *absence) why() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if a.err != nil && now.Before(a.until) {
		return a.err
	}
	a.until = now.Add(a.pause)
	return nil
}

// note keeps how an attempt ended.
func (a *absence) note(err error) {
	unreachable := tuferr.ClassOf(err) == protocol.ClassTransport && tuferr.CodeOf(err) != protocol.CodeBusy
	if !unreachable && err != nil && tuferr.ClassOf(err) != protocol.ClassNotFound {
		return // It says nothing about whether it can be reached.
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !unreachable {
		a.err, a.pause = nil, 0
		return
	}
	a.pause = min(max(2*a.pause, minAbsence), maxAbsence)
	a.err, a.until = err, time.Now().Add(a.pause)
}
