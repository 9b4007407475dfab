// Package forced lets this module's own test programs put a client into a state
// that takes long to reach otherwise.
package forced

import "sync/atomic"

// BreakerOpen makes new clients begin with an open breaker.
var BreakerOpen atomic.Bool
