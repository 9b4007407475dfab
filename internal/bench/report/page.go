package report

import (
	"fmt"
	"strings"
)

// Head says when it was measured and how often.
func (r *Report) Head() string {
	return fmt.Sprintf("%s, medians over rounds: %d", r.Date.Format("2 January 2006"), r.Rounds)
}

const page = `# Benchmarks

Written by ` + "`make bench`" + `; %s.
%s.

Look at the ratios: a number alone is of its machine.

![Wall time relative to go-tuf's own client](benchmarks.svg)

## Goals

Ours is mode auto. Measured is the ratio to the client named, or the figure itself where none is; what a bound adds in ms has
been taken off first.

%s
## What is measured

- **go-tuf** and **python-tuf** are the libraries' own clients with default settings, in a few lines: internal/bench/plain-go and
  internal/bench/plain.py. **ragnos** is ` + "`ragnos-tuf download`" + ` in each mode; it writes durably (fsync), the others do not.
  **floor** is curl, fetching the same files one after another over one connection, and sha256sum of them.
- All groups are over repositories that the benchmark makes (Ed25519 keys, consistent snapshots; the plugin has 10 kB) and
  serves from a process of its own, with ETag and Range as an ordinary server of static files does. Each repository, and each
  client's program, has been read once before it is measured.
- Except in the last group every measurement is a new process. The clients take turns, in another order each round. After each
  run the target is looked for and hashed.
- ms is from before the start of the process to its end; CPU counts user and system time, children included. Memory is the peak
  of resident memory: what wait4 says, and where there is a worker the VmHWM of both, read from /proc every 2 ms.

%s`

// notes say what the works of a group have in common.
var notes = map[string]string{
	Loopback: "No delay anywhere. Cold is with empty directories; unchanged is the same command once more, the plugin in the cache.",
	Delayed:  "The server waits 20 ms before it answers a request; several requests wait at the same time.",
	RoundTrip: "Client and server are in network namespaces of their own, joined by a wire that takes 10 ms in each direction " +
		"(two TUN devices; connections cost a round trip too).",
	InProcess: "One long-lived process for each client, on loopback. Look-ups and cached hits: one Updater of go-tuf or python-tuf, " +
		"refreshed once and never again, shared by all goroutines or threads although neither library allows that; ours refreshes " +
		"every second. The refresh is asked for again and again; the floor is Go's HTTP client making the same two requests. A new " +
		"release: timestamp, snapshot, targets and plugin are new; go-tuf and python-tuf take a new Updater, as they must. " +
		"Idle is resident memory three seconds after a download.",
	Serve: "`local-tuf serve` with its access log in a file, and without a rate by client; the floor is net/http's FileServer of the " +
		"same directory, without a log. Each is asked for one file over and over, by 16 connections, or by 2 for the large one, " +
		"from another process on the same machine. CPU is the server's for one request; memory is its peak.",
}

// Markdown returns the page with all tables.
func (r *Report) Markdown() string {
	var groups strings.Builder
	for _, g := range r.Groups {
		fmt.Fprintf(&groups, "## %s%s\n\n", strings.ToUpper(g.Name[:1]), g.Name[1:])
		if g.Missing != "" {
			fmt.Fprintf(&groups, "Not measured: %s.\n\n", g.Missing)
			continue
		}
		fmt.Fprintf(&groups, "%s\n\n%s\n", notes[g.Name], g.Table())
	}
	return fmt.Sprintf(page, r.Head(), r.Machine, r.Goals(), strings.TrimSuffix(groups.String(), "\n"))
}
