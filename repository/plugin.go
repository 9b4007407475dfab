package repository

import "github.com/ragnos-labs/vault-tuf/internal/plugin"

// Bounds of what can be published, in bytes and in entries of an archive.
const (
	MaxManifest = plugin.MaxManifest
	MaxArchive  = plugin.MaxArchive
	MaxUnpacked = plugin.MaxUnpacked
	MaxEntries  = plugin.MaxEntries
)

type (
	// Manifest describes a plugin to people and to the host application.
	Manifest = plugin.Manifest
	// Channel is a stream of releases: "stable" or "beta".
	Channel = plugin.Channel
	// ManifestError says which field of a plugin manifest breaks which rule.
	ManifestError = plugin.ManifestError
	// ArchiveError says which entry of a plugin archive breaks which rule.
	ArchiveError = plugin.ArchiveError
)

// ParseManifest checks a manifest. Every error is a [*ManifestError].
func ParseManifest(data []byte) (*Manifest, error) { return plugin.ParseManifest(data) }
