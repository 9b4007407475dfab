package differential

import (
	"flag"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuftest/plain"
)

var (
	caseFlag    = flag.String("case", "", "run the cases whose group/name matches this regular expression")
	subjectFlag = flag.String("subject", "", "run the clients whose name matches this regular expression")
	seedFlag    = flag.Uint("seed", 1, "chooses the sample of cases")
)

// Subject is one client under comparison.
type Subject struct {
	Name string
	// Strict subjects are ours: the invariants must hold for them.
	Strict bool
	// Slow subjects start a process for each case.
	Slow bool
	// New makes a client for one goroutine; the function returned closes it.
	New func() (plain.Client, func())
	// Allowed says whether a subject may leave the specification so; nil
	// allows everything.
	Allowed func(c *Case, d Deviation) bool
}

// Result is how one subject fared in one case.
type Result struct {
	Case      *Case
	Subject   string
	Ran       bool
	Deviation Deviation
	Detail    string
}

func allCases() []Case {
	var all []Case
	for _, group := range [][]Case{
		signatureCases(), thresholdCases(), keyCases(), versionCases(), rootCases(), expiryCases(),
		jsonCases(), shapeCases(), targetCases(), delegationCases(), patternCases(), localCases(),
		transportCases(), attackCases(),
	} {
		all = append(all, group...)
	}
	return all
}

func selectedCases(t *testing.T) []Case {
	pattern, err := regexp.Compile(*caseFlag)
	require.NoError(t, err)
	return slices.DeleteFunc(allCases(), func(c Case) bool { return !pattern.MatchString(c.Group + "/" + c.Name) })
}

func selectedSubjects(t *testing.T) []Subject {
	pattern, err := regexp.Compile(*subjectFlag)
	require.NoError(t, err)
	return slices.DeleteFunc(subjects(t), func(s Subject) bool { return !pattern.MatchString(s.Name) })
}

func TestCasesAreWellMade(t *testing.T) {
	names := map[string]bool{}
	for _, c := range allCases() {
		name := c.Group + "/" + c.Name
		require.False(t, names[name], "two cases are called %s", name)
		names[name] = true
		require.NotEmpty(t, c.Spec, name)
		require.NotEmpty(t, c.Why, name)
		require.NotNil(t, c.Run, name)
	}
	require.GreaterOrEqual(t, len(names), 300)
}

func TestDifferential(t *testing.T) {
	cases := selectedCases(t)
	all := selectedSubjects(t)
	everything := os.Getenv("RAGNOS_DIFFERENTIAL") == "full" || *caseFlag != ""
	results := runAll(t.TempDir(), cases, all, everything)
	report := markdown(cases, all, results)
	t.Log("\n" + report)
	if os.Getenv("RAGNOS_WRITE_DOCS") != "" && everything && *caseFlag == "" && *subjectFlag == "" {
		file := filepath.Join("..", "..", "docs", "differential.md")
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(report), 0o644))
	}
	for _, s := range all {
		t.Run(s.Name, func(t *testing.T) {
			for _, r := range results {
				if r.Subject == s.Name && r.Deviation != "" && s.Allowed != nil && !s.Allowed(r.Case, r.Deviation) {
					t.Errorf("%s/%s (%s, %s): %s: %s", r.Case.Group, r.Case.Name, r.Case.Spec, r.Case.Why, r.Deviation, r.Detail)
				}
			}
		})
	}
}

// workers run cases at the same time: most of them wait for the loopback.
const workers = 4

// sampled says whether a subject runs a case when not everything is asked for:
// one in four, and slow subjects one in twelve.
func sampled(c *Case, s *Subject) bool {
	rate := uint32(4)
	if s.Slow {
		rate = 12
	}
	return crc32.ChecksumIEEE(fmt.Appendf(nil, "%d %s %s", *seedFlag, c.Group, c.Name))%rate == 0
}

// runAll runs the cases with the subjects, a sample unless everything is asked
// for. A result stands at the index of its case and its subject.
func runAll(dir string, cases []Case, all []Subject, everything bool) []Result {
	type job struct{ c, s int }
	jobs := make(chan job)
	results := make([]Result, len(cases)*len(all))
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			clients := make([]plain.Client, len(all))
			for i, s := range all {
				client, closeClient := s.New()
				defer closeClient()
				clients[i] = client
			}
			for j := range jobs {
				i := j.c*len(all) + j.s
				results[i] = runCase(filepath.Join(dir, fmt.Sprint(i)), &cases[j.c], &all[j.s], clients[j.s])
			}
		})
	}
	for c := range cases {
		for s := range all {
			results[c*len(all)+s] = Result{Case: &cases[c], Subject: all[s].Name}
			if everything || sampled(&cases[c], &all[s]) {
				jobs <- job{c, s}
			}
		}
	}
	close(jobs)
	wg.Wait()
	return results
}

func runCase(dir string, c *Case, s *Subject, client plain.Client) Result {
	w := newWorld(dir, c.Config, client, s.Strict)
	defer w.Server.Close()
	for _, d := range []string{w.metadataDir(), w.cacheDir()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			panic(err)
		}
	}
	// Half of the cases restart the application at every step, half keep it.
	w.restarts = c.Group == "local state" || !s.Slow && crc32.ChecksumIEEE([]byte(c.Name))%2 == 0
	c.Run(w)
	if r, ok := client.(restarter); ok {
		r.Restart()
	}
	if w.step == 0 {
		panic("case without a step: " + c.Name)
	}
	return Result{Case: c, Subject: s.Name, Ran: true, Deviation: w.deviation, Detail: w.detail}
}

var deviations = []Deviation{WronglyAccepted, WronglyRefused, Hung, Crashed, BrokeInvariant}

// markdown renders the results: a table by subject, one by group, and the list
// of everything that deviated.
func markdown(cases []Case, all []Subject, results []Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Differential suite\n\nThe suite has %d cases. This page is made by\n`RAGNOS_DIFFERENTIAL=full RAGNOS_WRITE_DOCS=1 go test -timeout 1h ./internal/differential`.\n\n", len(cases))
	b.WriteString("| client | cases | leaves the specification |")
	for _, d := range deviations {
		fmt.Fprintf(&b, " %s |", d)
	}
	b.WriteString("\n|---|---|---|---|---|---|---|---|\n")
	for _, s := range all {
		fmt.Fprintf(&b, "| %s | %d | %d |", s.Name, count(results, s.Name, "", "any"), count(results, s.Name, "", ""))
		for _, d := range deviations {
			fmt.Fprintf(&b, " %d |", count(results, s.Name, "", d))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n| group | cases |")
	for _, s := range all {
		fmt.Fprintf(&b, " %s |", s.Name)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(all)) + "\n")
	for _, group := range groups(cases) {
		fmt.Fprintf(&b, "| %s | %d |", group, inGroup(cases, group))
		for _, s := range all {
			fmt.Fprintf(&b, " %d |", count(results, s.Name, group, ""))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n## Every deviation\n\n| case | section | why | who |\n|---|---|---|---|\n")
	for c := range cases {
		var who []string
		for _, r := range results[c*len(all) : (c+1)*len(all)] {
			if r.Deviation != "" {
				who = append(who, r.Subject+" "+string(r.Deviation))
			}
		}
		if who != nil {
			c := &cases[c]
			fmt.Fprintf(&b, "| %s: %s | %s | %s | %s |\n", c.Group, cell(c.Name), c.Spec, cell(c.Why), strings.Join(who, ", "))
		}
	}
	return b.String()
}

var cellEscapes = strings.NewReplacer("|", `\|`, "*", `\*`, "[", `\[`, "<", "&lt;")

func cell(s string) string { return cellEscapes.Replace(s) }

func groups(cases []Case) []string {
	var names []string
	for _, c := range cases {
		if !slices.Contains(names, c.Group) {
			names = append(names, c.Group)
		}
	}
	return names
}

func inGroup(cases []Case, group string) int {
	n := 0
	for _, c := range cases {
		if c.Group == group {
			n++
		}
	}
	return n
}

// count counts results: in a group or all (""), with a deviation, any
// deviation (""), or in any case ("any").
func count(results []Result, subject, group string, d Deviation) int {
	n := 0
	for _, r := range results {
		if !r.Ran || r.Subject != subject || group != "" && r.Case.Group != group {
			continue
		}
		if d == "any" || d == r.Deviation && d != "" || d == "" && r.Deviation != "" {
			n++
		}
	}
	return n
}
