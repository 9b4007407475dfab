//go:build linux

package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

//go:embed plain.py
var plainPython string

const module = "github.com/ragnos-labs/vault-tuf"

// processTimeout bounds one measured process.
const processTimeout = 30 * time.Minute

// layout is how a repository lists its plugins.
type layout struct {
	name       string
	publishers int
	bits       int // of the bins of the only publisher; 0 for none
}

var layouts = []layout{
	{"one publisher's role", 1, 0},
	{"roles of 100 publishers", 100, 0},
	{"256 bins of one publisher", 1, 8},
}

// binPrefix is what the names of the only publisher's bins begin with.
const binPrefix = "_vendor-000"

// harness runs programs in a directory of its own, which is removed at the end.
type harness struct {
	python, bin, work string
}

func (h *harness) build(ctx context.Context) error {
	args := []string{"build", "-o", h.bin + "/"}
	for _, p := range []string{"cmd/local-tuf", "internal/bench/meter", "internal/bench/publishing/plain-go"} {
		args = append(args, module+"/"+p)
	}
	return h.run(ctx, "go", args...)
}

func (h *harness) run(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, args[0], err, out)
	}
	return nil
}

func (h *harness) machine(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, h.python, "-c", "import importlib.metadata as m; print(m.version('tuf'))").Output()
	if err != nil {
		return "", fmt.Errorf("%s has no python-tuf: %w", h.python, err)
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "", err
	}
	before, _, _ := strings.Cut(string(load), " ")
	return fmt.Sprintf("%d CPUs (%s), load %s at the start; %s; python-tuf %s", runtime.NumCPU(), runtime.GOARCH, before,
		runtime.Version(), strings.TrimSpace(string(out))), nil
}

// sample is one measurement, as the meter prints it.
type sample struct {
	Wall time.Duration `json:"wall"`
	// RSS is in KiB.
	RSS    int64  `json:"host"`
	Code   int    `json:"code"`
	Stderr string `json:"stderr"`
	// written is how many bytes of metadata are new.
	written int64
}

// meter measures a command.
func (h *harness) meter(ctx context.Context, args ...string) (*sample, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(h.bin, "meter"), append([]string{"-timeout", processTimeout.String(), "--"}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("meter: %w: %s", err, stderr.String())
	}
	s := &sample{}
	// The command prints, too.
	line := stdout.Bytes()[bytes.LastIndexByte(bytes.TrimSpace(stdout.Bytes()), '\n')+1:]
	if err := json.Unmarshal(line, s); err != nil {
		return nil, err
	}
	if s.Code != 0 {
		return nil, fmt.Errorf("%s: exit code %d: %s", filepath.Base(args[0]), s.Code, s.Stderr)
	}
	return s, nil
}

// measure publishes a batch into a new repository, and then one more.
func (h *harness) measure(ctx context.Context, r *report, l layout, size, rounds int) error {
	dir, err := os.MkdirTemp(h.work, "repository-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	repo := filepath.Join(dir, "repo")
	if err := h.prepare(ctx, repo, l); err != nil {
		return err
	}
	if size > 0 {
		if err := h.batch(ctx, r, dir, repo, l, size); err != nil {
			return err
		}
	}
	row := row{layout: l.name, size: size, samples: map[string][]*sample{}}
	for round := range rounds {
		if err := h.oneMore(ctx, row.samples, dir, repo, l, size+round); err != nil {
			return err
		}
	}
	r.one = append(r.one, row)
	return nil
}

// prepare makes a repository without plugins.
func (h *harness) prepare(ctx context.Context, repo string, l layout) error {
	tool := filepath.Join(h.bin, "local-tuf")
	if err := h.run(ctx, tool, "init", "--dir", repo, "--plain-keys"); err != nil {
		return err
	}
	for n := range l.publishers {
		if err := h.run(ctx, tool, "publisher", "add", publisher(n, l.publishers), "--dir", repo, "--plain-keys"); err != nil {
			return err
		}
	}
	if l.bits == 0 {
		return nil
	}
	return h.run(ctx, tool, "bins", "--dir", repo, "--role", publisher(0, 1), "--bits", fmt.Sprint(l.bits))
}

// batch publishes a batch, first with the libraries' APIs, which leave the
// repository as it is.
func (h *harness) batch(ctx context.Context, r *report, dir, repo string, l layout, size int) error {
	in := filepath.Join(dir, "batch")
	stems, err := writeBatch(in, size, l.publishers)
	if err != nil {
		return err
	}
	defer os.RemoveAll(in)
	row := row{layout: l.name, size: size, samples: map[string][]*sample{}}
	if err := h.peers(ctx, row.samples, dir, repo, l, stems); err != nil {
		return err
	}
	if err := h.ours(ctx, row.samples, repo, "--batch", in); err != nil {
		return err
	}
	r.batch = append(r.batch, row)
	return nil
}

func (h *harness) oneMore(ctx context.Context, into map[string][]*sample, dir, repo string, l layout, n int) error {
	stem, err := writePlugin(dir, n, l.publishers)
	if err != nil {
		return err
	}
	if err := h.peers(ctx, into, dir, repo, l, []string{stem}); err != nil {
		return err
	}
	return h.ours(ctx, into, repo, stem+extArchive, stem+extManifest)
}

// The clients.
const (
	ours      = "local-tuf"
	goTUF     = "go-tuf"
	pythonTUF = "python-tuf"
)

func (h *harness) ours(ctx context.Context, into map[string][]*sample, repo string, args ...string) error {
	before, err := sizes(filepath.Join(repo, "metadata"))
	if err != nil {
		return err
	}
	s, err := h.meter(ctx, append([]string{filepath.Join(h.bin, "local-tuf"), "publish", "--dir", repo}, args...)...)
	if err != nil {
		return err
	}
	after, err := sizes(filepath.Join(repo, "metadata"))
	for name, size := range after {
		if _, old := before[name]; !old || name == "timestamp.json" {
			s.written += size
		}
	}
	into[ours] = append(into[ours], s)
	return err
}

// sizes are those of the files of a directory.
func sizes(dir string) (map[string]int64, error) {
	all := map[string]int64{}
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			all[e.Name()] = info.Size()
		}
		return err
	})
	return all, err
}

// job is what the APIs are to publish.
type job struct {
	Metadata string   `json:"metadata"`
	Out      string   `json:"out"`
	Keys     string   `json:"keys"`
	Bins     string   `json:"bins"`
	Bits     int      `json:"bits"`
	Targets  []target `json:"targets"`
}

type target struct {
	Path   string          `json:"path"`
	File   string          `json:"file"`
	Role   string          `json:"role"`
	Custom json.RawMessage `json:"custom"`
}

// peers lets the libraries' APIs do the same metadata work.
func (h *harness) peers(ctx context.Context, into map[string][]*sample, dir, repo string, l layout, stems []string) error {
	j := job{Metadata: filepath.Join(repo, "metadata"), Out: filepath.Join(dir, "out"), Keys: filepath.Join(repo, "keys"), Bits: l.bits}
	if l.bits > 0 {
		j.Bins = binPrefix
	}
	for _, stem := range stems {
		custom, err := os.ReadFile(stem + extManifest)
		if err != nil {
			return err
		}
		var m struct{ Name, Publisher string }
		if err := json.Unmarshal(custom, &m); err != nil {
			return err
		}
		j.Targets = append(j.Targets, target{"plugins/" + m.Publisher + "/" + m.Name + ".1.0.0.tar.gz", stem + extArchive, m.Publisher, custom})
	}
	file := filepath.Join(dir, "job.json")
	data, err := json.Marshal(j)
	if err == nil {
		err = os.WriteFile(file, data, 0o600)
	}
	if err != nil {
		return err
	}
	for _, c := range []struct {
		name    string
		command []string
	}{
		{goTUF, []string{filepath.Join(h.bin, "plain-go"), file}},
		{pythonTUF, []string{h.python, "-c", plainPython, file}},
	} {
		if err := os.Mkdir(j.Out, 0o700); err != nil {
			return err
		}
		s, err := h.meter(ctx, c.command...)
		if err != nil {
			return err
		}
		into[c.name] = append(into[c.name], s)
		if err := os.RemoveAll(j.Out); err != nil {
			return err
		}
	}
	return nil
}

// median returns the middle one of some samples.
func median[T int64 | time.Duration](samples []*sample, of func(*sample) T) T {
	values := make([]T, 0, len(samples))
	for _, s := range samples {
		values = append(values, of(s))
	}
	slices.Sort(values)
	return values[len(values)/2]
}
