package bootstrap

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/otto-edge/otto"
)

// ErrNoAgent says that what was asked of a node needs an agent of this build, which has not
// come there yet.
var ErrNoAgent = errors.New("the agent of this build is not there yet")

// SendImage brings a built image to a node, unless it is there. archive writes it, as
// `docker save` does; it is compressed on its way. The node has either all of it or nothing.
func (f *Fleet) SendImage(ctx context.Context, node otto.Node, cluster string, o otto.ImageOffer,
	archive func(context.Context, io.Writer) error,
) (sent bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := f.Open(ctx, node, cluster, "image")
	if err != nil {
		return false, err
	}
	defer s.Close()
	line, err := json.Marshal(o)
	if err == nil {
		_, err = s.Write(append(line, '\n'))
	}
	said := bufio.NewReader(s)
	answer, _ := said.ReadString('\n')
	switch word := strings.TrimSpace(answer); {
	case word == otto.ImageThere:
		return false, nil
	case word != otto.ImageSend:
		return false, errors.Join(s.Wait(), err)
	}
	zipped, _ := gzip.NewWriterLevel(s, gzip.BestSpeed) // the level is a valid one
	sendErr := archive(ctx, zipped)
	if sendErr == nil {
		sendErr = errors.Join(zipped.Close(), s.CloseWrite())
	} else {
		_ = s.CloseWrite() // it is cut short, which the engine sees
	}
	answer, _ = said.ReadString('\n')
	if strings.TrimSpace(answer) == otto.ImageTaken {
		return true, nil
	}
	waitErr := s.Wait()
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case waitErr != nil: // in the command's own words, of which the sender's error is a consequence
		return false, waitErr
	}
	return false, fmt.Errorf("the node has not taken it: %w", errors.Join(sendErr, io.ErrUnexpectedEOF))
}

// Arch asks a node for its architecture, as Docker names it. It changes nothing there.
func (f *Fleet) Arch(ctx context.Context, node otto.Node, cluster string) (arch string, err error) {
	err = f.look(ctx, node, cluster, func(_ host, found facts) error {
		arch = architecture(found)
		return nil
	})
	return arch, err
}
