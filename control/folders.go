package control

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/plan"
	"github.com/otto-edge/otto/folder"
)

// Files of projects: a spec has the key of what is in them, and a store beside the
// documents has that. A node that lacks some says so, and they are brought to it over
// SSH. What a node uses is decided by the keys in its assignment alone.

// saltOf is the salt that this cluster has for a folder: who sees its key in a label, a
// status or a recording cannot try out what may be in it.
func saltOf(key []byte, m folder.Manifest) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("otto folder v1\n"))
	mac.Write(m.Salted("").Encode())
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// keyedFolders replaces the keys of folders that are newly wanted by those that the
// cluster has for them. Others have to be known.
func keyedFolders(key []byte, w otto.Wanted, known map[string]bool) (otto.Wanted, error) {
	salted := map[string]string{}
	for id, text := range w.Folders {
		m, err := folder.Parse(text)
		if err == nil && folder.KeyOf(text) != id {
			err = errors.New("its key is of something else")
		}
		if err != nil {
			return w, err
		}
		salted[id] = m.Salted(saltOf(key, m)).Key()
	}
	services := w.Services
	for i := range services {
		if len(services[i].Spec.Folders()) == 0 {
			continue
		}
		mounts := slices.Clone(services[i].Spec.Mounts)
		for k := range mounts {
			m := &mounts[k]
			if m.Type != otto.MountFiles {
				continue
			}
			if now, came := salted[m.Content]; came {
				m.Content = now
			} else if !known[m.Content] {
				return w, lackFiles(*m, services[i].Name)
			}
		}
		if &services[0] == &w.Services[0] {
			services = slices.Clone(services)
		}
		services[i].Spec.Mounts = mounts
	}
	w.Services, w.Folders = services, nil
	return w, nil
}

func lackFiles(m otto.Mount, service string) error {
	return fmt.Errorf("the files %s of service %s have not come to the control plane: apply the file again", m.Source,
		service)
}

// folderKeys are those of what is wanted, and of the versions that it may go back to.
func folderKeys(w otto.Wanted, rollouts map[string]plan.Rollout) map[string]bool {
	keys := map[string]bool{}
	take := func(spec otto.ContainerSpec) {
		for _, m := range spec.Folders() {
			keys[m.Content] = true
		}
	}
	for i := range w.Services {
		take(w.Services[i].Spec)
	}
	for _, r := range rollouts {
		for _, v := range r.Versions {
			take(v.Spec)
		}
	}
	return keys
}

func (d desired) folderKeys() map[string]bool { return folderKeys(d.Wanted, d.Rollouts) }

// haveFolders fails if the store lacks files of what is to be wanted.
func (p *Plane) haveFolders(w otto.Wanted) error {
	for i := range w.Services {
		for _, m := range w.Services[i].Spec.Folders() {
			if p.Folders == nil || !p.Folders.Has(m.Content) {
				return lackFiles(m, w.Services[i].Name)
			}
		}
	}
	return nil
}

// contentKey is by which contents and folders get their keys. It never changes.
func (p *Plane) contentKey(ctx context.Context) (key []byte, err error) {
	err = p.call(ctx, func() error {
		key = p.identity.ContentKey
		return p.deciding()
	})
	return key, err
}

// LackFolders says of manifests, by their keys, of which the store has no files.
func (p *Plane) LackFolders(ctx context.Context, manifests map[string][]byte) (lacking []string, err error) {
	key, err := p.contentKey(ctx)
	if err != nil {
		return nil, err
	}
	for id, text := range manifests {
		m, err := folder.Parse(text)
		if err != nil {
			return nil, err
		}
		if p.Folders == nil || !p.Folders.Has(m.Salted(saltOf(key, m)).Key()) {
			lacking = append(lacking, id)
		}
	}
	slices.Sort(lacking)
	return lacking, nil
}

// PutFolder stores a pack of files, for what is about to be wanted.
func (p *Plane) PutFolder(ctx context.Context, pack io.Reader) error {
	key, err := p.contentKey(ctx)
	if err != nil {
		return err
	}
	if p.Folders == nil {
		return errors.New("this control plane keeps no files")
	}
	_, err = p.Folders.Put(pack, func(m folder.Manifest) string { return saltOf(key, m) })
	return err
}

// keepFolders removes files that nothing needs any more.
func (p *Plane) keepFolders(now time.Time) {
	if p.Folders == nil {
		return
	}
	if err := p.Folders.Keep(p.desired.folderKeys(), now); err != nil {
		p.Log.Warn("files of stacks that nothing needs are not removed", "err", err)
	}
}

// withFolders notes which files the instances on a node need, and holds back what its
// agent is too old for: it would run it without them.
func (n *node) withFolders(instances []otto.Instance) {
	n.folders = nil
	for k := range instances {
		i := &instances[k]
		for _, m := range i.Spec.Folders() {
			n.folders = append(n.folders, m.Content)
			if !n.knowsFolders {
				i.Hold = cmp.Or(i.Hold,
					"the agent on "+n.ID+" takes in no files of a project: it is older and will be replaced, or its "+
						"container engine is on another machine")
			}
		}
	}
}

// takesFolders takes in whether an agent knows files that are brought to it.
func (n *node) takesFolders(yes bool) {
	if n.knowsFolders != yes {
		n.knowsFolders, n.untold = yes, true
	}
}

// bringFolders begins to bring nodes what they lack. The loop calls it all the time.
func (p *Plane) bringFolders(now time.Time) {
	if p.Bring == nil || p.Folders == nil || p.desired.Wanted.Stopped {
		return
	}
	for id, n := range p.nodes {
		var lacks []string // not what another node has
		if n.report != nil {
			lacks = slices.DeleteFunc(slices.Clone(n.report.Lacks), func(key string) bool { return !slices.Contains(n.folders, key) })
		}
		key := n.bringing.due(lacks, now)
		if key == "" || n.state != otto.NodeReady {
			continue
		}
		n.bringing.busy = true
		to := n.Node
		p.background.Go(func() {
			err := p.bring(to, key)
			p.tell(p.ctx, func() { p.broughtFolder(id, key, err, time.Now()) })
		})
	}
}

// bring brings a node the files with a key.
func (p *Plane) bring(to otto.Node, key string) error {
	pack, err := p.Folders.Open(key)
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("they are missing in the control plane's state: run `otto apply` again")
	}
	if err != nil {
		return err
	}
	defer pack.Close()
	return p.Bring(p.ctx, to, key, pack)
}

// broughtFolder takes in how that went.
func (p *Plane) broughtFolder(id, key string, err error, now time.Time) {
	n := p.nodes[id]
	if n == nil {
		return
	}
	p.dirty = true
	if err == nil {
		n.bringing.arrived(key, now)
		return
	}
	why := "files of a stack could not be brought there: " + strings.ReplaceAll(err.Error(), "\n", "; ")
	if n.bringing.failed(key, id, why, now) {
		p.event("files-not-brought", id, "", why)
	}
}
