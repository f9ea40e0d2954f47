package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/otto-edge/otto/docker"
	"github.com/otto-edge/otto/wire"
)

// maxOffer is how long the line may be that offers an image, in bytes.
const maxOffer = 256 << 10

// takeImage takes in an image that was built for the node of dir: a line that offers it, and
// then its archive, if the answer asks for that.
func takeImage(ctx context.Context, dir string, in io.Reader, out io.Writer) error {
	e, err := readEnrolment(dir)
	if err != nil {
		return errors.Join(errors.New("this is no node of the cluster"), err)
	}
	r := bufio.NewReaderSize(in, maxOffer)
	line, err := r.ReadSlice('\n')
	if err != nil {
		return errors.New("no image is offered")
	}
	offer, err := wire.DecodeImageOffer(line)
	if err != nil {
		return err
	}
	rt, err := engineOf(ctx, dir, e)
	if err != nil {
		return err
	}
	defer rt.Close()
	answer := func(word string) error {
		_, err := fmt.Fprintln(out, word)
		return err
	}
	return rt.TakeImage(ctx, offer, answer, r)
}

// relayEngine connects standard input and output with the engine, for a build of its user that
// is for this node and cannot be done elsewhere.
func relayEngine(ctx context.Context, dir string, in io.Reader, out io.Writer) error {
	e, err := readEnrolment(dir)
	if err != nil {
		return errors.Join(errors.New("this is no node of the cluster"), err)
	}
	rt, err := docker.New(e.DockerURL, e.Owner(), newLog(io.Discard))
	if err != nil {
		return err
	}
	conn, err := rt.Dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	go func() {
		_, _ = io.Copy(conn, in)
		if c, ok := conn.(interface{ CloseWrite() error }); ok {
			_ = c.CloseWrite()
		}
	}()
	_, err = io.Copy(out, conn)
	return err
}
