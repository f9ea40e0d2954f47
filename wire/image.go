package wire

import (
	"encoding/json"
	"fmt"

	"github.com/otto-edge/otto"
)

// DecodeImageOffer reads an otto.ImageOffer.
func DecodeImageOffer(b []byte) (otto.ImageOffer, error) {
	var o otto.ImageOffer
	if err := json.Unmarshal(b, &o); err != nil {
		return o, fmt.Errorf("image: %w", err)
	}
	if !otto.BuiltImage(o.ID) || o.Bytes < 0 {
		return o, fmt.Errorf("image: %.80q is not the id of an image", o.ID)
	}
	return o, nil
}
