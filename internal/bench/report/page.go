package report

import (
	"fmt"
	"strings"
)

// Head says when and how it was measured.
func (r *Report) Head() string {
	return fmt.Sprintf("%s, medians of %d rounds", r.Date.Format("2 January 2006"), r.Rounds)
}
func (r *Report) Markdown() string { var b strings.Builder; return b.String() }
func (r *Report) Plot() string     { return "" }
