package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/otto-edge/otto"
)

// bringWithin is for 64 MiB by a link of half a megabit a second.
const bringWithin = 20 * time.Minute

// bringTaken is what the agent's command says when all is there.
const bringTaken = "taken"

// Bring has a node take in the files with a key, as a pack of package folder. It goes to
// a command of the agent there, which checks it by the key on the way to the disk.
func (f *Fleet) Bring(ctx context.Context, node otto.Node, cluster, key string, pack io.Reader) error {
	ctx, cancel := context.WithTimeout(ctx, bringWithin)
	defer cancel()
	s, err := f.Open(ctx, node, cluster, "bring")
	if err != nil {
		return err
	}
	defer s.Close()
	_, sendErr := io.WriteString(s, key+"\n")
	if sendErr == nil {
		_, sendErr = io.Copy(s, pack)
	}
	sendErr = errors.Join(sendErr, s.CloseWrite())
	said, _ := io.ReadAll(io.LimitReader(s, maxOutput))
	if strings.TrimSpace(string(said)) == bringTaken {
		return nil
	}
	if err := s.Wait(); err != nil { // in the command's own words, of which the sender's error is a consequence
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("it took longer than %s", bringWithin)
	}
	return errors.Join(errors.New("the node has not taken them"), sendErr)
}
