package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/ragnos-labs/vault-tuf/hybrid"
)

// faults is how many faults of go-tuf in a row open the breaker of step 5.
const faults = resigned

// breaker is step 5: an application that embeds package hybrid and stays up.
func (d *demo) breaker(ctx context.Context, odd *states) (err error) {
	d.step("An application that stays up: the breaker around go-tuf.")
	d.say("   It embeds package hybrid and asks for the plugin whenever the publisher has signed")
	d.say("   the timestamp again; %d faults of go-tuf in a row open the breaker, and after %v a", faults, d.coolDown)
	d.say("   probe is due. What has not changed nobody has to verify again.")
	client, err := hybrid.New(hybrid.Options{
		RepositoryURL: odd.url, Root: odd.root, Python: d.python, Mode: hybrid.ModeAuto,
		MetadataDir: filepath.Join(d.dir, "daemon", "metadata"), CacheDir: filepath.Join(d.dir, "daemon", "cache"),
		BreakerFailures: faults, BreakerCoolDown: d.coolDown,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Shutdown(context.WithoutCancel(ctx))) }()

	for n := 1; n <= faults; n++ {
		state := "closed"
		if n == faults {
			state = "open"
		}
		if err := d.call(ctx, client, "python", state); err != nil {
			return err
		}
		odd.show(resignedState(n))
	}
	if err := d.call(ctx, client, "python", "open"); err != nil {
		return err
	}
	d.proved("after %d faults the breaker opened, and calls go straight to python-tuf.", faults)

	odd.show("readable")
	d.say("\n   The publisher signs again, both signatures in hex. Nobody tells the application.")
	if err := waitFor(ctx, client, "half-open"); err != nil {
		return err
	}
	if err := d.call(ctx, client, "go", "closed"); err != nil {
		return err
	}
	d.proved("a probe found go-tuf well again, and the breaker closed by itself.")
	return nil
}

// call downloads the plugin once more, shows who verified it and how the
// breaker stands, and fails unless that is as wanted.
func (d *demo) call(ctx context.Context, client *hybrid.Client, engine, state string) error {
	start := time.Now()
	plugin, err := client.VerifyAndDownloadPlugin(ctx, pluginName, hybrid.DownloadOptions{})
	if err != nil {
		return err
	}
	took := time.Since(start)
	status, err := client.Status(ctx)
	if err != nil {
		return err
	}
	d.say("   | %-6s answers in %3d ms, the breaker is %s", plugin.Engine, took.Milliseconds(), status.Breaker.State)
	if plugin.Fallback != "" {
		d.say("   |        because %s", plugin.Fallback)
	}
	if plugin.Engine != engine || status.Breaker.State != state {
		return fmt.Errorf("expected %s and a breaker that is %s", engine, state)
	}
	return nil
}

// waitFor waits until the breaker is in a state.
func waitFor(ctx context.Context, client *hybrid.Client, state string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		status, err := client.Status(ctx)
		if err != nil || status.Breaker.State == state {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
