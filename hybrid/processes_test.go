//go:build unix

package hybrid

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/internal/verify"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// envProcess tells a re-executed test binary which client to be.
const envProcess = "RAGNOS_TUF_TEST_PROCESS"

// processConfig is what one client process is told.
type processConfig struct {
	URL, Root, Dir string
	Mode           Mode
	Seed           uint64
}

// processReport is a line that a client process writes: a round that went well,
// or why it gives up.
type processReport struct {
	Versions Versions
	Injected bool   `json:",omitempty"`
	Error    string `json:",omitempty"`
}

// TestProcessClient is one process of TestMixedProcesses: it asks again and again,
// with a new client or the one it has, until it is killed or its input ends.
func TestProcessClient(t *testing.T) {
	raw := os.Getenv(envProcess)
	if raw == "" {
		return
	}
	var cfg processConfig
	require.NoError(t, json.Unmarshal([]byte(raw), &cfg))
	out := json.NewEncoder(os.Stdout)
	stdin := bufio.NewScanner(os.Stdin)
	p := &processClient{cfg: cfg, rnd: rand.New(rand.NewPCG(cfg.Seed, 0))}
	for stdin.Scan() { // one line asks for one round
		report, err := p.round()
		if err != nil {
			report.Error = err.Error()
		}
		require.NoError(t, out.Encode(report))
	}
	p.end()
}

type processClient struct {
	cfg    processConfig
	rnd    *rand.Rand
	client *Client
	last   Versions
}

func (p *processClient) end() {
	if p.client != nil {
		_ = p.client.Shutdown(context.Background())
	}
	p.client = nil
}

// round downloads the plugin and checks that it is what a publisher has signed,
// and no older than what this process has seen.
func (p *processClient) round() (r processReport, err error) {
	if p.rnd.IntN(6) == 0 {
		p.end()
	}
	if p.client == nil {
		root, err := os.ReadFile(p.cfg.Root)
		if err != nil {
			return r, err
		}
		p.client, err = New(Options{
			RepositoryURL: p.cfg.URL, Root: root, Mode: p.cfg.Mode,
			MetadataDir: filepath.Join(p.cfg.Dir, "metadata"), CacheDir: filepath.Join(p.cfg.Dir, "cache"),
		})
		if err != nil {
			return r, err
		}
	}
	got, err := p.client.VerifyAndDownloadPlugin(context.Background(), plugin, DownloadOptions{})
	var e *Error
	if errors.As(err, &e) && injected[p.cfg.Mode] == e.Code && e.Role == "timestamp" {
		return processReport{Injected: true, Versions: p.last}, nil
	}
	if err != nil {
		return r, err
	}
	content, err := os.ReadFile(got.Path)
	if err != nil {
		return r, err
	}
	if !bytes.HasPrefix(content, []byte("revision ")) || tuftest.SHA256(content) != got.Hashes["sha256"] {
		return r, fmt.Errorf("%q is not what was signed", content)
	}
	if v := got.Versions; v.Root < p.last.Root || v.Timestamp < p.last.Timestamp || v.Snapshot < p.last.Snapshot || v.Targets < p.last.Targets {
		return r, fmt.Errorf("from %v back to %v", p.last, v)
	}
	p.last = got.Versions
	return processReport{Versions: p.last}, nil
}

// injected is how a mode fails for a timestamp that go-tuf cannot decode.
var injected = map[Mode]protocol.Code{ModeGo: protocol.CodeUnrepresentable, ModeDual: protocol.CodeUnableInDual}

// mixed is the stage of TestMixedProcesses.
type mixed struct {
	*world
	temp string
	root string
	slow *tuftest.Server

	mu       sync.Mutex // one publishes at a time
	revision int
	rounds   atomic.Int64
	injected atomic.Int64
	kills    atomic.Int64
}

// publish publishes the next revision; some come with a new root, and some with
// a signature that go-tuf cannot decode.
func (m *mixed) publish(rnd *rand.Rand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.revision++
	m.repo.AddTarget("targets", plugin, fmt.Appendf(nil, "revision %d", m.revision), nil)
	if rnd.IntN(8) == 0 {
		m.repo.PublishRoot()
	}
	m.repo.Timestamp.EditSignatures = nil
	if rnd.IntN(4) == 0 {
		m.repo.Timestamp.EditSignatures = oddSignature
	}
	m.repo.Publish("targets")
}

// stall holds every fourth file below the timestamp back for a while: whoever
// asks here commits late.
func stall(seed uint64) tuftest.Reply {
	var mu sync.Mutex
	rnd := rand.New(rand.NewPCG(seed, 1))
	return func(x *tuftest.Exchange) {
		mu.Lock()
		wait := time.Duration(0)
		if strings.HasSuffix(x.Name, ".targets.json") && rnd.IntN(4) == 0 {
			wait = 300 * time.Millisecond
		}
		mu.Unlock()
		select {
		case <-time.After(wait):
			tuftest.File(x)
		case <-x.Request.Context().Done():
		}
	}
}

// TestMixedProcesses lets eight processes of all modes share one trust store and
// one cache, one of them with a slow repository, while the repository goes on
// publishing and processes are killed at random.
func TestMixedProcesses(t *testing.T) {
	seed, rounds := uint64(1), 30
	if os.Getenv(envLong) != "" {
		seed, rounds = uint64(time.Now().UnixNano()), 300
	}
	t.Logf("seed %d", seed)
	m := &mixed{world: newWorld(t), temp: t.TempDir()}
	m.slow = tuftest.NewServer(m.repo)
	t.Cleanup(m.slow.Close)
	m.slow.On("", stall(seed))
	m.root = filepath.Join(t.TempDir(), "root.json")
	require.NoError(t, os.WriteFile(m.root, m.repo.RootBytes(1), 0o600))
	m.publish(rand.New(rand.NewPCG(seed, 2)))

	watched, stop := make(chan error, 1), make(chan struct{})
	go func() { watched <- watch(filepath.Join(m.dir, "metadata"), stop) }()
	var wg sync.WaitGroup
	errs := make(chan error, 64)
	modes := []Mode{ModeAuto, ModeGo, ModePython, ModeDual}
	for i := range 8 {
		cfg := processConfig{URL: m.server.URL, Root: m.root, Dir: m.dir, Mode: modes[i%len(modes)], Seed: seed + uint64(i)}
		if i == 0 {
			cfg.URL = m.slow.URL
		}
		wg.Go(func() {
			if err := m.drive(cfg, rounds); err != nil {
				errs <- fmt.Errorf("process %d, mode %s: %w", i, cfg.Mode, err)
			}
		})
	}
	wg.Wait()
	close(errs)
	close(stop)
	for err := range errs {
		t.Error(err)
	}
	require.NoError(t, <-watched)
	t.Logf("%d rounds, %d of them with the injected error, %d revisions, %d kills", m.rounds.Load(), m.injected.Load(), m.revision, m.kills.Load())
	m.aftermath(modes)
}

// drive runs one process for a number of rounds, and starts it anew whenever it
// has been killed.
func (m *mixed) drive(cfg processConfig, rounds int) error {
	rnd := rand.New(rand.NewPCG(cfg.Seed, 3))
	for done := 0; done < rounds; {
		n, err := m.incarnation(cfg, rounds-done, rnd)
		if err != nil {
			return err
		}
		done += n
		cfg.Seed += 1000
	}
	return nil
}

// incarnation runs one process for at most max rounds. In one round of twelve it
// is killed at some moment.
func (m *mixed) incarnation(cfg processConfig, max int, rnd *rand.Rand) (done int, err error) {
	raw, err := json.Marshal(cfg)
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestProcessClient$")
	cmd.Env = append(os.Environ(), envProcess+"="+string(raw), "TMPDIR="+m.temp)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	lines := bufio.NewScanner(out)
	killed := false
	for done < max {
		if rnd.IntN(12) == 0 {
			killed = true
			m.kills.Add(1)
			time.AfterFunc(time.Duration(rnd.IntN(60))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		}
		_, werr := in.Write([]byte("go\n"))
		if werr != nil || !lines.Scan() {
			break
		}
		var r processReport
		if jerr := json.Unmarshal(lines.Bytes(), &r); jerr != nil {
			err = fmt.Errorf("%q: %w", lines.Text(), jerr)
		} else if r.Error != "" {
			err = errors.New(r.Error)
		}
		if err != nil {
			break
		}
		done++
		if r.Injected {
			m.injected.Add(1)
		}
		if m.rounds.Add(1)%3 == 0 {
			m.publish(rnd)
		}
	}
	_ = in.Close()
	for lines.Scan() { // "PASS"
	}
	werr := cmd.Wait()
	if err == nil && werr != nil && !killed {
		err = fmt.Errorf("%w: %s", werr, stderr.String())
	}
	return done, err
}

// watch reads the trust store from outside until stop: each file is whole at all
// times, and no version goes back.
func watch(dir string, stop <-chan struct{}) error {
	high := map[string]int64{}
	for {
		for _, role := range []string{"root", "timestamp", "snapshot", "targets"} {
			raw, err := os.ReadFile(filepath.Join(dir, role+".json"))
			if errors.Is(err, fs.ErrNotExist) && high[role] == 0 {
				continue
			}
			if err != nil {
				return err
			}
			doc, err := admission.Parse(admission.KindOf(role), raw, admission.DefaultLimits())
			if err != nil {
				return fmt.Errorf("%s: %w", role, err)
			}
			if doc.Version < high[role] {
				return fmt.Errorf("%s went back from version %d to %d", role, high[role], doc.Version)
			}
			high[role] = doc.Version
		}
		select {
		case <-stop:
			return nil
		case <-time.After(time.Millisecond):
		}
	}
}

// aftermath checks that every later run works, that everything stored is signed,
// and that nothing is left of the dead.
func (m *mixed) aftermath(modes []Mode) {
	m.repo.Timestamp.EditSignatures = nil
	m.repo.PublishTimestamp()
	want := fmt.Sprintf("revision %d", m.revision)
	for _, mode := range modes {
		c := m.client(mode)
		r, err := c.VerifyAndDownloadPlugin(context.Background(), plugin, DownloadOptions{})
		require.NoError(m.t, err)
		raw, err := os.ReadFile(r.Path)
		require.NoError(m.t, err)
		require.Equal(m.t, want, string(raw))
		require.NoError(m.t, c.Shutdown(context.Background()))
	}
	stored := m.stored()
	doc := func(role string) *admission.Doc {
		d, err := admission.Parse(admission.KindOf(role), stored[role+".json"], admission.DefaultLimits())
		require.NoError(m.t, err)
		return d
	}
	root := doc("root")
	require.Equal(m.t, int64(m.repo.Root.Version), root.Version)
	for _, role := range []string{"root", "timestamp", "snapshot", "targets"} {
		require.NoError(m.t, verify.Signed(root, role, doc(role)))
	}
	require.Len(m.t, stored, 4)
	tmp, err := os.ReadDir(filepath.Join(m.dir, "metadata", ".ragnos", "tmp"))
	require.NoError(m.t, err)
	require.Empty(m.t, tmp, "temporary files in the trust store")
	for _, f := range m.cached() {
		raw, err := os.ReadFile(f)
		require.NoError(m.t, err)
		if len(raw) > 0 {
			require.Equal(m.t, tuftest.SHA256(raw), filepath.Base(f), "a file in the cache that is not what its name says")
		}
	}
	require.Eventually(m.t, func() bool { return len(processesIn(m.temp)) == 0 }, 30*time.Second, 20*time.Millisecond,
		"workers outlive their hosts")
	left, err := os.ReadDir(m.temp)
	require.NoError(m.t, err)
	require.Empty(m.t, left, "temporary files")
}

// processesIn returns the processes whose command line names a directory; none
// where there is no /proc.
func processesIn(dir string) []string {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	return slices.DeleteFunc(all, func(file string) bool {
		raw, err := os.ReadFile(file)
		return err != nil || !bytes.Contains(raw, []byte(dir))
	})
}
