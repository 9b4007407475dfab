packages/b of go-tuf-succinct
