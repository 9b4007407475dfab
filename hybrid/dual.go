package hybrid

import (
	"context"
	"fmt"
	"slices"

	"github.com/ragnos-labs/vault-tuf/internal/engine"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// dualName is who answered in dual mode.
const dualName = "go+python"

// opinion is what one engine said.
type opinion struct {
	good *engine.Outcome
	err  error
}

// both lets both engines judge the same bytes at the same time. Only if both
// accept, and agree on every byte and answer, is there an answer; what both
// verified before one of them refused is kept.
func (r *attempt) both(ctx context.Context) (*verified, error) {
	engines := []engine.Engine{r.goTUF, r.python}
	said := make([]opinion, len(engines))
	done := make(chan int, len(engines))
	for i, e := range engines {
		go func() {
			said[i].good, said[i].err = r.judge(ctx, e)
			done <- i
		}()
	}
	for range engines {
		<-done
	}
	common := agreed(said[0].good, said[1].good)
	err := r.settle(said[0], said[1])
	if err != nil && ctx.Err() != nil {
		err = engine.Cancelled(ctx)
	}
	if tuferr.ClassOf(err) == protocol.ClassVerdict {
		err = r.events.refused(dualEvent(err), err)
	}
	if common == nil {
		return nil, err
	}
	return &verified{out: common, engine: dualName}, err
}

func dualEvent(err error) string {
	if tuferr.CodeOf(err) == protocol.CodeDisagreement {
		return "disagreement"
	}
	return "refused"
}

// settle turns two opinions into one error, or none. A verdict of either wins;
// then a fault, said as what it is; then errors that are nobody's opinion.
func (r *attempt) settle(a, b opinion) error {
	switch {
	case a.err == nil && b.err == nil:
		return differ(a.good, b.good)
	case isClass(a.err, protocol.ClassVerdict) && isClass(b.err, protocol.ClassVerdict):
		return withCauses(a.err, a.err, b.err)
	case isClass(a.err, protocol.ClassVerdict) && b.err == nil:
		return disagreement("go refuses what python accepts", a.err)
	case a.err == nil && isClass(b.err, protocol.ClassVerdict):
		return disagreement("python refuses what go accepts", b.err)
	case isClass(a.err, protocol.ClassVerdict):
		return withCauses(a.err, a.err, b.err)
	case isClass(b.err, protocol.ClassVerdict):
		return withCauses(b.err, a.err, b.err)
	case isClass(a.err, protocol.ClassFault) || isClass(b.err, protocol.ClassFault):
		return unable(a.err, b.err)
	case a.err != nil:
		return a.err
	default:
		return b.err
	}
}

func isClass(err error, class protocol.Class) bool { return tuferr.ClassOf(err) == class }

// withCauses returns err with what both engines said as its causes.
func withCauses(err error, causes ...error) error {
	e := *tuferr.As(err)
	e.Engine = dualName
	e.Causes = slices.DeleteFunc(slices.Clone(causes), func(c error) bool { return c == nil || c == err })
	return &e
}

// disagreement is the critical error of one engine accepting what the other
// refuses, with the evidence of the one that refuses.
func disagreement(msg string, verdict error) error {
	v := tuferr.As(verdict)
	e := tuferr.New(protocol.CodeDisagreement, "%s", msg)
	e.Role, e.Target, e.Digest, e.Spec = v.Role, v.Target, v.Digest, v.Spec
	e.Trusted, e.Received, e.Engine = v.Trusted, v.Received, dualName
	e.Causes = []error{verdict}
	e.Hint = "one implementation is wrong or attacked: install nothing, and report it with these digests"
	return e
}

// unable says that an engine could not judge. It is no disagreement.
func unable(errs ...error) error {
	e := tuferr.New(protocol.CodeUnableInDual, "dual mode needs both engines, and one of them could not judge")
	e.Engine = dualName
	for _, err := range errs {
		switch tuferr.CodeOf(err) {
		case "":
			continue
		case protocol.CodeWorkerUnavailable, protocol.CodeMissingDependency:
			// No fault of these bytes: the machine lacks the second engine.
			return withCauses(err, errs...)
		}
		e.Causes = append(e.Causes, err)
		if f := tuferr.As(err); f != nil && isClass(err, protocol.ClassFault) {
			e.Role, e.Digest = f.Role, f.Digest
		}
	}
	e.Hint = "mode auto lets the other engine answer"
	return e
}

// agreed returns the common prefix of two outcomes, nil if there is none.
func agreed(a, b *engine.Outcome) *engine.Outcome {
	if a == nil || b == nil {
		return nil
	}
	common := &engine.Outcome{Answers: map[string]string{}}
	for i := range min(len(a.Roots), len(b.Roots)) {
		if a.Roots[i].SHA256 != b.Roots[i].SHA256 {
			return common
		}
		common.Roots = append(common.Roots, a.Roots[i])
	}
	if a.Timestamp == nil || b.Timestamp == nil || len(a.Roots) != len(b.Roots) || a.Timestamp.SHA256 != b.Timestamp.SHA256 {
		return common
	}
	common.Timestamp = a.Timestamp
	if a.Snapshot == nil || b.Snapshot == nil || a.Snapshot.SHA256 != b.Snapshot.SHA256 {
		return common
	}
	common.Snapshot = a.Snapshot
	for _, v := range a.Targets {
		if doc := b.Find(v.Role, v.Delegator); doc != nil && doc.SHA256 == v.Doc.SHA256 {
			common.Targets = append(common.Targets, v)
		}
	}
	for path, role := range a.Answers {
		if other, ok := b.Answers[path]; ok && other == role {
			common.Answers[path] = role
		}
	}
	return common
}

// differ compares two accepted outcomes: the same bytes for every role and the
// same role for every target mean the same versions, lengths, hashes and custom.
func differ(a, b *engine.Outcome) error {
	common := agreed(a, b)
	for _, o := range []*engine.Outcome{a, b} {
		if len(common.Roots) == len(o.Roots) && common.Timestamp != nil && common.Snapshot != nil &&
			len(common.Targets) == len(o.Targets) && len(common.Answers) == len(o.Answers) {
			continue
		}
		e := tuferr.New(protocol.CodeDisagreement, "both engines accept, but not the same: %s", describe(a, b))
		e.Engine = dualName
		e.Role, e.Digest = firstDifference(a, b)
		e.Hint = "one implementation is wrong or attacked: install nothing, and report it with these digests"
		return e
	}
	return nil
}

// firstDifference names the first targets role of which the two have different
// files, or only one has a file, and a digest of it.
func firstDifference(a, b *engine.Outcome) (role, digest string) {
	for _, pair := range [][2]*engine.Outcome{{a, b}, {b, a}} {
		for _, v := range pair[0].Targets {
			if other := pair[1].Find(v.Role, v.Delegator); other == nil || other.SHA256 != v.Doc.SHA256 {
				return v.Role, v.Doc.SHA256
			}
		}
	}
	return "", ""
}

// describe lists what two outcomes hold, by digest.
func describe(outs ...*engine.Outcome) string {
	text := ""
	for i, o := range outs {
		text += fmt.Sprintf("%s has %d new roots", []string{"go", " and python"}[i], len(o.Roots))
		if o.Timestamp != nil {
			text += fmt.Sprintf(", timestamp v%d %s", o.Timestamp.Version, o.Timestamp.SHA256)
		}
		if o.Snapshot != nil {
			text += fmt.Sprintf(", snapshot v%d %s", o.Snapshot.Version, o.Snapshot.SHA256)
		}
		for _, v := range o.Targets {
			text += fmt.Sprintf(", %s v%d %s", v.Role, v.Doc.Version, v.Doc.SHA256)
		}
		for path, role := range o.Answers {
			text += fmt.Sprintf(", %q in %q", path, role)
		}
	}
	return text
}
