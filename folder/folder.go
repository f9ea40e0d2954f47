// Package folder carries files and folders of a project to other machines.
//
// A Manifest lists what is in one: each path with its kind, its permissions and its
// owner, and of files the SHA-256 of their content. The hash of the manifest is the
// folder's Key, so that who knows the key can verify a manifest, and by that each file.
// A pack is a manifest with the contents of its files behind it, compressed: what
// travels, and what a Store keeps. On the other machine Unpack makes a directory of it
// that is there whole or not at all, and Verify says whether it still is what its key
// says.
//
// Everything is bounded: MaxFiles entries and MaxBytes of content, and no more memory
// than a manifest needs. Read refuses what cannot be the same elsewhere.
package folder

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

const (
	// MaxBytes is how much content there may be, in bytes.
	MaxBytes = 64 << 20
	// MaxFiles is how many files, folders and links there may be.
	MaxFiles = 2000

	maxManifest = 2 << 20 // bytes
	maxID       = 1<<31 - 1
	nobody      = 65534
	header      = "otto folder 1\n"
	self        = "." // path of what is mounted itself
)

// Entry is a file, a folder or a link.
type Entry struct {
	Path string // with slashes, below what is mounted; "." is that itself
	// Mode has the type, of which there are three, and the nine permissions.
	Mode     fs.FileMode
	UID, GID int
	Size     int64             // of a file
	Sum      [sha256.Size]byte // of the content of a file
	Link     string            // where a link leads
}

// Manifest is what is in a folder, or a single file, in the order of paths.
type Manifest struct {
	// Salt keeps those who know the key from trying out contents by it.
	Salt    string // hex digits
	Entries []Entry
}

// Salted is the manifest with another salt.
func (m Manifest) Salted(salt string) Manifest { return Manifest{salt, m.Entries} }

// Bytes is how much content there is.
func (m Manifest) Bytes() (n int64) {
	for i := range m.Entries {
		n += m.Entries[i].Size
	}
	return n
}

// Encode is the one form that a manifest has as text.
func (m Manifest) Encode() []byte {
	var b strings.Builder
	b.WriteString(header)
	fmt.Fprintf(&b, "salt %s\n", m.Salt)
	for i := range m.Entries {
		e := &m.Entries[i]
		sum := "-"
		if e.Mode.IsRegular() {
			sum = hex.EncodeToString(e.Sum[:])
		}
		fmt.Fprintf(&b, "%s %o %d %d %d %s %s", kindOf(e.Mode), e.Mode.Perm(), e.UID, e.GID, e.Size, sum,
			strconv.QuoteToASCII(e.Path))
		if e.Link != "" {
			b.WriteString(" " + strconv.QuoteToASCII(e.Link))
		}
		b.WriteByte('\n')
	}
	return []byte(b.String())
}

// Key names a manifest and all that is in it: 64 hex digits.
func (m Manifest) Key() string { return KeyOf(m.Encode()) }

// KeyOf is the key of an encoded manifest.
func KeyOf(manifest []byte) string {
	sum := sha256.Sum256(manifest)
	return hex.EncodeToString(sum[:])
}

// ValidKey reports whether s can be a key, and so the name of a file.
func ValidKey(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == sha256.Size && strings.ToLower(s) == s
}

func kindOf(mode fs.FileMode) string {
	switch mode.Type() {
	case 0:
		return "f"
	case fs.ModeDir:
		return "d"
	case fs.ModeSymlink:
		return "l"
	}
	return "?"
}

var errManifest = errors.New("this is not the list of a folder")

// Parse reads an encoded manifest. It takes only what Encode can have made of a folder
// within the bounds, whose paths and links stay in it.
func Parse(b []byte) (m Manifest, err error) {
	if len(b) > maxManifest {
		return m, fmt.Errorf("%w: it has %d KiB", errManifest, len(b)>>10)
	}
	text, ok := strings.CutPrefix(string(b), header)
	if !ok || !strings.HasSuffix(text, "\n") {
		return m, errManifest
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if m.Salt, ok = strings.CutPrefix(lines[0], "salt "); !ok {
		return m, errManifest
	}
	if _, err := hex.DecodeString(m.Salt); err != nil {
		return m, errManifest
	}
	if len(lines)-1 > MaxFiles {
		return m, fmt.Errorf("%w: it has more than %d entries", errManifest, MaxFiles)
	}
	for _, line := range lines[1:] {
		e, err := parseEntry(line)
		if err != nil {
			return m, err
		}
		m.Entries = append(m.Entries, e)
	}
	if err := m.check(); err != nil {
		return m, err
	}
	if string(m.Encode()) != string(b) {
		return m, errManifest
	}
	return m, nil
}

func parseEntry(line string) (e Entry, err error) {
	parts := strings.SplitN(line, " ", 7)
	if len(parts) != 7 {
		return e, errManifest
	}
	kinds := map[string]fs.FileMode{"f": 0, "d": fs.ModeDir, "l": fs.ModeSymlink}
	kind, known := kinds[parts[0]]
	mode, err1 := strconv.ParseUint(parts[1], 8, 9)
	uid, err2 := strconv.ParseUint(parts[2], 10, 32)
	gid, err3 := strconv.ParseUint(parts[3], 10, 32)
	size, err4 := strconv.ParseInt(parts[4], 10, 63)
	if !known || errors.Join(err1, err2, err3, err4) != nil || uid > maxID || gid > maxID || size < 0 {
		return e, errManifest
	}
	e.Mode, e.UID, e.GID, e.Size = kind|fs.FileMode(mode), int(uid), int(gid), size
	if kind == 0 {
		sum, err := hex.DecodeString(parts[5])
		if err != nil || len(sum) != sha256.Size {
			return e, errManifest
		}
		copy(e.Sum[:], sum)
	}
	quoted, err := strconv.QuotedPrefix(parts[6])
	if err != nil {
		return e, errManifest
	}
	if e.Path, err = strconv.Unquote(quoted); err != nil {
		return e, errManifest
	}
	if rest, ok := strings.CutPrefix(parts[6][len(quoted):], " "); ok {
		if e.Link, err = strconv.Unquote(rest); err != nil {
			return e, errManifest
		}
	}
	return e, nil
}

// check finds what Read would not have made.
func (m Manifest) check() error {
	if len(m.Entries) == 0 || m.Entries[0].Path != self || m.Entries[0].Mode.Type() == fs.ModeSymlink {
		return errManifest
	}
	folders := map[string]bool{}
	for i := range m.Entries {
		e := &m.Entries[i]
		isLink := e.Mode.Type() == fs.ModeSymlink
		switch {
		case isLink != (e.Link != ""), !e.Mode.IsRegular() && e.Size != 0:
			return errManifest
		case isLink && !leadsInside(e.Path, e.Link):
			return fmt.Errorf("%w: %.100q leads out of it", errManifest, e.Path)
		case i > 0 && (!validPath(e.Path) || e.Path <= m.Entries[i-1].Path && i > 1 || !folders[path.Dir(e.Path)]):
			return fmt.Errorf("%w: %.100q cannot be a path in it", errManifest, e.Path)
		}
		folders[e.Path] = e.Mode.IsDir()
	}
	if n := m.Bytes(); n > MaxBytes || n < 0 {
		return fmt.Errorf("%w: it has %d MiB", errManifest, n>>20)
	}
	return nil
}

// validPath is fs.ValidPath for names of any bytes, without the folder itself.
func validPath(p string) bool {
	if p == "" || p == self || strings.ContainsRune(p, 0) {
		return false
	}
	for _, name := range strings.Split(p, "/") {
		if name == "" || name == "." || name == ".." {
			return false
		}
	}
	return true
}

// leadsInside reports whether a link at a path stays below what is mounted.
func leadsInside(at, to string) bool {
	if to == "" || to[0] == '/' || strings.ContainsRune(to, 0) {
		return false
	}
	end := path.Join(path.Dir(at), to)
	return end != ".." && !strings.HasPrefix(end, "../")
}
