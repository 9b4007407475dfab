package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/ragnos-labs/vault-tuf/internal/plugin"
	"github.com/ragnos-labs/vault-tuf/vault"
)

const nameHelp = `With --config NAME may be PUBLISHER/NAME, alone or with @ and a version or a range:
the highest version that the range and the policy allow. That is every NAME of two
parts made of lower-case letters, digits, ".", "_" and "-" before the @; any other is
a target path, and so is every NAME with --target.`

const targetFlag = "target"

func addTargetFlag(f *pflag.FlagSet, isTarget *bool) {
	f.BoolVar(isTarget, targetFlag, false, "with --config: NAME is a target path, whatever it looks like")
}

// wanted is a plugin as people name it.
type wanted struct {
	// id is "publisher/name", wanted the range behind the @; ranged says that there
	// was an @.
	id, text string
	ranged   bool
}

// parseWanted reads PUBLISHER/NAME[@RANGE]. Target paths of plugins have three
// parts; of others it takes for a plugin only what could be the name of one.
func parseWanted(s string) (w wanted, ok bool) {
	w.id, w.text, w.ranged = strings.Cut(s, "@")
	publisher, name, _ := strings.Cut(w.id, "/")
	return w, plugin.PublisherProblem(publisher) == "" && plugin.NameProblem(name) == ""
}

// targetOf returns the target path that a name stands for.
func targetOf(ctx context.Context, v *vault.Vault, name string, isTarget bool, o vault.ResolveOptions) (string, error) {
	w, ok := parseWanted(name)
	if isTarget || !ok {
		return name, nil
	}
	p, err := v.Resolve(ctx, w.id, w.text, o)
	if err != nil {
		return "", err
	}
	return p.Target, nil
}

func (a *app) vaultInfo(ctx context.Context, v *vault.Vault, name string, isTarget bool) error {
	a.waiting.tells(string(vault.EventOffline))
	target, err := targetOf(ctx, v, name, isTarget, vault.ResolveOptions{})
	if err != nil {
		return err
	}
	p, err := v.PluginMetadata(ctx, target)
	if err != nil {
		return err
	}
	object := struct {
		done
		*vault.Plugin
	}{done{true}, p}
	return a.print(object, func(out *page) { out.plugin(p) })
}

func (p *page) plugin(x *vault.Plugin) {
	rows := [][]string{{"name", x.Target}}
	add := func(what, value string) {
		if value != "" {
			rows = append(rows, []string{what, value})
		}
	}
	add("plugin", x.ID())
	add("version", x.Version)
	add("channel", x.Channel)
	add("latest of", strings.Join(x.Latest, ", "))
	add("description", x.Description)
	add("entry point", x.EntryPoint)
	add("needs host", x.MinHostVersion)
	add("permissions", strings.Join(x.Permissions, ", "))
	if x.Yanked != nil {
		add("withdrawn", fmt.Sprintf("on %s: %s", date(x.Yanked.At), x.Yanked.Reason))
	}
	add("size", fmt.Sprintf("%s (%d bytes)", size(x.Length), x.Length))
	for _, alg := range slices.Sorted(maps.Keys(x.Hashes)) {
		add(alg, x.Hashes[alg])
	}
	add("repository", x.Repository)
	if len(x.Agree) > 1 {
		add("agreed by", strings.Join(x.Agree, ", "))
	}
	add("role", x.Role)
	add("verified", by(x.Engine, x.Versions))
	if x.Denied == nil {
		add("policy", "allowed")
	} else {
		add("policy", "denied by "+why(x))
	}
	p.table(rows)
	p.offline(x.Offline)
	if x.Denied != nil {
		p.line("hint: %s", x.Denied.Hint)
	}
}
