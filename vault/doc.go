// Package vault is not a secret store. It is what an application embeds to
// install plugins from several TUF repositories under a policy of its own.
//
// Package hybrid verifies one repository; a Vault decides on top of it. It knows
// which repositories may answer for which names, and how many of them must agree;
// what the application allows; what is installed, so that nothing goes back to an
// older version unnoticed; and it tells what happened, and how everything is.
//
// Promise: the bytes the publisher signed, of a plugin that the policy allows, or
// a typed error; never anything else, whatever breaks.
//
//	v, err := vault.New(vault.Options{
//		Repositories: []vault.Repository{{Name: "acme", URL: url, Root: root}},
//		Policy:       policy.Policy{Allow: policy.Match{Publishers: []string{"acme"}}},
//	})
//	if err != nil { … }
//	defer v.Shutdown(context.Background())
//	plugin, err := v.VerifyAndDownloadPlugin(ctx, "plugins/acme/hello.1.0.0.tar.gz", vault.InstallOptions{})
//
// # Repositories
//
// Every repository has a root of trust, a trust store, limits and credentials of
// its own. One that cannot be reached, or that serves what is refused, is
// degraded; the others go on. Its name never touches a path.
//
// [Mapping] says which repositories answer for which target paths, as TAP 4 has
// it: the first mapping that matches is asked; its repositories in their order,
// until as many as its threshold agree on length and hashes; else the search goes
// on with the next mapping that matches, unless this one is terminating. Without
// mappings every repository answers for every path, in order of declaration.
//
// A repository that could not answer counts as one that does not list the target:
// whoever can block it lets the next one in the mapping answer, never one that is
// not in it. Give names that matter to one repository alone, or a threshold.
//
// # Policy
//
// Nothing is allowed that [Options.Policy] does not allow; see package policy.
// The caller may say more: the expected hash, and whether an older version than
// the one installed may take its place.
//
// # What runs goes on running
//
// [Vault.Open] hands out the bytes of an installed plugin also when metadata has
// expired or no repository can be reached: they were verified when they were
// installed, and are hashed again. New installations stop then, and the error and
// the event say why. A plugin that verified metadata withdraws, or has withdrawn
// when it was last asked about, or that the policy denies now, is not opened.
// [Opened.Executable] is what a host starts.
//
// # Errors
//
// Every error is a [*hybrid.Error], or joins several, one for each repository;
// errors.Is finds the families of package hybrid, ErrPolicyDenied among them, and
// errors.As the [*policy.Denial] with the rule. A Vault and all of its methods are
// safe for concurrent use.
package vault
