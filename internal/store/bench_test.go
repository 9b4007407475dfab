package store

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// benchOpen opens a store in a new directory and counts its syncs.
func benchOpen(b *testing.B, syncs *atomic.Int64) *Store {
	dir, err := os.MkdirTemp(b.TempDir(), "")
	if err != nil {
		b.Fatal(err)
	}
	s, err := Open(filepath.Join(dir, "metadata"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	s.disk.before = func(op, _ string) error {
		if op == "sync" {
			syncs.Add(1)
		}
		return nil
	}
	return s
}

func benchPinned(b *testing.B, syncs *atomic.Int64) (*Store, *View) {
	s := benchOpen(b, syncs)
	if err := s.Pin(b.Context(), acme.root(1).Raw, false); err != nil {
		b.Fatal(err)
	}
	v, err := s.View(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return s, v
}

// benchStore is a store after one refresh, with the view of then.
func benchStore(b *testing.B, roles int) (*Store, *View, *atomic.Int64) {
	syncs := new(atomic.Int64)
	s, v := benchPinned(b, syncs)
	out := acme.all(1)
	listed := map[string]int64{"targets": 1, "team": 1}
	for i := range roles {
		listed[fmt.Sprintf("bin-%05x", i)] = 1
	}
	out.Snapshot = acme.snapshot(1, listed)
	if _, err := s.Commit(b.Context(), v, out, complete); err != nil {
		b.Fatal(err)
	}
	time.Sleep(2 * settled) // so that the files can be told from later ones
	v, err := s.View(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if !v.Stands() {
		b.Fatal("the store does not stand")
	}
	syncs.Store(0)
	return s, v, syncs
}

func reportSyncs(b *testing.B, syncs *atomic.Int64) {
	b.ReportMetric(float64(syncs.Load())/float64(b.N), "syncs/op")
}

// BenchmarkPinFirst is the first pin in a new directory.
func BenchmarkPinFirst(b *testing.B) {
	var syncs atomic.Int64
	root := acme.root(1).Raw
	for b.Loop() {
		b.StopTimer()
		s := benchOpen(b, &syncs)
		b.StartTimer()
		if err := s.Pin(b.Context(), root, false); err != nil {
			b.Fatal(err)
		}
	}
	reportSyncs(b, &syncs)
}

// BenchmarkCommitFirst is the first commit after the pin.
func BenchmarkCommitFirst(b *testing.B) {
	var total, syncs atomic.Int64
	out := acme.all(1)
	for b.Loop() {
		b.StopTimer()
		s, v := benchPinned(b, &syncs)
		syncs.Store(0)
		b.StartTimer()
		if _, err := s.Commit(b.Context(), v, out, complete); err != nil {
			b.Fatal(err)
		}
		total.Add(syncs.Load())
	}
	reportSyncs(b, &total)
}

// BenchmarkCommitNext is a commit in which everything is new but the root.
func BenchmarkCommitNext(b *testing.B) {
	s, v, syncs := benchStore(b, 0)
	for version := int64(2); b.Loop(); version++ {
		b.StopTimer()
		out := acme.all(version)
		b.StartTimer()
		var err error
		if v, err = s.Commit(b.Context(), v, out, complete); err != nil {
			b.Fatal(err)
		}
	}
	reportSyncs(b, syncs)
}

// BenchmarkViewUnchanged is the price of the store at the start of an operation.
func BenchmarkViewUnchanged(b *testing.B) {
	for _, roles := range []int{0, 16384} {
		b.Run(fmt.Sprint(roles), func(b *testing.B) {
			s, _, syncs := benchStore(b, roles)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.View(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			reportSyncs(b, syncs)
		})
	}
}

// BenchmarkCommitUnchanged is the commit of a refresh that found nothing new.
func BenchmarkCommitUnchanged(b *testing.B) {
	for _, roles := range []int{0, 16384} {
		b.Run(fmt.Sprint(roles), func(b *testing.B) {
			s, v, syncs := benchStore(b, roles)
			out := acme.all(1)
			out.Snapshot = v.Snapshot
			start := noon
			b.ReportAllocs()
			for b.Loop() {
				start = start.Add(time.Millisecond)
				if _, err := s.Commit(b.Context(), v, out, CommitInfo{Start: start, Complete: true}); err != nil {
					b.Fatal(err)
				}
			}
			reportSyncs(b, syncs)
		})
	}
}

// BenchmarkStands is what a long-lived client asks instead of a view.
func BenchmarkStands(b *testing.B) {
	_, v, _ := benchStore(b, 0)
	b.ReportAllocs()
	for b.Loop() {
		if !v.Stands() {
			b.Fatal("the store does not stand")
		}
	}
}

// BenchmarkTouch records a refresh that found nothing new, without the lock.
func BenchmarkTouch(b *testing.B) {
	s, v, syncs := benchStore(b, 0)
	start := noon
	b.ReportAllocs()
	for b.Loop() {
		start = start.Add(time.Microsecond)
		var err error
		if v, err = s.Touch(b.Context(), v, start, v.Role("targets")); err != nil {
			b.Fatal(err)
		}
	}
	reportSyncs(b, syncs)
}
