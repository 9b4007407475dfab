// Package store is the trust store: the one place where the client keeps the
// metadata it trusts. The host owns it; every engine and every process that
// uses the same directory shares it, and it only ever moves forward.
//
// # Files
//
// The metadata directory holds nothing but verified TUF metadata under the
// names that other tools expect, byte for byte as the publisher signed it:
// root.json, timestamp.json, snapshot.json, targets.json and a file for each
// delegated role (see [FileName]). What other tools must not read stands in the
// hidden subdirectory .ragnos:
//
//	anchor.json          the root that the application ships, as pinned
//	history/N.root.json  every root version from the anchor to the newest
//	floors               the version floors
//	clock                the last refresh and the clock floor
//	lock                 held by the kernel (flock) while the store is read or written
//	tmp/                 files being written; swept by whoever holds the lock
//	quarantine/          the last damaged or replaced files, numbered
//
// root.json is an export of the history. floors and clock begin with the line
// "ragnos-trust-store 1 HEX", where 1 is the version of the format and HEX the
// SHA-256 of everything after that line: one JSON object, see record and clock.
//
// # Order
//
// A commit writes temporaries and renames them in one order: root history,
// floors, clock, root.json, timestamp, snapshot, targets, delegated roles. A
// process that dies in between leaves a prefix, and each prefix is a valid state:
// floors may be ahead of the files, never behind. A root that rotates timestamp or
// snapshot keys (specification, 5.3.11) deletes both files after the history is
// written and before the floors are. The floors record the root version they were
// set under: the next process sees that the history is ahead and does the same
// again.
//
// # Power
//
// What nobody can give back is forced to the disk before a call returns, and
// before the first file that rests on it gets its name: anchor, root history,
// floors and clock. One that takes an older one's place is synced under its
// temporary name; one that is the first of its name is synced together with its
// directory. Deletions that must not come back are synced before the floors that
// follow from them.
//
// All else can be fetched or written again, and is not synced: root.json,
// timestamp, snapshot, targets, delegated roles and the second copy of the anchor.
// A power cut may leave such a file as it was before, absent, empty, torn or full
// of zeros. It is then damage, as below, or older than its floor, and is fetched
// again; nothing goes back, as floors and history are not behind.
//
// While anything is not synced yet, a temporary remains. Who finds one under the
// lock syncs what its dead owner may have left, before building on it.
//
// # Damage
//
// What cannot be read as metadata is moved to the quarantine and counts as
// absent, so that it is fetched again; the floors keep their place. Lost floors
// are set again from files whose signatures verify. A damaged root history is
// cut back to what verifies from the anchor: a refresh then fetches the rest
// again, and must end at or above the root floor.
//
// # Clock
//
// The clock floor is the latest start time of a fully verified refresh, and
// never beyond what was unexpired in it. [View.Start] never goes below it, so a
// clock set back cannot make expired metadata fresh. A refresh that finds nothing
// new moves it in memory; on disk it lags behind by at most a minute, and goes
// along with whatever else is written. What that minute costs: a clock set back,
// after this process has ended, can bring back metadata that expired within it. It
// would have been fresh a minute before, too, and the version floors, which never
// lag, hold in any case.
//
// A clock wrongly set to 2099 does no harm as long as something expires before
// that: no refresh is then fully verified. Where everything is valid that long, the
// floor stays wrong until the publisher signs something newer that expires before
// it. No publisher signs what has expired already, so this proves the floor wrong,
// and [Store.DisproveClock] lowers it.
//
// # Looking instead of reading
//
// A store remembers what it has read and verified, with the identity, size and
// time of each file. While these are the same, nothing is read again; where only
// they differ and the content does not, nothing is parsed or verified again. Times
// that are too fresh to tell one write from the next count as different.
// [View.Stands] asks the same question without the lock, so that a long-lived
// client need not take a view at all.
package store
