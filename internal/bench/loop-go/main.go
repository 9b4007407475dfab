// Command loop-go is go-tuf's own client in a long-lived process.
package main

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/ragnos-labs/vault-tuf/internal/bench/loop"
)

func main() {
	loop.Main(map[string]func(*loop.Job) (loop.Result, error){
		"look-ups": lookUps, "hits": hits, "releases": releases, "idle": idle,
	})
}

// open returns a refreshed Updater. It can refresh only once.
func open(j *loop.Job) (*updater.Updater, error) {
	trusted, err := os.ReadFile(j.Root)
	if err != nil {
		return nil, err
	}
	cfg, err := config.New(j.URL+"/metadata", trusted)
	if err != nil {
		return nil, err
	}
	cfg.RemoteTargetsURL = j.URL + "/targets"
	cfg.LocalMetadataDir, cfg.LocalTargetsDir = filepath.Join(j.Dir, "metadata"), filepath.Join(j.Dir, "targets")
	u, err := updater.New(cfg)
	if err != nil {
		return nil, err
	}
	return u, u.Refresh()
}

// lookUps shares one Updater that is never refreshed again.
func lookUps(j *loop.Job) (loop.Result, error) {
	u, err := open(j)
	if err != nil {
		return loop.Result{}, err
	}
	names, err := j.Names()
	if err != nil {
		return loop.Result{}, err
	}
	return j.Rate(func(n int) error {
		_, err := u.GetTargetInfo(names[n%len(names)])
		return err
	})
}

// hits shares one Updater that is never refreshed again.
func hits(j *loop.Job) (loop.Result, error) {
	u, err := open(j)
	if err != nil {
		return loop.Result{}, err
	}
	if err := download(u, j.Target); err != nil {
		return loop.Result{}, err
	}
	return j.Rate(func(int) error {
		info, err := u.GetTargetInfo(j.Target)
		if err != nil {
			return err
		}
		path, _, err := u.FindCachedTarget(info, "")
		if err == nil && path == "" {
			err = errors.New("not in the cache")
		}
		return err
	})
}

// releases takes a new Updater for each, over the same directories.
func releases(j *loop.Job) (loop.Result, error) {
	return j.EachRelease(func(target string) error {
		u, err := open(j)
		if err != nil {
			return err
		}
		return download(u, target)
	})
}

func idle(j *loop.Job) (loop.Result, error) {
	u, err := open(j)
	if err == nil {
		err = download(u, j.Target)
	}
	if err != nil {
		return loop.Result{}, err
	}
	time.Sleep(loop.Rest)
	host, err := loop.Resident()
	return loop.Result{Host: host}, err
}

func download(u *updater.Updater, target string) error {
	info, err := u.GetTargetInfo(target)
	if err == nil {
		_, _, err = u.DownloadTarget(info, "", "")
	}
	return err
}
