package lint

import "github.com/ragnos-labs/vault-tuf/internal/admission"

// rule is one thing that clients read differently.
type rule struct {
	id    string
	level Level
	what  string
	// why says which client reads it how.
	why string
	do  string
	// check returns the places in a file.
	check func(f *file) []string
}

// Sizes that plain clients accept where no signed length is known before.
const (
	maxRoot      = 512_000
	maxTimestamp = 16_384
)

// Bounds of what is published.
const (
	// maxVisited delegations are visited by go-tuf and python-tuf in search of a
	// target.
	maxVisited = 32
	// maxListed delegated roles are listed by this project's client.
	maxListed = 4096
	// maxDepth of nesting is less than what Rust's parser reads, 128.
	maxDepth = 100
	// maxInteger is the largest integer that every JSON parser keeps.
	maxInteger = 1<<53 - 1
	// maxName leaves room for a version and ".json" in a file name of 255 bytes.
	maxName = 200
)

// rules are all rules. Each one has a test that names it.
var rules = []rule{
	{"consistent-snapshot", Refuse, "consistent_snapshot is not true",
		"go-tuf verifies false where the member is missing, and without it a client can see half of a change",
		"sign a root with consistent_snapshot: true", checkConsistent},
	{"extra-role", Refuse, "root names a role that is not one of root, timestamp, snapshot and targets",
		"python-tuf refuses the whole root", "leave the role out of root", checkExtraRole},
	{"spec-version", Refuse, "spec_version is not two or three numbers with dots",
		"python-tuf refuses the file", "write it as 1.0.31", checkSpecVersion},
	{"field-case", Refuse, "a member differs from one of TUF's only in upper and lower case",
		"go-tuf reads it in the place of the other one, python-tuf does not", "give the member another name", checkFieldCase},
	{"number", Refuse, "an integer beyond 2^53",
		"go-tuf and JavaScript round it, and then find the signature wrong", "write it as a string", checkNumber},
	{"nesting", Refuse, "values nest deeper than 100",
		"tough refuses more than 127 levels, python-tuf about 1000", "make the object flatter", checkNesting},
	{"custom-null", Refuse, "custom is null",
		"go-tuf drops the member, and then finds the signature wrong", "leave custom out", checkCustomNull},
	{"length-zero", Refuse, "the length of a metadata file is 0",
		"go-tuf drops the member, and then finds the signature wrong", "leave the length out, or write the right one", checkLengthZero},
	{"hashes", Refuse, "a hash that is not sha256 or sha512 in lower-case hex",
		"python-tuf takes md5 and sha1, go-tuf and the specification do not; go-tuf writes upper case as lower case", "use sha256", checkHashes},
	{"one-hash", Refuse, "several hashes of one target",
		"the hash is part of the file's name, and go-tuf takes any of them, at random", "list sha256 alone", checkOneHash},
	{"target-path", Refuse, "a target path that is not the same in every URL",
		"% ? # \\ and control characters are errors in go-tuf, dot segments and empty ones are resolved by python-tuf's HTTP library",
		"use letters, digits and . _ - ~ in the parts of the path", checkTargetPath},
	{"delegation-fields", Refuse, "a delegation without terminating, or without paths",
		"python-tuf refuses the file; without terminating go-tuf writes false, and then finds the signature wrong",
		"write both members", checkDelegationFields},
	{"delegation-members", Warn, "a member of a delegation that the specification does not know",
		"tough drops it, and then finds the signature wrong", "leave it out if you have users of tough", checkDelegationMembers},
	{"path-hash-prefixes", Refuse, "path_hash_prefixes",
		"go-tuf compares them with base64, not hex: it finds no target, and trusts the role with other ones", "use paths, or succinct hash bins", checkHashPrefixes},
	{"path-pattern", Refuse, "a path pattern with [ ] or \\",
		"sets are negated by ! in python-tuf and by ^ in go-tuf, a backslash means something in go-tuf only", "use * and ? only", checkPattern},
	{"path-pattern-others", Warn, "a path pattern that other clients read in their own way",
		"** crosses directories in tough, { } are alternatives in tough and tuf-js, which also gives ( ) and a leading ! # . a meaning",
		"use letters, digits and . _ - * ? / only", checkPatternOthers},
	{"role-name", Refuse, "a role name that is not the same in every file name and URL",
		"go-tuf and python-tuf escape : @ & = + $ / differently, and file systems do not tell upper and lower case apart",
		"use at most 200 lower-case letters, digits and . _ - ~", checkRoleName},
	{"role-search", Refuse, "a search for one target visits more than 32 delegations",
		"go-tuf and python-tuf end it there and say that there is no such target", "make delegations terminating, or their paths narrower", checkRoleSearch},
	{"many-roles", Warn, "more than 4096 delegated roles",
		"this project's client can look targets up, but does not list them all", "use fewer, larger hash bins", checkManyRoles},
	{"succinct", Warn, "succinct hash bins",
		"tough cannot read the file at all", "do without bins if you have users of tough", checkSuccinct},
	{"key", Refuse, "a key that cannot count",
		"one unknown keytype or scheme makes python-tuf refuse the whole file, a broken key fails the role in go-tuf, and RSA below 2048 bits is not safe",
		"use Ed25519, RSA-PSS-SHA256 of 2048 to 16384 bits, or ECDSA on P-256 or P-384", checkKey},
	{"key-twice", Refuse, "one key under two keyids",
		"python-tuf counts it twice towards a threshold, go-tuf once", "list it once", checkKeyTwice},
	{"keyid-twice", Refuse, "one keyid twice in a role",
		"python-tuf refuses the file", "list it once", checkKeyIDTwice},
	{"key-missing", Refuse, "a role names a key that is not listed",
		"go-tuf fails the role even if the other keys are enough", "list the key, or take its keyid out of the role", checkKeyMissing},
	{"threshold", Refuse, "a threshold above the number of keys that can count",
		"nobody can ever sign for the role, except with a key under two keyids for python-tuf", "list more keys, or lower the threshold", checkThreshold},
	{"key-unused", Warn, "a key that signs for no role",
		"it does nothing, and if it is of an unknown kind python-tuf refuses the file for it", "leave it out", checkKeyUnused},
	{"keyid", Warn, "a keyid that is not the SHA-256 of its key",
		"tough refuses the file; keyids are opaque for the others", "use the hash of the key's canonical form", checkKeyID},
	{"signature", Refuse, "a signature that is not lower-case hex",
		"go-tuf refuses the file, whoever the signature is of", "leave it out", checkSignature},
	{"too-large", Refuse, "the file is larger than clients accept",
		"the limits are 512000 bytes of root and 16384 of timestamp in go-tuf and python-tuf, " +
			"and those of this project's client for snapshot and targets", "divide the role: a role for each publisher, or hash bins", checkTooLarge},
	{"text", Warn, "text that is not the same in every canonical form",
		"tough normalizes text (NFC) before it verifies, and tuf-js sorts names by UTF-16", "use ASCII in the names of members, and NFC in text", checkText},
	{"form", Refuse, "go-tuf would not verify what was signed",
		"it decodes a file and verifies what it encodes again, which differs here", "compare the file with what the specification writes", checkForm},
}

func checkTooLarge(f *file) []string {
	limit := map[admission.Kind]int{
		admission.KindRoot: maxRoot, admission.KindTimestamp: maxTimestamp,
		admission.KindSnapshot: admission.DefaultSnapshotBytes, admission.KindTargets: admission.DefaultTargetsBytes,
	}[f.full.Kind]
	if len(f.full.Raw) > limit {
		return []string{"the file"}
	}
	return nil
}
