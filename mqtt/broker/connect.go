package broker

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// Limits of a CONNECT packet, in bytes. It is read before anybody is known, so it
// is small: Otto's own, with a will, has some hundred.
const (
	maxConnect    = 16 << 10
	maxClientID   = 256
	maxUsername   = 256
	maxPassword   = 1 << 10
	maxWillTopic  = 512
	maxProperties = 4 << 10
)

// Versions of the protocol, as CONNECT has them.
const (
	version31  = 3
	version311 = 4
	version5   = 5
)

// connect is what a client says first.
type connect struct {
	version            byte
	keepAlive          uint16
	clientID           string
	username, password string // empty ones are none
	will               *will
	// maxPacket is the largest packet that the client takes; 0 if it does not say.
	maxPacket uint32
}

type will struct {
	topic   string
	payload []byte
	qos     byte
	retain  bool
}

// refusal is why a CONNECT is not accepted, with the code of MQTT 3 and of MQTT 5.
type refusal struct {
	reason string
	v3, v5 byte
}

func (r *refusal) Error() string { return r.reason }

// Refusals that a client is told.
func errVersion() error { return &refusal{"a version of MQTT that is not spoken here", 1, 0x84} }
func errLogin() error   { return &refusal{"wrong user name or password", 5, 0x86} }
func errMethod() error  { return &refusal{"an authentication method that is not known here", 5, 0x8C} }

var errMalformed = errors.New("the first packet is no valid CONNECT")

// readConnect reads the first packet of a connection. Its own buffer is made only
// when the length is known to be small.
func readConnect(r *bufio.Reader) (connect, error) {
	var c connect
	kind, err := r.ReadByte()
	if err != nil {
		return c, err
	}
	if kind != packetConnect<<4 {
		return c, errMalformed
	}
	length, err := readLength(r)
	if err != nil {
		return c, err
	}
	if length > maxConnect {
		return c, fmt.Errorf("%w: it has %d bytes", errMalformed, length)
	}
	b := make([]byte, length)
	if _, err := io.ReadFull(r, b); err != nil {
		return c, err
	}
	return decodeConnect(b)
}

// readLength reads the length that MQTT writes in one to four bytes.
func readLength(r io.ByteReader) (int, error) {
	n := 0
	for shift := 0; shift < 28; shift += 7 {
		b, err := r.ReadByte()
		if err != nil {
			return 0, err
		}
		n |= int(b&0x7f) << shift
		if b < 0x80 {
			return n, nil
		}
	}
	return 0, errMalformed
}

// Flags of CONNECT.
const (
	flagReserved   = 0x01
	flagClean      = 0x02
	flagWill       = 0x04
	flagWillRetain = 0x20
	flagPassword   = 0x40
	flagUsername   = 0x80
)

// decodeConnect reads what follows the length of a CONNECT packet.
func decodeConnect(b []byte) (connect, error) {
	var c connect
	f := fields{rest: b}
	name, version, flags := f.text(6), f.byte(), f.byte()
	c.keepAlive = f.uint16()
	if f.failed || flags&flagReserved != 0 {
		return c, errMalformed
	}
	switch {
	case name == "MQIsdp" && version == version31, name == "MQTT" && (version == version311 || version == version5):
	case name == "MQTT":
		return c, errVersion()
	default:
		return c, errMalformed
	}
	c.version = version
	if version == version5 {
		p, err := decodeProperties(f.properties())
		if err != nil {
			return c, err
		}
		c.maxPacket = p.maxPacket
		if p.method {
			return c, errMethod()
		}
	}
	c.clientID = f.text(maxClientID)
	if flags&flagWill != 0 {
		w := will{qos: flags >> 3 & 3, retain: flags&flagWillRetain != 0}
		if version == version5 {
			f.properties() // of the will: none of them has an effect here
		}
		w.topic, w.payload = f.text(maxWillTopic), f.bytes(maxConnect)
		if w.qos == 3 || w.topic == "" {
			return c, errMalformed
		}
		c.will = &w
	}
	if flags&flagUsername != 0 {
		c.username = f.text(maxUsername)
	}
	if flags&flagPassword != 0 {
		c.password = string(f.bytes(maxPassword))
	}
	if f.failed || len(f.rest) > 0 {
		return c, errMalformed
	}
	return c, nil
}

// encode is the packet that the broker gets: with a client id that nobody else has,
// without credentials, which are checked already, and always a clean start.
func (c connect) encode(id string) []byte {
	flags := byte(flagClean)
	if c.will != nil {
		flags |= flagWill | c.will.qos<<3
		if c.will.retain {
			flags |= flagWillRetain
		}
	}
	name := "MQTT"
	if c.version == version31 {
		name = "MQIsdp"
	}
	b := appendText(nil, name)
	b = append(b, c.version, flags)
	b = binary.BigEndian.AppendUint16(b, c.keepAlive)
	if c.version == version5 {
		var p []byte
		if c.maxPacket > 0 {
			p = binary.BigEndian.AppendUint32([]byte{propertyMaxPacket}, c.maxPacket)
		}
		b = append(append(b, byte(len(p))), p...)
	}
	b = appendText(b, id)
	if c.will != nil {
		if c.version == version5 {
			b = append(b, 0)
		}
		b = appendText(b, c.will.topic)
		b = appendText(b, string(c.will.payload))
	}
	return append(appendLength([]byte{packetConnect << 4}, len(b)), b...)
}

// connack is the answer to a client that is refused.
func connack(version byte, r *refusal) []byte {
	if version == version5 {
		return []byte{packetConnack << 4, 3, 0, r.v5, 0}
	}
	return []byte{packetConnack << 4, 2, 0, r.v3}
}

func appendText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

func appendLength(b []byte, n int) []byte {
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// fields takes one field after another off a packet. Once there is not enough left,
// or a field is too long, it has failed for good.
type fields struct {
	rest   []byte
	failed bool
}

func (f *fields) take(n int) []byte {
	if f.failed || n > len(f.rest) {
		f.failed = true
		return nil
	}
	b := f.rest[:n]
	f.rest = f.rest[n:]
	return b
}

func (f *fields) byte() byte {
	if b := f.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (f *fields) uint16() uint16 {
	if b := f.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (f *fields) uint32() uint32 {
	if b := f.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (f *fields) bytes(most int) []byte {
	n := int(f.uint16())
	if n > most {
		f.failed = true
	}
	return f.take(n)
}

func (f *fields) text(most int) string {
	s := string(f.bytes(most))
	if !utf8.ValidString(s) {
		f.failed = true
	}
	for _, c := range []byte(s) {
		if c == 0 {
			f.failed = true
		}
	}
	return s
}

func (f *fields) length() int {
	n := 0
	for shift := 0; shift < 28; shift += 7 {
		b := f.byte()
		n |= int(b&0x7f) << shift
		if b < 0x80 {
			return n
		}
	}
	f.failed = true
	return 0
}

func (f *fields) properties() []byte {
	n := f.length()
	if n > maxProperties {
		f.failed = true
	}
	return f.take(n)
}

// Properties of MQTT 5 that a CONNECT may have.
const (
	propertySessionExpiry  = 0x11
	propertyMethod         = 0x15
	propertyMethodData     = 0x16
	propertyProblemInfo    = 0x17
	propertyResponseInfo   = 0x19
	propertyReceiveMaximum = 0x21
	propertyAliasMaximum   = 0x22
	propertyUser           = 0x26
	propertyMaxPacket      = 0x27
)

// properties are those of a CONNECT that matter.
type properties struct {
	maxPacket uint32
	method    bool // it wants another authentication than a password
}

func decodeProperties(b []byte) (properties, error) {
	var p properties
	f := fields{rest: b}
	for len(f.rest) > 0 && !f.failed {
		switch f.byte() {
		case propertySessionExpiry:
			f.uint32()
		case propertyMaxPacket:
			p.maxPacket = f.uint32()
		case propertyReceiveMaximum, propertyAliasMaximum:
			f.uint16()
		case propertyProblemInfo, propertyResponseInfo:
			f.byte()
		case propertyUser:
			f.text(maxProperties)
			f.text(maxProperties)
		case propertyMethod:
			p.method = true
			f.text(maxProperties)
		case propertyMethodData:
			f.bytes(maxProperties)
		default:
			f.failed = true
		}
	}
	if f.failed {
		return p, errMalformed
	}
	return p, nil
}
