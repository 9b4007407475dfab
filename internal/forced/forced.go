// Package forced lets this module's own test programs put a client into a state
// that takes long to reach otherwise, or depends on the clock.
package forced

import "sync/atomic"

// BreakerOpen makes new clients begin with an open breaker.
var BreakerOpen atomic.Bool

// NothingAhead makes clients ask for one file after the other. What they ask for
// ahead depends on how long an answer takes, and so on how busy the machine is.
var NothingAhead atomic.Bool
