package config

import (
	"fmt"

	"github.com/otto-edge/otto"
)

// AddNode returns the content of an otto.yaml with one more node. All lines that
// are there stay as they are.
func AddNode(data []byte, n otto.Node) ([]byte, error) {
	item := struct {
		ID           string            `yaml:"id"`
		Host         string            `yaml:"host"`
		User         string            `yaml:"user,omitempty"`
		Port         int               `yaml:"port,omitempty"`
		IdentityFile string            `yaml:"identity_file,omitempty"`
		DockerURL    string            `yaml:"docker_url,omitempty"`
		Labels       map[string]string `yaml:"labels,omitempty"`
	}{n.ID, n.Host, n.User, n.Port, n.IdentityFile, n.DockerURL, n.Labels}
	out, err := changed(data, func(e *edit) error {
		l, err := e.list("nodes")
		if err != nil {
			return err
		}
		return l.add(item)
	})
	if err != nil {
		return nil, byHand(err, "write %s into its list of nodes", asWords(item))
	}
	return out, nil
}

// RemoveNode returns the content of an otto.yaml without a node. All other
// lines stay as they are.
func RemoveNode(data []byte, id string) ([]byte, error) {
	out, err := changed(data, func(e *edit) error {
		l, err := e.list("nodes")
		if err != nil {
			return err
		}
		i := named(l.node, "id", id)
		if i < 0 {
			return fmt.Errorf("its list of nodes has no item with id: %s", id)
		}
		l.remove(i, false)
		return nil
	})
	if err != nil {
		return nil, byHand(err, "take node %s out of it", id)
	}
	return out, nil
}
