package broker

import (
	"errors"
	"fmt"
)

// Packets of MQTT that a client may send.
const (
	packetConnect     = 1
	packetConnack     = 2
	packetPublish     = 3
	packetSubscribe   = 8
	packetUnsubscribe = 10
	packetPingreq     = 12
	packetDisconnect  = 14
)

var (
	errQoS2     = errors.New("QoS 2 is not served here")
	errPacket   = errors.New("a packet that a client does not send")
	errTooLarge = errors.New("a packet is too large")
)

// frames follows the packets in what a client sends, however it comes in pieces, and
// fails at the first one that is not for the broker, before the broker sees it whole.
type frames struct {
	largest int // of a packet, in bytes
	length  int // read so far of the length field's value
	shift   int
	left    int // bytes of the packet under way
	state   byte
}

const (
	atKind = iota
	atLength
	atBody
)

// follow looks at the next bytes and counts the packets that begin in them.
func (f *frames) follow(b []byte) (packets int, err error) {
	for i := 0; i < len(b); {
		switch f.state {
		case atKind:
			packets++
			if err := mayBegin(b[i]); err != nil {
				return packets, err
			}
			f.state, f.length, f.shift = atLength, 0, 0
			i++
		case atLength:
			f.length |= int(b[i]&0x7f) << f.shift
			f.shift += 7
			more := b[i] >= 0x80
			i++
			switch {
			case more && f.shift == 28:
				return packets, errMalformed
			case more:
			case f.length > f.largest:
				return packets, fmt.Errorf("%w: %d bytes of %d", errTooLarge, f.length, f.largest)
			case f.length == 0:
				f.state = atKind
			default:
				f.state, f.left = atBody, f.length
			}
		case atBody:
			n := min(f.left, len(b)-i)
			i, f.left = i+n, f.left-n
			if f.left == 0 {
				f.state = atKind
			}
		}
	}
	return packets, nil
}

// mayBegin judges the first byte of a packet. There is no session to go on with, nothing
// is delivered with QoS 1, and so a client has nothing to acknowledge.
func mayBegin(first byte) error {
	flags := first & 0x0f
	switch first >> 4 {
	case packetPublish:
		if flags>>1&3 > 1 {
			return errQoS2
		}
		return nil
	case packetSubscribe, packetUnsubscribe:
		if flags == 2 {
			return nil
		}
	case packetPingreq, packetDisconnect:
		if flags == 0 {
			return nil
		}
	}
	return fmt.Errorf("%w: 0x%02x", errPacket, first)
}
