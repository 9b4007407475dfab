//go:build linux

package main

import (
	"fmt"
	"strings"
	"time"
)

// report is what was measured.
type report struct {
	machine    string
	rounds     int
	one, batch []row
}

// row is what each client took.
type row struct {
	layout  string
	size    int
	samples map[string][]*sample
}

const intro = `# Publishing, as a repository grows

Written by ` + "`make bench-publishing`" + `; medians of %d rounds, batches of one.
%s.

Look at the ratios: a number alone is of its machine.

- **local-tuf** is the whole command: it verifies the repository from its first root on, checks the archive, copies and hashes it,
  signs (RSA, 2048 bits), reads its own work back, verifies it as clients would and holds it against the rules of both libraries, and
  commits it so that a power cut at any moment leaves all of it or nothing.
- **go-tuf** and **python-tuf** are their APIs doing the metadata work alone: load the files concerned, hash the archive, add the
  target, sign with the same keys, write. They verify, check and sync nothing and copy no archive. (internal/bench/publishing)
- Wall time is of a fresh process, memory its peak. "Written" are the bytes of metadata files that are new.
- Archives have 5.7 kB, manifests about 110 bytes.

`

func (r *report) page() string {
	var b strings.Builder
	fmt.Fprintf(&b, intro, r.rounds, r.machine)
	b.WriteString("## One plugin more\n\n")
	table(&b, r.one, "plugins before")
	b.WriteString("\n## Many at once\n\n`local-tuf publish --batch DIR` into a repository without plugins.\n\n")
	table(&b, r.batch, "plugins")
	b.WriteString(`
## What that means

- One more costs what its role costs, not what the repository does: the role's file is read, verified, written and signed as a whole.
  Beyond some thousand plugins of one publisher, bins make a role small again: one bin, and the one of the version that is no longer
  the latest, are written. To find that version, the files of all bins are searched for the plugin's name, and only the ones that
  have it are verified.
- A batch takes one signature for each role. Archives are streamed on all processors; what is held in memory is metadata.
- A role's file must stay below what clients accept (48 MiB): about 100,000 plugins with small manifests.
`)
	return b.String()
}

func table(b *strings.Builder, rows []row, what string) {
	fmt.Fprintf(b, "| plugins are in | %s | local-tuf | written | go-tuf | ratio | python-tuf | ratio |\n|---|--:|--:|--:|--:|--:|--:|--:|\n", what)
	for _, r := range rows {
		o, g, p := r.samples[ours], r.samples[goTUF], r.samples[pythonTUF]
		fmt.Fprintf(b, "| %s | %d | %s | %s | %s | %s | %s | %s |\n", r.layout, r.size, took(o), bytesOf(median(o, func(s *sample) int64 { return s.written })),
			took(g), ratio(o, g), took(p), ratio(o, p))
	}
}

func wall(samples []*sample) time.Duration {
	return median(samples, func(s *sample) time.Duration { return s.Wall })
}

// took is wall time and peak memory.
func took(samples []*sample) string {
	t := fmt.Sprintf("%d ms", wall(samples).Milliseconds())
	if wall(samples) >= 10*time.Second {
		t = fmt.Sprintf("%.0f s", wall(samples).Seconds())
	}
	return fmt.Sprintf("%s, %d MiB", t, median(samples, func(s *sample) int64 { return s.RSS })>>10)
}

func ratio(a, b []*sample) string {
	return fmt.Sprintf("%.2f", wall(a).Seconds()/wall(b).Seconds())
}

func bytesOf(n int64) string {
	if n < 10_000_000 {
		return fmt.Sprintf("%.1f kB", float64(n)/1000)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
