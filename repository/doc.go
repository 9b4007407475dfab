// Package repository makes and signs a TUF repository on disk, publishes
// plugins into it, and serves it over HTTP.
//
// # Layout
//
//	DIR/root.json             the first root: what clients are given as their trust anchor
//	DIR/metadata/             N.root.json, N.targets.json, N.snapshot.json, timestamp.json
//	DIR/targets/plugins/PUBLISHER/SHA256.NAME.VERSION.tar.gz
//	DIR/keys/                 one private key a role, ROLE.pem: never served, 0700 and 0600
//	DIR/repository.json       lifetimes of the roles
//	DIR/.lock                 held by whoever changes the repository
//
// Snapshots are consistent (specification, 6.2): every metadata file but
// timestamp.json has its version in its name, every target its SHA-256. A
// target has that one hash only, so that there is one copy of it and no client
// can pick another name.
//
// # Changes are all or nothing
//
// A change writes the target, targets, snapshot and last timestamp.json, each
// to a temporary file that is synced and renamed. Until timestamp.json is
// renamed clients see the old state and afterwards the new one; what a killed
// process leaves behind is never referred to and is overwritten or swept by the
// next change. Changes of several processes are serialised by a kernel lock
// that disappears with its owner.
//
// Metadata is verified against the root before anything is built on it, so a
// file that somebody else changed is never signed.
//
// # Errors
//
// Every error is an [*Error]. Its code is usage for what the caller can mend
// ([*ManifestError], [*ArchiveError], [ErrPublished], [ErrExists]), local_io,
// disk_full or permissions for the disk, malformed or unsigned for damaged
// metadata, cancelled or timeout when the context ended.
package repository
