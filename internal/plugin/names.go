package plugin

// PublisherProblem says why s cannot be the publisher of a plugin, or "".
func PublisherProblem(s string) string { return isPublisher(s) }

// NameProblem says why s cannot be the name of a plugin, or "".
func NameProblem(s string) string { return isName(s) }

// VersionProblem says why s cannot be the version of a plugin, or "".
func VersionProblem(s string) string { return isVersion(s) }
