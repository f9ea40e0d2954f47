package bootstrap

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/seed"
	"github.com/otto-edge/otto/wire"
)

const (
	// seedStall is how long the connection may take nothing of the data of a project, and
	// settleWithin how long a disk may be read or written without a word.
	seedStall    = 2 * time.Minute
	settleWithin = time.Hour
)

// Seed has a node take in the data of a project as a volume, if it has not got that. It goes to
// a command of the agent there.
func (f *Fleet) Seed(ctx context.Context, node otto.Node, cluster string, ask wire.Seed, send func(io.Writer) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stalled := time.AfterFunc(settleWithin, cancel)
	defer stalled.Stop()
	s, err := f.Open(ctx, node, cluster, "seed")
	if err != nil {
		return err
	}
	defer s.Close()
	header, err := json.Marshal(ask)
	if err != nil {
		return err
	}
	said := bufio.NewReader(io.LimitReader(s, maxOutput))
	_, sendErr := s.Write(append(header, '\n'))
	line := ""
	if sendErr == nil {
		line, _ = said.ReadString('\n')
	}
	if strings.TrimSpace(line) == wire.SeedWanted {
		sendErr = send(moving{s, stalled})
		sendErr = errors.Join(sendErr, s.CloseWrite())
		line, _ = said.ReadString('\n')
	}
	if strings.TrimSpace(line) == wire.SeedTaken {
		return nil
	}
	if why := (*seed.Refusal)(nil); errors.As(sendErr, &why) {
		_ = s.Wait()
		return why
	}
	err = s.Wait() // in the command's own words, of which the sender's error is a consequence
	if ctx.Err() != nil {
		return fmt.Errorf("nothing has moved for %s", seedStall)
	}
	if err != nil {
		return err
	}
	return errors.Join(errors.New("the node has not taken it"), sendErr)
}

// moving watches that what is written goes away.
type moving struct {
	io.Writer
	stalled *time.Timer
}

func (m moving) Write(b []byte) (int, error) {
	m.stalled.Reset(seedStall)
	defer m.stalled.Reset(settleWithin)
	return m.Writer.Write(b)
}
