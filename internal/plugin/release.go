package plugin

import (
	"encoding/json"
	"time"

	"github.com/Masterminds/semver/v3"
)

// Channel is a stream of releases that a host follows.
type Channel string

// The channels. A host on beta is offered stable releases as well.
const (
	Stable Channel = "stable"
	Beta   Channel = "beta"
)

// ParseChannel reads the name of a channel. Any other word is a
// [*ManifestError].
func ParseChannel(s string) (Channel, error) {
	switch c := Channel(s); c {
	case Stable, Beta:
		return c, nil
	}
	return "", &ManifestError{"release", "names no channel: use stable or beta"}
}

// Yanked says why and when a release was withdrawn. It stays verifiable.
type Yanked struct {
	// Reason is for people.
	Reason string
	// At has whole seconds, in UTC.
	At time.Time
}

// Release is what the repository says of one version of a plugin.
type Release struct {
	Channel Channel
	// Latest are the channels of which this is the latest version.
	Latest []Channel
	// Yanked is nil unless the release was withdrawn.
	Yanked *Yanked
}

// releaseJSON is the member "release" of a target's custom field.
type releaseJSON struct {
	Channel Channel     `json:"channel"`
	Latest  []Channel   `json:"latest,omitempty"`
	Yanked  *yankedJSON `json:"yanked,omitempty"`
}

type yankedJSON struct {
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// Version is one version of a plugin with what is said of it.
type Version struct {
	Version string
	Release Release
}

// Latest says which of the releases of one plugin is the latest of each
// channel: the highest version that was not yanked. Channel beta counts the
// releases of both channels, stable those of its own. A channel without any
// is not in the answer.
func Latest(all []Version) map[Channel]string {
	latest := map[Channel]string{}
	offer := func(c Channel, version string) {
		if best, ok := latest[c]; !ok || Compare(version, best) > 0 {
			latest[c] = version
		}
	}
	for _, v := range all {
		if v.Release.Yanked != nil {
			continue
		}
		offer(Beta, v.Version)
		if v.Release.Channel == Stable {
			offer(Stable, v.Version)
		}
	}
	return latest
}

// Compare orders versions by semantic versioning's precedence: -1 when v is
// lower than w, 1 when it is higher, else 0. What is no version is lower than
// every version.
func Compare(v, w string) int {
	a, errA := semver.StrictNewVersion(v)
	b, errB := semver.StrictNewVersion(w)
	switch {
	case errA != nil && errB != nil:
		return 0
	case errA != nil:
		return -1
	case errB != nil:
		return 1
	}
	return a.Compare(b)
}

// IsPrerelease tells whether v is a version such as 1.2.3-rc.1.
func IsPrerelease(v string) bool {
	parsed, err := semver.StrictNewVersion(v)
	return err == nil && parsed.Prerelease() != ""
}

// Custom returns the custom field of the plugin's target: the members of the
// manifest and the member "release", as canonical JSON (RFC 8785).
func (m *Manifest) Custom(r Release) (json.RawMessage, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(m.Raw, &members); err != nil {
		return nil, &ManifestError{"", "is not a JSON object"}
	}
	said := releaseJSON{Channel: r.Channel, Latest: r.Latest}
	if r.Yanked != nil {
		said.Yanked = &yankedJSON{r.Yanked.Reason, r.Yanked.At.UTC().Truncate(time.Second)}
	}
	release, err := json.Marshal(said)
	if err != nil {
		return nil, &ManifestError{releaseMember, err.Error()}
	}
	members[releaseMember] = release
	return canonical(members)
}

// ParseCustom reads the custom field of a verified target. Where it holds no
// member "release", as older publishers leave it, the channel follows from the
// version and the release is the latest of none.
func ParseCustom(custom []byte) (*Manifest, Release, error) {
	var members map[string]json.RawMessage
	if err := portable(custom); err != nil {
		return nil, Release{}, err
	}
	if err := json.Unmarshal(custom, &members); err != nil {
		return nil, Release{}, &ManifestError{"", "is not a JSON object"}
	}
	raw, ok := members[releaseMember]
	delete(members, releaseMember)
	rest, err := canonical(members)
	if err != nil {
		return nil, Release{}, err
	}
	m, err := ParseManifest(rest)
	if err != nil {
		return nil, Release{}, err
	}
	if !ok {
		r := Release{Channel: Stable}
		if IsPrerelease(m.Version) {
			r.Channel = Beta
		}
		return m, r, nil
	}
	var said releaseJSON
	if err := json.Unmarshal(raw, &said); err != nil {
		return nil, Release{}, &ManifestError{releaseMember, "is not what a repository says of a release"}
	}
	if _, err := ParseChannel(string(said.Channel)); err != nil {
		return nil, Release{}, err
	}
	r := Release{Channel: said.Channel, Latest: said.Latest}
	if said.Yanked != nil {
		r.Yanked = &Yanked{said.Yanked.Reason, said.Yanked.At}
	}
	return m, r, nil
}
