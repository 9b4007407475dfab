package lockfile

import (
	"testing"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// What parses is written the same way for ever, and everything else is a typed error.
func FuzzParse(f *testing.F) {
	f.Add([]byte(golden))
	f.Add([]byte(`{"version": 1, "plugins": []}`))
	f.Add([]byte(`{"version": 2, "plugins": [null]}`))
	f.Add([]byte("<<<<<<< HEAD\n"))
	for _, spoil := range badEntries {
		e := hello("hello", "1.0.0")
		spoil(&e)
		if raw, err := (&File{entries: []Entry{e}}).Encode(); err == nil {
			f.Add(raw)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse(data)
		if err != nil {
			if e := tuferr.As(err); e == nil || e.Code != protocol.CodeLocalIO || e.Hint == "" {
				t.Fatalf("not a local_io with a hint: %v", err)
			}
			return
		}
		raw := encode(t, file)
		again, err := Parse([]byte(raw))
		if err != nil {
			t.Fatalf("what was written does not parse: %v\n%s", err, raw)
		}
		if second := encode(t, again); second != raw {
			t.Fatalf("%s\nbecame\n%s", raw, second)
		}
		if changes := Diff(file, again); len(changes) > 0 {
			t.Fatalf("%v", changes)
		}
		for _, e := range file.Entries() {
			if err := again.Set(e); err != nil {
				t.Fatal(err)
			}
			if _, ok := again.Find(e.Target); !ok {
				t.Fatalf("%s is lost", e.Target)
			}
		}
	})
}
