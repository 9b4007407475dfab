package targets

// Check hashes bytes on their way elsewhere, for a verdict at their end. It is not
// safe for concurrent use.
type Check struct {
	want signed
	got  *sums
}

// NewCheck returns a Check of what is wanted, or the error malformed for a want
// without a usable hash.
func NewCheck(want Want) (*Check, error) {
	s, err := want.known()
	if err != nil {
		return nil, err
	}
	return &Check{want: s, got: newSums(&s)}, nil
}

// Write hashes b. It never fails.
func (c *Check) Write(b []byte) (int, error) { return c.got.Write(b) }

// Verdict compares n, the file's length in bytes, and every hash of what was
// written with the signed ones. The error is mismatch.
func (c *Check) Verdict(n int64) error { return c.want.verdict(n, c.got) }
