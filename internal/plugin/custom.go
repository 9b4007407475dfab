package plugin

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	strict "github.com/go-json-experiment/json"
)

// maxCustom is the largest custom field in bytes. The member "release" adds a
// little to a manifest, and an encoder may have written any character as \uXXXX.
const maxCustom = 6 * (MaxManifest + 8<<10)

// releaseJSON is the member "release". What later versions add to it is skipped.
type releaseJSON struct {
	Channel Channel     `json:"channel"`
	Latest  []Channel   `json:"latest,omitempty"`
	Yanked  *yankedJSON `json:"yanked,omitempty"`
}

type yankedJSON struct {
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// Custom returns the custom field of the plugin's target: the members of the
// manifest and the member "release", as canonical JSON (RFC 8785). A release
// that contradicts itself or the version is a [*ManifestError]: a pre-release
// in channel stable, the latest of a channel that does not count it, yanked and
// still the latest.
func (m *Manifest) Custom(r Release) (json.RawMessage, error) {
	fields, err := object(m.Raw)
	if err != nil {
		return nil, err
	}
	r = r.normal()
	if problem := r.problem(m.Version); problem != "" {
		return nil, &ManifestError{releaseMember, problem}
	}
	said := releaseJSON{Channel: r.Channel, Latest: r.Latest}
	if r.Yanked != nil {
		said.Yanked = &yankedJSON{r.Yanked.Reason, r.Yanked.At}
	}
	if fields[releaseMember], err = json.Marshal(said); err != nil {
		return nil, &ManifestError{releaseMember, err.Error()}
	}
	return canonical(fields)
}

// ParseCustom reads the custom field of a verified target. Where it holds no
// member "release", as older publishers leave it, the channel is [ChannelOf]
// the version and the release is the latest of none. Every error is a
// [*ManifestError].
//
// It does not know the target's path: compare it with [Manifest.TargetPath].
func ParseCustom(custom []byte) (*Manifest, Release, error) {
	if len(custom) > maxCustom {
		return nil, Release{}, &ManifestError{"", fmt.Sprintf("is larger than %d bytes", maxCustom)}
	}
	fields, err := object(custom)
	if err != nil {
		return nil, Release{}, err
	}
	said, ok := fields[releaseMember]
	delete(fields, releaseMember)
	data, err := canonical(fields)
	if err != nil {
		return nil, Release{}, err
	}
	m, err := ParseManifest(data)
	if err != nil {
		return nil, Release{}, err
	}
	if !ok {
		return m, Release{Channel: ChannelOf(m.Version)}, nil
	}
	r, err := parseRelease(said, m.Version)
	if err != nil {
		return nil, Release{}, err
	}
	return m, r, nil
}

func parseRelease(data []byte, version string) (Release, error) {
	var said *releaseJSON
	if err := strict.Unmarshal(data, &said); err != nil || said == nil {
		return Release{}, &ManifestError{releaseMember, "is not what a repository says of a release"}
	}
	r := Release{Channel: said.Channel, Latest: said.Latest}
	if said.Yanked != nil {
		r.Yanked = &Yanked{said.Yanked.Reason, said.Yanked.At}
	}
	r = r.normal()
	if problem := r.problem(version); problem != "" {
		return Release{}, &ManifestError{releaseMember, problem}
	}
	return r, nil
}

// normal returns a copy in the one way to say the same.
func (r Release) normal() Release {
	r.Latest = slices.Clone(r.Latest)
	// In the order of the alphabet backwards stable comes before beta.
	slices.SortFunc(r.Latest, func(a, b Channel) int { return cmp.Compare(b, a) })
	if len(r.Latest) == 0 {
		r.Latest = nil
	}
	if r.Yanked != nil {
		r.Yanked = &Yanked{r.Yanked.Reason, r.Yanked.At.UTC().Truncate(time.Second)}
	}
	return r
}

// problem says what about a release in normal form cannot be, or "".
func (r Release) problem(version string) string {
	if _, err := ParseChannel(string(r.Channel)); err != nil {
		return "says channel " + err.Error()
	}
	if r.Channel == Stable && IsPrerelease(version) {
		return fmt.Sprintf("says channel %s, but version %s is a pre-release", Stable, version)
	}
	for i, c := range r.Latest {
		if _, err := ParseChannel(string(c)); err != nil {
			return "says latest of " + err.Error()
		}
		if i > 0 && c == r.Latest[i-1] {
			return fmt.Sprintf("says latest of %s twice", c)
		}
		if !r.counts(c) {
			return fmt.Sprintf("says latest of %s, but its channel is %s", c, r.Channel)
		}
	}
	if r.Yanked == nil {
		return ""
	}
	if len(r.Latest) > 0 {
		return "says both yanked and latest"
	}
	if problem := isText(r.Yanked.Reason); problem != "" {
		return "has a reason that " + problem
	}
	if y := r.Yanked.At.Year(); y < 1970 || y > 9999 {
		return "says yanked without a time"
	}
	return ""
}
