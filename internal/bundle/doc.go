// Package bundle reads and writes the file that carries metadata and targets
// across an air gap. It is a container and vouches for nothing: whoever reads
// one verifies what is in it as if it came from a repository.
//
// # Format
//
// A bundle is a tar archive (USTAR, with PAX records for long names and large
// sizes only), not compressed. All entries are regular files with mode 0644,
// owner 0 and the modification time 0, so that the same content makes the same
// bytes. They stand in this order:
//
//	bundle.json               {"format":"ragnos-tuf-bundle","version":1,"targets":[NAME...]}
//	metadata/N.root.json      every root version, ascending and without a gap
//	metadata/timestamp.json
//	metadata/N.ROLE.json      snapshot, targets, and every delegated role that a
//	                          search for the targets visits; N is the version,
//	                          ROLE is percent-encoded
//	targets/NAME              every target, in the order of bundle.json
//
// Metadata files and targets are byte for byte those of the repository. Nothing
// else is in a bundle: no key, no credential, no local path or address.
//
// # Reading
//
// Nothing is ever extracted to a name from the archive. A reader refuses whatever
// a writer does not write: other names, orders or kinds of entries, duplicates,
// something after the end. Sizes and counts are bounded before memory is spent.
package bundle

// The format and its bounds.
const (
	format  = "ragnos-tuf-bundle"
	version = 1

	indexName      = "bundle.json"
	metadataPrefix = "metadata/"
	targetsPrefix  = "targets/"

	// maxIndex is the most bytes of bundle.json, maxFiles the most metadata files
	// and the most targets, maxMetadata the most bytes of all metadata files.
	maxIndex    = 4 << 20
	maxFiles    = 16 << 10
	maxMetadata = 128 << 20
)

// index is the content of bundle.json.
type index struct {
	Format  string   `json:"format"`
	Version int      `json:"version"`
	Targets []string `json:"targets"`
}
