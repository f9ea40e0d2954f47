package wire

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/otto-edge/otto"
)

// At a broker that is not the cluster's own, others read what a node is sent. There an
// assignment is covered: only the names of its instances are in plain, and how they are run
// is sealed for the node with the contents of their files. It is signed as another kind of
// message, so that agents of builds that know no covers refuse it, and do not run instances
// without their environments.

// kindCovered is only for the signature: it is sent as an assignment.
const kindCovered Kind = "covered assignment"

// coveredKey is where in the contents the covered part is. Those of files are in hex.
const coveredKey = "covered"

// covered is the part of an assignment that is for the node alone.
type covered struct {
	Instances []otto.Instance `json:"instances"`
	Watches   []otto.Watch    `json:"watches,omitempty"`
	Taken     otto.Taken      `json:"taken,omitzero"`
}

// Cover moves what others must not read from an assignment into the contents that are to be
// sealed with it.
func Cover(a otto.Assignment, contents otto.Contents) (otto.Assignment, otto.Contents, error) {
	b, err := json.Marshal(covered{a.Instances, a.Watches, a.Taken})
	if err != nil {
		return a, contents, err
	}
	all := map[string][]byte{coveredKey: b}
	for key, content := range contents.Plain() {
		all[key] = content
	}
	names := make([]otto.Instance, len(a.Instances))
	for i, inst := range a.Instances {
		names[i] = otto.Instance{Name: inst.Name, Service: inst.Service}
	}
	a.Covered, a.Instances, a.Watches, a.Taken = true, names, nil, otto.Taken{}
	return a, otto.NewContents(all), nil
}

// Unseal opens what is sealed in an assignment for its node, by the first of some keys that
// does. An assignment that is covered is of no use if none does; of any other one, only the
// contents of files are missing then.
func Unseal(a otto.Assignment, keys ...[]byte) (opened otto.Assignment, err error) {
	if len(a.Sealed) == 0 && !a.Covered {
		return a, nil
	}
	err = errSealKey
	for _, key := range keys {
		if len(key) == 0 {
			continue
		}
		if a.Contents, err = OpenContents(key, a.ClusterID, a.Node, a.Sealed); err == nil {
			break
		}
	}
	if err != nil || !a.Covered {
		return a, err
	}
	content, there := a.Contents[coveredKey]
	if !there {
		return a, errors.New("the covered part of the assignment is missing")
	}
	var c covered
	if err := json.Unmarshal(content.Plain(), &c); err != nil { // whose error would quote it
		return a, errors.New("the covered part of the assignment cannot be read")
	}
	delete(a.Contents, coveredKey)
	a.Instances, a.Watches, a.Taken, a.Covered = c.Instances, c.Watches, c.Taken, false
	return a, nil
}

// kindOf is the kind that an assignment is signed as.
func kindOf(a otto.Assignment) Kind {
	if a.Covered {
		return kindCovered
	}
	return KindAssignment
}

// openAssignment reads one that was signed as either kind.
func openAssignment(verify func(kind Kind, into any) error) (a otto.Assignment, err error) {
	err = verify(KindAssignment, &a)
	if errors.Is(err, ErrSignature) {
		if covered := verify(kindCovered, &a); covered == nil || !errors.Is(covered, ErrSignature) {
			err = covered
		}
		if err == nil && !a.Covered {
			err = fmt.Errorf("%s: it is not covered", kindCovered)
		}
	} else if err == nil && a.Covered {
		err = fmt.Errorf("%s: it is covered, and signed as if it were not", KindAssignment)
	}
	return a, err
}
