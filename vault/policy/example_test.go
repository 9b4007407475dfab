package policy_test

import (
	"fmt"

	"github.com/ragnos-labs/vault-tuf/vault/policy"
)

func ExamplePolicy_Decide() {
	p := policy.Policy{
		Allow:   policy.Match{Publishers: []string{"acme"}},
		Plugins: map[string]policy.Rule{"acme/hello": {Version: "^1.2"}},
	}
	c := policy.Candidate{Target: "plugins/acme/hello.2.0.0.tar.gz", Publisher: "acme", Name: "hello", Version: "2.0.0", Channel: "stable"}
	d := p.Decide(c)
	fmt.Println(d)
	fmt.Println("hint:", d.Hint)

	c.Target, c.Version = "plugins/acme/hello.1.3.0.tar.gz", "1.3.0"
	fmt.Println(p.Decide(c) == nil)
	// Output:
	// policy rule plugins[acme/hello].version: version "2.0.0" is not within "^1.2"
	// hint: install a version within it, or widen plugins[acme/hello].version
	// true
}

func ExamplePolicy_DecideTarget() {
	var p policy.Policy // the zero policy
	fmt.Println(p.DecideTarget("plugins/acme/hello.1.0.0.tar.gz"))
	// Output:
	// policy rule allow: the policy allows nothing
}

func ExamplePolicy_Check() {
	p := policy.Policy{Channels: []string{"nightly"}, MaxSize: -1}
	for _, err := range p.Check() {
		fmt.Println(err)
	}
	// Output:
	// channels[0]: "nightly" is no channel: write "stable", or "beta" for both
	// max_size: -1 is negative: write a number of bytes, or leave it out for the default
}
