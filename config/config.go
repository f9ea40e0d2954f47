// Package config reads otto.yaml, the one file in which a user says which
// machines there are and what should run on them.
//
// The keys of a service are Docker Compose's, in all of Compose's forms, so
// that a service pasted from a compose file works; compose-go reads the forms it
// has readers for. What Compose has and Otto does not support is an error that
// names it: a file never means less than it says.
//
// A file becomes a value in two steps. The tree (yaml.go, tree.go) is YAML
// without its surprises: bounded, aliases and variables resolved, every value with its place
// and its text as the user wrote it. Tables of keys (object, key, form) then turn
// the tree into nodes and services; the schema for editors comes from the same
// tables. What concerns several of them, such as a port that two services want,
// is judged last (check.go). Each step goes on after a mistake, and all
// mistakes are reported together, each with line, column and what to write.
package config

import (
	_ "embed" // the starter file
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

// File is what an otto.yaml says.
type File struct {
	Path string
	Name string // of the cluster
	MQTT MQTT
	API  API
	// Wanted has the nodes, services and interval, and no revision.
	Wanted otto.Wanted
	// Folders are the files behind Wanted.Folders, by the same keys.
	Folders Folders
	// Builds are the images that are to be built. The services that run them have their names
	// in Wanted, until SetBuilt says what was built.
	Builds []*Build
	// OnlyHere is what Otto would need this machine for when it is applied: the file cannot be
	// applied to a control plane on another one.
	OnlyHere Problems
	// Variables are those that the file and its stacks ask for.
	Variables []Variable
	// Warnings are for the user to see; they stop nothing.
	Warnings Problems
}

// API is how people on other machines reach the control plane.
type API struct {
	Listen string `json:"listen,omitempty"` // host:port; the host may be empty; empty means not at all
}

// MQTT is the broker that the cluster meets at.
type MQTT struct {
	// Host is how nodes reach the broker; empty means the address of this
	// machine that each node is reached from.
	Host     string
	Port     int
	Embedded Embedded
	Username string
	Password string
	// TLS holds the PEM text of the files that otto.yaml names; nil means without.
	TLS *wire.TLS
	// Plain is from where clients may come without TLS to a broker that Otto serves;
	// empty means PlainLAN, or PlainOff with TLS.
	Plain Plain
}

// Plain is from where MQTT in the clear is taken.
type Plain string

// The values of Plain.
const (
	PlainLAN   Plain = "lan"   // this machine and the networks that it is in
	PlainLocal Plain = "local" // this machine alone
	PlainOff   Plain = "off"
)

// Embedded says whether Otto serves MQTT itself.
type Embedded string

// The values of Embedded.
const (
	EmbeddedAuto   Embedded = "auto"  // if nothing answers at the address and it is this machine's
	EmbeddedAlways Embedded = "true"  // whatever answers there
	EmbeddedNever  Embedded = "false" // a broker is there already
)

// Load reads the file at path, with variables from env and, where env has none,
// from the file .env beside it. The error is Problems, also when there is no
// such file. What is warned of may be the reason: a File with nothing but the warnings
// goes with an error of what the file says.
func Load(path string, env func(string) (string, bool)) (*File, error) {
	data, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, Problems{{File: path, What: "there is no such file", Try: "`otto cluster init --example` writes a starter"}}
	}
	if err != nil {
		return nil, Problems{{File: path, What: reason(err), Try: "name an otto.yaml that you may read"}}
	}
	return LoadAs(path, data, env)
}

// LoadAs is Load with data as the content of the file.
func LoadAs(path string, data []byte, env func(string) (string, bool)) (*File, error) {
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, Problems{{File: path, What: reason(err), Try: "go to a directory that exists"}}
	}
	with, err := withDotEnv(dir, env)
	if err != nil {
		return nil, err
	}
	return (&reader{file: path, dir: dir, env: with, shell: env}).document(data)
}

// Parse reads the content of the file called name. Relative paths in it start
// at dir, which is absolute. The error is Problems, as Load has them.
func Parse(name string, data []byte, dir string, env func(string) (string, bool)) (*File, error) {
	return (&reader{file: name, dir: dir, env: env, shell: env}).document(data)
}

// document reads an otto.yaml.
func (r *reader) document(data []byte) (*File, error) {
	root, ok := r.parse(data)
	if !ok {
		return nil, r.problems.sorted()
	}
	r.warnOfDotEnv(r.env)
	doc := document{}
	documentObject().read(r, root, &doc)
	doc.complete()
	doc.dropUnused(r)
	doc.resolve(r)
	doc.resolveBuilds(r)
	doc.checkMounts(r, &doc.project)
	doc.folders = doc.folders.with(doc.brought.folders)
	doc.addStacks(r)
	doc.check(r)
	if len(r.problems) > 0 {
		return &File{Path: r.file, Warnings: r.warnings.sorted()}, r.problems.sorted()
	}
	return &File{
		Path:      r.file,
		Name:      doc.name,
		MQTT:      doc.mqtt.MQTT,
		API:       doc.api.API,
		Wanted:    doc.wanted(),
		Folders:   doc.folders,
		Builds:    doc.builds(),
		OnlyHere:  r.onlyHere.sorted(),
		Variables: append(r.askedFor(""), doc.asked...),
		Warnings:  r.warnings.sorted(),
	}, nil
}

//go:embed example.yaml
var example []byte

// Example is a starter that loads as it is.
func Example() []byte { return example }
