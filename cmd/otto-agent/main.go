// Command otto-agent is the node side of Otto. The control plane brings it to a
// node and calls it there; nobody needs to call it by hand.
package main

import "os"

// version is set by the build.
var version = "dev"

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }
