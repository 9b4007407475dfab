// Package tuftest builds TUF repositories for tests, also deliberately broken
// ones, and serves them over HTTP with faults. Only tests import it.
//
// A [Repo] holds the metadata as plain JSON trees, so that any field can take
// any value. [Repo.Publish] signs, raises versions and describes the new files
// in snapshot and timestamp, the way a repository should; what should not be
// comes from the hooks of a [Role]: EditSigned changes the tree before it is
// signed, EditSignatures the signature list, and EditRaw the bytes of the file.
//
//	r := tuftest.NewRepo(tuftest.Config{})
//	r.AddTarget("targets", "plugin.tar.gz", []byte("content"), nil)
//	r.Publish("targets")
//	s := tuftest.NewServer(r)
//	defer s.Close()
//
// Mistakes in the use of this package panic.
package tuftest
