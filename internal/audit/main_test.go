package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	background = context.Background()
	noon       = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
)

// quiet are options of a log that makes checkpoints on demand only.
func quiet() Options {
	return Options{Name: "test/log", Every: -1, Interval: -1, Now: func() time.Time { return noon }}
}

func newDir(t testing.TB) string { return filepath.Join(t.TempDir(), "a [*] dir", "audit") }

func open(t testing.TB, dir string, opts Options) *Log {
	t.Helper()
	l, err := Open(dir, opts)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close(background) })
	return l
}

// event is an event that names itself.
func event(name any) json.RawMessage { return json.RawMessage(fmt.Sprintf(`{ "name": "%v" }`, name)) }

func add(t testing.TB, l *Log, n int) {
	t.Helper()
	for i := range n {
		require.NoError(t, l.Append(background, event(i)))
	}
}

func read(t testing.TB, dir string, file int) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, fileName(file)))
	require.NoError(t, err)
	return string(raw)
}

func requireCode(t testing.TB, err error, code protocol.Code) {
	t.Helper()
	require.Equal(t, code, tuferr.CodeOf(err), "%v", err)
}
