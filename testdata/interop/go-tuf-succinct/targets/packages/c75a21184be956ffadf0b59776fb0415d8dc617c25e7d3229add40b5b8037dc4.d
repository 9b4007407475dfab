packages/d of go-tuf-succinct
