package bootstrap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// agentWithin is for the SSH agent, which may have to ask the user.
const agentWithin = 30 * time.Second

// credentials are the keys to try at one server, and what to tell the user when
// none is taken.
type credentials struct {
	signers []ssh.Signer
	tried   []string // such as "~/.ssh/id_ed25519" or "2 keys of the SSH agent"
	locked  []string // key files with a passphrase that the SSH agent does not know
	agent   net.Conn // open for as long as the signers are used
}

func (c *credentials) Close() {
	if c.agent != nil {
		c.agent.Close()
	}
}

// gather finds the keys for a server as ssh does, in its order: the files asked
// for, the agent's keys, the usual files.
func gather(h hop, home string) *credentials {
	c := &credentials{}
	seen := map[string]bool{}
	add := func(s ssh.Signer) bool {
		id := string(s.PublicKey().Marshal())
		if seen[id] {
			return false
		}
		seen[id] = true
		c.signers = append(c.signers, s)
		return true
	}
	byAgent := c.fromAgent(h.agentSocket)
	held := func(key ssh.PublicKey) ssh.Signer {
		for _, s := range byAgent {
			if key != nil && bytes.Equal(s.PublicKey().Marshal(), key.Marshal()) {
				return s
			}
		}
		return nil
	}
	tryFile := func(path string) {
		signer, public, err := readKey(path)
		if s := held(public); s != nil {
			signer, err = s, nil
		}
		var locked *ssh.PassphraseMissingError
		switch {
		case errors.As(err, &locked):
			c.locked = append(c.locked, path)
		case err == nil && add(signer):
			c.tried = append(c.tried, path)
		}
	}
	for _, path := range h.identities {
		tryFile(path)
	}
	if !h.identitiesOnly {
		n := 0
		for _, s := range byAgent {
			if add(s) {
				n++
			}
		}
		if n > 0 {
			c.tried = append(c.tried, fmt.Sprintf("%d keys of the SSH agent", n))
		}
	}
	if len(h.identities) == 0 {
		for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
			tryFile(filepath.Join(home, ".ssh", name))
		}
	}
	return c
}

// fromAgent asks the SSH agent. One that is not there or hangs has no keys.
func (c *credentials) fromAgent(socket string) []ssh.Signer {
	if socket == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), agentWithin)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil
	}
	c.agent = conn
	_ = conn.SetDeadline(time.Now().Add(agentWithin))
	signers, err := agent.NewClient(conn).Signers()
	if err != nil {
		return nil
	}
	return signers
}

// readKey reads a private key. Of one with a passphrase the public part is known
// from the file itself or from the .pub beside it.
func readKey(path string) (ssh.Signer, ssh.PublicKey, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, readPublic(path), err
	}
	signer, err := ssh.ParsePrivateKey(b)
	if err == nil {
		return signer, signer.PublicKey(), nil
	}
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) && locked.PublicKey != nil {
		return nil, locked.PublicKey, err
	}
	return nil, readPublic(path), err
}

func readPublic(path string) ssh.PublicKey {
	b, err := os.ReadFile(strings.TrimSuffix(path, ".pub") + ".pub")
	if err != nil {
		return nil
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(b)
	if err != nil {
		return nil
	}
	return key
}

// refusal is the error when a server takes none of the keys.
func (c *credentials) refusal(h hop) error {
	mend := fmt.Sprintf("run `ssh-copy-id -p %d %s@%s`", h.port, h.user, h.host)
	if len(c.locked) > 0 {
		mend = fmt.Sprintf("the key %s has a passphrase: run `ssh-add %[1]s`", c.locked[0])
	}
	tried := "there is no key to try"
	if len(c.tried) > 0 {
		tried = "tried " + strings.Join(c.tried, ", ")
	}
	return fmt.Errorf("%s refuses user %s at %s (%s): %s", h.name, h.user, h.addr(), tried, mend)
}
