packages/c of go-tuf-succinct
