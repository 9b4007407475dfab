package pywrapper

import (
	"bytes"
	"context"
	"log/slog"
	"regexp"
	"strings"
)

// LevelFrames is the level at which frames are logged.
const LevelFrames = slog.LevelDebug - 4

// maxMirrored bounds what is logged of a frame, in bytes.
const maxMirrored = 2 << 10

// mirror logs a frame.
func (s *Supervisor) mirror(direction string, frame []byte) {
	if ctx := context.Background(); s.frames.Enabled(ctx, LevelFrames) {
		s.frames.LogAttrs(ctx, LevelFrames, "frame "+direction, slog.Int("bytes", len(frame)), slog.String("frame", shown(frame)))
	}
}

// logLevel is what the worker has to log at least.
func (s *Supervisor) logLevel() string {
	if s.log.Enabled(context.Background(), slog.LevelDebug) {
		return "debug"
	}
	return "info"
}

// What is not shown of a frame: the contents of files, which are long, and what may
// be secret, which has no business in a frame. The end of a string may be cut off.
var hidden = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`"data":"[^"]*"?`), `"data":"(not shown)"`},
	{regexp.MustCompile(`(?i)("[^"]*(?:token|password|passphrase|secret|authorization|cookie|credential)[^"]*"\s*:\s*)"(?:[^"\\]|\\.?)*"?`), `$1"(not shown)"`},
	{regexp.MustCompile(`(?i)\b(bearer|basic)\s+[^\s"\\]+`), `$1 (not shown)`},
	{regexp.MustCompile(`(://[^\s"?]*\?)[^\s"]*`), `$1(not shown)`},
	{regexp.MustCompile(`://(?:[^/\s"]*@|[^/\s"]*$)`), `://(not shown)@`},
}

// shown returns the beginning of a frame as it may be logged.
func shown(frame []byte) string {
	text := string(bytes.TrimSpace(frame[:min(len(frame), maxMirrored)]))
	for _, h := range hidden {
		text = h.pattern.ReplaceAllString(text, h.instead)
	}
	if len(frame) > maxMirrored {
		text += "…"
	}
	return strings.ToValidUTF8(text, "")
}
