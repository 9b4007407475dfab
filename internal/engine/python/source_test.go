//go:build unix

package python

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/protocol"
	"github.com/ragnos-labs/vault-tuf/pywrapper"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// memory is a source over a repository in memory and a map of trusted copies.
type memory struct {
	repo    *tuftest.Repo
	trusted map[string]*admission.Doc
	// fail, if set, may refuse a file.
	fail func(ctx context.Context, f engine.File) error

	mu    sync.Mutex
	given map[string]*admission.Doc
	// roots are the versions of the roots that Local was asked under, by role.
	roots map[string]int64
}

func newMemory(repo *tuftest.Repo) *memory {
	return &memory{repo: repo, trusted: map[string]*admission.Doc{}, given: map[string]*admission.Doc{}, roots: map[string]int64{}}
}

func (m *memory) Remote(ctx context.Context, f engine.File) (*admission.Doc, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		if err := m.fail(ctx, f); err != nil {
			return nil, err
		}
	}
	name := m.repo.MetadataName(f.Role, int(f.Version))
	if doc := m.given[name]; doc != nil {
		return doc, nil
	}
	raw, ok := m.repo.Get(name)
	if !ok && f.Role == "root" {
		return nil, tuferr.New(protocol.CodeNotFound, "no %s", name)
	}
	if !ok {
		return nil, tuferr.New(protocol.CodeHTTPStatus, "no %s", name)
	}
	doc, err := admission.Parse(admission.KindOf(f.Role), raw, admission.DefaultLimits())
	m.given[name] = doc
	return doc, err
}

func (m *memory) Local(role string, root *admission.Doc) *admission.Doc {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.roots[role] = root.Version
	return m.trusted[role]
}

// trust makes the current files of the roles trusted copies.
func (m *memory) trust(t *testing.T, roles ...string) {
	for _, name := range roles {
		role := m.repo.Role(name)
		raw, ok := m.repo.Get(m.repo.MetadataName(name, role.Version))
		require.True(t, ok)
		m.trusted[name] = parse(t, admission.KindOf(name), raw)
	}
}

func (m *memory) operation(t *testing.T, targets ...string) *engine.Operation {
	return &engine.Operation{
		Root: parse(t, admission.KindRoot, m.repo.RootBytes(1)), Source: m, Start: now,
		Targets: targets, MaxRoots: 16, MaxRoles: 16,
	}
}

func parse(t *testing.T, kind admission.Kind, raw []byte) *admission.Doc {
	t.Helper()
	doc, err := admission.Parse(kind, raw, admission.DefaultLimits())
	require.NoError(t, err)
	return doc
}

// newEngine returns an engine over a worker that is closed after the test.
func newEngine(t *testing.T, python string, script []byte) *Engine {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	sup := pywrapper.New(pywrapper.Options{Python: python, Script: script, MinBackoff: time.Millisecond, MaxBackoff: 4 * time.Millisecond})
	t.Cleanup(func() { require.NoError(t, sup.Close(context.Background())) })
	return New(sup, 0)
}

// refused runs op and returns the outcome and the error that it must have.
func refused(t *testing.T, e *Engine, op *engine.Operation) (*engine.Outcome, *tuferr.Error) {
	t.Helper()
	out, err := e.Run(t.Context(), op)
	require.NotNil(t, out, "the outcome is never nil")
	var te *tuferr.Error
	require.ErrorAs(t, err, &te)
	return out, te
}

func versions(docs []*admission.Doc) string {
	var s string
	for _, d := range docs {
		s += fmt.Sprint(d.Version, " ")
	}
	return s
}
