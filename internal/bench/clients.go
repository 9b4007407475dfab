//go:build linux

package main

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/bench/report"
	"github.com/ragnos-labs/vault-tuf/internal/bench/world"
)

//go:embed plain.py
var plainPython string

// job is what a client is to do: download the target of a repository. dir is the
// client's own, empty or as it left it.
type job struct {
	repo     *world.Repo
	url, dir string
	// paths are what an ordinary client asks for, in this order: for the floor.
	paths []string
}

// client is one way to do a job in a process of its own.
type client struct {
	name string
	// watch says that it may start a worker.
	watch   bool
	command func(h *harness, j job) (env, args []string, err error)
}

var clients = []client{
	{report.GoTUF, false, func(h *harness, j job) ([]string, []string, error) {
		return nil, []string{h.bin("plain-go"), j.url, j.repo.Root(), j.dir, j.repo.Target}, nil
	}},
	{report.PythonTUF, false, func(h *harness, j job) ([]string, []string, error) {
		return nil, []string{h.python, "-c", plainPython, j.url, j.repo.Root(), j.dir, j.repo.Target}, nil
	}},
	{report.Auto, true, ours(hybrid.ModeAuto)},
	{report.Go, true, ours(hybrid.ModeGo)},
	{report.Python, true, ours(hybrid.ModePython)},
	{report.Dual, true, ours(hybrid.ModeDual)},
	{report.Floor, false, curl},
}

func ours(mode hybrid.Mode) func(*harness, job) ([]string, []string, error) {
	return func(h *harness, j job) ([]string, []string, error) {
		env := []string{
			hybrid.EnvMode + "=" + string(mode), hybrid.EnvRepoURL + "=" + j.url, hybrid.EnvRoot + "=" + j.repo.Root(),
			hybrid.EnvMetadataDir + "=" + filepath.Join(j.dir, "metadata"), hybrid.EnvCacheDir + "=" + filepath.Join(j.dir, "cache"),
		}
		return env, []string{h.bin("ragnos-tuf"), "download", j.repo.Target}, nil
	}
}

// curl fetches the files one after another over one connection, and hashes them.
func curl(_ *harness, j job) ([]string, []string, error) {
	var config strings.Builder
	for i, path := range j.paths {
		fmt.Fprintf(&config, "url = %q\noutput = %q\n", j.url+path, filepath.Join(j.dir, fmt.Sprintf("f%d", i)))
	}
	file := filepath.Join(j.dir, "curlrc")
	script := `curl -qsS -K "$1/curlrc" && sha256sum "$1"/f*`
	return nil, []string{"sh", "-c", script, "sh", j.dir}, os.WriteFile(file, []byte(config.String()), 0o600)
}

// downloaded checks that the target lies somewhere below dir.
func downloaded(dir string, repo *world.Repo) error {
	found := false
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || found {
			return err
		}
		info, err := e.Info()
		if err != nil || info.Size() != repo.Length {
			return err
		}
		digest, err := sha256File(path)
		found = digest == repo.SHA256
		return err
	})
	if err == nil && !found {
		err = fmt.Errorf("reports success, but there is no %s", repo.Target)
	}
	return err
}

func sha256File(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash := sha256.New()
	_, err = io.Copy(hash, f)
	return hex.EncodeToString(hash.Sum(nil)), err
}
