package plugin

import "fmt"

// ManifestError says which field of a plugin manifest breaks which rule.
type ManifestError struct {
	// Field is the name of the field, "" for the manifest as a whole.
	Field   string
	Problem string
}

// Error names the field and the rule.
func (e *ManifestError) Error() string {
	if e.Field == "" {
		return "manifest: " + e.Problem
	}
	return fmt.Sprintf("manifest: field %.64q %s", e.Field, e.Problem)
}

// ArchiveError says which entry of a plugin archive breaks which rule.
type ArchiveError struct {
	// Entry is the name of the entry, "" for the archive as a whole.
	Entry   string
	Problem string
}

// Error names the entry and the rule.
func (e *ArchiveError) Error() string {
	if e.Entry == "" {
		return "archive: " + e.Problem
	}
	return fmt.Sprintf("archive: entry %.200q %s", e.Entry, e.Problem)
}
