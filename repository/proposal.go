package repository

// Proposal is a change that waits for signatures which the keys at hand cannot
// make.
type Proposal struct {
	sealed []*sealed
}

func newProposal(c *change) *Proposal { return &Proposal{sealed: c.unsigned()} }
