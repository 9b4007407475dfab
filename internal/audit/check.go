package audit

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// checker looks at the lines of a log one after another, in constant memory.
//
// It knows which line must come next. A line with another number is held until the
// next one tells whether it stands there in place of the right one, or in addition,
// or whether lines are missing before it. Which lines are missing, and which stand
// where they do not belong, is compared at the end: a line of both kinds was moved.
type checker struct {
	rep *Report
	// want is the number of the next line. last is the line before it, if linked.
	want   int64
	last   seen
	linked bool
	tree   tree
	// gapped: lines are missing, so that the tree can be compared no more.
	gapped bool
	roots  roots

	// held is a line with another number than want.
	held *seen
	// run is where lines began that are none, and how many they are so far.
	run    *Place
	runLen int64
	hole   bool // the first of them has a hole that was never written
	// doubt is a line whose prev does not fit the line before, which is before.
	doubt, before *seen
	// lost is the index of a problem that tells of a missing file, -1 if none is open.
	lost int

	missing, misplaced []span
}

// seen is a line and where it stands.
type seen struct {
	Place
	seq        int64
	prev, hash [sha256.Size]byte
	leaf       tlog.Hash
	at         time.Time
	recovered  bool
}

// span is lines that are missing, or one that is not in its place.
type span struct {
	Place
	from, to int64
}

func newChecker(rep *Report) *checker {
	return &checker{rep: rep, want: 1, linked: true, lost: -1}
}

// problem adds a problem about lines of the log.
func (c *checker) problem(kind Kind, at Place, from, to int64, format string, args ...any) {
	c.rep.add(Problem{kind, at, from, to, fmt.Sprintf(format, args...)})
}

// bad takes what is no line.
func (c *checker) bad(at Place, raw []byte) {
	if c.held != nil {
		c.decide(0)
	}
	if c.run == nil {
		c.run, c.runLen = &at, 0
		c.hole = bytes.IndexByte(raw, 0) >= 0
	}
	c.runLen++
}

// good takes a line.
func (c *checker) good(s *seen) {
	if c.run != nil {
		c.endRun(s.seq)
	}
	if c.held != nil {
		c.decide(s.seq)
	}
	if s.seq == c.want {
		c.accept(s)
	} else {
		c.held = s
	}
}

// endRun says what lines were that are none, now that the line next is known.
func (c *checker) endRun(next int64) {
	at := *c.run
	c.run = nil
	if next <= c.want {
		c.problem(KindForeign, at, 0, 0, "what stands here is none of this log (lines: %d)", c.runLen)
		return
	}
	c.problem(KindEdited, at, c.want, next-1, "what stands in place of %s is not what was written", lines(c.want, next-1))
	c.skip(next)
}

// skip goes on with the line next, whatever was before.
func (c *checker) skip(next int64) {
	c.settle()
	c.want, c.linked, c.gapped = next, false, true
}

// decide says what the held line is, now that the next one is known, 0 at the end.
func (c *checker) decide(next int64) {
	h := c.held
	c.held = nil
	fits := c.linked && h.prev == c.last.hash
	switch {
	case next == c.want:
		c.misplaced = keep(c.misplaced, span{h.Place, h.seq, h.seq})
	case fits && (next == c.want+1 || next == 0):
		c.problem(KindEdited, h.Place, c.want, c.want, "line %d says that it is line %d", c.want, h.seq)
		c.skip(c.want + 1)
	case next == c.want+1:
		c.misplaced = keep(c.misplaced, span{h.Place, h.seq, h.seq})
		c.missing = keep(c.missing, span{h.Place, c.want, c.want})
		c.skip(next)
	case h.seq > c.want:
		c.gap(h)
		c.accept(h)
	default:
		c.misplaced = keep(c.misplaced, span{h.Place, h.seq, h.seq})
	}
}

// gap notes that the lines before s are missing.
func (c *checker) gap(s *seen) {
	if c.lost >= 0 && c.lost < len(c.rep.Problems) {
		c.rep.Problems[c.lost].Through = s.seq - 1
	} else {
		c.missing = keep(c.missing, span{s.Place, c.want, s.seq - 1})
	}
	c.lost = -1
	c.skip(s.seq)
}

// keep adds to a list that is bounded.
func keep(list []span, s span) []span {
	if len(list) == maxProblems {
		return list
	}
	return append(list, s)
}

// noFile notes that a file is missing, or empty, where the next line should be.
func (c *checker) noFile(name, why string) {
	c.rep.add(Problem{KindFileMissing, Place{File: name}, c.want, c.want, why})
	c.lost = len(c.rep.Problems) - 1
}

// accept takes the line that must come next.
func (c *checker) accept(s *seen) {
	fits := !c.linked || s.prev == c.last.hash
	if c.doubt != nil {
		c.blame(fits)
		fits = true
	}
	if !fits {
		before := c.last
		c.doubt, c.before = s, &before
		if s.seq == 1 || c.roots.good() == s.seq-1 {
			c.blame(false)
		}
	}
	c.want, c.linked, c.last = s.seq+1, true, *s
	if c.lost >= 0 && c.lost < len(c.rep.Problems) { // It held no line.
		c.rep.Problems[c.lost].Seq, c.rep.Problems[c.lost].Through = 0, 0
	}
	c.lost = -1
	c.count(s)
	c.roots.stored.step(s.Place, s.seq)
	c.roots.given.step(s.Place, s.seq)
	if !c.gapped {
		c.tree.add(s.leaf)
		c.roots.compare(&c.tree)
	}
}

// blame says which of two lines that do not fit was edited: the one before, if the
// rest of the log goes on from the second.
func (c *checker) blame(goesOn bool) {
	s := c.doubt
	if goesOn {
		s = c.before
	}
	c.problem(KindEdited, s.Place, s.seq, s.seq, "line %d is not the line that was written: its neighbours do not fit", s.seq)
	c.doubt, c.before = nil, nil
}

// settle ends a doubt that nothing more can be learned about.
func (c *checker) settle() {
	if c.doubt == nil {
		return
	}
	c.problem(KindEdited, c.before.Place, c.before.seq, c.doubt.seq, "line %d does not follow line %d: one of them was edited", c.doubt.seq, c.before.seq)
	c.doubt, c.before = nil, nil
}

func (c *checker) count(s *seen) {
	r := c.rep
	r.Lines++
	if r.Lines == 1 {
		r.First = s.at
	} else if s.at.Before(r.Last) {
		r.Backward++
	}
	r.Last = s.at
	if s.recovered {
		r.Recovered++
	}
}

// finish is called behind the last line, at end. covered is what the largest signed
// checkpoint says.
func (c *checker) finish(end Place, covered int64) {
	if c.held != nil {
		c.decide(0)
	}
	c.settle()
	if c.run != nil {
		c.endOfRuns(end, covered)
	}
	c.judgeMoved()
	if c.want <= covered {
		c.problem(KindTruncated, end, c.want, covered, "the log ends before line %d, and %d lines were signed", c.want, covered)
	}
	for _, m := range []*span{c.roots.stored.mismatch, c.roots.given.mismatch} {
		if m != nil && !c.explained(m) {
			c.problem(KindEdited, m.Place, m.from, m.to, "the lines hang together, but they are not those that were signed: somewhere in %s", lines(m.from, m.to))
		}
	}
}

// endOfRuns says what the lines at the end of the log are that are none.
func (c *checker) endOfRuns(end Place, covered int64) {
	at := *c.run
	switch {
	case c.want <= covered:
		to := min(c.want+c.runLen-1, covered)
		c.problem(KindEdited, at, c.want, to, "what stands in place of %s is not what was written", lines(c.want, to))
		c.skip(to + 1)
	case c.hole:
		c.rep.Torn = &Torn{at, end.Offset - at.Offset}
	default:
		c.problem(KindForeign, at, 0, 0, "what stands at the end is none of this log, or was edited (lines: %d)", c.runLen)
	}
	c.run = nil
}

// judgeMoved says which lines were removed, moved or repeated.
func (c *checker) judgeMoved() {
	for _, m := range c.misplaced {
		kind, what := KindRepeated, "also stands elsewhere"
		switch {
		case m.from == c.want:
			c.want++
			kind, what = KindReordered, "does not belong here"
		case c.fill(m.from):
			kind, what = KindReordered, "does not belong here"
		case m.from > c.want:
			kind, what = KindForeign, "never followed the lines before it"
		}
		c.problem(kind, m.Place, m.from, m.from, "line %d %s", m.from, what)
	}
	for _, m := range c.missing {
		if m.from <= m.to {
			c.problem(KindRemoved, m.Place, m.from, m.to, "missing here: %s", lines(m.from, m.to))
		}
	}
}

// fill takes one line out of those that are missing.
func (c *checker) fill(seq int64) bool {
	for i, m := range c.missing {
		if seq < m.from || seq > m.to {
			continue
		}
		c.missing[i].to = seq - 1
		c.missing = append(c.missing, span{m.Place, seq + 1, m.to})
		return true
	}
	return false
}

// explained tells whether a problem says already why the lines are not those of a
// checkpoint.
func (c *checker) explained(m *span) bool {
	for _, p := range c.rep.Problems {
		if p.Seq > 0 && p.Seq <= m.to && p.Through >= m.from && !strings.HasPrefix(p.File, tornPrefix) && (p.Kind == KindEdited || p.Kind == KindRemoved || p.Kind == KindFileMissing || p.Kind == KindReordered) {
			return true
		}
	}
	return c.rep.More > 0
}

// lines names lines of the log.
func lines(from, to int64) string {
	if from == to {
		return fmt.Sprintf("line %d", from)
	}
	return fmt.Sprintf("lines %d to %d", from, to)
}
