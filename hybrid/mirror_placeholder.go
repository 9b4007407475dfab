package hybrid

// Mirror is a further place where a repository is served.
type Mirror struct {
	URL, MetadataURL, TargetsURL string
	// SendCredentials lets the token and client certificate go there, too.
	SendCredentials bool
}
