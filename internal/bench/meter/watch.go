//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/bench/proc"
)

// watcher reads the peaks of a process and of its children until it is stopped.
// The nil watcher has seen nothing.
type watcher struct {
	ended, done chan struct{}
	host        int64
	children    map[string]int64
}

func watchPeaks(pid int) *watcher {
	w := &watcher{ended: make(chan struct{}), done: make(chan struct{}), children: map[string]int64{}}
	go func() {
		defer close(w.done)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-w.ended:
				return
			case <-tick.C:
				w.look(pid)
			}
		}
	}()
	return w
}

// look keeps the last reading of each: a process that has not yet become its
// program shows the peak of whoever started it.
func (w *watcher) look(pid int) {
	if peak := proc.PeakKiB(fmt.Sprint(pid)); peak > 0 {
		w.host = peak
	}
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is well-formed
	for _, list := range lists {
		raw, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for child := range strings.FieldsSeq(string(raw)) {
			if peak := proc.PeakKiB(child); peak > 0 {
				w.children[child] = peak
			}
		}
	}
}

// stop returns the peaks of the process and of its largest child, 0 if there
// was none.
func (w *watcher) stop() (host, child int64) {
	if w == nil {
		return 0, 0
	}
	close(w.ended)
	<-w.done
	for _, peak := range w.children {
		child = max(child, peak)
	}
	return w.host, child
}
