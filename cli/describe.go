package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/otto-edge/otto"
)

// describe is an instance's state with its reason, in one line.
func describe(i otto.PlacedInstance) string {
	text := string(i.State)
	if i.Node != "" {
		text += " on " + i.Node
	}
	former := i.State == otto.InstanceRunning && !i.UpToDate
	switch why := cmpOr(i.Error, i.Reason); {
	case former && i.Error != "":
		text += " in its former version, as the new one failed: " + why
	case why != "":
		text += ": " + why
	case former:
		text += ", not updated yet"
	}
	if len(i.LogTail) > 0 && i.Error != "" {
		text += "\n      | " + strings.Join(i.LogTail, "\n      | ")
	}
	return text
}

// maxNamed is how many services a line names; it counts the others.
const maxNamed = 10

// describeAll has a line for each state and reason, with the names of all instances that share
// it. Where an engine has no addresses left, all services of a stack fail for that reason.
func describeAll(list []otto.PlacedInstance) (lines []string) {
	names := map[string][]string{}
	var texts []string
	for _, i := range list {
		text := describe(i)
		if names[text] == nil {
			texts = append(texts, text)
		}
		names[text] = append(names[text], i.Name)
	}
	for _, text := range texts {
		of := names[text]
		if len(of) == 1 {
			lines = append(lines, fmt.Sprintf("service %s is %s", of[0], text))
			continue
		}
		if more := len(of) - maxNamed; more > 0 {
			of = append(slices.Clone(of[:maxNamed]), fmt.Sprintf("%d more", more))
		}
		lines = append(lines, fmt.Sprintf("services %s are %s", strings.Join(of, ", "), text))
	}
	return lines
}
