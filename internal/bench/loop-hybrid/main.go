// Command loop-hybrid is our client in a long-lived process, in mode auto.
package main

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/bench/loop"
)

// fresh is how old an answer may be where answers are counted.
const fresh = time.Second

func main() {
	loop.Main(map[string]func(*loop.Job) (loop.Result, error){
		"look-ups": with(fresh, lookUps),
		"hits":     with(fresh, hits),
		"refresh":  with(0, refresh),
		"releases": with(0, func(ctx context.Context, c *hybrid.Client, j *loop.Job) (loop.Result, error) {
			return releases(ctx, c, j, false)
		}),
		"fallback": with(0, func(ctx context.Context, c *hybrid.Client, j *loop.Job) (loop.Result, error) {
			return releases(ctx, c, j, true)
		}),
		"idle": with(0, idle),
	})
}

// with makes a work of f, which gets a client whose breaker never opens.
func with(interval time.Duration, f func(context.Context, *hybrid.Client, *loop.Job) (loop.Result, error)) func(*loop.Job) (loop.Result, error) {
	return func(j *loop.Job) (result loop.Result, err error) {
		root, err := os.ReadFile(j.Root)
		if err != nil {
			return result, err
		}
		c, err := hybrid.New(hybrid.Options{
			RepositoryURL: j.URL, Root: root, Mode: hybrid.ModeAuto,
			MetadataDir: filepath.Join(j.Dir, "metadata"), CacheDir: filepath.Join(j.Dir, "cache"),
			RefreshInterval: interval, BreakerFailures: math.MaxUint32,
		})
		if err != nil {
			return result, err
		}
		ctx := context.Background()
		defer func() { err = errors.Join(err, c.Shutdown(ctx)) }()
		return f(ctx, c, j)
	}
}

func lookUps(ctx context.Context, c *hybrid.Client, j *loop.Job) (loop.Result, error) {
	names, err := j.Names()
	if err != nil {
		return loop.Result{}, err
	}
	return j.Rate(func(n int) error {
		_, err := c.Lookup(ctx, names[n%len(names)])
		return err
	})
}

func hits(ctx context.Context, c *hybrid.Client, j *loop.Job) (loop.Result, error) {
	if _, err := c.VerifyAndDownloadPlugin(ctx, j.Target, hybrid.DownloadOptions{}); err != nil {
		return loop.Result{}, err
	}
	return j.Rate(func(int) error {
		r, err := c.VerifyAndDownloadPlugin(ctx, j.Target, hybrid.DownloadOptions{})
		if err == nil && !r.FromCache {
			err = errors.New("not in the cache")
		}
		return err
	})
}

func refresh(ctx context.Context, c *hybrid.Client, j *loop.Job) (loop.Result, error) {
	return j.Repeat(func() error { return c.Refresh(ctx) })
}

func releases(ctx context.Context, c *hybrid.Client, j *loop.Job, fallback bool) (loop.Result, error) {
	return j.EachRelease(func(target string) error {
		r, err := c.VerifyAndDownloadPlugin(ctx, target, hybrid.DownloadOptions{})
		if err == nil && fallback != (r.Fallback != "") {
			err = errors.New("the wrong engine answered")
		}
		return err
	})
}

func idle(ctx context.Context, c *hybrid.Client, j *loop.Job) (loop.Result, error) {
	if _, err := c.VerifyAndDownloadPlugin(ctx, j.Target, hybrid.DownloadOptions{}); err != nil {
		return loop.Result{}, err
	}
	time.Sleep(loop.Rest)
	host, err := loop.Resident()
	if err != nil {
		return loop.Result{}, err
	}
	status, err := c.Status(ctx)
	if err != nil {
		return loop.Result{}, err
	}
	return loop.Result{Host: host, Worker: float64(status.Worker.RSS) / (1 << 20)}, nil
}
