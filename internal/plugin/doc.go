// Package plugin knows what a plugin is: its manifest, its archive, and what
// the repository says of a release of it in the signed custom field of its
// target. It knows nothing of TUF, so that both sides, the publisher's and the
// host's, can link it.
package plugin
