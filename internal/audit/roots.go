package audit

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/note"
)

// roots compares the tree of the lines with all checkpoints, while it grows.
type roots struct {
	rep       *Report
	verifiers []note.Verifier
	// notes are the stored checkpoints, each read when the one before is done with.
	notes *noteReader
	next  *anchor
	err   error // of reading them
	size  int64 // of the latest stored one
	// odd are stored ones that are not of these lines, as far as is known.
	odd     []Problem
	anchors []anchor
	// covered is the size of the largest checkpoint with a good signature.
	covered       int64
	stored, given agreement
}

// anchor is a checkpoint and where it stands.
type anchor struct {
	checkpoint
	Place
	kept bool // it is among the stored ones as well
}

// agreement is how far the lines agree with one kind of checkpoints.
type agreement struct {
	good int64 // the size of the latest good one
	// from is where line good+1 begins.
	from     Place
	mismatch *span
}

// step is called with each line.
func (a *agreement) step(at Place, seq int64) {
	if seq == a.good+1 {
		a.from = at
	}
}

// judge notes whether the lines up to size are those of a checkpoint.
func (a *agreement) judge(size int64, ok bool) {
	switch {
	case ok:
		a.good = size
	case a.mismatch == nil:
		a.mismatch = &span{a.from, a.good + 1, size}
	}
}

func (r *roots) good() int64 { return max(r.stored.good, r.given.good) }

// give takes the checkpoints from elsewhere. file is what places in them have for one.
func (r *roots) give(raw []byte, file string) {
	notes := &noteReader{lines: newLineReader(bytes.NewReader(raw), 0)}
	for {
		raw, _, err := notes.next()
		if err != nil || raw == nil {
			break
		}
		if len(bytes.TrimSpace(raw)) == 0 {
			continue
		}
		at := Place{file, notes.line, notes.offset}
		if c, ok := r.open(raw, at, "the given checkpoint"); ok {
			r.anchors = append(r.anchors, anchor{checkpoint: c, Place: at})
		}
	}
	slices.SortStableFunc(r.anchors, func(a, b anchor) int { return cmp.Compare(a.size, b.size) })
}

// open opens a checkpoint, and adds what is wrong with it to the report.
func (r *roots) open(raw []byte, at Place, what string) (checkpoint, bool) {
	c, err := openCheckpoint(raw, r.verifiers)
	if err == nil {
		r.covered = max(r.covered, c.size)
		return c, true
	}
	kind := KindCheckpointForged
	if errors.Is(err, errForeign) {
		kind = KindCheckpointForeign
	}
	r.rep.add(Problem{Kind: kind, Place: at, Message: fmt.Sprintf("%s at byte %d does not count: %v", what, at.Offset, err)})
	return c, false
}

// advance reads the next stored checkpoint that counts; next is nil at the end.
func (r *roots) advance() {
	r.next = nil
	for r.notes != nil {
		raw, whole, err := r.notes.next()
		if err != nil {
			r.err = err
		}
		if err != nil || raw == nil {
			return
		}
		at := Place{CheckpointsName, r.notes.line, r.notes.offset}
		if !whole && r.notes.held == nil {
			if _, err := openCheckpoint(raw, r.verifiers); err != nil {
				r.rep.TornCheckpoint = true
				return
			}
		}
		c, ok := r.open(raw, at, "the stored checkpoint")
		if !ok {
			continue
		}
		r.keep(c)
		if c.size < r.size {
			r.rep.add(Problem{Kind: KindCheckpointOrder, Place: at, Message: fmt.Sprintf("a checkpoint of %d lines stands behind one of %d", c.size, r.size)})
			continue
		}
		r.size = c.size
		r.next = &anchor{checkpoint: c, Place: at}
		return
	}
}

// keep notes that a given checkpoint is stored as well.
func (r *roots) keep(c checkpoint) {
	i, _ := slices.BinarySearchFunc(r.anchors, c.size, func(a anchor, size int64) int { return cmp.Compare(a.size, size) })
	for ; i < len(r.anchors) && r.anchors[i].size == c.size; i++ {
		if r.anchors[i].checkpoint == c {
			r.anchors[i].kept = true
		}
	}
}

// compare compares the tree with the checkpoints of its size.
func (r *roots) compare(t *tree) {
	for r.next != nil && r.next.size <= t.size {
		if r.next.size == t.size {
			r.compareStored(t.root() == r.next.root)
		}
		r.advance()
	}
	i, _ := slices.BinarySearchFunc(r.anchors, t.size, func(a anchor, size int64) int { return cmp.Compare(a.size, size) })
	for ; i < len(r.anchors) && r.anchors[i].size == t.size; i++ {
		ok := t.root() == r.anchors[i].root
		if ok {
			r.rep.Anchors++
			r.rep.Covered = max(r.rep.Covered, t.size)
		}
		r.given.judge(t.size, ok)
	}
}

func (r *roots) compareStored(ok bool) {
	size := r.next.size
	if !ok {
		if len(r.odd) < maxProblems {
			r.odd = append(r.odd, Problem{Kind: KindCheckpointForged, Place: r.next.Place,
				Message: fmt.Sprintf("a key of this log signed other %d lines, and later these", size)})
		}
		r.stored.judge(size, false)
		return
	}
	r.rep.Checkpoints++
	r.rep.Covered = max(r.rep.Covered, size)
	for _, p := range r.odd { // The lines are right, as a later one shows.
		r.rep.add(p)
	}
	r.odd, r.stored.mismatch = nil, nil
	r.stored.judge(size, true)
}

// finish reads the checkpoints that are left, and says which given ones are missing.
func (r *roots) finish() {
	for r.next != nil {
		r.advance()
	}
	for _, a := range r.anchors {
		if !a.kept {
			r.rep.add(Problem{Kind: KindCheckpointMissing, Place: Place{File: CheckpointsName},
				Message: fmt.Sprintf("the given checkpoint of %d lines is not among the stored ones", a.size)})
		}
	}
}
