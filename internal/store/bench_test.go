package store

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

func benchStore(b *testing.B, roles int) (*Store, *View) {
	s, err := Open(filepath.Join(b.TempDir(), "metadata"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Pin(b.Context(), acme.root(1).Raw, false); err != nil {
		b.Fatal(err)
	}
	v, err := s.View(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	out := acme.all(1)
	listed := map[string]int64{"targets": 1, "team": 1}
	for i := range roles {
		listed[fmt.Sprintf("bin-%05x", i)] = 1
	}
	out.Snapshot = acme.snapshot(1, listed)
	if err := tryCommit(b.Context(), s, v, out, complete); err != nil {
		b.Fatal(err)
	}
	return s, v
}

// BenchmarkView is the price of the store at the start of an operation.
func BenchmarkView(b *testing.B) {
	for _, roles := range []int{0, 16384} {
		b.Run(fmt.Sprint(roles), func(b *testing.B) {
			s, _ := benchStore(b, roles)
			for b.Loop() {
				if _, err := s.View(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkUnchanged is a complete refresh that found nothing new: view and commit.
func BenchmarkUnchanged(b *testing.B) {
	s, _ := benchStore(b, 0)
	out := acme.all(1)
	start := noon
	for b.Loop() {
		v, err := s.View(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		out.Snapshot, start = v.Snapshot, start.Add(time.Second)
		if err := tryCommit(b.Context(), s, v, out, CommitInfo{Start: start, Complete: true}); err != nil {
			b.Fatal(err)
		}
	}
}
