package main

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/ragnos-labs/vault-tuf/vault"
)

// grace is how long a child has to end by itself.
const grace = 5 * time.Second

// child is a plugin's process. A nil child does not run.
type child struct {
	target string
	cancel context.CancelFunc
	done   chan struct{}
}

// launch starts an executable, and closes it when it has ended. The file is run from
// memory that nobody can change; on systems that have none, from a private copy.
func launch(target string, exe *vault.Bytes) (*child, error) {
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, exe.Path())
	if exe.Sealed() {
		// The first of ExtraFiles is descriptor 3 of the child. It stays open there:
		// the interpreter of a script opens it by this name.
		cmd = exec.CommandContext(ctx, "/proc/self/fd/3")
		cmd.ExtraFiles = []*os.File{exe.OSFile()}
	}
	// Nothing else of the host is the plugin's business.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	cmd.Dir = os.TempDir()
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
	// It is asked to end, and killed if it does not.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = grace
	if err := cmd.Start(); err != nil {
		cancel()
		_ = exe.Close()
		return nil, err
	}
	say(line{"started": target, "pid": cmd.Process.Pid})
	c := &child{target: target, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		_ = cmd.Wait()
		_ = exe.Close()
		say(line{"ended": target, "how": cmd.ProcessState.String()})
	}()
	return c, nil
}

// runs tells whether the child runs a target.
func (c *child) runs(target string) bool {
	if c == nil || c.target != target {
		return false
	}
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// stop ends the child and waits until it has ended.
func (c *child) stop() {
	if c != nil {
		c.cancel()
		<-c.done
	}
}
