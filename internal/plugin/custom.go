package plugin

import (
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
// manifest and the member "release", as canonical JSON (RFC 8785). The release
// is said to be the latest of those channels only that count it: of none when
// it is yanked, of beta alone when it is in beta. An unknown channel, or a
// withdrawal without reason or time, is a [*ManifestError].
func (m *Manifest) Custom(r Release) (json.RawMessage, error) {
	fields, err := object(m.Raw)
	if err != nil {
		return nil, err
	}
	if problem := r.problem(); problem != "" {
		return nil, &ManifestError{releaseMember, problem}
	}
	r = r.normal()
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
	r, err := parseRelease(said)
	if err != nil {
		return nil, Release{}, err
	}
	return m, r, nil
}

// ParseYanked reads whether a release was withdrawn, whatever the rest of the custom
// field is like: nil if it was not. A reason that is not fit to be shown is left out.
func ParseYanked(custom []byte) *Yanked {
	if len(custom) > maxCustom {
		return nil
	}
	var said struct {
		Release struct {
			Yanked json.RawMessage `json:"yanked"`
		} `json:"release"`
	}
	_ = json.Unmarshal(custom, &said) // The rest may be anything.
	switch string(said.Release.Yanked) {
	case "", "null", "false":
		return nil
	}
	var y yankedJSON
	_ = json.Unmarshal(said.Release.Yanked, &y)
	if isText(y.Reason) != "" {
		y.Reason = ""
	}
	return &Yanked{y.Reason, y.At.UTC().Truncate(time.Second)}
}

func parseRelease(data []byte) (Release, error) {
	var said *releaseJSON
	if err := strict.Unmarshal(data, &said); err != nil || said == nil {
		return Release{}, &ManifestError{releaseMember, "is not what a repository says of a release"}
	}
	r := Release{Channel: said.Channel, Latest: said.Latest}
	if said.Yanked != nil {
		r.Yanked = &Yanked{said.Yanked.Reason, said.Yanked.At}
	}
	if problem := r.problem(); problem != "" {
		return Release{}, &ManifestError{releaseMember, problem}
	}
	return r.normal(), nil
}

// normal returns a copy in the one way to say the same: sorted, in UTC, and the
// latest of no channel that does not count it.
func (r Release) normal() Release {
	latest := r.Latest
	r.Latest = nil
	for _, c := range []Channel{Stable, Beta} {
		if slices.Contains(latest, c) && r.counts(c) {
			r.Latest = append(r.Latest, c)
		}
	}
	if r.Yanked != nil {
		r.Yanked = &Yanked{r.Yanked.Reason, r.Yanked.At.UTC().Truncate(time.Second)}
	}
	return r
}

// problem says what about a release cannot be, or "".
func (r Release) problem() string {
	for _, c := range append([]Channel{r.Channel}, r.Latest...) {
		if _, err := ParseChannel(string(c)); err != nil {
			return "says " + err.Error()
		}
	}
	if r.Yanked == nil {
		return ""
	}
	if problem := isText(r.Yanked.Reason); problem != "" {
		return "has a reason that " + problem
	}
	if y := r.Yanked.At.Year(); y < 1970 || y > 9999 {
		return "says yanked without a time"
	}
	return ""
}
