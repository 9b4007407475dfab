// Package repository makes and signs a TUF repository on disk, publishes plugins
// into it, and serves it over HTTP.
//
// # Layout
//
//	DIR/root.json         the first root: what clients are given as their trust anchor
//	DIR/metadata/         N.root.json, N.targets.json, N.PUBLISHER.json, N.snapshot.json, timestamp.json
//	DIR/targets/plugins/PUBLISHER/SHA256.NAME.VERSION.tar.gz
//	DIR/keys/             private keys, NAME.key, beside their public halves, NAME.pub: 0700 and 0600
//	DIR/repository.json   lifetimes, the kind of new keys, what people call a key
//	DIR/proposals/        changes that wait for signatures
//	DIR/.staged/          a change in the making
//	DIR/.lock             held by whoever changes the repository
//
// Only metadata and targets are served. Snapshots are consistent (specification,
// 6.2): every metadata file but timestamp.json has its version in its name, every
// target its SHA-256. A target has that one hash only, so that there is one copy
// of it and no client can pick another name.
//
// # Roles
//
// Root and targets are signed by people: m of n keys, which may lie anywhere but
// on the server ([Keys] says where). Snapshot and timestamp are signed by whoever
// publishes and, before they expire, by a server ([Repository.KeepFresh]). A
// publisher has a delegated role with his own keys, which is trusted with
// plugins/PUBLISHER/* and nothing else. Which key signs for which role is told by
// metadata, never by the name of a file.
//
// What is said of a plugin stands in the custom field of its target: the members
// of its manifest, and "release" with its channel, whether it is the latest of a
// channel, and whether and why it was withdrawn.
//
// # Changes are all or nothing
//
// A change is written and synced below DIR/.staged as a whole. Then a journal is
// renamed into place: from here on the change will be there, whatever happens. Its
// files are renamed to their names: first those that nobody refers to yet, then
// timestamp.json, which makes them visible, last a new root. Clients see the old
// state or the new one. Whoever changes the repository next completes a change
// that has its journal and drops one that has none. Changes of several processes
// are serialised by a kernel lock that disappears with its owner.
//
// What a new root puts in force is signed by the keys of the old one as well,
// where they are at hand, so that there is no moment at which a client finds a
// root and a timestamp that do not fit. Where a key is lost there is one, between
// two renames.
//
// Signatures that the keys at hand cannot make turn a change into a [Proposal]:
// nothing is changed, and the new files are carried to those who can sign them. So
// can the first of all ([Found]): until then a repository has no metadata.
//
// Metadata is verified before anything is built on it, so a file that somebody
// else changed is never signed. What is signed is read back, held against its
// thresholds and against what clients are known to read differently, before it is
// published.
//
// # Errors
//
// Every error is an [*Error]. Its code is usage for what the caller can mend
// ([*ManifestError], [*ArchiveError], [ErrPublished], [ErrExists]), local_io,
// disk_full or permissions for the disk, malformed, mismatch or unsigned for
// damaged metadata, cancelled or timeout when the context ended.
package repository
