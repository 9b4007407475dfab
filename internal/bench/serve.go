//go:build linux

package main

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/ragnos-labs/vault-tuf/internal/bench/proc"
	"github.com/ragnos-labs/vault-tuf/internal/bench/report"
	"github.com/ragnos-labs/vault-tuf/internal/bench/world"
)

// servePrograms are what is built for the servers' own group.
var servePrograms = []string{"cmd/local-tuf", "internal/bench/load", "internal/bench/fileserver"}

// serveWork is a file that a server is asked for by many connections.
type serveWork struct {
	name string
	// file is the plugin to ask for, "" for timestamp.json.
	file        string
	connections int
	unchanged   bool
}

// The plugins of the repository that is served.
const (
	smallPlugin, smallBytes = "small", world.PluginBytes
	largePlugin, largeBytes = "large", 100_000_000
)

var serveWorks = []serveWork{
	{name: report.ServeTimestamp, connections: 16},
	{name: report.ServeUnchanged, connections: 16, unchanged: true},
	{name: report.ServeSmall, file: smallPlugin, connections: 16},
	{name: report.ServeLarge, file: largePlugin, connections: 2},
}

// loaded is what the load program prints.
type loaded struct {
	Requests, Bytes int64
	Seconds         float64
}

// measured is one measurement of a server.
type measured struct {
	load loaded
	// peak is in KiB, cpu in milliseconds.
	peak int64
	cpu  float64
}

// serving measures the servers at one work in rounds, each in a process of its own.
func (h *harness) serving(ctx context.Context, w serveWork, rounds int) (report.Row, error) {
	row := report.Row{Work: w.name}
	dir, err := h.published(ctx)
	if err != nil {
		return row, err
	}
	path := "/metadata/timestamp.json"
	if w.file != "" {
		found, err := filepath.Glob(filepath.Join(dir, "targets", "plugins", "acme", "*."+w.file+".1.0.0.tar.gz"))
		if err != nil || len(found) != 1 {
			return row, fmt.Errorf("%s is not published: %w", w.file, err)
		}
		path = strings.TrimPrefix(found[0], dir)
	}
	commands := map[string][]string{
		report.LocalTUF: {h.bin("local-tuf"), "serve", "--dir", dir, "--port", "0", "--rate", "0", "--access-log", filepath.Join(h.work, "access.log")},
		report.Floor:    {h.bin("fileserver"), dir},
	}
	names := []string{report.LocalTUF, report.Floor}
	results := map[string][]measured{}
	for round := range rounds {
		for i := range names {
			name := names[(i+round)%len(names)]
			m, err := h.loadOnce(ctx, w, commands[name], path)
			if err != nil {
				return row, fmt.Errorf("%s, %s: %w", w.name, name, err)
			}
			results[name] = append(results[name], m)
		}
	}
	for _, name := range names {
		row.Cells = append(row.Cells, serveCell(name, w, results[name]))
	}
	return row, nil
}

// loadOnce starts a server, loads it, and ends it.
func (h *harness) loadOnce(ctx context.Context, w serveWork, command []string, path string) (m measured, err error) {
	ctx, cancel := context.WithTimeout(ctx, processTimeout)
	defer cancel()
	server := h.command(ctx, command[0], command[1:]...)
	server.Stderr = os.Stderr
	out, err := server.StdoutPipe()
	if err != nil {
		return m, err
	}
	if err := server.Start(); err != nil {
		return m, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err == nil {
		_, url, _ := strings.Cut(strings.TrimSpace(line), " at ")
		load := h.command(ctx, h.bin("load"), "-url", url+path, "-connections", fmt.Sprint(w.connections), "-for", counted.String(),
			fmt.Sprintf("-unchanged=%t", w.unchanged))
		err = output(load, &network{start: (*exec.Cmd).Start}, &m.load)
		m.peak = proc.PeakKiB(fmt.Sprint(server.Process.Pid))
	}
	err = errors.Join(err, server.Process.Signal(syscall.SIGTERM))
	_ = server.Wait() // the plain server knows no other end
	m.cpu = milliseconds(server.ProcessState.UserTime() + server.ProcessState.SystemTime())
	return m, err
}

func serveCell(name string, w serveWork, results []measured) report.Cell {
	mid := func(f func(measured) float64) float64 {
		values := make([]float64, len(results))
		for i, m := range results {
			values[i] = f(m)
		}
		return median(values)
	}
	c := report.Cell{
		Client:    name,
		PerSecond: mid(func(m measured) float64 { return float64(m.load.Requests) / m.load.Seconds }),
		Host:      mid(func(m measured) float64 { return float64(m.peak) / 1024 }),
		CPU:       mid(func(m measured) float64 { return m.cpu / float64(m.load.Requests) }),
	}
	if w.file == largePlugin {
		c.Megabytes = mid(func(m measured) float64 { return float64(m.load.Bytes) / m.load.Seconds / 1e6 })
	}
	return c
}

// published makes a repository with two plugins by the command, once for each run.
func (h *harness) published(ctx context.Context) (dir string, err error) {
	dir = filepath.Join(h.work, "published")
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	commands := [][]string{{"init", "--plain-keys"}}
	for name, size := range map[string]int64{smallPlugin: smallBytes, largePlugin: largeBytes} {
		packed := filepath.Join(h.work, name)
		manifest := fmt.Sprintf(`{"name":%q,"version":"1.0.0","publisher":"acme","description":"Random bytes."}`, name)
		if err := errors.Join(pack(packed+".tar.gz", size), os.WriteFile(packed+".json", []byte(manifest), 0o600)); err != nil {
			return "", err
		}
		commands = append(commands, []string{"publish", packed + ".tar.gz", packed + ".json"})
	}
	for _, args := range commands {
		if out, err := h.command(ctx, h.bin("local-tuf"), append(args, "--dir", dir)...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("local-tuf %s: %w: %s", args[0], err, out)
		}
	}
	return dir, nil
}

// pack writes an archive of about size bytes that cannot be compressed.
func pack(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(f, 1<<20)
	z, err := gzip.NewWriterLevel(buffered, gzip.NoCompression)
	if err != nil {
		return err
	}
	w := tar.NewWriter(z)
	err = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "data", Mode: 0o644, Size: size})
	_, copied := io.CopyN(w, rand.NewChaCha8([32]byte{}), size)
	return errors.Join(err, copied, w.Close(), z.Close(), buffered.Flush(), f.Close())
}
