package audit

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Kind names what is wrong with a place in a log. Kinds are stable.
type Kind string

// The kinds of problems.
const (
	// KindEdited: the lines are not what was written there, or signed.
	KindEdited Kind = "edited"
	// KindRemoved: lines are missing between others.
	KindRemoved Kind = "removed"
	// KindRepeated: a line stands there that also stands elsewhere.
	KindRepeated Kind = "repeated"
	// KindReordered: a line stands where it does not belong.
	KindReordered Kind = "reordered"
	// KindForeign: a line is none of this log.
	KindForeign Kind = "foreign"
	// KindTruncated: the end is missing, which a checkpoint covers.
	KindTruncated Kind = "truncated"
	// KindFileMissing: a whole file is missing, or torn bytes that a line tells of.
	KindFileMissing Kind = "file_missing"
	// KindCheckpointForged: a checkpoint that no known key has signed, or not of these
	// lines.
	KindCheckpointForged Kind = "checkpoint_forged"
	// KindCheckpointMissing: a checkpoint that was given is not in the log's own file.
	KindCheckpointMissing Kind = "checkpoint_missing"
	// KindCheckpointForeign: a checkpoint is for another log.
	KindCheckpointForeign Kind = "checkpoint_other_log"
	// KindCheckpointOrder: a stored checkpoint covers less than the one before it.
	KindCheckpointOrder Kind = "checkpoint_order"
	// KindKeyMissing: there is no key to check checkpoints with.
	KindKeyMissing Kind = "key_missing"
)

// GivenName is the file of a [Place] in the checkpoints that were given beside an
// exported log.
const GivenName = "the given checkpoints"

// Place is where a line begins, or where a missing one would.
type Place struct {
	// File is the name in the directory, "" in what was given: an exported log, or else
	// checkpoints. Those beside an exported log are GivenName.
	File string `json:"file"`
	// Line counts from 1 in the file; Offset is in bytes.
	Line   int64 `json:"line"`
	Offset int64 `json:"offset"`
}

// Problem is something that cannot be in a log that was left alone.
type Problem struct {
	Kind Kind `json:"kind"`
	Place
	// Seq is the first line of the log concerned, Through the last; 0 if it is about
	// none. Where a line is repeated, foreign or reordered, Seq is what it says itself,
	// 0 if nothing.
	Seq     int64 `json:"seq,omitempty"`
	Through int64 `json:"through,omitempty"`
	// Message says it for people.
	Message string `json:"message"`
}

// Torn is an unfinished line at the end of the log.
type Torn struct {
	Place
	// Bytes is how long it is.
	Bytes int64 `json:"bytes"`
}

// maxProblems is how many problems a report lists.
const maxProblems = 1000

// Report is what [Verify] found.
type Report struct {
	// Lines are those in their place; Files and Bytes are those of the log.
	Lines int64 `json:"lines"`
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
	// First and Last are the times of the first and the last line in place, zero if
	// there is none.
	First time.Time `json:"first,omitzero"`
	Last  time.Time `json:"last,omitzero"`
	// Backward is how often a line is earlier than the one before: a clock was set.
	Backward int64 `json:"backward,omitempty"`
	// Recovered is how many lines tell of a torn one before them.
	Recovered int64 `json:"recovered,omitempty"`
	// Checkpoints and Anchors are how many stored and given checkpoints are of exactly
	// these lines, Covered how many lines the largest of them covers.
	Checkpoints int64 `json:"checkpoints"`
	Anchors     int64 `json:"anchors"`
	Covered     int64 `json:"covered"`
	// Torn is the unfinished line at the end, nil if there is none.
	Torn *Torn `json:"torn,omitempty"`
	// TornCheckpoint says that the last stored checkpoint is unfinished.
	TornCheckpoint bool `json:"torn_checkpoint,omitempty"`
	// Problems are in the order of the log; More is how many are not listed.
	Problems []Problem `json:"problems"`
	More     int64     `json:"more,omitempty"`
	// Notes say what can be told from this, and what cannot.
	Notes []string `json:"notes"`
}

// OK tells whether nothing was found that a log left alone cannot have.
func (r *Report) OK() bool { return len(r.Problems) == 0 }

func (r *Report) add(p Problem) {
	if len(r.Problems) == maxProblems {
		r.More++
		return
	}
	r.Problems = append(r.Problems, p)
}

// sort brings the problems into the order of the log.
func (r *Report) sort() {
	slices.SortStableFunc(r.Problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(fileNumber(a.File), fileNumber(b.File)), cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Seq, b.Seq))
	})
}

// conclude writes the notes. ownKeys says that the keys were those beside the log.
func (r *Report) conclude(ownKeys, anchored bool) {
	note := func(format string, args ...any) { r.Notes = append(r.Notes, fmt.Sprintf(format, args...)) }
	switch {
	case r.Lines == 0 && r.OK():
		note("There is no line: none was written here, or all were taken away without trace.")
	case r.Covered == 0 && r.Lines > 0:
		note("No checkpoint covers any line: whoever can write here could have rewritten all of them without trace.")
	case r.Covered > 0 && !r.OK():
		note("Lines 1 to %d, where they have their number, are what was signed. Look at the problems for what else stands there.", r.Covered)
	case r.Covered < r.Lines:
		note("Lines 1 to %d are what was signed. The %d after them hang together, but anybody could have cut, added or rewritten them without trace, and more lines could have stood behind them.", r.Covered, r.Lines-r.Covered)
	case r.Lines > 0:
		note("Every line, %d in all, is what was signed. Lines that once stood behind them could have been cut without trace.", r.Lines)
	}
	if r.Torn != nil {
		note("The last line is unfinished (%d bytes): that is what a power failure or a killed process leaves, or a line that is being written now. It was never acknowledged, unless somebody cut it: nothing here tells these apart.", r.Torn.Bytes)
	}
	if r.TornCheckpoint {
		note("The last checkpoint is unfinished: that is what a power failure or a killed process leaves. Whoever has a copy of it can tell whether it once was whole.")
	}
	if slices.ContainsFunc(r.Problems, func(p Problem) bool { return p.Kind == KindTruncated }) {
		note("A checkpoint is signed only when its lines are on the disk. A power failure therefore does not make a log shorter than a checkpoint: a person cut it, or the disk is damaged or does not write what it says.")
	}
	if ownKeys {
		note("The key was read from the log's own directory: who can write there can exchange both, unless the key is compared with a copy.")
	}
	if !anchored {
		note("No checkpoint from elsewhere was given: who has the signing key, or can write here and lets the next process sign what it finds, could have rewritten everything. Keep checkpoints where that person cannot write.")
	}
}
