// Package interop runs the client on the repositories under testdata/interop,
// which other tools have written: python-tuf's API, go-tuf's API, and
// securesystemslib's signers over hand-built JSON. It has tests only.
//
// What a case expects stands in its case.json. It comes from the TUF
// specification, except for the part named plain: that records what go-tuf's and
// python-tuf's own clients were seen to do, so that a change is noticed. The
// flag -record writes it anew, and -generate the repositories of go-tuf's API.
//
// The other way round, repositories that local-tuf makes are read by plain clients
// on go-tuf, python-tuf, tuf-js (tufjs) and tough (tough). The last two are
// installed or built below the user's cache directory, as their lock files say.
// tuf-js is left out where node, npm or the registry is missing. tough takes
// minutes to build and is left out until "make interop" has built it.
package interop
