// Package interop runs the client on the repositories under testdata/interop,
// which other tools have written: python-tuf's API, go-tuf's API, and
// securesystemslib's signers over hand-built JSON. It has tests only.
//
// What a case expects stands in its case.json. It comes from the TUF
// specification, except for the part named plain: that records what go-tuf's and
// python-tuf's own clients were seen to do, so that a change is noticed. The
// flag -record writes it anew, and -generate the repositories of go-tuf's API.
package interop
