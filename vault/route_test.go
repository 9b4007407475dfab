package vault

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/hybrid"
)

// Who cannot answer for a plugin is not asked about it.
func TestWhoIsConcerned(t *testing.T) {
	terminating := func(paths ...string) Mapping {
		return Mapping{Paths: paths, Repositories: []string{"one"}, Terminating: true}
	}
	rest := Mapping{Paths: []string{"*"}, Repositories: []string{"two"}}
	for name, c := range map[string]struct {
		mappings []Mapping
		want     []string
	}{
		"no mappings":               {nil, []string{"one", "two"}},
		"everything":                {[]Mapping{terminating("*"), rest}, []string{"one"}},
		"all of the publisher":      {[]Mapping{terminating("plugins/acme/*"), rest}, []string{"one"}},
		"every publisher":           {[]Mapping{terminating("plugins/*/*"), rest}, []string{"one"}},
		"some of the publisher":     {[]Mapping{terminating("plugins/acme/tool.*"), rest}, []string{"one", "two"}},
		"one of several patterns":   {[]Mapping{terminating("x", "plugins/a*/t*", "plugins/ac?e/*"), rest}, []string{"one"}},
		"another publisher":         {[]Mapping{terminating("plugins/initech/*"), rest}, []string{"two"}},
		"too deep, or not enough":   {[]Mapping{terminating("plugins/acme/*/*", "plugins/*", "acme/*"), rest}, []string{"two"}},
		"nobody":                    {[]Mapping{terminating("plugins/initech/*")}, nil},
		"not the end of the search": {[]Mapping{{Paths: []string{"plugins/acme/*"}, Repositories: []string{"two", "one"}}, rest}, []string{"one", "two"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "one", "two")
			v := w.vault(mappings(c.mappings...))
			var got []string
			for _, r := range v.concerned("acme/tool") {
				got = append(got, r.name)
			}
			require.Equal(t, c.want, got)
			_, err := v.Resolve(t.Context(), "acme/tool", "", ResolveOptions{})
			require.ErrorIs(t, err, hybrid.ErrNotFound)
			for _, name := range w.names {
				if len(w.servers[name].Requests()) > 0 {
					require.Contains(t, c.want, name)
				}
			}
		})
	}
}
