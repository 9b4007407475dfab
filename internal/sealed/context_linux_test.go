package sealed

import "context"

// interfering does something whenever it is asked whether it has ended.
type interfering struct {
	context.Context
	f func()
}

func (i interfering) Err() error { i.f(); return i.Context.Err() }

// ending is a context that ends after it has been asked so many times.
func ending(parent context.Context, calls int) context.Context {
	ctx, cancel := context.WithCancel(parent)
	return interfering{ctx, func() {
		if calls--; calls < 0 {
			cancel()
		}
	}}
}
