// Command otto orchestrates containers on the machines of an edge or home cluster.
package main

import (
	"os"

	"github.com/otto-edge/otto/cli"
)

// version is set by the build.
var version = "dev"

func main() { os.Exit(cli.Main(version, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
