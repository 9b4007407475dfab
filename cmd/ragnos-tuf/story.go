package main

import (
	"fmt"
	"strings"

	"github.com/ragnos-labs/vault-tuf/protocol"
	"github.com/ragnos-labs/vault-tuf/vault"
)

// sentences say what an event on record is, from its code and its evidence alone: no
// text is kept there.
var sentences = map[vault.EventCode]func(*onRecord) string{
	vault.EventAllowed: func(e *onRecord) string {
		return fmt.Sprintf("allowed %s%s", e.plugin(), e.details("sha256:"+e.Evidence.Digest, "verified by "+engine(e.Evidence.Engine), e.from()))
	},
	vault.EventNotFound: func(e *onRecord) string { return e.somewhere("no verified metadata lists " + e.subject()) },
	vault.EventRefused:  func(e *onRecord) string { return e.somewhere("refused " + e.subject() + ": " + e.why()) },
	vault.EventFallback: fallback,
	vault.EventFault:    func(e *onRecord) string { return e.somewhere("no engine could verify " + e.subject() + ": " + e.why()) },
	vault.EventDisagreement: func(e *onRecord) string {
		return e.somewhere("go-tuf and python-tuf disagree about " + e.subject() + ", so it was refused: " + e.why())
	},
	vault.EventBreaker: func(e *onRecord) string {
		return e.somewhere(fmt.Sprintf("the breaker around go-tuf went from %s to %s", e.Evidence.From, e.Evidence.To))
	},
	vault.EventUnreachable: func(e *onRecord) string { return e.somewhere("could not be asked" + e.about() + ": " + e.why()) },
	vault.EventBusy:        func(e *onRecord) string { return e.somewhere("too much was asked of it at once" + e.about()) },
	vault.EventOffline: func(e *onRecord) string {
		return e.somewhere("could not be reached, and what was verified before answers: " + e.why())
	},
	vault.EventMirror: mirror,
	vault.EventStore:  storeSentence,
	vault.EventRoot: func(e *onRecord) string {
		return e.somewhere(fmt.Sprintf("root moved from version %s to %s", e.Evidence.From, e.Evidence.To))
	},
	vault.EventLocal: func(e *onRecord) string {
		return e.somewhere("this machine was in the way" + e.about() + ": " + e.why())
	},
	vault.EventCancelled: func(e *onRecord) string {
		if e.Evidence.Code == protocol.CodeTimeout {
			return e.somewhere("the caller's deadline passed" + e.about())
		}
		return e.somewhere("the caller gave up" + e.about())
	},
	vault.EventPolicyDenied: func(e *onRecord) string {
		return e.somewhere("the policy denied " + e.subject() + ": rule " + e.Evidence.Rule)
	},
	vault.EventConflict: func(e *onRecord) string {
		return "repositories that must agree do not, so " + e.subject() + " was refused: rule " + e.Evidence.Rule
	},
	vault.EventDowngrade: func(e *onRecord) string {
		return fmt.Sprintf("%s took the place of version %s, as was asked", e.plugin(), e.Evidence.From)
	},
	vault.EventBreakGlass: breakGlass,
	vault.EventRunsOn: func(e *onRecord) string {
		return e.somewhere(e.subject() + " runs on what was verified before: " + e.why())
	},
	vault.EventOpened: func(e *onRecord) string {
		return "opened to be run: " + e.plugin() + e.details("sha256:"+e.Evidence.Digest, e.from())
	},
	vault.EventAudit: func(e *onRecord) string {
		if e.Count == 0 {
			return "the audit log could not be written"
		}
		return many(e.Count, "event") + " could not be written here"
	},
	vault.EventLost: func(e *onRecord) string {
		return many(e.Count, "event") + " were dropped for a listener that was too slow"
	},
}

func fallback(e *onRecord) string {
	second := "python"
	if e.Evidence.Engine == second {
		second = "go"
	}
	return e.somewhere(fmt.Sprintf("%s could not verify %s (%s): %s answered", engine(e.Evidence.Engine), e.subject(), e.Evidence.Code, engine(second)))
}

func mirror(e *onRecord) string {
	if e.Evidence.Code == "" {
		return e.somewhere("a mirror answers again in place of another")
	}
	return e.somewhere("another mirror answers: " + e.why())
}

func breakGlass(e *onRecord) string {
	x := &e.Evidence
	switch {
	case x.Code == protocol.CodeUsage:
		return e.somewhere("a break-glass for " + e.subject() + e.wanted() + " was refused: it was not confirmed, or is none that can be used")
	case x.Code != "" && (x.By != "" || x.Code != protocol.CodeExpired): // Only expiry can be overridden.
		return e.somewhere("a break-glass for " + e.subject() + e.wanted() + " opened nothing: " + e.why())
	case x.By == "" && x.Code == "":
		return e.somewhere(fmt.Sprintf("by break-glass %s was opened, against rule %s", e.plugin(), x.Rule))
	case x.By == "":
		return e.somewhere("by break-glass " + e.subject() + " was accepted although " + e.why())
	case x.Rule == "":
		return fmt.Sprintf("%s broke the glass for %s, against no rule: %s", x.By, e.plugin(), x.Reason)
	}
	return fmt.Sprintf("%s broke the glass for %s, against rule %s: %s", x.By, e.plugin(), x.Rule, x.Reason)
}

// wanted says who wanted a break-glass, and why.
func (e *onRecord) wanted() string {
	if e.Evidence.By == "" {
		return ""
	}
	return fmt.Sprintf(", which %s wanted (%s),", e.Evidence.By, e.Evidence.Reason)
}

// deeds are what a trust store does, by what the evidence calls it.
var deeds = map[string]string{
	"quarantined":      "a file that was damaged or not wanted was moved aside",
	"floors_rebuilt":   "the highest versions seen were lost, and set again from verified files",
	"clock_lost":       "the latest time seen was lost",
	"clock_lowered":    "the clock had been wrong: the latest time seen was lowered",
	"rollback_refused": "an older version was refused",
	"root_conflict":    "another root of trust than the pinned one was refused",
	"root_repaired":    "the trusted root was repaired from what is left of it",
	"root_behind":      "its history of roots is damaged, and must be fetched again",
	"keys_rotated":     "keys of timestamp or snapshot were replaced, and their versions forgotten",
	"anchor_replaced":  "another root of trust was pinned in place of the old one",
}

func storeSentence(e *onRecord) string {
	deed, ok := deeds[e.Evidence.Store]
	if !ok {
		deed = strings.TrimSpace("it was healed, or guarded something " + e.Evidence.Store)
	}
	return e.somewhere("trust store: " + deed + e.details(e.facts()...))
}

// somewhere begins a sentence with the repository.
func (e *onRecord) somewhere(sentence string) string {
	if e.Repository == "" {
		return sentence
	}
	return "repository " + e.Repository + ": " + sentence
}

// from names the repository at the end of a sentence, "" if there is none.
func (e *onRecord) from() string {
	if e.Repository == "" {
		return ""
	}
	return "from repository " + e.Repository
}

// subject is the target, or else what of the metadata it is about.
func (e *onRecord) subject() string {
	switch {
	case e.Target != "":
		return e.Target
	case e.Evidence.Role != "":
		return e.Evidence.Role
	}
	return "metadata"
}

// about names the target, if it is about one.
func (e *onRecord) about() string {
	if e.Target == "" {
		return ""
	}
	return ", for " + e.Target
}

// plugin is the target with its version.
func (e *onRecord) plugin() string { return strings.TrimSpace(e.subject() + " " + e.Evidence.To) }

// why is the error that an event is about.
func (e *onRecord) why() string {
	x := &e.Evidence
	said := "for a reason that is not on record"
	if info, known := x.Code.Lookup(); known {
		said = fmt.Sprintf("%s (%s)", info.Meaning, x.Code)
	} else if x.Code != "" {
		said = string(x.Code)
	}
	more := e.facts()
	if x.Engine != "" {
		more = append(more, "says "+engine(x.Engine))
	}
	if x.Spec != "" {
		more = append(more, "specification "+x.Spec)
	}
	return said + e.details(append(more, x.URL)...)
}

// facts are the role and the versions of metadata that an event is about.
func (e *onRecord) facts() (all []string) {
	x := &e.Evidence
	if x.Role != "" && (e.Target != "" || x.Store != "") {
		all = append(all, "role "+x.Role)
	}
	if x.Trusted != 0 {
		all = append(all, fmt.Sprintf("trusted version %d", x.Trusted))
	}
	if x.Received != 0 {
		all = append(all, fmt.Sprintf("received version %d", x.Received))
	}
	return all
}

// details follow a sentence; empty ones, and those whose value is, are left out.
func (e *onRecord) details(all ...string) string {
	var b strings.Builder
	for _, d := range all {
		if d != "" && !strings.HasSuffix(d, ":") && !strings.HasSuffix(d, " ") {
			b.WriteString(", " + d)
		}
	}
	return b.String()
}

// engine is the name of an engine for people.
func engine(name string) string {
	switch name {
	case "go":
		return "go-tuf"
	case "python":
		return "python-tuf"
	case "host":
		return "the host"
	case "":
		return "an engine"
	}
	return name
}
