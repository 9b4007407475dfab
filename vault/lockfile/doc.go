// Package lockfile reads and writes ragnos.lock: the exact plugins that an
// application was built and tested with, to be kept under version control, so that
// every machine installs the same bytes.
//
//	{
//	  "version": 1,
//	  "plugins": [
//	    {
//	      "target": "plugins/acme/hello.1.2.0.tar.gz",
//	      "publisher": "acme",
//	      "name": "hello",
//	      "version": "1.2.0",
//	      "wanted": "^1.2",
//	      "repository": "main",
//	      "length": 4096,
//	      "hashes": {
//	        "sha256": "…64 hex digits"
//	      }
//	    }
//	  ]
//	}
//
// A lock file trusts nobody: what it says has to be what verified metadata says, too.
// The same entries are always the same bytes, one value a line and sorted by target,
// so that a change of one plugin is a small diff. A plugin stands in it once, in one
// version.
//
// It is read strictly. Unknown members, values that occur twice, paths that are not
// safe, hashes that are none: each is an error with its line, and an unresolved merge
// conflict is called one.
//
// # Errors
//
// Every error is a *hybrid.Error: local_io, permissions or disk_full for a file,
// usage or invalid_name for an [Entry] of the caller's that cannot be. A [File] is not
// safe for concurrent use while it is changed; functions are.
package lockfile
