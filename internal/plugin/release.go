package plugin

import (
	"fmt"
	"strings"
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

// ParseChannel reads the name of a channel.
func ParseChannel(s string) (Channel, error) {
	switch c := Channel(s); c {
	case Stable, Beta:
		return c, nil
	}
	return "", fmt.Errorf("%.40q is no channel: use %s or %s", s, Stable, Beta)
}

// ChannelOf is the channel of a version when nobody says another: beta for a
// pre-release.
func ChannelOf(version string) Channel {
	if IsPrerelease(version) {
		return Beta
	}
	return Stable
}

// Yanked says why and when a release was withdrawn. It stays verifiable.
type Yanked struct {
	// Reason is for people, under the same rules as a description.
	Reason string
	// At has whole seconds, in UTC.
	At time.Time
}

// Release is what the repository says of one version of a plugin.
type Release struct {
	// Channel is what the publisher says, whatever the version.
	Channel Channel
	// Latest are the channels of which this is the latest version, stable
	// before beta.
	Latest []Channel
	// Yanked is nil unless the release was withdrawn.
	Yanked *Yanked
}

// counts tells whether the release is offered to those who follow c.
func (r Release) counts(c Channel) bool { return r.Yanked == nil && (c == Beta || c == r.Channel) }

// Version is one version of a plugin with what is said of it.
type Version struct {
	Version string
	Release Release
}

// Latest says which of the releases of one plugin is the latest of each
// channel: the highest version that was not yanked. Channel beta counts the
// releases of both channels, stable those of its own. A channel without any
// is not in the answer. What the releases themselves say of it is not looked at.
func Latest(all []Version) map[Channel]string {
	latest := map[Channel]string{}
	for _, v := range all {
		for _, c := range []Channel{Stable, Beta} {
			if !v.Release.counts(c) {
				continue
			}
			if best, ok := latest[c]; !ok || Compare(v.Version, best) > 0 {
				latest[c] = v.Version
			}
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
		return strings.Compare(v, w)
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
