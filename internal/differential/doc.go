// Package differential compares four clients on several hundred awkward
// repositories, networks and disks: go-tuf alone, python-tuf alone, and this
// project's client in each of its modes. It has tests only.
//
// What a case expects is written down by hand, with the section of the TUF
// specification that decides it, and never computed by any of the clients. A
// client leaves the specification when it accepts what must be refused or
// other bytes than the publisher's, refuses what must be accepted, does not
// come back, or crashes. Where the specification leaves a question open, both
// answers are right, as long as no other bytes than the publisher's come back.
//
// An ordinary run takes a sample of the cases, chosen by the flag -seed; with
// RAGNOS_DIFFERENTIAL=full in the environment it takes all of them, for which it
// needs many minutes, and writes the table of the results to docs/differential.md
// if RAGNOS_WRITE_DOCS is set too. The flags -case and -subject limit a run to
// the cases whose "group/name", and to the clients whose name, match a regular
// expression.
package differential
