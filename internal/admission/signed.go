package admission

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// signedPart reads the signed part of a file. While it is canonicalized, the
// entries of its long lists, targets and meta, are held against the schema.
type signedPart struct {
	canonicalizer
	file []byte
	kind Kind
	// members are the values, as received, of the members that metadata of this
	// kind has; nil if the signed part is not an object.
	members map[string]jsontext.Value
	// targets is where the names of the targets begin in the file.
	targets []int
	meta    map[string]MetaFile
	// fault is what is wrong with the first bad entry of targets or meta. The rest
	// is read all the same: a file that is not JSON is refused for that.
	fault error
}

// memberNames are the members that the specification defines.
var memberNames = map[Kind][]string{
	KindRoot:      {"_type", "spec_version", "version", "expires", "consistent_snapshot", "keys", "roles"},
	KindTimestamp: {"_type", "spec_version", "version", "expires", "meta"},
	KindSnapshot:  {"_type", "spec_version", "version", "expires", "meta"},
	KindTargets:   {"_type", "spec_version", "version", "expires", "targets", "delegations"},
}

// readSignedPart reads the next value, the signed part, and sets d.Canonical.
func (d *Doc) readSignedPart(dec *jsontext.Decoder, lim Limits) (*signedPart, error) {
	kind := dec.PeekKind()
	start := len(d.Raw) - len(trimColon(d.Raw[dec.InputOffset():]))
	p := &signedPart{file: d.Raw, kind: d.Kind, canonicalizer: canonicalizer{
		dec: dec, signed: true, out: d.Raw[start:start:len(d.Raw)], shared: true, limit: lim.Depth, moves: maxMoves * len(d.Raw),
	}}
	var err error
	if kind == '{' {
		p.members = map[string]jsontext.Value{}
		err = p.object(p.member)
	} else {
		err = p.value()
	}
	d.Canonical = slices.Clip(p.out)
	return p, err
}

// member reads a member of the signed part.
func (p *signedPart) member(name []byte) (err error) {
	start := p.dec.InputOffset()
	known := string(name)
	if !slices.Contains(memberNames[p.kind], known) {
		return p.value()
	}
	switch isObject := p.dec.PeekKind() == '{'; {
	case isObject && known == "targets":
		if err = p.object(p.target); err == nil && !p.sorted {
			sortNames(p.file, p.targets)
		}
	case isObject && known == "meta":
		p.meta = map[string]MetaFile{}
		err = p.object(p.metaFile)
	default:
		err = p.value()
	}
	p.members[known] = trimColon(p.file[start:p.dec.InputOffset()])
	return err
}

// target reads a member of targets.
func (p *signedPart) target(path []byte) error {
	p.targets = append(p.targets, int(p.dec.InputOffset())-p.nameLen)
	e, err := p.entry()
	if fault := e.targetFault(); err == nil && fault != nil && p.fault == nil {
		p.fault = fmt.Errorf("targets.%q%w", unescape(path), fault)
	}
	return err
}

// metaFile reads a member of meta.
func (p *signedPart) metaFile(name []byte) error {
	e, err := p.entry()
	if err != nil {
		return err
	}
	file := string(unescape(name))
	if fault := e.metaFault(); fault != nil && p.fault == nil {
		p.fault = fmt.Errorf("meta.%s: %w", file, fault)
	}
	p.meta[file] = MetaFile{Version: e.version, Length: e.length, Hashes: e.hashes}
	return nil
}

// entry is what targets and meta say about a file.
type entry struct {
	// version and length are absent or invalid unless they are at least 0.
	version, length int64
	// hashed is how many hashes there are, or absent. They are kept for meta only:
	// the entries of targets are decoded when they are asked for.
	hashed    int
	hashes    map[string]string
	hashFault error
	custom    jsontext.Kind
}

const absent, invalid = -1, -2

// targetFault says what is wrong with an entry of targets.
func (e *entry) targetFault() error {
	switch {
	case e.length < 0:
		return errors.New(": want an object with a length of at least 0")
	case e.hashed < 1:
		return errors.New(": hashes: want at least one")
	case e.hashFault != nil:
		return fmt.Errorf(": hashes.%w", e.hashFault)
	case e.custom != 0 && e.custom != '{' && e.custom != 'n':
		return errors.New(".custom: want an object")
	}
	return nil
}

// metaFault says what is wrong with an entry of meta.
func (e *entry) metaFault() error {
	switch {
	case e.version < 1:
		return errors.New("version: want an integer of at least 1")
	case e.length == invalid:
		return errors.New("length: want an integer of at least 0")
	case e.hashed == 0:
		return errors.New("hashes: want at least one")
	case e.hashFault != nil:
		return fmt.Errorf("hashes.%w", e.hashFault)
	}
	return nil
}

// entry reads the next value as an entry. What is no object has no members.
func (p *signedPart) entry() (entry, error) {
	e := entry{version: absent, length: absent, hashed: absent}
	if p.dec.PeekKind() != '{' {
		return e, p.value()
	}
	err := p.object(func(name []byte) (err error) {
		switch string(name) {
		case "version":
			e.version, err = p.integer()
		case "length":
			e.length, err = p.integer()
		case "hashes":
			err = p.hashes(&e)
		case "custom":
			e.custom = p.dec.PeekKind()
			err = p.value()
		default:
			err = p.value()
		}
		return err
	})
	return e, err
}

// integer reads the next value, which is invalid unless it is an integer of at
// least 0.
func (p *signedPart) integer() (int64, error) {
	if p.dec.PeekKind() != '0' {
		return invalid, p.value()
	}
	v, err := p.dec.ReadValue()
	if err != nil {
		return invalid, err
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil || n < 0 {
		n = invalid
	}
	return n, p.scalar(v)
}

// hashes reads the next value as the hashes of e. What is no object has none.
func (p *signedPart) hashes(e *entry) error {
	e.hashed = 0
	if p.dec.PeekKind() != '{' {
		return p.value()
	}
	if p.kind != KindTargets {
		e.hashes = map[string]string{}
	}
	return p.object(func(algorithm []byte) error {
		e.hashed++
		if p.dec.PeekKind() != '"' {
			if e.hashFault == nil {
				e.hashFault = fmt.Errorf("%s: want a string", unescape(algorithm))
			}
			return p.value()
		}
		v, err := p.dec.ReadValue()
		if err != nil {
			return err
		}
		if e.hashes != nil {
			e.hashes[algorithmName(algorithm)] = strings.ToLower(string(unquote(v)))
		}
		return p.scalar(v)
	})
}

// algorithmName is the text of a name, without a new string for those in use.
func algorithmName(name []byte) string {
	switch string(name) {
	case "sha256":
		return "sha256"
	case "sha512":
		return "sha512"
	}
	return string(unescape(name))
}
