package repository

import "context"

// OpenOnline opens the keys that [Repository.KeepFresh] signs with, so that a
// passphrase is asked for now, and a wrong one is known now and not in the middle
// of the night. It returns those of snapshot and timestamp that the keys at hand
// cannot sign for; another process may. A key that is at hand and cannot be opened
// is an error, unless there are others enough. It blocks until done or ctx ends.
func (r *Repository) OpenOnline(ctx context.Context) (missing []string, err error) {
	missing, err = r.openOnline(ctx)
	return missing, during("serve", err)
}

func (r *Repository) openOnline(ctx context.Context) (missing []string, err error) {
	s, err := r.load(ctx)
	if err != nil {
		return nil, err
	}
	// What cannot be used is no key at hand.
	at, _ := r.ring()
	for _, role := range []string{roleSnapshot, roleTimestamp} {
		q := newQuorum(role, s.root.Root.Keys, s.root.Root.Roles[role])
		opened := 0
		var failed error
		for _, print := range q.keys {
			key, ok := at[print]
			if !ok || opened >= q.threshold {
				continue
			}
			if _, err := key.open(ctx); err != nil {
				failed = err
				continue
			}
			opened++
		}
		switch {
		case opened >= q.threshold:
		case failed != nil:
			return nil, failed
		default:
			missing = append(missing, role)
		}
	}
	return missing, nil
}
