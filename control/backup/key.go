package backup

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"strings"
)

// Key is what sealed backups are opened with: 160 random bits, which a person
// can copy.
type Key [20]byte

// crockford has no letters that look like digits.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

const (
	keyLetters   = 32 // of the key
	checkLetters = 4  // that are wrong if a letter of the key is
	group        = 4
)

// NewKey draws a key.
func NewKey() (k Key) {
	_, _ = rand.Read(k[:]) // never fails: crypto/rand ends the program instead
	return k
}

// String is the key in groups of letters, the last of which is a check.
func (k Key) String() string {
	letters := encoding().EncodeToString(k[:]) + k.check()
	var groups []string
	for ; letters != ""; letters = letters[group:] {
		groups = append(groups, letters[:group])
	}
	return strings.Join(groups, "-")
}

// ParseKey reads a key as String writes it, or as a person copies that: in any
// case, with any spaces and hyphens.
func ParseKey(text string) (k Key, err error) {
	letters := strings.NewReplacer("-", "", " ", "", "\t", "", "\r", "", "\n", "", "O", "0", "I", "1", "L", "1").Replace(strings.ToUpper(text))
	if len(letters) != keyLetters+checkLetters {
		return k, errors.New("a recovery key has nine groups of four letters and digits")
	}
	b, err := encoding().DecodeString(letters[:keyLetters])
	if err != nil {
		return k, errors.New("the recovery key has a letter that no such key has: copy it again")
	}
	copy(k[:], b)
	if letters[keyLetters:] != k.check() {
		return k, errors.New("the recovery key has a mistake in it: copy it again")
	}
	return k, nil
}

func (k Key) check() string {
	return encoding().EncodeToString(k.derive("check"))[:checkLetters]
}

// derive makes as many keys of one as there are uses. The key has all the
// randomness, so a plain hash does.
func (k Key) derive(use string) []byte {
	sum := sha256.Sum256([]byte("otto recovery key, " + use + "\n" + string(k[:])))
	return sum[:]
}

func encoding() *base32.Encoding { return base32.NewEncoding(crockford).WithPadding(base32.NoPadding) }
