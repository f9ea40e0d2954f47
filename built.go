package otto

import "strings"

// Images that Otto has built run by their id, which no registry gives away: whoever lacks
// one can only wait for it.

const (
	imageID     = "sha256:"
	builtDomain = "otto.invalid/" // which no registry can ever have (RFC 2606)
)

// WaitsForImage is how the reason begins of an instance whose node lacks its built image.
const WaitsForImage = "waiting: image "

// BuiltImage reports whether an image is named by its id, as those are that Otto has built.
func BuiltImage(image string) bool {
	hex, ok := strings.CutPrefix(image, imageID)
	return ok && len(hex) == 64 && strings.Trim(hex, "0123456789abcdef") == ""
}

// BuiltRepository is the name that images of a cluster have which Otto has built. By it
// no prune of images without a name takes them.
func BuiltRepository(cluster string) string {
	return builtDomain + "c-" + strings.Trim(strings.ReplaceAll(cluster, "_", "-"), "-")
}

// BuiltName is the name of a built image with an id. Engines differ in what they call the id
// of an image, which depends on how they store it: the name says what it was where it was built.
func BuiltName(cluster, id string) string {
	return BuiltRepository(cluster) + ":" + strings.TrimPrefix(id, imageID)
}

// BuiltID is the id in a BuiltName, of whatever cluster; empty if it is none.
func BuiltID(name string) string {
	rest, ours := strings.CutPrefix(name, builtDomain)
	_, hex, tagged := strings.Cut(rest, ":")
	if id := imageID + hex; ours && tagged && BuiltImage(id) {
		return id
	}
	return ""
}

// ImageOffer offers a built image to a node, before its archive.
type ImageOffer struct {
	ID     string   `json:"id"`     // where it was built
	Layers []string `json:"layers"` // the digests of their contents
	Bytes  int64    `json:"bytes"`  // unpacked
	Keep   []string `json:"keep"`   // ids of all that are still in use; others of the cluster go
}

// Answers to an ImageOffer.
const (
	ImageThere = "there" // it was there already
	ImageSend  = "send"  // its archive is wanted
	ImageTaken = "taken" // it has come, and is usable
)
