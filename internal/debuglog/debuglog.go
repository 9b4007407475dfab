// Package debuglog is what the variable DEBUG means, in one place: which components
// of this software log for debugging.
//
// DEBUG is a list of patterns, divided by commas or spaces. A component logs if a
// pattern matches its name and none that begins with "-" does; "*" in a pattern
// stands for any text. The components are
//
//	tuf:client     events of a client of one repository
//	tuf:engine     what the engines said
//	tuf:worker     the python worker: its own log lines, with their level
//	tuf:transport  requests, one line for each attempt
//	tuf:store      what happens to the trust store
//	tuf:vault      events of a vault
//	tuf:telemetry  what cannot be told to a collector
//	tuf:frames     the frames between host and worker, cut short, secrets left out
//
// tuf:frames is many lines, and has to be named: no "*" matches it.
//
//	DEBUG=tuf:*                  all but frames
//	DEBUG=tuf:*,-tuf:transport   and without requests
//	DEBUG=tuf:worker,tuf:frames  the worker and what is said to it
package debuglog

import (
	"context"
	"log/slog"
	"slices"
	"strings"
)

// Key is the attribute that names the component of a log line.
const Key = "component"

// frames is the component that only its own name selects.
const frames = "tuf:frames"

// Selection is the components that are to log. The zero value selects none.
type Selection struct{ wanted, unwanted []string }

// Parse reads the value of DEBUG. Patterns that are meant for others select nothing.
func Parse(debug string) Selection {
	var s Selection
	for p := range strings.FieldsFuncSeq(debug, func(r rune) bool { return r == ',' || r == ' ' }) {
		if excluded, ok := strings.CutPrefix(p, "-"); ok {
			s.unwanted = append(s.unwanted, excluded)
		} else if p == "*" || strings.HasPrefix(p, "tuf:") {
			s.wanted = append(s.wanted, p)
		}
	}
	return s
}

// Any says whether anything is selected.
func (s Selection) Any() bool { return len(s.wanted) > 0 }

// Has says whether a component is selected. One without a name is if all are.
func (s Selection) Has(component string) bool {
	matched := func(p string) bool { return matches(p, component) }
	if component == frames {
		matched = func(p string) bool { return p == frames }
	}
	return slices.ContainsFunc(s.wanted, matched) && !slices.ContainsFunc(s.unwanted, func(p string) bool { return matches(p, component) })
}

// matches says whether a pattern stands for a name. "" is a name beyond "tuf:".
func matches(pattern, name string) bool {
	if name == "" {
		name = "tuf:"
	}
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == name
	}
	rest, ok := strings.CutPrefix(name, parts[0])
	if !ok {
		return false
	}
	last := len(parts) - 1
	for _, part := range parts[1:last] {
		i := strings.Index(rest, part)
		if i < 0 {
			return false
		}
		rest = rest[i+len(part):]
	}
	return strings.HasSuffix(rest, parts[last])
}

// Handler passes on the lines of the components that are selected. The level is for
// the handler behind it to judge, which must let through what is below debug if it
// is to get frames: see [Level].
type Handler struct {
	slog.Handler
	selected  Selection
	component string
	// grouped says that attributes belong to a group, and name no component.
	grouped bool
}

// Level is the least level that any component logs at: that of frames.
const Level = slog.LevelDebug - 4

// New returns a handler in front of h.
func New(h slog.Handler, s Selection) *Handler { return &Handler{Handler: h, selected: s} }

// Enabled says whether a line of the component of this logger would be passed on.
// One that names its component itself is judged in Handle.
func (h *Handler) Enabled(ctx context.Context, level slog.Level) bool {
	return (h.component == "" || h.selected.Has(h.component)) && h.Handler.Enabled(ctx, level)
}

// Handle passes a line on if its component is selected.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	component := h.component
	if !h.grouped {
		r.Attrs(func(a slog.Attr) bool {
			component = componentOf(component, a)
			return true
		})
	}
	if !h.selected.Has(component) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.Handler = h.Handler.WithAttrs(attrs)
	if !h.grouped {
		for _, a := range attrs {
			c.component = componentOf(c.component, a)
		}
	}
	return &c
}

// WithGroup implements [slog.Handler].
func (h *Handler) WithGroup(name string) slog.Handler {
	c := *h
	c.Handler, c.grouped = h.Handler.WithGroup(name), h.grouped || name != ""
	return &c
}

func componentOf(before string, a slog.Attr) string {
	if a.Key == Key && a.Value.Kind() == slog.KindString {
		return a.Value.String()
	}
	return before
}
